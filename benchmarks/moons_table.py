"""Train the published toy classifier over seeds and write one row a rule to a results file.

    KERAS_BACKEND=jax python benchmarks/moons_table.py --rule polar --seeds 5
    python benchmarks/moons_table.py --summary    # the table of all results so far

Medians over the seeds of the last epoch's running averages; the singular values are the extremes
over all seeds and layers of the exported kernels, by float64 SVD.
"""

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path

import numpy as np
from provenance import provenance

from lipkit import _demo as demo
from lipkit import parametrizations


def run(settings):
    start = time.perf_counter()
    model, (x, y), history = demo.train(settings)
    seconds = time.perf_counter() - start
    kernels = [w for w in model.vanilla_export().get_weights() if w.ndim == 2]
    sigma = [np.linalg.svd(w.astype("float64"), compute_uv=False) for w in kernels]
    row = {name: values[-1] for name, values in history.items()}
    # of what is exported: in training, a kernel of the rule "stiefel" may have drifted
    row["evaluated"] = float(model.evaluate(x, y[:, None], batch_size=len(x), verbose=0)[0])
    return row, max(s.max() for s in sigma), min(s.min() for s in sigma), seconds


def summary(folder):
    print(
        "| backend | rule | optimizer | learning rate | loss | KR | hinge | accuracy "
        "| singular values |"
    )
    print("|" + "---|" * 9)
    for path in sorted(folder.glob("*.json")):
        r = json.loads(path.read_text())
        print(
            f"| {r['backend']} | {r['rule']} | {r.get('optimizer', 'adam')} "
            f"| {r.get('learning_rate', 0.01)} {r['rate']} | {r['loss']:.4f} | {r['KR']:.4f} "
            f"| {r['HingeMargin']:.4f} | {r['accuracy']:.4f} "
            f"| 1 - {1 - r['sigma_min']:.0e} ... 1 + {r['sigma_max'] - 1:.0e} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rule", default="polar")
    parser.add_argument("--cosine", action="store_true")
    parser.add_argument("--optimizer", choices=demo.OPTIMIZERS, default="adam")
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--tolerance", type=float, help='of the rule "stiefel"')
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/moons"))
    parser.add_argument("--summary", action="store_true")
    args = parser.parse_args()
    if args.summary:
        return summary(args.out)
    rule = args.rule
    if args.tolerance is not None:
        rule = parametrizations.Stiefel(tolerance=args.tolerance)
    settings = demo.Settings(
        parametrization=rule,
        cosine=args.cosine,
        optimizer=args.optimizer,
        learning_rate=args.learning_rate,
    )
    rows = []
    for seed in range(args.seeds):
        rows.append(run(dataclasses.replace(settings, seed=seed)))
        print(seed, rows[-1], flush=True)
    result = {
        **provenance(),
        "rule": args.rule,
        "optimizer": args.optimizer,
        "learning_rate": args.learning_rate,
        "tolerance": args.tolerance,
        "rate": "cosine" if args.cosine else "constant",
        "seeds": args.seeds,
        **{name: statistics.median(r[0][name] for r in rows) for name in rows[0][0]},
        "sigma_max": max(r[1] for r in rows),
        "sigma_min": min(r[2] for r in rows),
        "seconds": statistics.median(r[3] for r in rows),
        "losses": [round(r[0]["loss"], 4) for r in rows],
    }
    print(json.dumps(result, indent=1))
    args.out.mkdir(parents=True, exist_ok=True)
    parts = [result["backend"], args.rule, result["rate"]]
    parts += [args.optimizer, str(args.learning_rate)] if args.optimizer != "adam" else []
    parts += [f"tolerance_{args.tolerance}"] if args.tolerance is not None else []
    name = "_".join(parts) + ".json"
    (args.out / name).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

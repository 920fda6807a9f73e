"""The default recipe on public tables that nobody chose, beside scikit-learn's, five splits each.

python benchmarks/peers/tables.py build/tables  # in the environment of the packages that ship them
KERAS_BACKEND=jax python benchmarks/tables.py build/tables

Baselines see the same numbers as lipkit, standardised. Times are CPU times of `fit`, no imports.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import keras
import numpy as np
from provenance import provenance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lipkit import estimators, recipes
from lipkit.data import files, splits

OUT = Path(__file__).parent / "results"


def timed(function, *args, **kwargs):
    start = time.process_time()
    result = function(*args, **kwargs)
    return result, time.process_time() - start


def baseline(model, x, y, rows):
    return timed(make_pipeline(StandardScaler(), model).fit, x[rows], y[rows])


def ours(x, y, rows, held, **options):
    """Accuracies on the rows held out, and what the recipe chose."""
    trained, seconds = timed(recipes.train, x[rows], y[rows], **options)
    settings, certificates = trained.settings, trained.certify(x[held], y[held])
    return {
        "lipkit": certificates.certified_accuracy(0.0),
        "balanced": balanced_accuracy_score(y[held], certificates.label),
        "certified": certificates.certified_accuracy(settings["eps"]),
        **{name: settings[name] for name in ("eps", "constant", "recipe", "epochs")},
        "seconds": seconds,
    }


def classes(path, seed, class_weight=None):
    data = files.read(path, "target")
    rows, held = splits.stratified(data.y, 0.2, seed)
    row = ours(data.x, data.y, rows, held, seed=seed, class_weight=class_weight)
    linear = LogisticRegression(max_iter=1000, class_weight=class_weight)
    for name, model in (("logistic", linear), ("mlp", MLPClassifier(random_state=seed))):
        fitted, row[f"{name}_seconds"] = baseline(model, data.x, data.y, rows)
        row[name] = fitted.score(data.x[held], data.y[held])
        row[f"{name}_balanced"] = balanced_accuracy_score(
            data.y[held], fitted.predict(data.x[held])
        )
    return {"rows": len(data.x), "features": data.x.shape[1], "classes": len(data.classes), **row}


def rare(path, seed):
    return classes(path, seed, "balanced")


def targets(path, seed):
    frame = np.genfromtxt(path, delimiter=",", skip_header=1)
    x, y = frame[:, :-1], frame[:, -1]
    order = np.random.default_rng(seed).permutation(len(y))
    held, rows = np.split(order, [len(y) // 5])
    ours, seconds = timed(estimators.LipschitzRegressor(random_state=seed).fit, x[rows], y[rows])
    row = {"lipkit": ours.score(x[held], y[held]), "seconds": seconds}
    row["constant"] = ours.settings_["constant"]
    for name, model in (("ridge", Ridge()), ("mlp", MLPRegressor(random_state=seed))):
        row[name] = baseline(model, x, y, rows)[0].score(x[held], y[held])
    return {"rows": len(y), "features": x.shape[1], **row}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT / "tables.json")
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    about = provenance()
    try:
        found = json.loads(arguments.out.read_text())
    except FileNotFoundError:
        found = {}
    for kind in (classes, rare, targets):
        for path in sorted((arguments.folder / kind.__name__).glob("*.csv")):
            if arguments.only and path.stem not in arguments.only:
                continue
            known = found.setdefault(kind.__name__, {}).setdefault(path.stem, {"splits": []})
            for seed in range(len(known["splits"]), arguments.splits):
                keras.utils.clear_session()
                known["splits"].append(kind(path, seed))
                known.update(about)
                arguments.out.write_text(json.dumps(found, indent=1) + "\n")
            numeric = {name for name, v in known["splits"][0].items() if isinstance(v, float)}
            means = {n: np.mean([row[n] for row in known["splits"]]) for n in sorted(numeric)}
            print(f"{path.stem:16}", *(f"{n} {v:.3f}" for n, v in means.items()), flush=True)


if __name__ == "__main__":
    main()

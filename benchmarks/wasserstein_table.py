"""Estimates of Wasserstein-1 distances against the truth, with the defaults of the library.

    KERAS_BACKEND=jax python benchmarks/wasserstein_table.py

Gaussians of unit variance that are shifted, or not, along the diagonal, 20,000 samples of each: the
distance of the distributions is the shift. Moons, 2,000 points of each class: the truth is the
exact distance of these finite samples, by POT, which `empirical` must not exceed.
"""

import json
import math
import os
import time
from pathlib import Path

import numpy as np
from provenance import provenance

import lipkit
from lipkit.wasserstein import wasserstein_distance

for name in ("JAX", "TENSORFLOW", "PYTORCH"):
    os.environ.setdefault(f"POT_BACKEND_DISABLE_{name}", "1")

SEEDS = 3
CASES = {"gaussians 2-D": (2, 2.0), "gaussians 10-D": (10, 3.0), "equal 2-D": (2, 0.0)}
OUT = Path(__file__).parent / "results" / "wasserstein.json"


def exact(x, y):
    import ot

    cost = ot.dist(x.astype("float64"), y.astype("float64"), metric="euclidean")
    return ot.emd2([], [], cost, numItermax=10**7)


def gaussians(d, shift, seed):
    x, y = np.random.default_rng(seed).standard_normal((2, 20_000, d))
    return x + shift / math.sqrt(d), y


def moons(seed):
    points, labels = lipkit.data.moons(4000, noise=0.05, seed=seed)
    return points[labels > 0], points[labels < 0]


def measure(case, x, y, seed, truth):
    wall, processor = time.perf_counter(), time.process_time()
    result = wasserstein_distance(x, y, seed=seed)
    row = {
        "case": case,
        "seed": seed,
        "truth": truth,
        "estimate": result.estimate,
        "interval": result.interval,
        "lower_bound": result.lower_bound,
        "empirical_lower_bound": result.empirical_lower_bound,
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
    }
    error = f"{100 * (result / truth - 1):+6.2f} %" if truth else f"{result:+8.4f}"
    low, high = result.interval
    print(
        f"{case:15s} seed {seed}  truth {truth:.4f}  estimate {result:.4f} ({error})"
        f"  interval {low:.4f} ... {high:.4f}  lower {result.lower_bound:.4f}"
        f"  empirical {result.empirical_lower_bound:.4f}  {row['seconds']:.1f} s",
        flush=True,
    )
    return row


def main():
    rows = []
    for seed in range(SEEDS):
        for case, (d, shift) in CASES.items():
            rows.append(measure(case, *gaussians(d, shift, seed), seed, shift))
        x, y = moons(seed)
        rows.append(measure("moons", x, y, seed, exact(x, y)))
    OUT.write_text(json.dumps({**provenance(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

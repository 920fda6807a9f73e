"""One training step of the toy classifier for each kernel rule, against plain Dense layers.

    KERAS_BACKEND=jax taskset -c 0 python benchmarks/moons_step.py

Same shapes, activations, loss and optimizer; interleaved rounds in one run; medians.
"""

import json
import statistics
from pathlib import Path

import keras
import numpy as np
from provenance import provenance
from timing import turns

from lipkit import _demo as demo
from lipkit.layers import FullSort
from lipkit.losses import HKR

BATCH, STEPS, ROUNDS = 256, 40, 9
OUT = Path(__file__).parent / "results" / "moons_step.json"


def plain():
    hidden = [layer for n in (256, 128, 64) for layer in (keras.layers.Dense(n), FullSort())]
    return keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(1)])


def training(model):
    """A function that trains `STEPS` steps."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH * STEPS, 2)).astype("float32")
    y = np.sign(x[:, :1])
    model.compile(keras.optimizers.Adam(1e-3), HKR(10, 0.29))

    return lambda: model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)


def main():
    rules = ["polar", "bjorck", "cholesky", "spectral", "frobenius"]
    functions = {"plain Dense": training(plain())}
    functions |= {rule: training(demo.network(rule)) for rule in rules}
    times = turns(functions, ROUNDS)
    base = times["plain Dense"]
    rows = {
        name: {
            "ms": statistics.median(values) / STEPS,
            "ratio": statistics.median(v / b for v, b in zip(values, base, strict=True)),
        }
        for name, values in times.items()
    }
    for name, row in rows.items():
        print(f"{name:12s} {row['ms']:8.2f} ms  {row['ratio']:5.2f}x")
    result = {
        **provenance(),
        "rows": rows,
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

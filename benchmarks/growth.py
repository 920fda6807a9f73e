"""How the price of a constraint grows with the width, the depth and the batch of a network.

    KERAS_BACKEND=jax python benchmarks/growth.py

A training step of width x depth dense layers with GroupSort2, against the same network of plain
layers, interleaved, medians; results/growth_BACKEND.json.
"""

import json
from pathlib import Path

import keras
import numpy as np
from provenance import provenance
from timing import fed, interleaved

from lipkit import layers, models

OUT = Path(__file__).parent / "results"
STEPS = 24
BASE = {"width": 256, "depth": 3, "batch": 256}
GRID = {"width": (64, 128, 256, 512, 1024), "depth": (1, 2, 4, 8), "batch": (32, 128, 512, 2048)}
RULES = ("plain", "polar", "stiefel")


def training(rule, width, depth, batch):
    """A function that trains `STEPS` steps."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((STEPS * batch, width)).astype("float32")
    y = rng.integers(0, 10, STEPS * batch)
    stack = [keras.Input((width,))]
    for units in (*(width,) * depth, 10):
        if rule == "plain":
            stack.append(keras.layers.Dense(units))
        else:
            stack.append(layers.SpectralDense(units, parametrization=rule))
        stack.append(layers.GroupSort2())
    model = models.Sequential(stack[:-1]) if rule != "plain" else keras.Sequential(stack[:-1])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    args, options = fed(batch, x, y)
    return lambda: model.fit(*args, **options, shuffle=False, verbose=0)


def main():
    rows = []
    for name, values in GRID.items():
        for value in values:
            size = {**BASE, name: value}
            times = interleaved({rule: training(rule, **size) for rule in RULES}, 5)
            rows.append({**size, "varied": name} | {k: v / STEPS for k, v in times.items()})
            print(rows[-1], flush=True)
            keras.utils.clear_session()
    path = OUT / f"growth_{keras.backend.backend()}.json"
    path.write_text(json.dumps({**provenance(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

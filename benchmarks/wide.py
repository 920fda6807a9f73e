"""A wide network on a task that it can learn: what each rule and optimizer reach, in what time.

    KERAS_BACKEND=jax python benchmarks/wide.py

784-1024-1024-1024-10 with GroupSort2; 15,360 Gaussian inputs, whose classes a random network of 64
ReLUs tells; batch 256, 8 epochs, a cosine to 0, one seed. *evaluated*: the loss on the same data of
the kernels that are exported, where that of training runs through the epoch and with the drift of
the rule "stiefel". results/wide.json.
"""

import json
import time
from pathlib import Path

import keras
import numpy as np
from peers.keras_models import network
from provenance import provenance

from lipkit.optimizers import StiefelMuon
from lipkit.parametrizations import Polar, Stiefel

OUT = Path(__file__).parent / "results" / "wide.json"
EPOCHS, BATCH, STEPS = 8, 256, 60
ROWS = (
    (None, keras.optimizers.Adam, 1e-3),
    (Polar(), keras.optimizers.Adam, 1e-3),
    (Stiefel(tolerance=0.003), keras.optimizers.Adam, 1e-3),
    (Stiefel(tolerance=0.01), keras.optimizers.Adam, 1e-3),
    (Stiefel(tolerance=0.03), keras.optimizers.Adam, 1e-3),
    (Stiefel(tolerance=0.01), keras.optimizers.Adam, 2e-3),
    (Stiefel(tolerance=0.01), StiefelMuon, 1e-2),
    (Stiefel(tolerance=0.01), StiefelMuon, 2e-2),
)


def data():
    """(inputs, classes)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((STEPS * BATCH, 784)).astype("float32")
    hidden = np.maximum(x @ rng.standard_normal((784, 64)), 0)
    return x, (hidden @ rng.standard_normal((64, 10))).argmax(axis=1)


def run(rule, optimizer, rate):
    """One row; None is the network of plain layers."""
    x, y = data()
    keras.utils.set_random_seed(0)
    model = network("lipkit" if rule else "plain", rule, "mlp 256")
    schedule = keras.optimizers.schedules.CosineDecay(rate, EPOCHS * STEPS)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(schedule), loss)
    model.train_on_batch(x[:BATCH], y[:BATCH])  # compiles
    start = time.perf_counter()
    history = model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0).history["loss"]
    seconds = time.perf_counter() - start
    return {
        "rule": rule.name if rule else "plain",
        "tolerance": getattr(rule, "tolerance", None),
        "optimizer": optimizer.__name__,
        "learning_rate": rate,
        "loss": float(history[-1]),
        "evaluated": float(model.evaluate(x, y, batch_size=BATCH, verbose=0)),
        "ms": 1e3 * seconds / (EPOCHS * STEPS),
    }


def main():
    rows = []
    for row in ROWS:
        rows.append(run(*row))
        print(rows[-1], flush=True)
    OUT.write_text(json.dumps({**provenance(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

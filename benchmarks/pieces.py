"""Times of the parts: orthogonalisations, activations, poolings, losses, the export, and the start.

    KERAS_BACKEND=jax python benchmarks/pieces.py [--sizes 256 1024]

Forward and backward together, interleaved, medians; results/pieces_BACKEND.json.
"""

import argparse
import functools
import json
import math
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
from keras import ops
from peers.keras_models import network
from provenance import provenance
from timing import fed, interleaved

import lipkit
from lipkit import layers, parametrizations
from lipkit._backend import value_and_input_gradient

OUT = Path(__file__).parent / "results"
ROWS = 256
CHANNELS = (64, 256, 1024, 4096)
RULES = ("polar", "stiefel", "cholesky", "bjorck")


def with_gradient(function, x):
    """A call of `function`'s value and gradient, contracted with fixed numbers, at x."""
    shape = ops.shape(function(x))
    weights = np.cos(np.arange(math.prod(shape))).reshape(shape).astype("float32")
    weights = ops.convert_to_tensor(weights)
    run = value_and_input_gradient(lambda z: ops.sum(weights * function(z), axis=-1), [])
    return lambda: run(x)


def orthogonalisations(sizes):
    """Of one square kernel near orthogonal ones, and of a matrix product, whose price is 1."""
    table = {}
    for n in sizes:
        rng = np.random.default_rng(0)
        w = np.linalg.qr(rng.standard_normal((n, n)))[0]
        w = (w + 1e-3 * rng.standard_normal((n, n)) / np.sqrt(n)).astype("float32")
        functions = {rule: with_gradient(parametrizations.get(rule), w) for rule in RULES}
        functions["three products"] = with_gradient(lambda z: ops.matmul(z, z), w)
        times = interleaved(functions, 15 if n < 500 else 3 if n < 2000 else 1)
        table[n] = {
            k: {"ms": v, "products": 3 * v / times["three products"]} for k, v in times.items()
        }
    return table


def activations():
    """Of (256, channels), against the backend's own sort and a ReLU, each as a layer."""
    table = {}
    for n in CHANNELS:
        x = np.random.default_rng(0).standard_normal((ROWS, n)).astype("float32")
        functions = {
            "sort of the backend": with_gradient(
                keras.layers.Lambda(lambda z: ops.sort(z, axis=-1), output_shape=(n,)), x
            ),
            "ReLU": with_gradient(keras.layers.ReLU(), x),
            "FullSort": with_gradient(layers.FullSort(), x),
            "GroupSort2": with_gradient(layers.GroupSort2(), x),
            "GroupSort(8)": with_gradient(layers.GroupSort(8), x),
            "MaxMin": with_gradient(layers.MaxMin(), x),
        }
        table[n] = interleaved(functions, 9)
    return table


def images():
    """Activations and poolings of 64 images of 32 x 32 with 32 channels."""
    x = np.random.default_rng(0).standard_normal((64, 32, 32, 32)).astype("float32")
    functions = {
        "ReLU": keras.layers.ReLU(),
        "GroupSort2": layers.GroupSort2(),
        "MaxMin": layers.MaxMin(),
        "AveragePooling2D": keras.layers.AveragePooling2D(2),
        "ScaledAveragePooling2D": layers.ScaledAveragePooling2D(2),
        "ScaledL2NormPooling2D": layers.ScaledL2NormPooling2D(2),
    }
    return interleaved({name: with_gradient(f, x) for name, f in functions.items()}, 15)


def losses():
    """A training step of a small classifier with each loss, against cross-entropy's."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40 * ROWS, 64)).astype("float32")
    several = rng.integers(0, 10, len(x))
    table = {}
    for outputs, y, functions in (
        (
            1,
            (several % 2)[:, None].astype("float32"),
            {
                "binary cross-entropy": keras.losses.BinaryCrossentropy(from_logits=True),
                "HKR": lipkit.losses.HKR(),
                "HKR, accuracy and KR": lipkit.losses.HKR(),
            },
        ),
        (
            10,
            several,
            {
                "cross-entropy": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                "MulticlassHKR": lipkit.losses.MulticlassHKR(),
                "MulticlassSoftHKR": lipkit.losses.MulticlassSoftHKR(),
                "LseHKR": lipkit.losses.LseHKR(),
                "TauSparseCategoricalCrossentropy": (
                    lipkit.losses.TauSparseCategoricalCrossentropy(tau=1.0)
                ),
            },
        ),
    ):
        calls = {}
        for name, loss in functions.items():
            keras.utils.set_random_seed(0)
            hidden = keras.layers.Dense(256), layers.GroupSort2()
            model = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(outputs)])
            metrics = [lipkit.metrics.HKRBinaryAccuracy(), lipkit.losses.KR()]
            model.compile("adam", loss, metrics=metrics if "accuracy" in name else [])
            args, options = fed(ROWS, x, y)
            calls[name] = functools.partial(model.fit, *args, **options, shuffle=False, verbose=0)
        table |= {name: ms / 40 for name, ms in interleaved(calls, 9).items()}
    return table


def inference():
    """Of the model, its export, and Keras's own layers in the same order: 10,000 points."""
    model = network("lipkit", "", "moons 256")
    inputs = x = keras.Input((2,))
    for units in (256, 128, 64):
        x = ops.sort(keras.layers.Dense(units)(x), axis=-1)
    plain = keras.Model(inputs, keras.layers.Dense(1)(x))
    x = np.random.default_rng(0).standard_normal((10_000, 2)).astype("float32")
    args, options = fed(1000, x)
    models = {"model": model, "export": model.vanilla_export(), "plain": plain}
    calls = {
        name: functools.partial(m.predict, *args, **options, verbose=0)
        for name, m in models.items()
    }
    return interleaved(calls, 15)


def start():
    """Seconds of importing keras, and lipkit after it."""
    code = "import time; a = time.time(); import keras; b = time.time(); import lipkit; " + (
        "print(b - a, time.time() - b)"
    )
    outputs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    seconds = np.median([[float(s) for s in o.stdout.split()] for o in outputs], axis=0)
    return {"import keras": seconds[0], "import lipkit after it": seconds[1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=(256, 1024, 4096))
    sizes = parser.parse_args().sizes
    result = {
        **provenance(),
        "orthogonalisation": orthogonalisations(sizes),
        "activations": activations(),
        "images": images(),
        "losses": losses(),
        "inference": inference(),
        "start": start(),
    }
    print(json.dumps(result, indent=1))
    name = f"pieces_{keras.backend.backend()}.json"
    (OUT / name).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

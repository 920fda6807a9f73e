"""Times of the parts: orthogonalisations, activations, the export, and the start.

    KERAS_BACKEND=jax python benchmarks/pieces.py [--sizes 256 1024]

Forward and backward together, interleaved, medians; results/pieces_BACKEND.json.
"""

import argparse
import functools
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
from keras import ops
from peers.keras_models import network
from provenance import provenance

from lipkit import layers, parametrizations
from lipkit.backend import value_and_input_gradient

OUT = Path(__file__).parent / "results"
ROWS = 256
CHANNELS = (64, 256, 1024, 4096)
RULES = ("polar", "stiefel", "cholesky", "bjorck")


def interleaved(functions, rounds):
    """Median milliseconds of each of the named functions, which take turns."""
    times = {name: [] for name in functions}
    for function in functions.values():
        function()  # compile
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def with_gradient(function, x):
    """A call of `function`'s value and gradient, contracted with fixed numbers, at x."""
    weights = ops.convert_to_tensor(np.cos(np.arange(x.size)).reshape(x.shape).astype("float32"))
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
        functions["two products"] = with_gradient(functools.partial(ops.matmul, ops.array(w)), w)
        times = interleaved(functions, 3 if n > 500 else 15)
        table[n] = {
            k: {"ms": v, "products": 2 * v / times["two products"]} for k, v in times.items()
        }
    return table


def activations():
    """Of (256, channels), against the backend's own sort and against a ReLU."""
    table = {}
    for n in CHANNELS:
        x = np.random.default_rng(0).standard_normal((ROWS, n)).astype("float32")
        functions = {
            "sort of the backend": with_gradient(lambda z: ops.sort(z, axis=-1), x),
            "ReLU": with_gradient(ops.relu, x),
            "FullSort": with_gradient(layers.FullSort(), x),
            "GroupSort2": with_gradient(layers.GroupSort2(), x),
            "GroupSort(8)": with_gradient(layers.GroupSort(8), x),
        }
        table[n] = interleaved(functions, 9)
    return table


def inference():
    """Of the model, its export, and a plain model of the same layers: 10,000 points."""
    model = network("lipkit", "", "moons 256")
    x = np.random.default_rng(0).standard_normal((10_000, 2)).astype("float32")
    models = {
        "model": model,
        "export": model.vanilla_export(),
        "plain": model.vanilla_export(),
    }
    calls = {
        name: lambda m=m: m.predict(x, batch_size=1000, verbose=0) for name, m in models.items()
    }
    return interleaved(calls, 9)


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
    parser.add_argument("--sizes", type=int, nargs="*", default=(256, 1024))
    sizes = parser.parse_args().sizes
    result = {
        **provenance(),
        "orthogonalisation": orthogonalisations(sizes),
        "activations": activations(),
        "inference": inference(),
        "start": start(),
    }
    print(json.dumps(result, indent=1))
    name = f"pieces_{keras.backend.backend()}.json"
    (OUT / name).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

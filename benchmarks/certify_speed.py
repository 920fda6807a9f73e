"""Times of the certifier: a norm against an SVD, a bound, and certificates of a batch.

KERAS_BACKEND=jax python benchmarks/certify_speed.py
"""

import json
import statistics
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers as kl
from provenance import provenance

import lipkit
from lipkit.certifier.norms import matrix_norm_bound

OUT = Path(__file__).parent / "results" / "certify_speed.json"


def seconds(function, repeats=5):
    """Median time of a call, and what it returned."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = function()
        times.append(time.perf_counter() - start)
    return statistics.median(times), value


def matrix_row(rng):
    a = np.linalg.qr(rng.standard_normal((1024, 1024)))[0].astype("float32")
    svd, values = seconds(lambda: np.linalg.svd(a.astype("float64"), compute_uv=False))
    ours, bound = seconds(lambda: matrix_norm_bound(a))
    return {"svd_s": svd, "bound_s": ours, "ratio": ours / svd, "excess": bound / values[0] - 1}


def mlp():
    units = (784, 512)
    hidden = [kl.Dense(n, activation="relu") for n in units]
    return keras.Sequential([keras.Input((784,)), *hidden, kl.Dense(10)])


def cnn():
    convs = [
        layer
        for n in (32, 64, 64)
        for layer in (kl.Conv2D(n, 3, padding="same", activation="relu"), kl.AveragePooling2D(2))
    ]
    return keras.Sequential([keras.Input((32, 32, 3)), *convs, kl.Flatten(), kl.Dense(10)])


def model_row(model, x):
    bound_s, bound = seconds(lambda: lipkit.lipschitz_bound(model), 3)
    certify_s, result = seconds(lambda: lipkit.certify(model, x), 1)
    return {
        "parameters": model.count_params(),
        "bound": float(bound),
        "bound_s": bound_s,
        "inputs": len(x),
        "certify_s": certify_s,
        "certified": int(np.sum(result.certified)),
    }


def main():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    result = {
        **provenance(),
        "orthogonal 1024 x 1024": matrix_row(rng),
        "mlp": model_row(mlp(), rng.random((10_000, 784), dtype="float32")),
        "cnn": model_row(cnn(), rng.random((1_000, 32, 32, 3), dtype="float32")),
    }
    print(json.dumps(result, indent=1))
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

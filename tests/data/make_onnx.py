"""How the ONNX files in this folder were made: by Keras, which uses tf2onnx and jax2onnx.

    pip install tf2onnx jax2onnx
    KERAS_BACKEND=tensorflow python tests/data/make_onnx.py
    KERAS_BACKEND=jax python tests/data/make_onnx.py

The networks are those of `benchmarks/onnx_networks.py`, by name.
"""

import sys
from pathlib import Path

import keras
import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "benchmarks"))

from onnx_networks import NETWORKS, keras_model  # noqa: E402

FILES = {
    "tensorflow": [
        ("cnn max", 11),
        ("cnn residual", 15),
        ("mlp gelu_tanh", 13),
        ("mlp hard_silu", 13),
    ],
    "jax": [("cnn average", 23), ("cnn normalised", 23), ("mlp log_softmax", 23)],
}

if __name__ == "__main__":
    backend = keras.backend.backend()
    for name, opset in FILES[backend]:
        model = keras_model(name)
        model(np.zeros((1, *NETWORKS[name][0]), "float32"))
        path = HERE / f"{backend}_{name.replace(' ', '_')}.onnx"
        model.export(path, format="onnx", opset_version=opset)

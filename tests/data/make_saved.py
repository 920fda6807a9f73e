"""Make the files of `test_saved_files.py`: what lipkit saves, so that later versions read it.

Run it with the version whose files are to be kept. It writes beside itself a model of every kind
of layer, compiled with loss, metrics and optimizer; a run folder; an ONNX file with its radius.
"""

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import layers as kl

import lipkit
from lipkit import layers as ll

HERE = Path(__file__).parent


def image(x):
    """Layers for images, in one chain."""
    x = ll.SpectralConv2D(6, 3, parametrization="aol", k_coef_lip=1.5, name="first")(x)
    x = ll.MaxMin(name="pairs")(x)
    x = ll.InvertibleDownSampling((2, 2))(x)
    x = ll.SpectralConv2D(4, 3, strides=2, parametrization="polar", kernel_regularizer="l2")(x)
    x = ll.LayerCentering()(x)
    x = ll.SpectralConv2D(4, 3, padding="circular")(ll.PadConv2D(4, 3, padding="reflect")(x))
    x = ll.LipResidual([ll.SpectralConv2D(4, 3), ll.GroupSort2()])(x)
    x = ll.Householder()(x)
    x = ll.SpectralDepthwiseConv2D(3)(x)
    x = ll.InvertibleUpSampling((2, 2))(x)
    x = ll.FrobeniusConv2D(4, 2)(x)
    x = ll.ScaledAveragePooling2D(2)(x)
    x = ll.SpectralConv2DTranspose(4, 3, strides=2)(x)
    x = ll.ScaledL2NormPooling2D(2)(x)
    x = ll.BatchCentering()(x)
    return ll.ScaledGlobalL2NormPooling2D()(x)


def sequence(x):
    """Layers for sequences, in one chain."""
    x = ll.SpectralConv1D(4, 3, dilation_rate=2, activation=ll.FullSort())(x)
    x = ll.BatchLipNorm()(x)
    x = ll.SpectralDepthwiseConv1D(3, depth_multiplier=1)(x)
    x = ll.SpectralConv1DTranspose(4, 2, strides=2)(x)
    x = ll.ScaledAveragePooling1D(2)(x)
    x = ll.PadConv1D(4, 3, padding="causal")(x)
    return ll.ScaledGlobalAveragePooling1D()(x)


def saved():
    pixels, series, table = keras.Input((8, 8, 2)), keras.Input((12, 3)), keras.Input((5,))
    x = kl.Concatenate()([image(pixels), sequence(series), table])
    for rule in ("polar", "stiefel", "bjorck", "cholesky", "aol", "spectral", "frobenius"):
        x = ll.GroupSort(4)(ll.SpectralDense(8, parametrization=rule)(x))
    x = ll.PReLUlip()(ll.SpectralDense(8, eps_spectral=1e-4, eps_bjorck=None)(x))
    x = ll.ScaledResidual([ll.SpectralDense(8)])(x)
    x = ll.PrescaledAdditiveResidual([ll.SpectralDense(8)])(x)
    x = ll.ConcatResidual([ll.SpectralDense(4)])(x)
    x = ll.L2NormResidual([ll.SpectralDense(x.shape[-1])])(x)
    model = lipkit.Model([pixels, series, table], ll.FrobeniusDense(1, use_bias=False)(x))
    model.compile(
        optimizer=lipkit.optimizers.StiefelMuon(0.01),
        loss=lipkit.losses.HKR(alpha=3.0, min_margin=0.3),
        metrics=[
            lipkit.metrics.BinaryProvableRobustAccuracy(epsilon=0.1, lip_const=1.0),
            lipkit.losses.KR(),
        ],
        jit_compile=False,  # which a file keeps, for backends that cannot
    )
    return model


keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
shapes = ((16, 8, 8, 2), (16, 12, 3), (16, 5))
inputs = [rng.standard_normal(shape).astype("float32") for shape in shapes]
labels = np.where(inputs[2][:, :1] > 0, 1.0, -1.0).astype("float32")
model = saved()
model.fit(inputs, labels, epochs=2, verbose=0)
model.save(HERE / "saved_model.keras")
plain = lipkit.vanillaModel(model)
np.savez(
    HERE / "saved_model.npz",
    **{f"x{i}": x for i, x in enumerate(inputs)},
    y=model.predict(inputs, verbose=0),
    bound=float(lipkit.lipschitz_bound(plain)),
    losses=np.array(model.evaluate(inputs, labels, verbose=0)),
    labels=labels,
)
plain.save(HERE / "saved_plain.keras")

dense = lipkit.Sequential(
    [keras.Input((3,)), ll.SpectralDense(8), ll.GroupSort2(), ll.SpectralDense(3)]
)
lipkit.export_onnx(dense, HERE / "saved_radius.onnx")
x = rng.standard_normal((16, 3)).astype("float32")
found = lipkit.certify(dense, x)
np.savez(HERE / "saved_radius.npz", x=x, y=dense.predict(x, verbose=0), radius=found.radius)

with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    points = rng.standard_normal((60, 2))
    kind = np.where(points[:, 0] > 0, "left", "right")
    rows = [f"{a:.4f},{b:.4f},{c}" for (a, b), c in zip(points, kind, strict=True)]
    Path("points.csv").write_text("\n".join(["a,b,side", *rows]) + "\n")
    command = ["lipkit", "train", "points.csv", "--target", "side", "--epochs", "2"]
    subprocess.run([*command, "--out", "saved_run"], check=True)
    shutil.copytree("saved_run", HERE / "saved_run")

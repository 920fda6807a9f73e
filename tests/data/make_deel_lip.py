"""Make the files of `test_compat_load.py`: models trained, saved and run with deel-lip itself.

Run it in an environment of its own, not lipkit's: Python 3.11 with deel-lip 1.5.0,
tensorflow-cpu 2.15.1, numpy below 2 and scikit-learn. It writes beside itself, for each model,
the two formats of Keras 2 and the outputs on fixed inputs.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from deel import lip
from sklearn.datasets import load_digits, make_moons

kl = tf.keras.layers
HERE = Path(__file__).parent
tf.keras.utils.set_random_seed(0)


def moons():
    x, y = make_moons(256, noise=0.05, random_state=0)
    model = lip.Sequential(
        [
            kl.Input((2,)),
            lip.layers.SpectralDense(32),
            lip.layers.FullSort(),
            lip.layers.SpectralDense(16, "relu"),
            lip.layers.FrobeniusDense(1, use_bias=False),
        ],
        name="moons",
    )
    return model, x, 2 * y - 1, lip.losses.HKR(10.0, 0.5)


def digits():
    """Built by `fit`: deel-lip's GroupSort keeps the constant that it was first traced with."""
    x, y = load_digits(return_X_y=True)
    model = lip.Sequential(
        [
            lip.layers.SpectralConv2D(16, 3),
            lip.layers.GroupSort2(),
            lip.layers.ScaledL2NormPooling2D((2, 2)),
            lip.layers.SpectralConv2D(8, (3, 3), strides=2, activation=lip.layers.MaxMin()),
            kl.Flatten(),
            lip.layers.SpectralDense(16, kernel_constraint=None, kernel_initializer="he_normal"),
            lip.layers.GroupSort(4),
            lip.layers.FrobeniusDense(10),
        ],
        k_coef_lip=4.0,
        name="digits",
    )
    y = tf.keras.utils.to_categorical(y)
    return model, x[:512].reshape(-1, 8, 8, 1) / 16, y[:512], lip.losses.MulticlassHKR(10.0, 0.5)


def branches():
    """A graph with a nested model, a shared layer and the remaining layers."""
    x, y = load_digits(return_X_y=True)
    inputs = kl.Input((8, 8, 1))
    down = lip.layers.ScaledAveragePooling2D(2)(inputs)
    block = lip.Sequential(
        [
            kl.Input((4, 4, 2)),
            lip.layers.FrobeniusConv2D(2, 3),
            lip.layers.PReLUlip(),
            lip.layers.SpectralDense(4),
            lip.layers.Householder(),
        ],
        k_coef_lip=2.0,
        name="block",
    )
    pad = lip.layers.unconstrained.PadConv2D(2, 3, padding="circular", activation="relu")
    left = block(pad(down))
    up = lip.layers.SpectralConv2DTranspose(2, 3, strides=2, name="up")
    down = lip.layers.ScaledAveragePooling2D((2, 2), name="down_up")(up(left))
    shared = lip.layers.SpectralDense(4, eps_bjorck=None, name="shared")
    merged = kl.Add()([shared(down), shared(kl.ReLU()(down))])
    pooled = kl.Concatenate()(
        [
            lip.layers.ScaledGlobalAveragePooling2D()(merged),
            lip.layers.ScaledGlobalL2NormPooling2D(k_coef_lip=0.5)(merged),
        ]
    )
    outputs = lip.layers.FrobeniusDense(1, disjoint_neurons=False)(pooled)
    model = lip.Model(inputs, outputs, name="branches")
    y = np.where(y == 0, 1.0, -1.0)
    return model, x[:256].reshape(-1, 8, 8, 1) / 16, y[:256], lip.losses.HingeMargin(1.0)


for make in (moons, digits, branches):
    model, x, y, loss = make()
    y = y.reshape(len(y), -1).astype("float32")
    model.compile(tf.keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=64, epochs=3, verbose=0)
    stem = HERE / f"deel_lip_{make.__name__}"
    inputs = x[:32].astype("float32")
    np.savez_compressed(f"{stem}.npz", x=inputs, y=model.predict(inputs, verbose=0))
    for suffix in (".keras", ".h5"):
        model.save(f"{stem}{suffix}")

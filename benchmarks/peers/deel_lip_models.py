"""The same networks of deel-lip 1.5, Keras 2."""

import deel.lip as lip
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers as kl
from timing import untuned
from worker import ALPHA, MARGIN


def network(workload):
    """The model of a workload, not compiled."""
    name = workload.split()[0]
    if name == "cnn":
        blocks = [
            layer
            for filters in (32, 64, 128)
            for layer in (
                lip.layers.SpectralConv2D(filters, 3, padding="same"),
                lip.layers.GroupSort2(),
                lip.layers.ScaledL2NormPooling2D((2, 2)),
            )
        ]
        stack = [kl.Input((32, 32, 3)), *blocks, kl.Flatten(), lip.layers.SpectralDense(10)]
    elif name == "moons":
        hidden = [
            layer
            for n in (256, 128, 64)
            for layer in (lip.layers.SpectralDense(n), lip.layers.FullSort())
        ]
        stack = [kl.Input((2,)), *hidden, lip.layers.FrobeniusDense(1)]
    else:
        hidden = [
            layer
            for _ in range(3)
            for layer in (lip.layers.SpectralDense(1024), lip.layers.GroupSort2())
        ]
        stack = [kl.Input((784,)), *hidden, lip.layers.SpectralDense(10)]
    return lip.model.Sequential(stack)


def rounds(package, variant, workload, x, classes, repeats):
    """A function that trains an epoch and returns its loss, a count, a function to get kernels."""
    del repeats  # on a CPU only
    model = network(workload)
    batch = x.shape[1]
    if workload.startswith("moons"):
        loss, y = lip.losses.HKR(ALPHA, 2 * MARGIN), np.where(classes, 1.0, -1.0)
        y = y.reshape(-1, 1).astype("float32")
    else:
        loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        y = classes.ravel()
    model.compile(optimizer=tf.keras.optimizers.Adam(1e-3), loss=loss)
    flat = x.reshape(-1, *x.shape[2:])

    batches = untuned(batch, flat, y)

    def epoch():
        history = model.fit(batches, verbose=0)
        return history.history["loss"][-1]

    def kernels():
        return [w.numpy() for v in model.vanilla_export().layers for w in v.weights[:1]]

    return epoch, int(model.count_params()), kernels

"""lipkit's networks and their unconstrained twins: same shapes and activations, Keras 3."""

import keras
import numpy as np
from keras import layers as kl
from timing import fed
from worker import ALPHA, MARGIN

from lipkit import layers as ll
from lipkit.losses import HKR
from lipkit.models import Sequential


def _layers(workload, dense, conv):
    name = workload.split()[0]
    if name == "cnn":
        blocks = [
            layer
            for filters in (32, 64, 128)
            for layer in (
                conv(filters, 3, padding="same"),
                ll.GroupSort2(),
                ll.ScaledL2NormPooling2D((2, 2)),
            )
        ]
        return (32, 32, 3), [*blocks, kl.Flatten(), dense(10)]
    widths, sort = (
        ((256, 128, 64), ll.FullSort) if name == "moons" else ((1024,) * 3, ll.GroupSort2)
    )
    hidden = [layer for n in widths for layer in (dense(n), sort())]
    if name == "moons":
        last = kl.Dense(1) if dense is kl.Dense else ll.FrobeniusDense(1)
        return (2,), [*hidden, last]
    return (784,), [*hidden, dense(10)]


def network(package, rule, workload):
    """The model of a workload, not compiled."""
    if package == "plain":
        shape, stack = _layers(workload, kl.Dense, kl.Conv2D)
        return keras.Sequential([keras.Input(shape), *stack])
    rules = {"parametrization": rule} if rule else {}
    dense, conv = (
        lambda *args, **kwargs: ll.SpectralDense(*args, **rules, **kwargs),
        lambda *args, **kwargs: ll.SpectralConv2D(*args, **kwargs),
    )
    shape, stack = _layers(workload, dense, conv)
    return Sequential([keras.Input(shape), *stack])


def rounds(package, variant, workload, x, classes, repeats):
    """A function that trains an epoch and returns its loss, a count, a function to get kernels.

    An epoch of several `repeats` has its data where the model is, as the peers' have.
    """
    rule = variant.partition(" ")[2]
    model = network(package, rule, workload)
    batch = x.shape[1]
    if workload.startswith("moons"):
        loss, y = HKR(ALPHA, MARGIN), np.where(classes, 1.0, -1.0)
        y = y.reshape(-1, 1).astype("float32")
    else:
        loss, y = keras.losses.SparseCategoricalCrossentropy(from_logits=True), classes.ravel()
    model.compile(keras.optimizers.Adam(1e-3), loss)
    flat = x.reshape(-1, *x.shape[2:])

    args, options = fed(batch, flat, y)

    def from_memory():
        return model.fit(*args, **options, shuffle=False, verbose=0)

    def from_device():
        return model.fit((pair for _ in range(repeats) for pair in there), verbose=0)

    fit = from_memory
    if repeats > 1:
        pairs = [(flat[i : i + batch], y[i : i + batch]) for i in range(0, len(y), batch)]
        there = keras.tree.map_structure(keras.ops.convert_to_tensor, pairs)
        fit = from_device

    def epoch():
        return fit().history["loss"][-1]

    def kernels():
        return [keras.ops.convert_to_numpy(v.kernel) for v in model.layers if v.weights]

    return epoch, model.count_params(), kernels

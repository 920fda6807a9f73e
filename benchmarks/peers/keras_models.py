"""lipkit's networks and their unconstrained twins: same shapes and activations, Keras 3."""

import keras
import numpy as np
from keras import layers as kl

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


def rounds(package, variant, workload, x, classes):
    """(a function that trains an epoch and returns its loss, a function that describes it)."""
    rule = variant.partition(" ")[2]
    model = network(package, rule, workload)
    batch = x.shape[1]
    if workload.startswith("moons"):
        loss, y = HKR(10, 0.29), np.where(classes, 1.0, -1.0)
        y = y.reshape(-1, 1).astype("float32")
    else:
        loss, y = keras.losses.SparseCategoricalCrossentropy(from_logits=True), classes.ravel()
    model.compile(keras.optimizers.Adam(1e-3), loss)
    flat = x.reshape(-1, *x.shape[2:])

    def epoch():
        history = model.fit(flat, y, batch_size=batch, shuffle=False, verbose=0)
        return history.history["loss"][-1]

    def about():
        return {"parameters": model.count_params(), "norms": norms(model)}

    return epoch, about


def norms(model):
    """Largest spectral norm over layers with a matrix kernel."""
    kernels = [np.asarray(keras.ops.convert_to_numpy(v.kernel)) for v in model.layers if v.weights]
    return max(float(np.linalg.norm(k, 2)) for k in kernels if k.ndim == 2)

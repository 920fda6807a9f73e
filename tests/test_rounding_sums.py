"""Sums whose partial sums are all rounded the same way stay within the modelled rounding error."""

import math

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import lipkit
from lipkit import layers
from lipkit.certify import evaluate, rounding, rules
from lipkit.certify.reader import read

F32 = rounding.FORMATS["float32"]


def falling(n):
    """(n,) float32 numbers near 1, whose sum in this order is rounded down by nearly half an ulp
    at each step: each ends just below the middle between two float32 numbers."""
    values = np.ones(n, "float32")
    total = np.float32(1)
    for i in range(1, n):
        ulp = float(np.spacing(np.float32(float(total) + 1)))
        middle = (math.floor((float(total) + 1) / ulp) + 0.499) * ulp
        values[i] = np.float32(middle - float(total))
        total = np.float32(total + values[i])
    return values


def orders(sizes):
    """(k, *sizes): such numbers for sums by rows, by columns, backwards, and in lanes that are
    added at the end, as vectors of a processor and recursive halving have them."""
    n = math.prod(sizes)
    found = [falling(n).reshape(sizes), falling(n).reshape(sizes[::-1]).T, falling(n)[::-1]]
    for lanes in {sizes[-1], 2, 4, 8, 16, 32}:
        if n % lanes == 0:
            found.append(np.repeat(falling(n // lanes)[:, None], lanes, axis=1))
            found.append(np.repeat(falling(n // lanes)[None], lanes, axis=0))
    return np.stack([values.reshape(sizes) for values in found])


def reduction(shape, *functions, rows=None, sums=None):
    """What makes a Keras model, and its inputs: `sums` of them are added, by default all."""

    def build():
        x = y = keras.Input(shape)
        for function in functions:
            y = function()(y)
        model = keras.Model(x, y)
        for weight in model.weights:
            weight.assign(ops.ones(weight.shape))
        if len(model.layers) > 1 and getattr(model.layers[-1], "use_bias", False):
            model.layers[-1].bias.assign(ops.zeros(model.layers[-1].bias.shape))
        return model

    return build, (rows or (lambda: orders(sums or shape).reshape(-1, *shape)))


def _ops(function):
    return lambda: function


def _roots():
    return np.sqrt(orders((24, 24))).astype("float32").reshape(-1, 24, 24, 1)


def _logarithms():
    return np.log(orders((300,))).astype("float32")


REDUCTIONS = {
    "average 1d": reduction((400, 1), lambda: kl.AveragePooling1D(400)),
    "average 2d": reduction((24, 24, 1), lambda: kl.AveragePooling2D(24)),
    "average 3d": reduction((8, 8, 8, 1), lambda: kl.AveragePooling3D(8)),
    "average same": reduction((24, 24, 1), lambda: kl.AveragePooling2D(24, 12, "same")),
    "average strided": reduction((24, 24, 1), lambda: kl.AveragePooling2D((20, 24), (2, 1))),
    "global 1d": reduction((400, 1), lambda: kl.GlobalAveragePooling1D()),
    "global 2d": reduction((24, 24, 1), lambda: kl.GlobalAveragePooling2D()),
    "global 3d": reduction((8, 8, 8, 1), lambda: kl.GlobalAveragePooling3D()),
    "global first": reduction(
        (1, 24, 24), lambda: kl.GlobalAveragePooling2D(data_format="channels_first")
    ),
    "mean": reduction((24, 24), _ops(lambda x: ops.mean(x, axis=(1, 2))), lambda: kl.Reshape((1,))),
    "mean of 3": reduction(
        (8, 8, 8), _ops(lambda x: ops.mean(x, axis=(1, 2, 3))), lambda: kl.Reshape((1,))
    ),
    "center": reduction(
        (24, 24, 1), _ops(lambda x: x - ops.mean(x, axis=(1, 2), keepdims=True)), kl.Flatten
    ),
    "layer centering": reduction((576,), lambda: layers.LayerCentering(axis=-1)),
    "dense": reduction((600,), lambda: kl.Dense(2)),
    "einsum": reduction((24, 24), lambda: kl.EinsumDense("bij,ijk->bk", (2,), bias_axes="k")),
    "conv 1d": reduction((400, 1), lambda: kl.Conv1D(2, 400)),
    "conv 2d": reduction((24, 24, 1), lambda: kl.Conv2D(2, 24)),
    "conv channels": reduction((6, 6, 16), lambda: kl.Conv2D(2, 6)),
    "conv same": reduction((12, 12, 4), lambda: kl.Conv2D(2, 12, padding="same", strides=3)),
    "conv groups": reduction((24, 24, 2), lambda: kl.Conv2D(2, 24, groups=2), sums=(24, 48)),
    "conv transpose": reduction((1, 1, 576), lambda: kl.Conv2DTranspose(1, 2), kl.Flatten),
    "depthwise": reduction((24, 24, 1), lambda: kl.DepthwiseConv2D(24)),
    "separable": reduction((24, 24, 1), lambda: kl.SeparableConv2D(2, 24)),
    "norm": reduction(
        (24, 24, 1), _ops(lambda x: ops.norm(x, axis=(1, 2))), lambda: kl.Reshape((1,)), rows=_roots
    ),
    "norm pool": reduction(
        (24, 24, 1), lambda: layers.ScaledL2NormPooling2D((24, 24)), rows=_roots
    ),
    "global norm": reduction((24, 24, 1), layers.ScaledGlobalL2NormPooling2D, rows=_roots),
    "softmax": reduction((300,), kl.Softmax, rows=_logarithms),
    "add": reduction(
        (1, 40), _ops(lambda x: kl.Add()([x[..., i : i + 1] for i in range(40)])), kl.Flatten
    ),
}


def deviations(graph, x, got):
    """Measured and modelled errors of a program's outputs (n, ...) at x, in 2-norm."""
    bounds, values = rules.compose(graph), evaluate.run(graph, x.astype("float64"))
    reach = [rounding.norms(value) for value in values]
    local = rounding.local_errors(graph, F32)
    errors, overflow = rounding.forward_errors(graph, bounds.own, local, reach, F32)
    assert not overflow.any()
    (output,) = graph.outputs
    got = np.asarray(got, "float64").reshape(values[output].shape)
    return rounding.norms(got - values[output]), errors[output]


def programs(model, x):
    """A model's outputs in one batch and one by one, called and compiled."""
    yield "call", ops.convert_to_numpy(model(x))
    yield "call of one", np.concatenate([ops.convert_to_numpy(model(row[None])) for row in x])
    yield "predict", model.predict(x, verbose=0)
    yield "predict one", model.predict(x, batch_size=1, verbose=0)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_sums_in_any_order_are_within_the_modelled_error(name):
    build, rows = REDUCTIONS[name]
    model, x = build(), rows()
    exported = any(isinstance(layer, layers.LipschitzLayer) for layer in model.layers)
    model = lipkit.models.vanillaModel(model) if exported else model
    for program, got in programs(model, x):
        measured, modelled = deviations(read(model).graph, x, got)
        assert (measured <= modelled).all(), program

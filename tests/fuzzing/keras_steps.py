"""What a random Keras graph is made of: one step from tensors to the next, by kind.

A step takes the `Draw` and a tensor and returns a tensor. Steps that Keras refuses are drawn again.
"""

import keras
import numpy as np
from keras import layers as kl
from keras import ops

from fuzzing.weights import STYLES, Drawn, choose
from lipkit import layers as ll

ACTIVATIONS = (
    *("relu", "relu6", "hard_tanh", "soft_shrink", "tanh_shrink", "hard_sigmoid", "hard_silu"),
    *("sigmoid", "log_sigmoid", "tanh", "softplus", "softsign", "elu", "celu", "selu", "gelu"),
    *("silu", "mish", "leaky_relu", "linear", "softmax"),
)
KINKED = ("relu", "relu6", "hard_tanh", "leaky_relu", "soft_shrink", "linear")
REFUSED_ACTIVATIONS = ("exponential", "squareplus", "sparse_plus", "threshold", "hard_shrink")


class Draw:
    """The random choices of one graph, and what was chosen."""

    def __init__(self, rng, dtype):
        self.rng, self.dtype = rng, dtype
        # half of the graphs are piecewise linear, whose bounds an attack may reach
        self.kinked = bool(rng.random() < 0.5)
        self.styles = {choose(rng, STYLES): 3, choose(rng, STYLES): 1, "normal": 1}

    def one(self, *options):
        return options[self.rng.integers(len(options))]

    def often(self, share=0.5):
        return bool(self.rng.random() < share)

    def initializer(self, **kwargs):
        return Drawn(self.rng, choose(self.rng, self.styles), **kwargs)

    def bias(self):
        scale = self.one(0.0, 0.1, 1.0, 1.0, 30.0, 1e4)
        return Drawn(self.rng, "normal", scale=scale)

    def activation(self):
        """The name of one, a function or a layer."""
        if self.often(0.4):
            return None
        name = self.one(*(KINKED if self.kinked else ACTIVATIONS))
        if self.often(0.02):
            name = self.one(*REFUSED_ACTIVATIONS)
        if self.often(0.15):
            return self.one(kl.ReLU(dtype=self.dtype), ll.GroupSort2(dtype=self.dtype))
        return getattr(keras.activations, name) if self.often(0.3) else name

    def kernel(self, name="kernel"):
        """The arguments of a layer with one kernel."""
        return {
            f"{name}_initializer": self.initializer(),
            "bias_initializer": self.bias(),
            "use_bias": self.often(0.8),
            "activation": self.activation(),
            "dtype": self.dtype,
        }

    def windows(self, d, strides=True):
        """Window, strides or dilation, padding."""
        moves = {"padding": self.one("valid", "same")}
        if strides and self.often(0.4):
            moves["strides"] = self.one(2, 1, 3)
        elif self.often(0.3):
            moves["dilation_rate"] = 2
        return moves

    def layout(self):
        """Mostly the last axis holds channels: TensorFlow has no others on a CPU."""
        first = keras.backend.backend() != "tensorflow" and self.often(0.15)
        return {"data_format": "channels_first" if first else "channels_last"}


def rank(x):
    return len(x.shape) - 1


def dense(g, x):
    return kl.Dense(g.one(1, 2, 3, 4, 6), **g.kernel())(x)


def einsum(g, x):
    equation, shape = {
        1: [("ab,bc->ac", (3,)), ("...x,xy->...y", (2,)), ("ab,bcd->acd", (2, 3))],
        2: [("abc,cd->abd", (None, 3)), ("abc,bcd->ad", (3,)), ("abc,db->adc", (2, x.shape[-1]))],
    }.get(rank(x), [("...x,xy->...y", (2,))])[g.rng.integers(2 if rank(x) < 3 else 1)]
    arguments = g.kernel()
    arguments.pop("use_bias")
    axes = {"bias_axes": equation[-1]} if g.often() and "." not in equation else {}
    shape = (*x.shape[1:-1], *shape) if shape == (2,) and rank(x) > 1 else shape
    return kl.EinsumDense(equation, shape, **axes, **arguments)(x)


def wrapped(g, x):
    """A dense layer in a wrapper, or a product with a constant matrix."""
    layer = kl.Dense(g.one(1, 2, 3), **{**g.kernel(), "activation": None})
    matrix = g.initializer()((x.shape[-1], 3), g.dtype)
    makers = [lambda: ops.matmul(x, matrix), lambda: ops.dot(x, matrix)]
    if rank(x) > 1:
        makers.append(lambda: kl.TimeDistributed(layer, dtype=g.dtype)(x))
        makers.append(lambda: ops.matmul(g.initializer()((2, x.shape[-2]), g.dtype), x))
    if g.often(0.2):
        makers = [lambda: kl.SpectralNormalization(layer, dtype=g.dtype)(x)]
    return g.one(*makers)()


def conv(g, x):
    d = rank(x) - 1
    layer = getattr(kl, f"Conv{d}D")
    groups = {"groups": 2} if g.often(0.2) else {}
    size = g.one(1, 2, 3) if d > 1 else g.one(1, 2, 3, 5)
    moves = g.windows(d)
    if d == 1 and g.often(0.2):
        moves["padding"] = "causal"
    return layer(g.one(1, 2, 4), size, **moves, **groups, **g.layout(), **g.kernel())(x)


def depthwise(g, x):
    layer = getattr(kl, f"DepthwiseConv{rank(x) - 1}D")
    moves = {**g.windows(1), "depth_multiplier": g.one(1, 2)}
    return layer(g.one(2, 3), **moves, **g.layout(), **g.kernel("depthwise"))(x)


def separable(g, x):
    layer = getattr(kl, f"SeparableConv{rank(x) - 1}D")
    more = {"pointwise_initializer": g.initializer(), **g.layout(), **g.kernel("depthwise")}
    return layer(g.one(1, 3), g.one(2, 3), **g.windows(1), **more)(x)


def transposed(g, x):
    layer = getattr(kl, f"Conv{rank(x) - 1}DTranspose")
    moves = {"strides": g.one(1, 2, 3), "padding": g.one("valid", "same")}
    return layer(g.one(1, 2), g.one(1, 2, 3), **moves, **g.layout(), **g.kernel())(x)


def pool(g, x):
    d = rank(x) - 1
    kind = g.one("Max", "Average", "Average")
    moves = {"strides": g.one(None, 1, 2), "padding": g.one("valid", "same")}
    size = g.one(2, 3, tuple(x.shape[1:-1]), tuple(g.one(1, 2, 4) for _ in range(d)))
    return getattr(kl, f"{kind}Pooling{d}D")(size, **moves, **g.layout(), dtype=g.dtype)(x)


def global_pool(g, x):
    kind = g.one("Max", "Average", "Average")
    layer = getattr(kl, f"Global{kind}Pooling{rank(x) - 1}D")
    return layer(keepdims=g.often(0.3), **g.layout(), dtype=g.dtype)(x)


def resample(g, x):
    d = rank(x) - 1
    pairs = tuple((g.one(0, 1, 2), g.one(0, 1)) for _ in range(d))
    name = g.one("ZeroPadding", "Cropping", "UpSampling", "UpSampling")
    layout = g.layout() if d > 1 else {}
    if name == "UpSampling":
        smooth = {"interpolation": "bilinear"} if d == 2 and g.often(0.3) else {}
        given = 2 if d == 1 else tuple(g.one(1, 2) for _ in range(d))
        if d == 2 and g.often(0.15):
            return kl.Resizing(g.one(2, 5), g.one(3, 8), **smooth, **layout, dtype=g.dtype)(x)
        return getattr(kl, f"{name}{d}D")(given, **smooth, **layout, dtype=g.dtype)(x)
    return getattr(kl, f"{name}{d}D")(pairs[0] if d == 1 else pairs, **layout, dtype=g.dtype)(x)


def batch_norm(g, x):
    axis = g.one(-1, -1, 1)
    given = {
        "moving_mean_initializer": g.bias(),
        "moving_variance_initializer": Drawn(
            g.rng, "positive", scale=g.one(1.0, 1e-3, 1e4), shift=g.one(0.1, 1e-6, 1.0)
        ),
        "gamma_initializer": g.initializer(),
        "beta_initializer": g.bias(),
    }
    more = {"epsilon": g.one(1e-3, 1e-6), "scale": g.often(0.8), "center": g.often(0.8)}
    return kl.BatchNormalization(axis, **more, **given, dtype=g.dtype)(x)


def normalization(g, x):
    n = x.shape[-1]
    mean, variance = g.rng.standard_normal(n).round(3), np.abs(g.rng.standard_normal(n)) + 0.1
    more = {"invert": True} if g.often(0.3) else {}
    return kl.Normalization(mean=mean.tolist(), variance=variance.tolist(), **more, dtype=g.dtype)(
        x
    )


def scaling(g, x):
    if g.often(0.3):
        return normalization(g, x)
    return kl.Rescaling(g.one(2.0, 1 / 255, -0.3), g.one(0.0, 1.0, -0.1), dtype=g.dtype)(x)


def activation(g, x):
    kinked = [
        lambda: kl.ReLU(g.one(None, 1.0, 6.0), g.one(0.0, 0.3), dtype=g.dtype),
        lambda: kl.LeakyReLU(g.one(0.1, 0.3, 1.0, 2.0), dtype=g.dtype),
        lambda: kl.PReLU(alpha_initializer=g.initializer(), dtype=g.dtype),
        lambda: kl.Activation(g.one(*KINKED), dtype=g.dtype),
    ]
    smooth = [
        lambda: kl.ELU(g.one(1.0, 2.0, 0.3), dtype=g.dtype),
        lambda: kl.Softmax(g.one(-1, 1), dtype=g.dtype),
        lambda: kl.Activation(g.one(*ACTIVATIONS), dtype=g.dtype),
    ]
    return g.one(*kinked, *(() if g.kinked else smooth))()(x)


def operation(g, x):
    """An elementwise operation of `keras.ops`."""
    kinked = [ops.abs, ops.negative, ops.relu, ops.relu6]
    c = g.one(0.5, -2.0, 3.0)
    vector = g.rng.standard_normal(x.shape[-1]).astype(g.dtype)
    kinked += [
        lambda x: ops.leaky_relu(x, g.one(0.1, 0.2)),
        lambda x: c * x + 1.0,
        lambda x: 1.0 - x / c,
        lambda x: x - vector,
        lambda x: x * vector,
        lambda x: ops.maximum(x, c),
        lambda x: ops.minimum(x, vector),
        lambda x: ops.clip(x, -1.0, 1.0),
    ]
    smooth = [ops.sigmoid, ops.tanh, ops.softplus, ops.softsign, ops.silu, ops.selu, ops.elu]
    smooth += [lambda x: ops.gelu(x, approximate=g.often()), lambda x: ops.softmax(x, axis=-1)]
    odd = [ops.exp, ops.square, ops.sign, ops.sin, ops.sqrt, ops.log, ops.floor]
    table = odd if g.often(0.04) else [*kinked, *([] if g.kinked else smooth)]
    return g.one(*table)(x)


def arranged(g, x):
    """The same values in another order or shape."""
    r, sizes = rank(x), list(x.shape[1:])
    order = [int(n) for n in g.rng.permutation(r) + 1]
    last = g.one(*range(-sizes[-1], sizes[-1]))
    return g.one(
        lambda: kl.Permute(order, dtype=g.dtype)(x),
        lambda: ops.transpose(x, (0, *order)),
        lambda: kl.Flatten(**g.layout(), dtype=g.dtype)(x),
        lambda: kl.Reshape((-1, g.one(1, 2, 3)), dtype=g.dtype)(x),
        lambda: kl.Reshape((2, -1, 2), dtype=g.dtype)(x),
        lambda: ops.reshape(x, (-1, int(np.prod(sizes)))),
        lambda: ops.expand_dims(x, g.one(1, -1)),
        lambda: ops.sort(x, axis=g.one(1, -1)),
        lambda: ops.take(x, [last, 0], axis=-1),
        lambda: x[:, : max(1, sizes[0] - 1)],
        lambda: x[..., 1:] if sizes[-1] > 1 else x,
        lambda: x[:, ::2],
        lambda: x[:, 0] if r > 1 else x,
        lambda: ops.pad(x, [(0, 0), *((g.one(0, 1), g.one(0, 2)) for _ in sizes)]),
        lambda: ops.flip(x, axis=-1),
        lambda: ops.split(x, 2, axis=1)[g.one(0, 1)],
        lambda: ops.stack([x, ops.relu(x)], axis=g.one(1, -1)),
        lambda: x[:, 1::2],
        lambda: ops.concatenate([_pair(ops.maximum, x), _pair(ops.minimum, x)], axis=-1),
        lambda: ops.squeeze(ops.expand_dims(x, -1), -1),
        lambda: kl.RepeatVector(2, dtype=g.dtype)(x) if r == 1 else kl.Identity(dtype=g.dtype)(x),
    )()


def _pair(extremum, x):
    return extremum(x[..., ::2], x[..., 1::2])


def reduced(g, x):
    """A reduction over some axes."""
    axes = [int(a) for a in g.rng.permutation(rank(x)) + 1][: g.one(1, 2, 3)]
    keep = len(axes) == rank(x) or g.often(0.4)
    kinds = [
        lambda: ops.mean(x, axis=axes, keepdims=keep),
        lambda: ops.mean(x, axis=axes, keepdims=keep),
        lambda: x - ops.mean(x, axis=axes, keepdims=True),
        lambda: ops.sum(x, axis=axes, keepdims=keep),
        lambda: ops.max(x, axis=axes, keepdims=keep),
        lambda: ops.min(x, axis=axes[0], keepdims=keep),
    ]
    norms = [
        lambda: ops.norm(x, axis=axes[:1], keepdims=keep),
        lambda: ops.norm(x, axis=axes[:2], keepdims=keep),
        lambda: ops.hypot(x, ops.tanh(x)),
    ]
    return g.one(*kinds, *([] if g.kinked else norms))()


def ours(g, x):
    """A layer of lipkit's own."""
    d = rank(x) - 1
    given = {"dtype": g.dtype, "k_coef_lip": g.one(1.0, 1.0, 0.5, 3.0)}
    makers = [
        lambda: ll.MaxMin(**given),
        lambda: ll.GroupSort2(**given),
        lambda: ll.GroupSort(g.one(2, 3), **given),
        lambda: ll.FullSort(**given),
        lambda: ll.Householder(**given),
        lambda: ll.PReLUlip(**given),
    ]
    if d >= 1:
        kind = "Average" if g.kinked else g.one("Average", "L2Norm")
        makers += [
            lambda: getattr(ll, f"Scaled{kind}Pooling{d}D")(2, **given),
            lambda: getattr(ll, f"ScaledGlobal{kind}Pooling{d}D")(**given),
        ]
    if d == 2:
        makers += [lambda: ll.InvertibleDownSampling(2, dtype=g.dtype)]
        makers += [lambda: ll.InvertibleUpSampling(2, dtype=g.dtype)]
    if g.often(0.2):
        makers = [
            lambda: ll.LayerCentering(**given),
            lambda: ll.BatchCentering(**given),
            lambda: ll.SpectralDense(g.one(2, 4), kernel_initializer=g.initializer(), **given),
        ]
    return g.one(*makers)()(x)


def refused(g, x):
    """A layer without a Lipschitz constant, or without a rule."""
    makers = [
        lambda: kl.LayerNormalization(dtype=g.dtype)(x),
        lambda: kl.UnitNormalization(dtype=g.dtype)(x),
        lambda: kl.Multiply(dtype=g.dtype)([x, ops.relu(x)]),
        lambda: ops.relu(x) * x,
        lambda: ops.matmul(ops.expand_dims(x, -1), ops.expand_dims(x, -2)),
        lambda: kl.Lambda(ops.tanh, dtype=g.dtype)(x),
        lambda: kl.Masking(dtype=g.dtype)(x),
        lambda: kl.ReLU(threshold=1.0, dtype=g.dtype)(x),
        lambda: kl.BatchNormalization(dtype=g.dtype)(x, training=True),
        lambda: kl.Dropout(0.5, dtype=g.dtype)(x, training=True),
        lambda: kl.Softmax(dtype=g.dtype)(x, mask=ops.greater(x, 0.0)),
        lambda: kl.Dense(2, dtype="mixed_bfloat16")(x),
        lambda: ops.cast(ops.cast(x, "float16"), g.dtype),
        lambda: kl.Dropout(0.5, dtype=g.dtype)(x, True),
        lambda: kl.BatchNormalization(dtype=g.dtype)(x, mask=ops.greater(x[..., 0], 0.0)),
    ]
    if rank(x) == 2:
        makers += [
            lambda: kl.SimpleRNN(2, dtype=g.dtype)(x),
            lambda: kl.MultiHeadAttention(1, 2, dtype=g.dtype)(x, x),
            lambda: kl.Attention(dtype=g.dtype)([x, x]),
            lambda: kl.TimeDistributed(kl.LayerNormalization(dtype=g.dtype), dtype=g.dtype)(x),
        ]
    return g.one(*makers)()

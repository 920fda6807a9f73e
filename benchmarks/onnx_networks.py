"""The networks of `onnx_corpus.py`: as numbers, modules of PyTorch and models of Keras.

A network is a list of steps, each a name and its numbers. Weights are drawn once, by NumPy, so that
every exporter writes the same function, and its right bound follows from them alone.
"""

import itertools
import math

import numpy as np

IMAGE, VECTOR = (8, 8, 2), (6,)  # channels last
# largest slopes, of scans of f' to 10 digits; that of selu is scale * alpha
SLOPES = {
    **dict.fromkeys(("relu", "leaky_relu", "elu", "celu", "tanh", "softplus", "log_sigmoid"), 1.0),
    "selu": 1.0507009873554805 * 1.6732632423543772,
    "sigmoid": 0.25,
    "hard_sigmoid": 1 / 6,
    "gelu": 1.1289041452,
    "gelu_tanh": 1.1289930687,
    "silu": 1.0998393201,
    "mish": 1.0884981613,
    "hard_silu": 1.5,
    "softsign": 1.0,
    "relu6": 1.0,
}
_MLP = [("dense", 8), "?", ("dense", 7), "?", ("dense", 3)]
_HEAD = [("flatten",), ("dense", 3)]
NETWORKS = {
    **{
        f"mlp {name}": (VECTOR, [(name,) if step == "?" else step for step in _MLP])
        for name in SLOPES
    },
    "mlp softmax": (VECTOR, [("dense", 8), ("relu",), ("dense", 3), ("softmax",)]),
    "mlp log_softmax": (VECTOR, [("dense", 8), ("relu",), ("dense", 3), ("log_softmax",)]),
    "cnn max": (IMAGE, [("conv", 4, 3, 1, True), ("relu",), ("max", 2, 2, False), *_HEAD]),
    "cnn overlapping max": (IMAGE, [("conv", 4, 3, 1, False), ("max", 3, 2, False), *_HEAD]),
    "cnn average": (IMAGE, [("conv", 4, 3, 1, True), ("tanh",), ("average", 2, 2, False), *_HEAD]),
    "cnn strides": (IMAGE, [("conv", 4, 2, 2, False), ("relu",), ("conv", 5, 3, 1, True), *_HEAD]),
    "cnn global average": (
        IMAGE,
        [("conv", 4, 3, 1, True), ("relu",), ("global average",), ("dense", 3)],
    ),
    "cnn global max": (IMAGE, [("conv", 4, 3, 1, True), ("relu",), ("global max",), ("dense", 3)]),
    "cnn normalised": (
        IMAGE,
        [("conv", 4, 3, 1, False), ("normalise",), ("relu",), *_HEAD],
    ),
    "cnn residual": (IMAGE, [("residual", 3), ("average", 2, 2, False), *_HEAD]),
}


def weights(steps, shape):
    """The arrays of each step, for inputs of this shape (channels last)."""
    rng, drawn = np.random.default_rng(0), []

    def normal(*sizes):
        fan_in = math.prod(sizes[:-1])
        return (rng.standard_normal(sizes) / math.sqrt(fan_in)).astype("float32")

    for name, *numbers in steps:
        channels, arrays = shape[-1], []
        if name == "dense":
            arrays = [normal(channels, numbers[0]), normal(numbers[0])]
        elif name == "conv":
            filters, k, *_ = numbers
            arrays = [normal(k, k, channels, filters), normal(filters)]
        elif name == "residual":
            (k,) = numbers
            arrays = [normal(k, k, channels, channels), normal(channels)]
        elif name == "normalise":
            arrays = [normal(channels), normal(channels), normal(channels)]
            arrays.append(normal(channels) ** 2 + np.float32(0.5))
        drawn.append(arrays)
        shape = after(shape, name, numbers)
    return drawn


def after(shape, name, numbers):
    """The shape of a step's output."""
    if name == "dense":
        return (*shape[:-1], numbers[0])
    if name == "flatten":
        return (math.prod(shape),)
    if name.startswith("global"):
        return shape[-1:]
    if name in ("conv", "max", "average"):
        k, stride, same = numbers[-3:]
        counts = (-(-n // stride) if same else (n - k) // stride + 1 for n in shape[:-1])
        return (*counts, numbers[0] if name == "conv" else shape[-1])
    return shape


def right_bound(name):
    """The product of the norms of a network's steps, each from its explicit matrix or slope."""
    shape, steps = NETWORKS[name]
    bound = 1.0
    for (step, *numbers), arrays in zip(steps, weights(steps, shape), strict=True):
        bound *= _norm(step, numbers, arrays, shape)
        shape = after(shape, step, numbers)
    return bound


def _norm(step, numbers, arrays, shape):
    arrays = [a.astype("float64") for a in arrays]
    if step in SLOPES:
        return SLOPES[step]
    if step == "dense":
        return np.linalg.norm(arrays[0], 2)
    if step == "conv":
        return np.linalg.norm(conv_matrix(arrays[0], shape, *numbers[2:]), 2)
    if step == "residual":  # of relu(conv(x)) + x
        return 1 + np.linalg.norm(conv_matrix(arrays[0], shape, 1, True), 2)
    if step == "normalise":
        return np.max(np.abs(arrays[0]) / np.sqrt(arrays[3] + 1e-3))
    if step == "average":  # windows that touch nothing of each other
        return 1 / numbers[0]
    if step == "max":  # the root of how many windows an entry is in
        k, stride, _ = numbers
        starts = [set(range(s, s + k)) for s in range(0, shape[0] - k + 1, stride)]
        return max(sum(i in window for window in starts) for i in range(shape[0]))
    if step == "global average":
        return 1 / math.sqrt(math.prod(shape[:-1]))
    return {"softmax": 0.5, "log_softmax": math.sqrt(shape[-1])}.get(step, 1.0)


def conv_matrix(kernel, shape, stride, same):
    """A convolution of an image (n, m, c) as a matrix, tap by tap."""
    k = kernel.shape[0]
    counts = after(shape, "conv", (kernel.shape[-1], k, stride, same))[:2]
    low = (k - 1) // 2 if same else 0
    matrix = np.zeros((*counts, kernel.shape[-1], *shape))
    for i, j, a, b in itertools.product(*map(range, counts), range(k), range(k)):
        at = i * stride + a - low, j * stride + b - low
        if 0 <= at[0] < shape[0] and 0 <= at[1] < shape[1]:
            matrix[i, j, :, at[0], at[1]] = kernel[a, b].T
    return matrix.reshape(math.prod(matrix.shape[:3]), -1)


def torch_module(name):
    """The network in PyTorch, channels first."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, conv):
            super().__init__()
            self.conv = conv

        def forward(self, x):
            return x + torch.relu(self.conv(x))

    def conv(kernel, bias, stride=1, same=True):
        k = kernel.shape[0]
        layer = nn.Conv2d(kernel.shape[2], kernel.shape[3], k, stride, k // 2 if same else 0)
        return set_to(layer, weight=kernel.transpose(3, 2, 0, 1), bias=bias)

    def set_to(layer, **arrays):
        with torch.no_grad():
            for key, array in arrays.items():
                getattr(layer, key).copy_(torch.tensor(np.ascontiguousarray(array)))
        return layer

    def normalised(gamma, beta, mean, variance):
        layer = nn.BatchNorm2d(len(gamma), eps=1e-3)
        return set_to(layer, weight=gamma, bias=beta, running_mean=mean, running_var=variance)

    simple = {
        "relu": nn.ReLU, "leaky_relu": lambda: nn.LeakyReLU(0.2), "elu": nn.ELU, "celu": nn.CELU,
        "tanh": nn.Tanh, "softplus": nn.Softplus, "log_sigmoid": nn.LogSigmoid, "selu": nn.SELU,
        "sigmoid": nn.Sigmoid, "hard_sigmoid": nn.Hardsigmoid, "gelu": nn.GELU,
        "gelu_tanh": lambda: nn.GELU("tanh"), "silu": nn.SiLU, "mish": nn.Mish,
        "hard_silu": nn.Hardswish, "softsign": nn.Softsign, "relu6": nn.ReLU6,
        "softmax": lambda: nn.Softmax(1), "log_softmax": lambda: nn.LogSoftmax(1),
        "flatten": nn.Flatten,
        "global average": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "global max": lambda: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()),
    }  # fmt: skip
    shape, steps = NETWORKS[name]
    modules = []
    for (step, *numbers), arrays in zip(steps, weights(steps, shape), strict=True):
        if step == "dense":
            layer = nn.Linear(*arrays[0].shape)
            modules.append(set_to(layer, weight=arrays[0].T, bias=arrays[1]))
        elif step == "conv":
            modules.append(conv(*arrays, *numbers[2:]))
        elif step == "residual":
            modules.append(Residual(conv(*arrays)))
        elif step == "normalise":
            modules.append(normalised(*arrays))
        elif step in ("max", "average"):
            pool = nn.MaxPool2d if step == "max" else nn.AvgPool2d
            modules.append(pool(*numbers[:2]))
        else:
            modules.append(simple[step]())
    return nn.Sequential(*modules).eval()


def keras_model(name):
    """The network in Keras, channels last."""
    import keras
    from keras import layers as kl

    shape, steps = NETWORKS[name]
    inputs = x = keras.Input(shape)
    for (step, *numbers), arrays in zip(steps, weights(steps, shape), strict=True):
        if step == "dense":
            layer = kl.Dense(numbers[0])
        elif step == "conv":
            filters, k, stride, same = numbers
            layer = kl.Conv2D(filters, k, stride, padding="same" if same else "valid")
        elif step == "residual":
            layer = kl.Conv2D(shape[-1], numbers[0], padding="same")
        elif step == "normalise":
            layer = kl.BatchNormalization(epsilon=1e-3)
        elif step in ("max", "average"):
            k, stride, _ = numbers
            layer = (kl.MaxPooling2D if step == "max" else kl.AveragePooling2D)(k, stride)
        elif step.startswith("global"):
            average = step == "global average"
            layer = kl.GlobalAveragePooling2D() if average else kl.GlobalMaxPooling2D()
        elif step == "flatten":
            layer = kl.Flatten()
        elif step == "gelu":
            layer = kl.Activation(lambda x: keras.activations.gelu(x, approximate=False))
        elif step == "gelu_tanh":
            layer = kl.Activation(lambda x: keras.activations.gelu(x, approximate=True))
        else:
            layer = kl.Activation(step)
        y = layer(x)
        if arrays:
            layer.set_weights(arrays)
        x = kl.Add()([x, kl.Activation("relu")(y)]) if step == "residual" else y
        shape = after(shape, step, numbers)
    return keras.Model(inputs, x)

"""Rules of operators with weights or windows: products, convolutions, pooling, normalisation."""

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.reader.layers import standardize
from lipkit.certifier.reader.windows import channels_first, same_padding


def _matmul(call):
    """Products with a matrix, or with a vector, whose axis is then gone."""
    left = call.is_constant(0)
    constant = call.constant(0 if left else 1)
    while 2 < constant.ndim <= len(call.inner) + 1 and len(constant) == 1:
        constant = constant[0]
    if constant.ndim not in (1, 2):
        raise call.refusal(f"its weights have the shape {constant.shape}: only a matrix is covered")
    if len(call.inner) + call.alone <= left:
        raise call.refusal("it multiplies the batch axis")
    *outer, last = call.shapes[0]
    if not left:
        dense = g.Dense(constant.reshape(last, -1))
        return [dense] if constant.ndim == 2 else [dense, g.Reshape(tuple(outer))]
    maps = g.AxisMaps(((len(outer) - 1, np.atleast_2d(constant)),))
    return [maps] if constant.ndim == 2 else [maps, g.Reshape((*outer[:-1], last))]


def _gemm(call):
    kernel, bias = call.constant(1), call.constant(2)
    if call.attribute("transA", 0) or len(call.inner) != 1:
        raise call.refusal("its first operand must be a batch of vectors, not transposed")
    kernel = call.attribute("alpha", 1.0) * (kernel.T if call.attribute("transB", 0) else kernel)
    beta = call.attribute("beta", 1.0)
    if bias is None:
        return [g.Dense(kernel)]
    if bias.ndim == 2 and len(bias) == 1:
        bias = bias[0]
    if bias.ndim > 1:
        raise call.refusal("its third operand differs between samples")
    return [g.Dense(kernel, beta * np.broadcast_to(bias, kernel.shape[1:]))]


class Windows:
    """The geometry of an operator with windows of this size: strides, dilation and padding."""

    def __init__(self, call, window):
        sizes, d = call.samples()[1:], len(window)
        if len(sizes) != d or tuple(call.attribute("kernel_shape", window)) != window:
            raise call.refusal(f"its window {window} does not fit inputs of shape {call.shapes[0]}")
        self.window, self.sizes = window, sizes
        self.strides = tuple(call.attribute("strides", [1] * d))
        self.dilation = tuple(call.attribute("dilations", [1] * d))
        self.reach = [(k - 1) * r + 1 for k, r in zip(window, self.dilation, strict=True)]
        self.auto = call.attribute("auto_pad", "NOTSET")
        pads = call.attribute("pads", [0] * (2 * d))
        if min(pads) < 0 or self.auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
            raise call.refusal(f"pads={pads}, auto_pad={self.auto!r} have no rule")
        self.pairs = tuple(zip(pads[:d], pads[d:], strict=True))

    @property
    def padding(self):
        """Pairs (low, high), for an operator that slides its windows over the input."""
        if not self.auto.startswith("SAME"):
            return self.pairs if self.auto == "NOTSET" else ((0, 0),) * len(self.sizes)
        counts = [-(-n // s) for n, s in zip(self.sizes, self.strides, strict=True)]
        return tuple(
            self.split(*same_padding(*axis))
            for axis in zip(self.sizes, self.reach, self.strides, counts, strict=True)
        )

    def split(self, low, high):
        """These two widths, the larger one at the end that `auto_pad` asks for."""
        return (high, low) if self.auto == "SAME_LOWER" else (low, high)


def _kernel(call):
    """Weights (first, second, k_1..k_n) as (k_1..k_n, second, first)."""
    kernel = call.constant(1)
    return np.moveaxis(kernel, (0, 1), (-1, -2))


def _conv(call):
    kernel, bias = _kernel(call), call.constant(2)
    at = Windows(call, kernel.shape[:-2])
    op = g.Conv(kernel, bias, at.strides, at.dilation, at.padding, call.attribute("group", 1))
    return channels_first([op], len(call.shapes[0]))


def _conv_transpose(call):
    kernel, bias = _kernel(call), call.constant(2)  # (k_1..k_n, c_out, c_in): that of the adjoint
    groups = call.attribute("group", 1)
    at = Windows(call, kernel.shape[:-2])
    extra = call.attribute("output_padding", [0] * len(at.sizes))
    sizes, padding = [], []
    for i, (n, stride, reach) in enumerate(zip(at.sizes, at.strides, at.reach, strict=True)):
        full = (n - 1) * stride + reach + extra[i]
        low, high = at.pairs[i] if at.auto == "NOTSET" else (0, 0)
        if at.auto.startswith("SAME"):
            total = full - n * stride
            low, high = at.split(total // 2, total - total // 2)
        if not 0 <= extra[i] < stride or min(low, high) < 0:
            raise call.refusal(f"output_padding={extra} with these strides has no rule")
        sizes.append(full - low - high)
        padding.append((low, high))
    conv = g.Conv(kernel, None, at.strides, at.dilation, tuple(padding), groups)
    return channels_first([g.ConvTranspose(conv, tuple(sizes), bias)], len(call.shapes[0]))


def _batch_normalization(call):
    gamma, beta, mean, variance = map(call.constant, (1, 2, 3, 4))
    call.attribute("momentum")
    if not call.attribute("spatial", 1):
        raise call.refusal("only spatial=1 is covered")
    statistics = call.opset < 14 and any(call.node.output[1:])  # which only training has
    if call.attribute("training_mode", 0) or statistics:
        raise call.refusal("it is in training mode: export the model after model.eval()")
    if (variance < 0).any():
        raise call.refusal("it has negative variances")
    broadcast = [1] * len(call.shapes[0])
    broadcast[call.axis(1)] = -1
    parts = standardize(mean, variance, gamma, beta, call.attribute("epsilon", 1e-5))
    return [g.Diagonal(*(np.reshape(part, broadcast) for part in parts))]


RULES = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "BatchNormalization": _batch_normalization,
}

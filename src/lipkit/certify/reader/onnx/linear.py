"""Rules of operators with weights or windows: products, convolutions, pooling, normalisation."""

import numpy as np

from lipkit.certify import graph as g
from lipkit.certify.reader.layers import standardize
from lipkit.certify.reader.windows import average_matrix, channels_first, mean_matrix, same_padding


def _matmul(call):
    constant = call.constant(0 if call.is_constant(0) else 1)
    if constant.ndim != 2:
        raise call.refusal(f"its weights have the shape {constant.shape}: only a matrix is covered")
    if not call.is_constant(0):
        return [g.Dense(constant)]
    if len(call.inner) < 2:
        raise call.refusal("it multiplies the batch axis")
    return [g.AxisMaps(((len(call.shapes[0]) - 2, constant),))]


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


class _Windows:
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
    at = _Windows(call, kernel.shape[:-2])
    op = g.Conv(kernel, bias, at.strides, at.dilation, at.padding, call.attribute("group", 1))
    return channels_first([op], len(call.shapes[0]))


def _conv_transpose(call):
    kernel, bias = _kernel(call), call.constant(2)  # (k_1..k_n, c_out, c_in): that of the adjoint
    if call.attribute("group", 1) != 1:
        raise call.refusal("only group=1 is covered")
    at = _Windows(call, kernel.shape[:-2])
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
    conv = g.Conv(kernel, None, at.strides, at.dilation, tuple(padding))
    return channels_first([g.ConvTranspose(conv, tuple(sizes), bias)], len(call.shapes[0]))


def pool(call):
    """The geometry of a pooling whose windows have no holes, and the zeros that fill the last."""
    at = _Windows(call, tuple(call.attribute("kernel_shape")))
    if set(at.dilation) != {1}:
        raise call.refusal("windows with holes are not covered")
    fill = [0] * len(at.sizes)
    if call.attribute("ceil_mode", 0):
        for i, (n, (low, high)) in enumerate(zip(at.sizes, at.padding, strict=True)):
            k, s = at.window[i], at.strides[i]
            count = -(-(n + low + high - k) // s) + 1
            count -= (count - 1) * s >= n + low  # it would start behind the input
            fill[i] = max((count - 1) * s + k - (n + low + high), 0)
    return at, fill


def _max_pool(call):
    at, fill = pool(call)
    if call.attribute("storage_order", 0):
        raise call.refusal("storage_order=1 has no rule")
    padding = tuple((low, high + e) for (low, high), e in zip(at.padding, fill, strict=True))
    return channels_first([g.MaxPool(at.window, at.strides, padding)], len(call.shapes[0]))


def _average_pool(call):
    at, fill = pool(call)
    counted, matrices = call.attribute("count_include_pad", 0), []
    for axis, (n, (low, high)) in enumerate(zip(at.sizes, at.padding, strict=True)):
        window, stride = at.window[axis], at.strides[axis]
        if counted:  # zeros count as values, those that fill the last window do not
            size = n + low + high
            matrix = average_matrix(size, window, stride, (0, fill[axis])) @ np.eye(size, n, -low)
        else:
            matrix = average_matrix(n, window, stride, (low, high + fill[axis]))
        matrices.append((axis + 1, matrix))
    return [g.AxisMaps(tuple(matrices))]


def _global_average(call):
    return [g.AxisMaps(tuple((i, mean_matrix(n)) for i, n in enumerate(call.samples()) if i))]


def _global_max(call):
    sizes = call.samples()[1:]
    op = g.MaxPool(sizes, (1,) * len(sizes), ((0, 0),) * len(sizes))
    return channels_first([op], len(sizes) + 1)


def _batch_normalization(call):
    gamma, beta, mean, variance = map(call.constant, (1, 2, 3, 4))
    call.attribute("momentum")
    if call.attribute("training_mode", 0):
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
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "BatchNormalization": _batch_normalization,
}

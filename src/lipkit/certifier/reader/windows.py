"""Rules of the layers with windows: convolutions, pooling, padding, cropping, upsampling."""

import numpy as np
from keras import layers as kl

from lipkit.certifier import graph as g
from lipkit.certifier.reader.layers import refuse_quantized
from lipkit.certifier.reader.refusals import refusal
from lipkit.certifier.reader.registry import activation_ops, array, register_rule
from lipkit.certifier.reader.resizing import interpolates, resized
from lipkit.layers.exported import Exported
from lipkit.padding import padding_matrix


def _per_axis(value, d):
    return (value,) * d if isinstance(value, int) else tuple(int(v) for v in value)


def same_padding(size, window, stride, count):
    """Zeros for `count` windows, the odd one at the end: TensorFlow's "same"."""
    total = max((count - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _padding(layer, sizes, reach, strides, counts=None):
    """Pairs (low, high); `counts` windows for "same", by default ceil(size / stride)."""
    if layer.padding == "valid":
        return ((0, 0),) * len(sizes)
    if layer.padding == "causal":
        return tuple((k - 1, 0) for k in reach)
    if layer.padding == "same":
        counts = counts or [-(-n // s) for n, s in zip(sizes, strides, strict=True)]
        return tuple(map(same_padding, sizes, reach, strides, counts))
    raise refusal(layer, f"unknown padding={layer.padding!r}.")


def _is_first(layer):
    return getattr(layer, "data_format", "channels_last") == "channels_first"


def _channels_last(layer, shape):
    return (*shape[1:], shape[0]) if _is_first(layer) else tuple(shape)


def channels_first(ops, rank):
    """Operations on samples with channels last, as those on samples with channels first."""
    forth, back = (*range(1, rank), 0), (rank - 1, *range(rank - 1))
    return [g.Permute(forth), *ops, g.Permute(back)]


def _in_layout(layer, shape, ops):
    """The operations, in the layer's own layout."""
    return channels_first(ops, len(shape)) if _is_first(layer) else ops


def _repeated_samples(layer, sizes):
    """The paddings that lipkit's layers do before Keras's convolution; the padded sizes."""
    if not isinstance(layer, Exported) or layer.pad_mode is None:
        return [], sizes
    axes = zip(sizes, layer.pad_widths(), strict=True)
    matrices = [padding_matrix(layer.pad_mode, n, *pair) for n, pair in axes]
    return [g.AxisMaps(tuple(enumerate(matrices)))], [len(m) for m in matrices]


def _conv_ops(layer, shape, kernel, bias, groups):
    d = len(shape) - 1
    before, sizes = _repeated_samples(layer, _channels_last(layer, shape)[:-1])
    strides, dilation = _per_axis(layer.strides, d), _per_axis(layer.dilation_rate, d)
    reach = [(k - 1) * r + 1 for k, r in zip(kernel.shape, dilation, strict=False)]
    padding = _padding(layer, sizes, reach, strides)
    return [*before, g.Conv(kernel, bias, strides, dilation, padding, groups)]


@register_rule(kl.Conv1D, kl.Conv2D, kl.Conv3D)
def _conv(layer, shape):
    refuse_quantized(layer)
    conv = _conv_ops(layer, shape, array(layer.kernel), array(layer.bias), layer.groups)
    return [*_in_layout(layer, shape, conv), *_activation(layer, shape)]


def _activation(layer, shape):
    return activation_ops(layer, tuple(layer.compute_output_shape((1, *shape)))[1:])


def _depthwise_kernel(kernel):
    """(k.., c, multiplier) as the grouped kernel (k.., 1, c * multiplier)."""
    return kernel.reshape(*kernel.shape[:-2], 1, -1)


@register_rule(kl.DepthwiseConv1D, kl.DepthwiseConv2D)
def _depthwise(layer, shape):
    kernel = array(layer.kernel)
    conv = _conv_ops(layer, shape, _depthwise_kernel(kernel), array(layer.bias), kernel.shape[-2])
    return [*_in_layout(layer, shape, conv), *_activation(layer, shape)]


@register_rule(kl.SeparableConv1D, kl.SeparableConv2D)
def _separable(layer, shape):
    depthwise, pointwise = array(layer.depthwise_kernel), array(layer.pointwise_kernel)
    groups = depthwise.shape[-2]
    first = _conv_ops(layer, shape, _depthwise_kernel(depthwise), None, groups)
    second = g.Dense(pointwise.reshape(pointwise.shape[-2:]), array(layer.bias))
    return [*_in_layout(layer, shape, [*first, second]), *_activation(layer, shape)]


@register_rule(kl.Conv1DTranspose, kl.Conv2DTranspose, kl.Conv3DTranspose)
def _conv_transpose(layer, shape):
    d = len(shape) - 1
    kernel = array(layer.kernel)
    counts = _channels_last(layer, shape)[:-1]  # of windows of the adjoint
    sizes = _channels_last(layer, tuple(layer.compute_output_shape((1, *shape)))[1:])[:-1]
    strides, dilation = _per_axis(layer.strides, d), _per_axis(layer.dilation_rate, d)
    reach = [(k - 1) * r + 1 for k, r in zip(kernel.shape, dilation, strict=False)]
    padding = _padding(layer, sizes, reach, strides, counts)
    conv = g.Conv(kernel, None, strides, dilation, padding)
    op = g.ConvTranspose(conv, tuple(sizes), array(layer.bias))
    return [*_in_layout(layer, shape, [op]), *_activation(layer, shape)]


def average_matrix(size, window, stride, padding):
    """Mean over each window without its padding: (windows, size)."""
    low, high = padding
    starts = range(0, size + low + high - window + 1, stride)
    matrix = np.zeros((len(starts), size))
    for row, start in enumerate(starts):
        matrix[row, max(start - low, 0) : max(start - low + window, 0)] = 1
    return matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)


def _pool_geometry(layer, shape):
    d = len(shape) - 1
    sizes = _channels_last(layer, shape)[:-1]
    window, strides = _per_axis(layer.pool_size, d), _per_axis(layer.strides, d)
    return sizes, window, strides, _padding(layer, sizes, window, strides)


@register_rule(kl.AveragePooling1D, kl.AveragePooling2D, kl.AveragePooling3D)
def _average_pooling(layer, shape):
    matrices = map(average_matrix, *_pool_geometry(layer, shape))
    return _in_layout(layer, shape, [g.AxisMaps(tuple(enumerate(matrices)))])


@register_rule(kl.MaxPooling1D, kl.MaxPooling2D, kl.MaxPooling3D)
def _max_pooling(layer, shape):
    _, window, strides, padding = _pool_geometry(layer, shape)
    return _in_layout(layer, shape, [g.MaxPool(window, strides, padding)])


def _global(layer, shape, ops):
    rank = len(shape)
    forth = [g.Permute((*range(1, rank), 0))] if _is_first(layer) else []
    channels = _channels_last(layer, shape)[-1]
    if not layer.keepdims:
        return [*forth, *ops, g.Reshape((channels,))]
    return _in_layout(layer, shape, ops)


def mean_matrix(n):
    """The mean of n values: (1, n)."""
    return np.full((1, n), 1 / n)


@register_rule(kl.GlobalAveragePooling1D, kl.GlobalAveragePooling2D, kl.GlobalAveragePooling3D)
def _global_average(layer, shape):
    sizes = _channels_last(layer, shape)[:-1]
    return _global(
        layer, shape, [g.AxisMaps(tuple((i, mean_matrix(n)) for i, n in enumerate(sizes)))]
    )


@register_rule(kl.GlobalMaxPooling1D, kl.GlobalMaxPooling2D, kl.GlobalMaxPooling3D)
def _global_max(layer, shape):
    sizes = _channels_last(layer, shape)[:-1]
    d = len(sizes)
    return _global(layer, shape, [g.MaxPool(sizes, (1,) * d, ((0, 0),) * d)])


def _pairs(value, d):
    value = (value,) if d == 1 and not isinstance(value[0], (tuple, list)) else value
    return [tuple(map(int, pair)) for pair in value]


@register_rule(kl.ZeroPadding1D, kl.ZeroPadding2D, kl.ZeroPadding3D)
def _zero_padding(layer, shape):
    sizes = _channels_last(layer, shape)[:-1]
    pairs = _pairs(layer.padding, len(sizes))
    matrices = [np.eye(n + sum(pair), n, -pair[0]) for n, pair in zip(sizes, pairs, strict=True)]
    return _in_layout(layer, shape, [g.AxisMaps(tuple(enumerate(matrices)))])


@register_rule(kl.Cropping1D, kl.Cropping2D, kl.Cropping3D)
def _cropping(layer, shape):
    sizes = _channels_last(layer, shape)[:-1]
    pairs = _pairs(layer.cropping, len(sizes))
    matrices = [np.eye(n - sum(pair), n, pair[0]) for n, pair in zip(sizes, pairs, strict=True)]
    return _in_layout(layer, shape, [g.AxisMaps(tuple(enumerate(matrices)))])


@register_rule(kl.UpSampling1D, kl.UpSampling2D, kl.UpSampling3D)
def _up_sampling(layer, shape):
    if interpolates(layer):
        sizes = tuple(layer.compute_output_shape((1, *shape)))[1:]
        return resized(layer, shape, _channels_last(layer, sizes)[:-1])
    sizes = _channels_last(layer, shape)[:-1]
    factors = _per_axis(layer.size, len(sizes))
    matrices = [np.repeat(np.eye(n), f, axis=0) for n, f in zip(sizes, factors, strict=True)]
    return _in_layout(layer, shape, [g.AxisMaps(tuple(enumerate(matrices)))])

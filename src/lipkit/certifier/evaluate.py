"""The real function of each operation, in float64: `evaluate(op, *arrays)` with a batch axis."""

from functools import singledispatch
from typing import Any

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.activations import ACTIVATIONS
from lipkit.certifier.convolutions import Padding, Sizes


def run(graph: g.Graph, *inputs: np.ndarray) -> list[np.ndarray]:
    """Values of all nodes: arrays (batch, *node.shape)."""
    given = iter(inputs)
    values: list[np.ndarray] = []
    with np.errstate(all="ignore"):  # non-finite values are found and reported by the caller
        for node in graph.nodes:
            arguments = [values[i] for i in node.inputs]
            is_input = isinstance(node.op, g.Input)
            values.append(next(given) if is_input else evaluate(node.op, *arguments))
    return values


@singledispatch
def evaluate(op: g.Op, *xs: np.ndarray) -> Any:
    """Apply `op` to float64 arrays with a batch axis."""
    raise NotImplementedError(f"No float64 evaluation of {type(op).__name__}.")


def _batched(axis: int) -> int:
    """An axis of a sample as one of the batch."""
    return axis + (axis >= 0)


def _plus(y: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    return y if bias is None else y + bias


def _dense(op: g.Dense, x: np.ndarray) -> np.ndarray:
    return _plus(x @ op.kernel, op.bias)


def _einsum(op: g.Einsum, x: np.ndarray) -> np.ndarray:
    inputs, kernel, output = op.equation.replace("->", ",").split(",")
    return _plus(np.einsum(f"...{inputs},{kernel}->...{output}", x, op.kernel), op.bias)


def windows(
    x: np.ndarray,
    window: Sizes,
    strides: Sizes,
    dilation: Sizes,
    padding: Padding,
    fill: float = 0.0,
) -> np.ndarray:
    """Views of all windows: (batch, n_1..n_d, c) -> (batch, m_1..m_d, c, k_1..k_d)."""
    x = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=fill)
    reach = tuple((k - 1) * r + 1 for k, r in zip(window, dilation, strict=True))
    axes = tuple(range(1, 1 + len(window)))
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=axes)
    steps = [slice(None, None, s) for s in strides]
    taps = [slice(None, None, r) for r in dilation]
    return view[(slice(None), *steps, slice(None), *taps)]


def overlap(
    size: int, window: int, stride: int, padding: tuple[int, int], dilation: int = 1
) -> int:
    """The largest number of windows that one entry lies in, along one axis."""
    low, high = padding
    reach = (window - 1) * dilation + 1
    counts = np.zeros(size + low + high, dtype=int)
    for start in range(0, size + low + high - reach + 1, stride):
        counts[start : start + reach : dilation] += 1
    return int(counts[low : low + size].max(initial=0))


def _conv(op: g.Conv, x: np.ndarray) -> np.ndarray:
    d = len(op.strides)
    for axis, samples in enumerate(op.shown or (), start=1):
        x = np.take(x, samples, axis)
    taken = windows(x, op.kernel.shape[:d], op.strides, op.dilation, op.padding)
    taken = np.moveaxis(taken, 1 + d, -1)  # (batch, m.., k.., c)
    *lead, channels = taken.shape
    rows = taken.reshape(*lead[: 1 + d], -1, op.groups, channels // op.groups)
    rows = np.moveaxis(rows, -2, 1 + d)  # (batch, m.., groups, taps, c / groups)
    rows = rows.reshape(*lead[: 1 + d], op.groups, -1)
    kernel = op.kernel.reshape(rows.shape[-1], op.groups, -1)
    parts = [rows[..., i, :] @ kernel[:, i] for i in range(op.groups)]
    return _plus(np.concatenate(parts, axis=-1), op.bias)


def _conv_transpose(op: g.ConvTranspose, x: np.ndarray) -> np.ndarray:
    conv, d = op.conv, len(op.size)
    kernel = conv.kernel  # (k.., c_out of the layer, c_in of the layer)
    taps = kernel.shape[:d]
    padded = [n + low + high for n, (low, high) in zip(op.size, conv.padding, strict=True)]
    groups = conv.groups
    y = np.zeros((len(x), *padded, groups, kernel.shape[d]), dtype=x.dtype)
    x = x.reshape(*x.shape[:-1], groups, 1, -1)
    kernel = np.moveaxis(kernel.reshape(*kernel.shape[:-1], groups, -1), -2, d)
    for tap in np.ndindex(*taps):
        start = [t * r for t, r in zip(tap, conv.dilation, strict=True)]
        places = tuple(
            slice(a, a + (m - 1) * s + 1, s)
            for a, m, s in zip(start, x.shape[1:-3], conv.strides, strict=True)
        )
        y[(slice(None), *places)] += (x @ np.swapaxes(kernel[tap], -1, -2))[..., 0, :]
    y = y.reshape(*y.shape[: 1 + d], -1)
    inner = tuple(slice(low, low + n) for n, (low, _) in zip(op.size, conv.padding, strict=True))
    return _plus(y[(slice(None), *inner)], op.bias)


def _axis_maps(op: g.AxisMaps | g.RootOfSquares, x: np.ndarray) -> np.ndarray:
    for axis, matrix in op.matrices:
        x = np.moveaxis(np.moveaxis(x, axis + 1, -1) @ matrix.T, -1, axis + 1)
    return x


def _center(op: g.Center, x: np.ndarray) -> np.ndarray:
    return x - x.mean(axis=tuple(map(_batched, op.axes)), keepdims=True)


def _diagonal(op: g.Diagonal, x: np.ndarray) -> np.ndarray:
    return op.scale * x + op.shift


def _elementwise(op: g.Elementwise, x: np.ndarray) -> np.ndarray:
    return ACTIVATIONS[op.name].function(x, *op.parameters)


def _softmax(op: g.Softmax, x: np.ndarray) -> np.ndarray:
    axis = _batched(op.axis)
    z = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return z / np.sum(z, axis=axis, keepdims=True)


def _log_softmax(op: g.LogSoftmax, x: np.ndarray) -> np.ndarray:
    axis = _batched(op.axis)
    z = x - np.max(x, axis=axis, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True))


def _sort(op: g.Sort, x: np.ndarray) -> np.ndarray:
    return np.sort(x, axis=_batched(op.axis))


def _concat_relu(op: g.ConcatReLU, x: np.ndarray) -> np.ndarray:
    return np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], axis=_batched(op.axis))


def _window_axes(op: g.MaxPool) -> tuple[int, ...]:
    return tuple(range(-len(op.window), 0))


def _max_pool(op: g.MaxPool, x: np.ndarray) -> np.ndarray:
    dilation = op.dilation or (1,) * len(op.window)
    taken = windows(x, op.window, op.strides, dilation, op.padding, fill=-np.inf)
    return taken.max(axis=_window_axes(op))


def _norm(op: g.Norm, x: np.ndarray) -> np.ndarray:
    axes = tuple(map(_batched, op.axes))
    top = np.maximum(np.abs(x).max(axis=axes, keepdims=True), 1e-300)
    return np.sqrt(np.sum((x / top) ** 2, axis=axes)) * np.squeeze(top, axis=axes)


def _root_of_squares(op: g.RootOfSquares, x: np.ndarray) -> np.ndarray:
    return np.sqrt(op.scale * _axis_maps(op, x * x) + op.shift)


def _reshape(op: g.Reshape, x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), *op.shape)


def _permute(op: g.Permute, x: np.ndarray) -> np.ndarray:
    return x.transpose(0, *(axis + 1 for axis in op.axes))


def _slice(op: g.Slice, x: np.ndarray) -> np.ndarray:
    return x[(slice(None),) * _batched(op.axis) + (slice(op.start, op.stop, op.step),)]


def _rounded(op: g.Rounded, x: np.ndarray) -> np.ndarray:
    return x


def _sum(op: g.Sum, *xs: np.ndarray) -> np.ndarray:
    if op.signs is not None:
        xs = tuple(sign * x for sign, x in zip(op.signs, xs, strict=True))
    return sum(xs[1:], start=xs[0])


def _concat(op: g.Concat, *xs: np.ndarray) -> np.ndarray:
    return np.concatenate(xs, axis=_batched(op.axis))


def _maximum(op: g.Maximum, *xs: np.ndarray) -> np.ndarray:
    return op.sign * np.max(op.sign * np.stack(xs), axis=0)


def _custom(op: g.Custom, x: np.ndarray) -> np.ndarray:
    return np.asarray(op.function(x), dtype="float64")


for _op, _function in {
    g.Dense: _dense,
    g.Einsum: _einsum,
    g.Conv: _conv,
    g.ConvTranspose: _conv_transpose,
    g.AxisMaps: _axis_maps,
    g.Center: _center,
    g.Diagonal: _diagonal,
    g.Elementwise: _elementwise,
    g.Softmax: _softmax,
    g.LogSoftmax: _log_softmax,
    g.Sort: _sort,
    g.ConcatReLU: _concat_relu,
    g.MaxPool: _max_pool,
    g.Norm: _norm,
    g.RootOfSquares: _root_of_squares,
    g.Reshape: _reshape,
    g.Permute: _permute,
    g.Slice: _slice,
    g.Rounded: _rounded,
    g.Sum: _sum,
    g.Concat: _concat,
    g.Maximum: _maximum,
    g.Custom: _custom,
}.items():
    evaluate.register(_op, _function)

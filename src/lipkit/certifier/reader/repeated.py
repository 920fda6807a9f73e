"""Operations of one sample, applied to each entry of a new first axis."""

from dataclasses import replace
from functools import singledispatch

import numpy as np

from lipkit.certifier import graph as g


@singledispatch
def repeated(op, steps):
    """The operation on samples (steps, ...) that does `op` to each of the steps."""
    raise NotImplementedError(f"No rule of {type(op).__name__} on several samples.")


def _same(op, steps):
    return op  # works on the last axis, or entry by entry


def _axis(op, steps):
    return replace(op, axis=op.axis + (op.axis >= 0))


def _axes(op, steps):
    return replace(op, axes=tuple(axis + (axis >= 0) for axis in op.axes))


def _matrices(op, steps):
    return replace(op, matrices=tuple((axis + (axis >= 0), m) for axis, m in op.matrices))


def _reshape(op: g.Reshape, steps):
    return g.Reshape((steps, *op.shape))


def _permute(op: g.Permute, steps):
    return g.Permute((0, *(axis + 1 for axis in op.axes)))


def _max_pool(op: g.MaxPool, steps):
    dilation = None if op.dilation is None else (1, *op.dilation)
    return g.MaxPool((1, *op.window), (1, *op.strides), ((0, 0), *op.padding), dilation)


def _conv(op: g.Conv, steps):
    shown = None if op.shown is None else (np.arange(steps), *op.shown)
    strides, dilation, padding = (1, *op.strides), (1, *op.dilation), ((0, 0), *op.padding)
    return g.Conv(op.kernel[None], op.bias, strides, dilation, padding, op.groups, shown)


def _conv_transpose(op: g.ConvTranspose, steps):
    return g.ConvTranspose(_conv(op.conv, steps), (steps, *op.size), op.bias)


for _op, _function in {
    **dict.fromkeys((g.Dense, g.Einsum, g.Elementwise, g.Diagonal, g.Rounded), _same),
    **dict.fromkeys((g.Sum, g.Maximum), _same),
    **dict.fromkeys((g.Softmax, g.LogSoftmax, g.Sort, g.ConcatReLU, g.Concat, g.Slice), _axis),
    **dict.fromkeys((g.Center, g.Norm), _axes),
    **dict.fromkeys((g.AxisMaps, g.RootOfSquares), _matrices),
    g.Reshape: _reshape,
    g.Permute: _permute,
    g.MaxPool: _max_pool,
    g.Conv: _conv,
    g.ConvTranspose: _conv_transpose,
}.items():
    repeated.register(_op, _function)

"""Rules of `keras.ops` that move entries: slices, splits, stacks, flips, axes in another order."""

import math

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.reader.layers import sample_axis
from lipkit.certifier.reader.pairs import taken
from lipkit.certifier.reader.refusals import refusal
from lipkit.padding import padding_matrix


def axes_of(op, axis, shape):
    """One or several axes counted with the batch axis, as those of the sample, in order."""
    axes = axis if isinstance(axis, (list, tuple)) else (axis,)
    return tuple(sorted(sample_axis(op, a, shape) for a in axes))


def without(shape, axes):
    """A shape without some of its axes."""
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def _reshape(op, arguments, shapes):
    shape = tuple(op.newshape)[1:]
    size = math.prod(shapes[0])
    if -1 in shape:
        known = -math.prod(shape)
        shape = tuple(size // known if n == -1 else n for n in shape)
    if op.newshape[0] not in (-1, None) or math.prod(shape) != size:
        raise refusal(op, f"{tuple(op.newshape)} mixes the samples of a batch.")
    return g.Reshape(shape)


def _expand_dims(op, arguments, shapes):
    place = sample_axis(op, op.axis, (*shapes[0], 1))
    return g.Reshape((*shapes[0][:place], 1, *shapes[0][place:]))


def _squeeze(op, arguments, shapes):
    axes = axes_of(op, op.axis, shapes[0])
    if any(shapes[0][axis] != 1 for axis in axes):
        raise refusal(op, f"axes {axes} of samples of shape {shapes[0]} are not of size 1.")
    return g.Reshape(without(shapes[0], axes))


def _permuted(op, axes):
    """An order of all axes, the batch's first."""
    if axes[0] != 0:
        raise refusal(op, "it must keep the batch axis first.")
    return g.Permute(tuple(axis - 1 for axis in axes[1:]))


def _transpose(op, arguments, shapes):
    return _permuted(op, (None,) if op.axes is None else tuple(op.axes))


def _swapaxes(op, arguments, shapes):
    axes = np.arange(len(shapes[0]) + 1)
    axes[[op.axis1, op.axis2]] = axes[[op.axis2, op.axis1]]
    return _permuted(op, axes.tolist())


def _moveaxis(op, arguments, shapes):
    sizes = range(len(shapes[0]) + 1)  # of an empty array: they tell the axes apart
    return _permuted(op, np.moveaxis(np.empty(sizes), op.source, op.destination).shape)


def _flip(op, arguments, shapes):
    axes = axes_of(op, op.axis, shapes[0])
    return g.AxisMaps(tuple((axis, np.eye(shapes[0][axis])[::-1]) for axis in axes))


def _roll(op, arguments, shapes):
    axis = sample_axis(op, op.axis, shapes[0])
    return g.AxisMaps(((axis, np.roll(np.eye(shapes[0][axis]), op.shift, axis=0)),))


def _repeat(op, arguments, shapes):
    axis = sample_axis(op, op.axis, shapes[0])
    return g.AxisMaps(((axis, np.repeat(np.eye(shapes[0][axis]), op.repeats, axis=0)),))


def _take(op, arguments, shapes):
    axis = sample_axis(op, op.axis, shapes[0])
    indices, size = np.asarray(arguments[1]), shapes[0][axis]
    inside = indices.ndim == 1 and (-size <= indices).all() and (indices < size).all()
    if not inside or indices.dtype.kind != "i":
        raise refusal(
            op,
            "indices must be a list of integers that lie within the axis. Received: "
            f"{arguments[1]!r} for an axis of size {size}",
        )
    return g.AxisMaps(((axis, np.eye(size)[indices]),))


def _pad(op, arguments, shapes):
    rank, pairs = len(shapes[0]), [tuple(map(int, pair)) for pair in op.pad_width]
    zeros = op.mode == "constant" and not any(c for c in arguments[1:])
    if not zeros or len(pairs) != rank + 1 or any(pairs[0]):
        raise refusal(
            op,
            f"only zeros around a sample are. Received: pad_width={op.pad_width!r}, "
            f"mode={op.mode!r}",
        )
    axes = enumerate(zip(shapes[0], pairs[1:], strict=True))
    matrices = [(i, padding_matrix("constant", n, *pair)) for i, (n, pair) in axes if any(pair)]
    return [g.AxisMaps(tuple(matrices))] if matrices else []


def _stack(op, arguments, shapes):
    place = sample_axis(op, op.axis, (*shapes[0], 1))
    joined = (len(shapes), *shapes[0])
    order = (*range(1, place + 1), 0, *range(place + 1, len(joined)))
    return [g.Concat(0), g.Reshape(joined), g.Permute(order)]


def _split(op, arguments, shapes):
    axis = sample_axis(op, op.axis, shapes[0])
    size = shapes[0][axis]
    return [taken(axis, size, part) for part in np.split(np.arange(size), op.indices_or_sections)]


def _unstack(op, arguments, shapes):
    axis = sample_axis(op, op.axis, shapes[0])
    size, kept = shapes[0][axis], g.Reshape(without(shapes[0], (axis,)))
    return [[*taken(axis, size, [i]), kept] for i in range(size)]


RULES = {
    "Reshape": _reshape,
    "ExpandDims": _expand_dims,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Swapaxes": _swapaxes,
    "Moveaxis": _moveaxis,
    "Flip": _flip,
    "Roll": _roll,
    "Repeat": _repeat,
    "Take": _take,
    "Pad": _pad,
    "Stack": _stack,
}
SEVERAL = {"Split": _split, "Unstack": _unstack}  # for each output

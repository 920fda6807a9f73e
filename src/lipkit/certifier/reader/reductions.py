"""Rules of `keras.ops` that reduce axes: sums, means, norms, largest and smallest values."""

import math

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.reader.shaping import axes_of, refusal, without
from lipkit.certifier.reader.windows import mean_matrix


def _kept(op, shape, axes):
    """The reshape behind a reduction that leaves axes of size 1."""
    return [] if op.keepdims else [g.Reshape(without(shape, axes))]


def _linear(matrix):
    def rule(op, arguments, shapes):
        axes = axes_of(op, op.axis, shapes[0])
        maps = g.AxisMaps(tuple((i, matrix(shapes[0][i])) for i in axes))
        return [maps, *_kept(op, shapes[0], axes)]

    return rule


def _sum_matrix(n):
    return np.ones((1, n))


def _norm(op, arguments, shapes):
    axes = op.axis if isinstance(op.axis, (list, tuple)) else (op.axis,)
    euclidean = op.ord is None or (op.ord == 2 and len(axes) == 1)
    if not euclidean or None in axes:
        raise refusal(
            op,
            "only the Euclidean norm over some axes is. Received: "
            f"ord={op.ord!r}, axis={op.axis!r}",
        )
    axes = axes_of(op, axes, shapes[0])
    kept = tuple(1 if i in axes else n for i, n in enumerate(shapes[0]))
    return [g.Norm(axes), g.Reshape(kept)] if op.keepdims else g.Norm(axes)


def _extreme(sign):
    around = [] if sign > 0 else [g.Elementwise("negative")]

    def rule(op, arguments, shapes):
        if getattr(op, "initial", None) is not None:
            raise refusal(op, f"only without `initial`. Received: initial={op.initial!r}")
        (shape,) = shapes
        axes = axes_of(op, op.axis, shape)
        others = [i for i in range(len(shape)) if i not in axes]
        sizes = tuple(shape[i] for i in axes)
        kept = tuple(shape[i] for i in others)
        ones = (1,) * len(axes)
        if op.keepdims:
            kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
        pool = g.MaxPool(sizes, ones, ((0, 0),) * len(axes))
        first = [g.Permute((*axes, *others)), g.Reshape((*sizes, math.prod(kept)))]
        return [*around, *first, pool, g.Reshape(kept), *around]

    return rule


RULES = {
    "Sum": _linear(_sum_matrix),
    "Mean": _linear(mean_matrix),
    "Norm": _norm,
    "Max": _extreme(1),
    "Amax": _extreme(1),
    "Min": _extreme(-1),
    "Amin": _extreme(-1),
}

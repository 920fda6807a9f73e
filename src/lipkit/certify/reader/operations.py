"""Rules of `keras.ops` in a Functional model, as the export of lipkit's activations has them."""

import math
from typing import Any

import numpy as np

from lipkit.certify import graph as g
from lipkit.certify.reader.constants import is_tensor, sample_constant
from lipkit.certify.reader.layers import diagonal, sample_axis
from lipkit.certify.reader.pairs import taken
from lipkit.certify.reader.windows import mean_matrix
from lipkit.errors import NotCertifiable
from lipkit.padding import padding_matrix


def _constant(op, arguments, shape):
    """The one argument that is not a Keras tensor, as float64, for samples of this shape."""
    constants = [a for a in arguments if not is_tensor(a)]
    if len(constants) != 1:
        raise NotCertifiable(f"Operation {op.name!r} cannot be certified with these arguments.")
    dtype = next(a.dtype for a in arguments if is_tensor(a))
    return sample_constant(op, constants[0], len(shape), dtype=dtype)


def _sum(signs):
    def rule(op, arguments, shapes):
        if len(shapes) == 2:
            return g.Sum(signs=signs)
        constant = _constant(op, arguments, shapes[0])
        # x - c, or c - x
        first = is_tensor(arguments[0])
        if signs == (1, 1):
            return diagonal(1.0, constant)
        return diagonal(1.0, -constant) if first else diagonal(-1.0, constant)

    return rule


def _multiply(op, arguments, shapes):
    if len(shapes) != 1:
        raise NotCertifiable(
            f"Operation {op.name!r} (Multiply) cannot be certified: a product of two tensors has "
            "no Lipschitz constant."
        )
    return diagonal(_constant(op, arguments, shapes[0]))


def _divide(op, arguments, shapes):
    if len(shapes) != 1 or not is_tensor(arguments[0]):
        raise NotCertifiable(
            f"Operation {op.name!r} (Divide) cannot be certified: only division by a constant is."
        )
    return diagonal(1 / _constant(op, arguments, shapes[0]))


def _extremum(sign):
    def rule(op, arguments, shapes):
        if len(shapes) == 2:
            return g.Maximum(sign=sign)
        bound = _constant(op, arguments, shapes[0])
        low, high = (bound, np.inf) if sign > 0 else (-np.inf, bound)
        return g.Elementwise("clip", (low, high))

    return rule


def _reshape(op, arguments, shapes):
    shape = tuple(op.newshape)[1:]
    size = math.prod(shapes[0])
    if -1 in shape:
        known = -math.prod(shape)
        shape = tuple(size // known if n == -1 else n for n in shape)
    if op.newshape[0] not in (-1, None) or math.prod(shape) != size:
        raise NotCertifiable(
            f"Operation {op.name!r} (Reshape) cannot be certified: {tuple(op.newshape)} mixes the "
            "samples of a batch."
        )
    return g.Reshape(shape)


def _expand_dims(op, arguments, shapes):
    place = sample_axis(op, op.axis, (*shapes[0], 1))
    return g.Reshape((*shapes[0][:place], 1, *shapes[0][place:]))


def _transpose(op, arguments, shapes):
    axes = () if op.axes is None else tuple(op.axes)
    if not axes or axes[0] != 0:
        raise NotCertifiable(f"Operation {op.name!r} (Transpose) must keep the batch axis first.")
    return g.Permute(tuple(axis - 1 for axis in axes[1:]))


def _take(op, arguments, shapes):
    axis = sample_axis(op, op.axis, shapes[0])
    indices, size = np.asarray(arguments[1]), shapes[0][axis]
    inside = indices.ndim == 1 and (-size <= indices).all() and (indices < size).all()
    if not inside or indices.dtype.kind != "i":
        raise NotCertifiable(
            f"Operation {op.name!r} (Take) cannot be certified: indices must be a list of integers "
            f"that lie within the axis. Received: {arguments[1]!r} for an axis of size {size}"
        )
    return g.AxisMaps(((axis, np.eye(size)[indices]),))


def _pad(op, arguments, shapes):
    rank, pairs = len(shapes[0]), [tuple(map(int, pair)) for pair in op.pad_width]
    zeros = op.mode == "constant" and not any(c for c in arguments[1:])
    if not zeros or len(pairs) != rank + 1 or any(pairs[0]):
        raise NotCertifiable(
            f"Operation {op.name!r} (Pad) cannot be certified: only zeros around a sample are. "
            f"Received: pad_width={op.pad_width!r}, mode={op.mode!r}"
        )
    axes = enumerate(zip(shapes[0], pairs[1:], strict=True))
    matrices = [(i, padding_matrix("constant", n, *pair)) for i, (n, pair) in axes if any(pair)]
    return g.AxisMaps(tuple(matrices))


def _along(make):
    return lambda op, arguments, shapes: make(sample_axis(op, op.axis, shapes[0]))


def _norm(op, arguments, shapes):
    axes = op.axis if isinstance(op.axis, (list, tuple)) else (op.axis,)
    euclidean = op.ord is None or (op.ord == 2 and len(axes) == 1)
    if not euclidean or None in axes:
        raise NotCertifiable(
            f"Operation {op.name!r} (Norm) cannot be certified: only the Euclidean norm over some "
            f"axes is. Received: ord={op.ord!r}, axis={op.axis!r}"
        )
    axes = tuple(sample_axis(op, axis, shapes[0]) for axis in axes)
    kept = tuple(1 if i in axes else n for i, n in enumerate(shapes[0]))
    return [g.Norm(axes), g.Reshape(kept)] if op.keepdims else g.Norm(axes)


def _mean(op, arguments, shapes):
    axes = op.axis if isinstance(op.axis, (list, tuple)) else (op.axis,)
    axes = sorted(sample_axis(op, axis, shapes[0]) for axis in axes)
    mean = g.AxisMaps(tuple((i, mean_matrix(shapes[0][i])) for i in axes))
    kept = tuple(n for i, n in enumerate(shapes[0]) if i not in axes)
    return [mean] if op.keepdims else [mean, g.Reshape(kept)]


def _hypot(op, arguments, shapes):
    if len(shapes) != 2 or shapes[0] != shapes[1]:
        raise NotCertifiable(
            f"Operation {op.name!r} (Hypot) cannot be certified: only that of two tensors of one "
            f"shape is. Received: {shapes}"
        )
    return [g.Concat(0), g.Reshape((2, *shapes[0])), g.Norm((0,))]


def _get_item(op, arguments, shapes):
    key: Any = arguments[1] if isinstance(arguments[1], (list, tuple)) else (arguments[1],)
    whole = slice(None)
    if not all(isinstance(k, slice) for k in key) or key[0] != whole:
        raise NotCertifiable(
            f"Operation {op.name!r} (GetItem) cannot be certified: only slices that keep the batch "
            f"axis are. Received: {key}"
        )
    sliced = enumerate(zip(key[1:], shapes[0], strict=False))
    return [o for axis, (k, n) in sliced for o in taken(axis, n, range(*k.indices(n)))]


def _simple(name, *attributes):
    def rule(op, arguments, shapes):
        return g.Elementwise(name, tuple(float(getattr(op, a)) for a in attributes))

    return rule


def _gelu(op, arguments, shapes):
    return g.Elementwise("gelu_tanh" if op.approximate else "gelu")


RULES = {
    "Add": _sum((1, 1)),
    "Subtract": _sum((1, -1)),
    "Multiply": _multiply,
    "TrueDivide": _divide,
    "Divide": _divide,
    "Maximum": _extremum(1),
    "Minimum": _extremum(-1),
    "Reshape": _reshape,
    "ExpandDims": _expand_dims,
    "Transpose": _transpose,
    "Sort": _along(g.Sort),
    "Concatenate": _along(g.Concat),
    "Softmax": _along(g.Softmax),
    "GetItem": _get_item,
    "Hypot": _hypot,
    "Mean": _mean,
    "Norm": _norm,
    "Take": _take,
    "Pad": _pad,
    "Absolute": _simple("abs"),
    "Abs": _simple("abs"),
    "Negative": _simple("negative"),
    "Relu": _simple("relu"),
    "Relu6": _simple("relu6"),
    "Sigmoid": _simple("sigmoid"),
    "Tanh": _simple("tanh"),
    "Softplus": _simple("softplus"),
    "Softsign": _simple("softsign"),
    "Silu": _simple("silu"),
    "Selu": _simple("selu"),
    "LeakyRelu": _simple("relu", "negative_slope"),
    "Elu": _simple("elu", "alpha"),
    "Gelu": _gelu,
}


def rule_of(op):
    """The rule of one of Keras's own operations, by its class."""
    rule = RULES.get(type(op).__name__)
    if rule is None or not type(op).__module__.startswith("keras."):
        raise NotCertifiable(
            f"Operation {op.name!r} (keras.ops, {type(op).__name__}) cannot be certified: it has "
            f"no rule. Operations with a rule: {', '.join(sorted(RULES))}."
        )
    return rule

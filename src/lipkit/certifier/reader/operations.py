"""Rules of `keras.ops` in a Functional model, as the export of lipkit's activations has them."""

import inspect
import numbers
from typing import Any

import keras
import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.activations import ACTIVATIONS
from lipkit.certifier.reader import contractions, reductions, registry, resizing, shaping
from lipkit.certifier.reader.constants import is_tensor, sample_constant
from lipkit.certifier.reader.layers import diagonal, sample_axis
from lipkit.certifier.reader.pairs import taken
from lipkit.certifier.reader.refusals import refusal


def _constant(op, arguments, shape):
    """The one argument that is not a Keras tensor, as float64, for samples of this shape."""
    constants = [a for a in arguments if not is_tensor(a)]
    if len(constants) != 1:
        raise refusal(op, "its arguments are not covered: it takes tensors and constants.")
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
        raise refusal(op, "a product of two tensors has no Lipschitz constant.")
    return diagonal(_constant(op, arguments, shapes[0]))


def _divide(op, arguments, shapes):
    if len(shapes) != 1 or not is_tensor(arguments[0]):
        raise refusal(op, "only division by a constant is covered.")
    return diagonal(1 / _constant(op, arguments, shapes[0]))


def _extremum(sign):
    def rule(op, arguments, shapes):
        if len(shapes) == 2:
            return g.Maximum(sign=sign)
        bound = _constant(op, arguments, shapes[0])
        low, high = (bound, np.inf) if sign > 0 else (-np.inf, bound)
        return g.Elementwise("clip", (low, high))

    return rule


def _along(make):
    return lambda op, arguments, shapes: make(sample_axis(op, op.axis, shapes[0]))


def _hypot(op, arguments, shapes):
    if len(shapes) != 2 or shapes[0] != shapes[1]:
        raise refusal(op, f"only that of two tensors of one shape is covered. Received: {shapes}")
    return [g.Concat(0), g.Reshape((2, *shapes[0])), g.Norm((0,))]


def _explicit(key, rank):
    """A key of `x[key]` without Ellipsis, with an entry for each of the axes."""
    keys: Any = key if isinstance(key, (list, tuple)) else (key,)
    places = [i for i, k in enumerate(keys) if k is Ellipsis] or [len(keys)]
    missing = rank - sum(k is not None and k is not Ellipsis for k in keys)
    return (*keys[: places[0]], *[slice(None)] * missing, *keys[places[0] + 1 :])


def _get_item(op, arguments, shapes):
    key = _explicit(arguments[1], len(shapes[0]) + 1)
    whole = slice(None)
    known = all(
        k is None
        or (isinstance(k, numbers.Integral) and not isinstance(k, bool))
        or isinstance(k, slice)
        for k in key
    )
    if not known or key[0] != whole:
        raise shaping.refusal(
            op,
            f"only slices and integers that keep the batch axis are. Received: {arguments[1]}",
        )
    ops, kept, sizes = [], [], iter(enumerate(shapes[0]))
    for k in key[1:]:
        if k is None:
            kept.append(1)
            continue
        axis, n = next(sizes)
        one = not isinstance(k, slice)
        indices = range(n)[k : k + 1 or None] if one else range(n)[k]
        ops += taken(axis, n, indices)
        kept += [] if one else [len(indices)]
    return [*ops, g.Reshape(tuple(kept))] if len(kept) != len(shapes[0]) or None in key else ops


def _bound(op, value, dtype, rank, default):
    """A bound of `clip` that is exact in the tensor's dtype, so that clipping rounds nothing."""
    if value is None:
        return default
    bound = sample_constant(op, value, rank, dtype=dtype)
    if is_tensor(value) or not np.array_equal(bound, bound.astype(dtype)):
        raise refusal(op, f"its bounds must be constants of {dtype}. Received: {value!r}")
    return bound


def _clip(op, arguments, shapes):
    dtype, rank = arguments[0].dtype, len(shapes[0])
    low = _bound(op, op.x_min, dtype, rank, -np.inf)
    high = _bound(op, op.x_max, dtype, rank, np.inf)
    if np.any(low > high):
        raise refusal(
            op, f"its lower bound is above its upper one. Received: {op.x_min!r}, {op.x_max!r}"
        )
    return g.Elementwise("clip", (low, high))


def _where(op, arguments, shapes):
    condition, *values = arguments
    if is_tensor(condition) or len(shapes) != 1 or len(values) != 2:
        raise refusal(
            op,
            "only a choice by constants between a tensor and a constant is covered. Use maximum, "
            "minimum, relu or clip instead.",
        )
    rank = len(shapes[0])
    chosen = sample_constant(op, condition, rank) != 0
    chosen = chosen if is_tensor(values[0]) else ~chosen
    constant = np.where(chosen, 0.0, _constant(op, values, shapes[0]))
    return diagonal(chosen.astype("float64"), constant)


def _cast(op, arguments, shapes):
    if op.dtype != arguments[0].dtype:
        raise shaping.refusal(op, f"it changes {arguments[0].dtype} to {op.dtype}.")
    return []


def _same(op, arguments, shapes):
    return []


def _simple(name, *attributes):
    def rule(op, arguments, shapes):
        return g.Elementwise(name, tuple(float(getattr(op, a)) for a in attributes))

    return rule


def _function(name):
    def rule(op, arguments, shapes):
        if {*inspect.signature(type(op).__init__).parameters} - {"self", "name"}:
            raise shaping.refusal(op, "it has parameters, which are not covered.")
        return g.Elementwise(name)

    return rule


def _gelu(op, arguments, shapes):
    return g.Elementwise("gelu_tanh" if op.approximate else "gelu")


RULES = {
    **shaping.RULES,
    **reductions.RULES,
    **contractions.RULES,
    **resizing.RULES,
    **{
        registry.operation_class(name): _function(name)
        for name in ACTIVATIONS
        if hasattr(keras.ops, name)
    },
    "Add": _sum((1, 1)),
    "Subtract": _sum((1, -1)),
    "Multiply": _multiply,
    "TrueDivide": _divide,
    "Divide": _divide,
    "Maximum": _extremum(1),
    "Minimum": _extremum(-1),
    "Sort": _along(g.Sort),
    "Concatenate": _along(g.Concat),
    "Softmax": _along(g.Softmax),
    "GetItem": _get_item,
    "Hypot": _hypot,
    "Absolute": _simple("abs"),
    "Abs": _simple("abs"),
    "Cast": _cast,
    "StopGradient": _same,
    "LogSoftmax": _along(g.LogSoftmax),
    "Clip": _clip,
    "Where": _where,
    "Negative": _simple("negative"),
    "Relu": _simple("relu"),
    "LeakyRelu": _simple("relu", "negative_slope"),
    "Elu": _simple("elu", "alpha"),
    "Gelu": _gelu,
}


def rule_of(op):
    """The rule of one of Keras's own operations, by its class."""
    registry.check_methods(op)
    rule = {**RULES, **shaping.SEVERAL}.get(type(op).__name__)
    if rule is None or not type(op).__module__.startswith("keras."):
        raise refusal(op, f"it has no rule. Operations with a rule: {', '.join(sorted(RULES))}.")
    return rule

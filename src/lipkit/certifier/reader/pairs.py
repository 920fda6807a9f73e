"""Maxima and minima of two tensors as the ends of one sorted pair, however they are written.

Either end changes by at most what the pair does; both together are a sort, which is 1-Lipschitz.
A sum is one if it is c (a + b + |a - b|) = 2 c max(a, b) or c (a + b - |a - b|) = 2 c min(a, b),
where relu(d) is (d + |d|) / 2: so a - relu(a - b) is the minimum. Factors are powers of two, which
makes these coefficients exact.

The program computes such a sum, not the maximum, and has the rounding error of the sum. Of its n
operations each rounds once, so each term of the sum written out has at most n roundings; with their
coefficients the terms are at most A |a| + B |b|, where |a - b| counts as |a| + |b|. So an entry is
wrong by at most (n + 1) u hypot(A, B) |(a, b)|, and by the smallest normal number times the factor
that each value on the way has in the result, where these are flushed to zero.
"""

import math

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.reader.fusion import fused
from lipkit.certifier.reader.layers import diagonal

LONGEST = 16  # operations that one form may have
FACTORS = 0.25, 4.0  # smallest and largest factor in it: so nothing on the way overflows alone


def expanded(nodes, op, inputs):
    """What says the same as `op` on these nodes: operations, and the nodes that the first reads."""
    if isinstance(op, g.Maximum) and len(inputs) == 2:
        same = nodes[inputs[0]].shape == nodes[inputs[1]].shape
        if same and fused(nodes, op, inputs)[0] is op:  # it is not an activation
            return _end(nodes, inputs, op.sign), sorted(inputs)
    if isinstance(op, g.Concat) and (source := _of_two_classes(nodes, op, inputs)) is not None:
        # within 16 ulps of |x| + |p| + 1, and |p| is at least sqrt(1/2)
        return [g.Dense(np.array([[-0.5, 0.5]])), g.Softmax(), g.Rounded(64, 64)], [source]
    if isinstance(op, g.Sum) and (found := _extremum(nodes, op, inputs)) is not None:
        return found
    return [op], inputs


def _of_two_classes(nodes, op, inputs):
    """The node z, one logit, of probabilities [1 - sigmoid(z), sigmoid(z)], softmax of -+z / 2."""
    if len(inputs) != 2 or nodes[inputs[0]].inputs != (inputs[1],):
        return None
    negative, positive = (nodes[i].op for i in inputs)
    opposite = isinstance(negative, g.Diagonal) and (negative.scale == -1).all()
    sigmoid = isinstance(positive, g.Elementwise) and positive.name == "sigmoid"
    if not opposite or not (negative.shift == 1).all() or not sigmoid:
        return None
    (source,) = nodes[inputs[1]].inputs
    shape = nodes[source].shape
    return source if shape[-1:] == (1,) and op.axis % len(shape) == len(shape) - 1 else None


def taken(axis, size, indices):
    """The operations that take some entries of an axis of this size, in their order."""
    indices = np.asarray(indices, dtype=int)
    steps = set(np.diff(indices).tolist()) or {1}
    if not len(indices):
        return [g.Slice(axis, 0, 0)]
    if len(steps) > 1 or min(steps) < 1:
        return [g.AxisMaps(((axis, np.eye(size)[indices]),))]
    if len(indices) == size:
        return []
    return [g.Slice(axis, int(indices[0]), int(indices[-1]) + 1, steps.pop())]


def _end(nodes, inputs, sign, rounded=()):
    """The larger end of a pair of nodes of one shape, or the smaller one for sign -1."""
    shape = nodes[inputs[0]].shape
    end = g.Slice(0, 1, 2) if sign > 0 else g.Slice(0, 0, 1)
    pair = [g.Concat(0), g.Reshape((2, *shape)), g.Sort(0)]
    return [*pair, *rounded, end, g.Reshape(shape)]


def _terms(op, inputs):
    """The nodes that a linear operation adds up, with their factors; None of another one."""
    if isinstance(op, g.Sum):
        return list(zip(inputs, op.signs or (1,) * len(inputs), strict=True))
    if isinstance(op, g.Elementwise) and op.name == "negative":
        return [(inputs[0], -1)]
    if isinstance(op, g.Diagonal) and not op.shift.any():
        factors = set(np.abs(op.scale).flat)
        if len(factors) == 1 and factors <= {0.5, 1.0, 2.0} and len(set(op.scale.flat)) == 1:
            return [(inputs[0], float(op.scale.flat[0]))]
    return None


def _fold(nodes, index):
    """(a, b, s, n, flushed) of relu(s (a - b)) or |s (a - b)|, of n operations; or None."""
    op = nodes[index].op
    if not isinstance(op, g.Elementwise) or not (op.name == "abs" or _is_relu(op)):
        return None
    factor, count, flushed, terms = 1.0, 1, 1.0, [(nodes[index].inputs[0], 1.0)]
    while terms is not None and len(terms) == 1 and count < LONGEST:
        (index, more), *_ = terms
        factor *= more
        count, flushed = count + 1, flushed + abs(factor)
        terms = _terms(nodes[index].op, nodes[index].inputs)
    if terms is None or len(terms) != 2 or not FACTORS[0] <= abs(factor) <= FACTORS[1]:
        return None
    (a, plus), (b, minus) = terms
    if plus != -minus or a == b:
        return None
    return a, b, factor * plus, count, flushed + 2 * abs(factor)


def _is_relu(op):
    if op.name == "clip":
        low, high = op.parameters
        return not np.any(low) and bool(np.all(np.equal(high, math.inf)))
    slope, top = (*op.parameters, *(0.0, math.inf)[len(op.parameters) :])[:2]
    return op.name == "relu" and np.ndim(slope) == 0 and slope == 0 and top == math.inf


def _ends(nodes, op, inputs):
    """The a and b of a term relu(a - b) or |a - b| of a sum, or None."""
    waiting, seen = [index for index, _ in _terms(op, inputs) or ()], 0
    while waiting and seen < LONGEST:
        index, seen = waiting.pop(), seen + 1
        if (fold := _fold(nodes, index)) is not None:
            return fold[:2]
        waiting += [i for i, _ in _terms(nodes[index].op, nodes[index].inputs) or ()]
    return None


def _extremum(nodes, op, inputs):
    """What `expanded` gives for a sum that is a maximum or minimum of two nodes; or None."""
    if (ends := _ends(nodes, op, inputs)) is None:
        return None
    a, b = ends
    linear, size = dict.fromkeys(ends, 0.0), dict.fromkeys(ends, 0.0)
    absolute, count, flushed = 0.0, 1, 1.0  # of |a - b|
    waiting = _terms(op, inputs)
    while waiting:
        index, factor = waiting.pop()
        count, flushed = count + 1, flushed + abs(factor)
        if count > LONGEST or not FACTORS[0] <= abs(factor) <= FACTORS[1]:
            return None
        if index in linear:
            linear[index] += factor
            size[index] += abs(factor)
        elif (fold := _fold(nodes, index)) is not None:
            first, second, inner, steps, lost = fold
            if {first, second} != {a, b}:
                return None
            count, flushed = count + steps, flushed + abs(factor) * lost
            half = 1.0 if nodes[index].op.name == "abs" else 0.5
            absolute += half * factor * abs(inner)
            if half == 0.5:
                linear[first] += half * factor * inner
                linear[second] -= half * factor * inner
            for end in ends:
                size[end] += abs(factor * inner)
        elif (terms := _terms(nodes[index].op, nodes[index].inputs)) is not None:
            waiting += [(i, factor * more) for i, more in terms]
        else:
            return None
    c = linear[a]
    if not c or c != linear[b] or abs(absolute) != abs(c):
        return None
    relative = (count + 1) * math.hypot(*size.values()) / abs(2 * c)
    rounded = g.Rounded(relative, flushed / abs(2 * c))
    found = _end(nodes, ends, 1 if absolute == c else -1, [rounded])
    return found if 2 * c == 1 else [*found, diagonal(2 * c)], sorted(ends)

"""Lipschitz constants in 2-norm: of one operation, and of a graph by one recursion."""

import itertools
import math
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import NamedTuple

import numpy as np

from lipkit.certify import graph as g
from lipkit.certify.activations import ACTIVATIONS
from lipkit.certify.convolutions import conv_norm_bound
from lipkit.certify.norms import matrix_norm_bound, up


@dataclass(frozen=True)
class LayerBound:
    """One row of the table: a layer, its kind, the rule, its own bound and where that holds."""

    name: str
    kind: str
    rule: str
    bound: float
    input_shape: tuple[int, ...]


@singledispatch
def lipschitz(op, *shapes) -> tuple[float, str]:
    """A proven constant of `op` on inputs of these shapes, and the name of the rule."""
    raise NotImplementedError(f"No Lipschitz rule for {type(op).__name__}.")


def _isometry(op, *shapes):
    return 1.0, "isometry"  # sorting: at most 1, by the rearrangement inequality


def _dense(op: g.Dense, shape):
    return matrix_norm_bound(op.kernel), "matrix norm"


def einsum_matrix(op: g.Einsum):
    """The kernel as a matrix (contracted, new)."""
    inputs, kernel, _ = op.equation.replace("->", ",").split(",")
    inner = [i for i, letter in enumerate(kernel) if letter in inputs]
    outer = [i for i, letter in enumerate(kernel) if letter not in inputs]
    rows = math.prod(op.kernel.shape[i] for i in inner)
    return op.kernel.transpose(*inner, *outer).reshape(rows, -1)


def _einsum(op: g.Einsum, shape):
    return matrix_norm_bound(einsum_matrix(op)), "matrix norm"


def _conv(op: g.Conv, size):
    geometry = tuple(size), op.strides, op.dilation, op.padding, op.groups, op.shown
    bound, rule = conv_norm_bound(op.kernel, *geometry)
    return bound, f"convolution, {rule}"


def _conv_op(op: g.Conv, shape):
    return _conv(op, shape[:-1])


def _conv_transpose(op: g.ConvTranspose, shape):
    return _conv(op.conv, op.size)  # an adjoint has the same norm


def _axis_maps(op: g.AxisMaps, shape):
    # along different axes the maps are a Kronecker product: the norms multiply
    bound = 1.0
    for _, matrix in op.matrices:
        bound = up(bound * matrix_norm_bound(matrix))
    return bound, "product over axes"


def _projection(op, shape):
    return 1.0, "projection"


def _diagonal(op: g.Diagonal, shape):
    # the factor of a normalisation is itself the result of a few roundings
    return up(float(np.max(np.abs(op.scale), initial=0.0)) * (1 + 2**-49)), "largest factor"


def _elementwise(op: g.Elementwise, shape):
    return float(ACTIVATIONS[op.name].slope(*op.parameters)), "slope"


def _softmax(op: g.Softmax, shape):
    return 0.5, "slope"  # Gershgorin on diag(p) - p pᵀ: 2 p (1 - p) <= 1/2


def _log_softmax(op: g.LogSoftmax, shape):
    # the Jacobian I - 1 pᵀ is a projection, so it has the norm of 1 pᵀ, sqrt(n) |p| <= sqrt(n)
    # (Szyld, "The many proofs of an identity on the norm of oblique projections", 2006)
    return up(math.sqrt(shape[op.axis])), "slope"


def overlap(size, window, stride, padding, dilation=1):
    """The largest number of windows that one entry lies in, along one axis."""
    low, high = padding
    reach = (window - 1) * dilation + 1
    counts = np.zeros(size + low + high, dtype=int)
    for start in range(0, size + low + high - reach + 1, stride):
        counts[start : start + reach : dilation] += 1
    return int(counts[low : low + size].max(initial=0))


def _max_pool(op: g.MaxPool, shape):
    dilation = op.dilation or (1,) * len(op.window)
    axes = zip(shape, op.window, op.strides, op.padding, dilation, strict=False)
    count = math.prod(overlap(*axis) for axis in axes)
    return (1.0 if count <= 1 else up(math.sqrt(count))), "window overlap"


def _norm(op: g.Norm, shape):
    return 1.0, "norms of groups"  # the triangle inequality in each group


def _custom(op: g.Custom, shape):
    return float(op.lipschitz), "given by its author"


def _merge(op, *shapes):
    rule = "sum of branches" if isinstance(op, g.Sum) else "root of the sum of squares"
    return 1.0, rule


def _add_up(values):
    total = 0.0
    for value in values:
        total = up(total + value)
    return total


def _root_of_squares(values):
    values = [v for v in values if v]
    if len(values) <= 1:
        return values[0] if values else 0.0
    top = max(values)
    return up(top * up(math.sqrt(_add_up(up((v / top) ** 2 * (1 + 2**-50)) for v in values))))


def _clusters(branches):
    """Group branches (bound, support) that share inputs: [[bounds], support] each."""
    clusters: list = []
    for bound, support in branches:
        joined = [c for c in clusters if c[1] & support]
        clusters = [c for c in clusters if not c[1] & support]
        bounds = [b for c in joined for b in c[0]] + [bound]
        clusters.append([bounds, frozenset().union(support, *(c[1] for c in joined))])
    return [bounds for bounds, _ in clusters]


def merge(op, branches):
    """Constant of a merge of branches (bound, inputs that it depends on).

    Branches of the same input x: |sum d_i| <= sum L_i |dx|, and |(d_i)| <= root(sum L_i^2) |dx|.
    Branches of different inputs change independently: root of squares (sum) and maximum
    (concatenation and entrywise maximum), because |dx|^2 = sum |dx_i|^2.
    """
    within, across = _root_of_squares, max
    if isinstance(op, g.Sum):
        within, across = _add_up, _root_of_squares
    return across([within(bounds) for bounds in _clusters(branches)])


def _sources(indices, supports, parts):
    """What each branch of a merge depends on, inputs or disjoint slices of z, and the merge's part.

    Slices of an earlier node z change independently, like inputs: the squares of their changes add
    up to at most |dz|^2, and each branch's constant from its slice on is its bound over that of z.
    """
    slices = {parts[i] for i in indices}
    if None not in slices and len({part[:2] for part in slices}) == 1:
        ends = sorted(part[2:] for part in slices)
        if all(stop <= start for (_, stop), (start, _) in itertools.pairwise(ends)):
            part = slices.pop() if len(slices) == 1 else parts[parts[indices[0]][0]]
            return [frozenset([parts[i]]) for i in indices], part
    return [supports[i] for i in indices], None


def _product(a, b):
    """The product rounded up; exact where a factor is 1."""
    return a * b if 1.0 in (a, b) else up(a * b)


def _add_row(table, row):
    """One row a layer: its operations follow each other, and their constants multiply."""
    if not table or table[-1].name != row.name:
        table.append(row)
        return
    last = table.pop()
    bound = _product(last.bound, row.bound)
    rules = [rule for rule in (last.rule, row.rule) if rule != "isometry"] or ["isometry"]
    table.append(replace(last, rule=", ".join(rules), bound=bound))


class Bounds(NamedTuple):
    """Constants of each node alone, of the map from the joint input to it, and the table."""

    own: list[float]
    total: list[float]
    layers: tuple[LayerBound, ...]


def compose(graph: g.Graph) -> Bounds:
    """All constants of a graph, each operation's computed once."""
    own: list[float] = []
    total: list[float] = []
    supports: list[frozenset] = []
    parts: list = []  # (node, axis, start, stop): the slice that all a node depends on is in
    table = []
    for index, node in enumerate(graph.nodes):
        shapes = [graph.nodes[i].shape for i in node.inputs]
        constant, rule = lipschitz(node.op, *shapes)
        own.append(constant)
        part = parts[node.inputs[0]] if node.inputs else None
        if len(node.inputs) > 1:
            origins, part = _sources(node.inputs, supports, parts)
            bounds = [total[i] for i in node.inputs]
            total.append(merge(node.op, list(zip(bounds, origins, strict=True))))
        else:
            if isinstance(node.op, g.Slice):
                part = (*node.inputs, node.op.axis, node.op.start, node.op.stop)
            before = total[node.inputs[0]] if node.inputs else 1.0
            total.append(_product(before, constant))
        sources = [supports[i] for i in node.inputs] or [frozenset([index])]
        supports.append(frozenset().union(*sources))
        parts.append(part)
        if node.inputs:
            _add_row(table, LayerBound(node.layer, node.kind, rule, constant, shapes[0]))
    return Bounds(own, total, tuple(table))


def output_bound(graph: g.Graph, bounds: Bounds) -> float:
    """Bound of the map from the joint input to the joint output."""
    return _root_of_squares([bounds.total[i] for i in graph.outputs])


for _op, _function in {
    g.Reshape: _isometry,
    g.Permute: _isometry,
    g.Sort: _isometry,
    g.ConcatReLU: _isometry,
    g.Input: _isometry,
    g.Slice: _projection,
    g.Center: _projection,
    g.Sum: _merge,
    g.Concat: _merge,
    g.Maximum: _merge,
    g.Dense: _dense,
    g.Einsum: _einsum,
    g.Conv: _conv_op,
    g.ConvTranspose: _conv_transpose,
    g.AxisMaps: _axis_maps,
    g.Diagonal: _diagonal,
    g.Elementwise: _elementwise,
    g.Softmax: _softmax,
    g.LogSoftmax: _log_softmax,
    g.MaxPool: _max_pool,
    g.Norm: _norm,
    g.Custom: _custom,
}.items():
    lipschitz.register(_op, _function)

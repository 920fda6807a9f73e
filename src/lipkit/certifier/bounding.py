"""Lipschitz constants in 2-norm: of one operation, and of a graph by one recursion."""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import reduce, singledispatch
from typing import Any, NamedTuple

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.activations import ACTIVATIONS
from lipkit.certifier.convolutions import conv_norm_bound
from lipkit.certifier.evaluate import overlap
from lipkit.certifier.norms import inflate, matrix_norm_bound, up
from lipkit.certifier.parts import INPUTS, is_whole, moves, part_of, selects

Shape = tuple[int, ...]
Bound = tuple[float, str]  # and the name of the method
Branch = tuple[float, dict[int, int]]  # and its parts


@dataclass(frozen=True)
class LayerBound:
    """One row of the table of a bound.

    Args:
        name, kind: of the layer, and its class.
        method: how it was bounded.
        bound: a Lipschitz constant in 2-norm.
        input_shape: of the samples, without the batch axis, for which it holds.

    Example:
    >>> row = lipkit.lipschitz_bound(model).layers[0]
    >>> row.kind, row.method, row.input_shape
    ('SpectralDense', 'matrix norm', (2,))
    """

    name: str
    kind: str
    method: str
    bound: float
    input_shape: tuple[int, ...]


@singledispatch
def lipschitz(op: g.Op, *shapes: Shape) -> Bound:
    """A proven constant of `op` on inputs of these shapes, and the name of the method."""
    raise NotImplementedError(f"No Lipschitz constant for {type(op).__name__}.")


def _isometry(op: g.Op, *shapes: Shape) -> Bound:
    return 1.0, "isometry"  # sorting: at most 1, by the rearrangement inequality


def _dense(op: g.Dense, shape: Shape) -> Bound:
    return matrix_norm_bound(op.kernel), "matrix norm"


def einsum_matrix(op: g.Einsum) -> np.ndarray:
    """The kernel as a matrix (contracted, new)."""
    inputs, kernel, _ = op.equation.replace("->", ",").split(",")
    inner = [i for i, letter in enumerate(kernel) if letter in inputs]
    outer = [i for i, letter in enumerate(kernel) if letter not in inputs]
    rows = math.prod(op.kernel.shape[i] for i in inner)
    return op.kernel.transpose(*inner, *outer).reshape(rows, -1)


def _einsum(op: g.Einsum, shape: Shape) -> Bound:
    return matrix_norm_bound(einsum_matrix(op)), "matrix norm"


def _conv(op: g.Conv, size: Shape) -> Bound:
    geometry = tuple(size), op.strides, op.dilation, op.padding, op.groups, op.shown
    bound, method = conv_norm_bound(op.kernel, *geometry)
    return bound, f"convolution, {method}"


def _conv_op(op: g.Conv, shape: Shape) -> Bound:
    return _conv(op, shape[:-1])


def _conv_transpose(op: g.ConvTranspose, shape: Shape) -> Bound:
    return _conv(op.conv, op.size)  # an adjoint has the same norm


def _axis_maps(op: g.AxisMaps, shape: Shape) -> Bound:
    # along different axes the maps are a Kronecker product: the norms multiply
    bound = 1.0
    for _, matrix in op.matrices:
        bound = bound if selects(matrix) else up(bound * matrix_norm_bound(matrix))
    return bound, "product over axes"


def _projection(op: g.Op, shape: Shape) -> Bound:
    return 1.0, "projection"


def _diagonal(op: g.Diagonal, shape: Shape) -> Bound:
    # 8: the root, division, product and differences that make up a factor of a normalisation
    return inflate(float(np.max(np.abs(op.scale), initial=0.0)), 8), "largest factor"


def _elementwise(op: g.Elementwise, shape: Shape) -> Bound:
    return float(ACTIVATIONS[op.name].slope(*op.parameters)), "slope"


def _softmax(op: g.Softmax, shape: Shape) -> Bound:
    return 0.5, "slope"  # Gershgorin on diag(p) - p pᵀ: 2 p (1 - p) <= 1/2


def _log_softmax(op: g.LogSoftmax, shape: Shape) -> Bound:
    # the Jacobian I - 1 pᵀ is a projection, so it has the norm of 1 pᵀ, sqrt(n) |p| <= sqrt(n)
    # (Szyld, "The many proofs of an identity on the norm of oblique projections", 2006)
    return up(math.sqrt(shape[op.axis])), "slope"


def _max_pool(op: g.MaxPool, shape: Shape) -> Bound:
    dilation = op.dilation or (1,) * len(op.window)
    axes = zip(shape, op.window, op.strides, op.padding, dilation, strict=False)
    count = math.prod(overlap(*axis) for axis in axes)
    return (1.0 if count <= 1 else up(math.sqrt(count))), "window overlap"


def _norm(op: g.Norm, shape: Shape) -> Bound:
    return 1.0, "norms of groups"  # the triangle inequality in each group


def _l2_pool(op: g.RootOfSquares, shape: Shape) -> Bound:
    # each output is the length of a vector with the entries sqrt(scale M_ij) x_j and sqrt(shift),
    # so it changes by at most sqrt(scale sum_j M_ij dx_j^2); summed over the outputs, x_j counts as
    # often as its column of M says. Scale and entries of M are quotients
    square = inflate(op.scale, 4)
    for _, matrix in op.matrices:
        columns = inflate(np.sum(matrix, axis=0), len(matrix) + 1)
        square = up(square * float(np.max(columns, initial=0.0)))
    return up(math.sqrt(square)), "largest weight"


def _custom(op: g.Custom, shape: Shape) -> Bound:
    return float(op.lipschitz), "given by its author"


def _merge(op: g.Op, *shapes: Shape) -> Bound:
    method = "sum of branches" if isinstance(op, g.Sum) else "root of the sum of squares"
    return 1.0, method


def _add_up(values: Iterable[float]) -> float:
    total = 0.0
    for value in values:
        total = up(total + value)
    return total


def _root_of_squares(values: Iterable[float]) -> float:
    values = [v for v in values if v]
    if len(values) <= 1:
        return values[0] if values else 0.0
    top = max(values)
    # squares of quotients: a rounding that counts twice, and one more
    return up(top * up(math.sqrt(_add_up(inflate((v / top) ** 2, 3) for v in values))))


def _or(a: Any, b: Any) -> Any:
    return a | b


def _clusters(branches: Iterable[tuple[float, Any]]) -> list[list[float]]:
    """Group branches (bound, support) that share inputs: [[bounds], support] each."""
    clusters: list[tuple[list[float], Any]] = []
    for bound, support in branches:
        joined = [c for c in clusters if c[1] & support]
        clusters = [c for c in clusters if not c[1] & support]
        bounds = [b for c in joined for b in c[0]] + [bound]
        clusters.append((bounds, reduce(_or, (c[1] for c in joined), support)))
    return [bounds for bounds, _ in clusters]


def merge(op: g.Op, branches: Iterable[tuple[float, Any]]) -> float:
    """Constant of a merge of branches (bound, what it depends on: a set, or the bits of one).

    Branches of the same input x: |sum d_i| <= sum L_i |dx|, and |(d_i)| <= root(sum L_i^2) |dx|.
    Branches of different inputs change independently: root of squares (sum) and maximum
    (concatenation and entrywise maximum), because |dx|^2 = sum |dx_i|^2.
    """
    within: Callable[[list[float]], float] = _root_of_squares
    across: Callable[[list[float]], float] = max
    if isinstance(op, g.Sum):
        within, across = _add_up, _root_of_squares
    return across([within(bounds) for bounds in _clusters(branches)])


def _merged(op: g.Op, branches: list[Branch]) -> Branch:
    """Bound and parts of a merge of branches (bound, parts), {earlier node z: bits of its values}.

    Parts are what a branch depends on. Those of z that have nothing in common change independently,
    like inputs: the squares of their changes add up to at most |dz|^2, and each branch's constant
    from its part on is its bound over that of z. So branches of parts of one z are merged first,
    the latest z before all, and then are one branch: sums, concatenations and maxima are
    associative, and what several parts of z change is what their union changes.
    """
    while len(branches) > 1:
        z = max(itertools.chain(*(parts for _, parts in branches)))
        inside = [(bound, parts) for bound, parts in branches if z in parts]
        others = [branch for branch in branches if z not in branch[1]]
        bound, parts = inside[0]
        if len(inside) > 1:
            bound = merge(op, [(bound, parts[z]) for bound, parts in inside])
            common = set(parts).intersection(*(parts for _, parts in inside))
            parts = {key: reduce(_or, (p[key] for _, p in inside)) for key in common}
        if others:
            parts = {key: bits for key, bits in parts.items() if key != z}
        branches = [*others, (bound, parts)]
    return branches[0]


def _product(a: float, b: float) -> float:
    """The product rounded up; exact where a factor is 1."""
    return a * b if 1.0 in (a, b) else up(a * b)


def _add_row(table: list[LayerBound], row: LayerBound) -> None:
    """One row a layer: its operations follow each other, and their constants multiply."""
    if not table or table[-1].name != row.name:
        table.append(row)
        return
    last = table.pop()
    bound = _product(last.bound, row.bound)
    methods = [m for m in (last.method, row.method) if m != "isometry"] or ["isometry"]
    table.append(replace(last, method=", ".join(methods), bound=bound))


class Bounds(NamedTuple):
    """Constants of each node alone, of the map from the joint input to it, and the table."""

    own: list[float]
    total: list[float]
    layers: tuple[LayerBound, ...]


def compose(graph: g.Graph) -> Bounds:
    """All constants of a graph, each operation's computed once."""
    own: list[float] = []
    total: list[float] = []
    parts: list[dict[int, int]] = []  # what each node depends on: see `_merged`
    table: list[LayerBound] = []
    for index, node in enumerate(graph.nodes):
        shapes = [graph.nodes[i].shape for i in node.inputs]
        constant, method = lipschitz(node.op, *shapes)
        own.append(constant)
        if len(node.inputs) > 1:
            bound, part = _merged(node.op, [(total[i], parts[i]) for i in node.inputs])
        elif node.inputs:
            bound, part = _product(total[node.inputs[0]], constant), parts[node.inputs[0]]
            if isinstance(node.op, (g.Slice, g.AxisMaps)) and moves(node.op):
                z, bits = part_of(graph, index)
                part = {**parts[z], z: bits}
        else:
            bound, part = constant, {INPUTS: 1 << index}
        total.append(bound)
        parts.append({z: bits for z, bits in part.items() if not is_whole(graph, z, bits)})
        if node.inputs:
            _add_row(table, LayerBound(node.layer, node.kind, method, constant, shapes[0]))
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
    g.Rounded: _isometry,
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
    g.RootOfSquares: _l2_pool,
    g.Custom: _custom,
}.items():
    lipschitz.register(_op, _function)

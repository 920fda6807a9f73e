"""Roots of weighted squares: L2-norm pooling, and norms that are written out.

A square, and a sign, has no constant of its own. Its node waits to be read by what has one; where
it is still needed in the end, the operator that it came from is refused.
"""

import math

import numpy as np

from lipkit.certify import graph as g
from lipkit.certify.reader.onnx.linear import pool
from lipkit.certify.reader.windows import average_matrix

SLOPE = "its slope has no bound over all inputs"
SQUARE, SIGN = g.Custom(np.square, math.inf), g.Custom(np.sign, math.inf)


def is_waiting(op):
    """Whether an operation waits to be part of one that has a constant."""
    return isinstance(op, g.Custom) and op.function in (np.square, np.sign)


def signed(nodes, indices):
    """The node t of a product sign(t) relu(|t|) or sign(t) |t|, which is t; or None."""
    for sign, size in (indices, indices[::-1]):
        if not isinstance(nodes[sign].op, g.Custom) or nodes[sign].op.function is not np.sign:
            continue
        (source,) = nodes[sign].inputs
        for name in ("relu", "abs"):
            op = nodes[size].op
            if isinstance(op, g.Elementwise) and op.name == name and not op.parameters:
                (size,) = nodes[size].inputs
                if size == source and name == "abs":
                    return source
    return None


def _root(call):
    """A root of scale M x^2 + shift, in any order of axes, with reshapes behind M."""
    nodes, index, path = call.nodes, call.sources[0].node, []
    while not (isinstance(nodes[index].op, g.Custom) and nodes[index].op.function is np.square):
        if len(nodes[index].inputs) != 1:
            raise call.refusal(SLOPE)
        path.insert(0, nodes[index].op)
        (index,) = nodes[index].inputs
    (source,) = nodes[index].inputs
    scale, shift, maps, moves = 1.0, 0.0, {}, []
    order = tuple(range(len(nodes[source].shape)))  # the axis of x that each axis is
    for op in path:
        if isinstance(op, g.Diagonal) and op.scale.size == op.shift.size == 1:
            scale, shift = scale * op.scale.item(), shift * op.scale.item() + op.shift.item()
        elif isinstance(op, g.Permute) and not moves:
            order = tuple(order[axis] for axis in op.axes)
        elif isinstance(op, (g.Reshape, g.Permute)):
            moves += [op] if moves else [g.Permute(order), op]
        else:
            found = {} if moves or shift else {order[axis]: m for axis, m in _matrices(op)}
            if not found or found.keys() & maps.keys():
                raise call.refusal(SLOPE)
            maps |= found
    if not (0 < scale < math.inf and 0 <= shift < math.inf):
        raise call.refusal(SLOPE)
    call.sources = [call.sources[0]._replace(node=source)]
    root = g.RootOfSquares(tuple(maps.items()), scale, shift)
    if not moves and order != tuple(range(len(order))):
        moves = [g.Permute(order)]
    return [root, *moves]


def _matrices(op):
    """Axes and matrices of an operation with weights >= 0, none of others."""
    found = ()
    if isinstance(op, g.AxisMaps):
        found = op.matrices
    elif isinstance(op, g.Dense) and op.bias is None:
        found = ((-1, op.kernel.T),)
    return found if all((matrix >= 0).all() for _, matrix in found) else ()


def _power(call):
    exponent = call.constant(1)
    if exponent is None or exponent.size != 1 or exponent.item() not in (0.5, 1, 2):
        raise call.refusal(SLOPE)
    return {0.5: _root, 1: lambda call: [], 2: lambda call: [SQUARE]}[exponent.item()](call)


def _lengths(p, matrices):
    """p-norms: the operations of sums of |x|^p, and of their root."""
    return [g.RootOfSquares(matrices)] if p == 2 else [g.Elementwise("abs"), g.AxisMaps(matrices)]


def _order(call):
    p = call.attribute("p", 2)
    if p not in (1, 2):
        raise call.refusal(f"p={p} is not covered: only 1 and 2 are")
    return p


def _pool(call):
    p, (at, fill), matrices = _order(call), pool(call), []
    for axis, (n, (low, high)) in enumerate(zip(at.sizes, at.padding, strict=True)):
        padding = low, high + fill[axis]
        mean = average_matrix(n, at.window[axis], at.strides[axis], padding)
        matrices.append((axis + 1, (mean > 0).astype("float64")))
    return _lengths(p, tuple(matrices))


def _global_pool(call):
    matrices = ((i, np.ones((1, n))) for i, n in enumerate(call.samples()) if i)
    return _lengths(_order(call), tuple(matrices))


def _sign(call):
    return [SIGN]


RULES = {
    "Sqrt": _root,
    "Pow": _power,
    "Sign": _sign,
    "LpPool": _pool,
    "GlobalLpPool": _global_pool,
}

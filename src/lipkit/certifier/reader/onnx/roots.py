"""Roots of weighted squares: L2-norm pooling, and norms that are written out."""

import math

from lipkit.certifier import graph as g
from lipkit.certifier.reader.onnx.composed import Pending
from lipkit.certifier.reader.onnx.elementwise import SLOPE, part


def _is_square(op):
    if not isinstance(op, Pending):
        return False
    first, last = op.operands[0], op.operands[-1]
    return first == last if op.kind == "Mul" else (op.kind, type(last), last) == ("Pow", float, 2.0)


def _root(call):
    """A root of scale M x^2 + shift, in any order of axes, with reshapes behind M."""
    nodes, index, path = call.nodes, call.sources[0].node, []
    while not _is_square(nodes[index].op):
        if len(nodes[index].inputs) != 1:
            raise call.refusal(SLOPE)
        path.insert(0, nodes[index].op)
        (index,) = nodes[index].inputs
    source = nodes[index].inputs[0]
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
    exponent = call.constant(1) if call.is_constant(1) else None
    if exponent is not None and exponent.size == 1 and exponent.item() in (0.5, 1):
        return _root(call) if exponent.item() == 0.5 else []
    return part(SLOPE)(call)


RULES = {"Sqrt": _root, "Pow": _power}

"""Which values of an earlier node a node depends on: parts, as the bits of an integer."""

import math

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.evaluate import evaluate

INPUTS = -1  # the node that all inputs are parts of: one bit each


def selects(matrix: np.ndarray) -> bool:
    """Whether a matrix picks some entries, none of them twice."""
    picks = len(matrix) <= matrix.shape[1] and np.isin(matrix, (0, 1)).all()
    return bool(picks and (matrix.sum(axis=1) == 1).all() and (matrix.sum(axis=0) <= 1).all())


def moves(op: g.Op) -> bool:
    """Whether each value is one of the operand's, and none is there twice."""
    if isinstance(op, g.AxisMaps):
        return all(map(selects, (matrix for _, matrix in op.matrices)))
    return isinstance(op, (g.Slice, g.Reshape, g.Permute, g.Rounded))


def part_of(graph: g.Graph, index: int) -> tuple[int, int]:
    """The earlier node that a node has moved values of, and a bit for each of these."""
    path: list[g.Op] = []
    while moves(graph.nodes[index].op):
        path.append(graph.nodes[index].op)
        (index,) = graph.nodes[index].inputs
    shape = graph.nodes[index].shape
    places = np.arange(math.prod(shape)).reshape(1, *shape)
    for op in reversed(path):
        places = evaluate(op, places)
    taken = np.zeros(math.prod(shape), dtype=bool)
    taken[places.astype(int)] = True
    return index, int.from_bytes(np.packbits(taken, bitorder="little").tobytes(), "little")


def is_whole(graph: g.Graph, z: int, bits: int) -> bool:
    """Whether these are all values of z: then they are parts of what z is a part of."""
    return z != INPUTS and bits.bit_count() == math.prod(graph.nodes[z].shape)

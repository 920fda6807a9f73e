"""Inputs at which a reading is compared with its program: of many sizes, to both sides of kinks."""

import numpy as np

from lipkit.certifier import evaluate
from lipkit.certifier import graph as g

# in pairs of opposite inputs: one of them is on the other side of a kink that the size reaches
SIZES = np.array([1e-30, 0.01, 2.0, -2.0, 30.0, -30.0, 1e3, -1e3])
_DIRECTIONS = np.array([0, 0, 1, 1, 2, 2, 3, 3])
LARGEST = 1e9
_AFFINE = (
    *(g.Dense, g.Einsum, g.Conv, g.ConvTranspose, g.AxisMaps, g.Center, g.Diagonal),
    *(g.Reshape, g.Permute, g.Slice, g.Sum, g.Concat),
)


def probes(graph, dtypes):
    """Inputs, one array for each of the graph's, as the program gets them; and their sizes (n,)."""
    rng = np.random.default_rng(0)
    shapes = [graph.nodes[i].shape for i in graph.inputs]
    directions = [rng.uniform(-1, 1, (max(_DIRECTIONS) + 1, *shape)) for shape in shapes]
    far = _crossing(graph, [d[-1:] for d in directions])
    sizes = np.concatenate([SIZES, far, -far])
    chosen = np.concatenate([_DIRECTIONS, np.full(2 * len(far), _DIRECTIONS[-1])])
    rows = [
        sizes.reshape(-1, *(1,) * len(shape)) * d[chosen]
        for d, shape in zip(directions, shapes, strict=True)
    ]
    return [x.astype(dtype) for x, dtype in zip(rows, dtypes, strict=True)], np.abs(sizes)


def _crossing(graph, direction):
    """Sizes beyond those of `SIZES` at which a line through 0 crosses kinks behind affine nodes."""
    rates, largest = {}, SIZES.max()
    given = iter(direction)
    sizes = [np.zeros(0)]
    with np.errstate(all="ignore"):
        for index, node in enumerate(graph.nodes):
            if isinstance(node.op, g.Input):
                d = next(given)
                rates[index] = np.concatenate([np.zeros_like(d), d])
            elif all(i in rates for i in node.inputs):
                values = [rates[i] for i in node.inputs]
                if isinstance(node.op, _AFFINE):
                    rates[index] = evaluate.evaluate(node.op, *values)
                else:
                    sizes += [np.abs(v[0] / (v[1] - v[0])).ravel() for v in values]
    sizes = np.concatenate(sizes)
    beyond = sizes[(sizes > largest) & (sizes < LARGEST)]
    if not len(beyond):  # always as many probes: a batch of another size is compiled again on JAX
        beyond = np.array([largest / 2])
    return 2 * np.array([np.median(beyond), beyond.max()])

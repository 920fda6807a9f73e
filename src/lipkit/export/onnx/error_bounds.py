"""Rounding errors of a whole program, affine in the norm of its input."""

from typing import NamedTuple

import numpy as np

from lipkit.certifier import evaluate, rounding
from lipkit.certifier import graph as g
from lipkit.certifier.activations import ACTIVATIONS
from lipkit.certifier.arithmetic import DOUBLE, FORMATS
from lipkit.certifier.norms import inflate
from lipkit.export.onnx.activations import IN_SINGLE

SINGLE = FORMATS["float32"]
# twice its unit: a runtime may fold factors into kernels, which are then rounded once more
DEPLOYED = SINGLE._replace(unit=2 * SINGLE.unit, program="onnx")
SMALLEST = 2.0**-100  # summands that are 0 in float32 may be dropped by a runtime


class Error(NamedTuple):
    """A program is within slope |x| + offset of the real function where |x| <= largest."""

    slope: float
    offset: float
    largest: float


def _local(graph, arithmetic):
    """`rounding.local_errors`, and what is computed in float32, or rounded to it, in a file."""
    local = rounding.local_errors(graph, arithmetic)
    rough = rounding.local_errors(graph, DEPLOYED)
    for index, node in enumerate(graph.nodes):
        if not isinstance(node.op, g.Elementwise):
            continue
        relative, absolute = rough[index]
        if arithmetic is DOUBLE and node.op.name in IN_SINGLE:
            slope = float(ACTIVATIONS[node.op.name].slope(*node.op.parameters))
            # the operand is rounded before
            local[index] = relative + slope * DEPLOYED.unit, absolute + slope * absolute
    return local


def program_error(graph: g.Graph, bounds, node: int, arithmetic, initial=0.0) -> Error:
    """The error of the value of `node`, from `rounding.forward_errors`.

    At |x| = t a value of the real network is at most L t + |f(0)|. The errors are sums, multiples
    and root sums of squares of these norms and of constants, so by the triangle inequality they are
    at most those for L, times t, plus those for |f(0)|. An overflow is the likelier the larger t.
    """
    local = _local(graph, arithmetic)
    zeros = [np.zeros((1, *graph.nodes[i].shape)) for i in graph.inputs]
    norms = [rounding.norms(value) for value in evaluate.run(graph, *zeros)]

    def errors(local, reach, arithmetic, initial):
        return rounding.forward_errors(graph, bounds.own, local, reach, arithmetic, initial)

    exact, _ = errors(_local(graph, DOUBLE), norms, DOUBLE, 0.0)  # f(0) is rounded too
    rest = [inflate(n + e, 1) for n, e in zip(norms, exact, strict=True)]
    slope, _ = errors(
        [(a, 0.0) for a, _ in local], [np.array([c]) for c in bounds.total], arithmetic, initial
    )
    offset, _ = errors(local, rest, arithmetic, initial)
    sizes = 2.0 ** np.arange(-64, 1000)
    with np.errstate(over="ignore"):
        reach = [inflate(c * sizes + r, 2) for c, r in zip(bounds.total, rest, strict=True)]
    fits = sizes[~errors(local, reach, arithmetic, initial)[1]]
    return Error(
        float(slope[node][0]),
        max(float(offset[node][0]), SMALLEST),
        float(fits.max(initial=-1.0)),
    )

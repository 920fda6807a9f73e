"""The certificate as ONNX operators in float64: label and radius from the logits.

The radius is at most that of `lipkit.certify`: the error of the margin is taken off three times,
because the float64 programs here and there may err to opposite sides.
"""

import math

import numpy as np

from lipkit.certifier.certificate import LARGEST, ROOT_2, Head, pairwise
from lipkit.certifier.norms import inflate
from lipkit.export.onnx.error_bounds import Error

# of the radius itself: differences of logits and of errors, and the quotient, here and in
# `lipkit.certify`, which takes some off for them
ROUNDINGS = 8


def decision(p, logits, task):
    """Labels (batch, 1) or (batch, labels) of logits (batch, outputs)."""
    if task == "multiclass":
        return p("ArgMax", logits, axis=1, keepdims=1)
    return p.cast(p("Greater", logits, p.weights(0.0)), "int64")


def input_norm(p, inputs, sizes):
    """The norm of all inputs together, (batch, 1)."""
    squares = [
        p("ReduceSumSquare", p.reshape(x, (size,)), p.integers(1), keepdims=1)
        for x, size in zip(inputs, sizes, strict=True)
    ]
    return p("Sqrt", p("Sum", *squares))


def _table(p, constants):
    """Constants that make up for the roundings of what is divided by them, as an array."""
    return p.weights(inflate(np.maximum(constants, 1e-300), ROUNDINGS))


def _margins(p, logits, label, task, head: Head, bounds, outputs):
    """Margins (batch, alternatives), their constants, and where there is no alternative.

    The constants are arrays or looked up by label, even where they are all the same: a single one
    near 1 might be dropped by a runtime (see `Program.times`).
    """
    if task == "multilabel":
        constants = np.broadcast_to(pairwise(head, bounds, 0, task), (outputs,))
        return p("Abs", logits), _table(p, constants), None
    labels = range(2 if task == "binary" else outputs)
    rows = np.stack([pairwise(head, bounds, c, task) for c in labels])
    constants = p("Gather", _table(p, rows), p("Squeeze", label, p.integers(1)))
    if task == "binary":
        return p("Abs", logits), constants, None
    top = p("ReduceMax", logits, p.integers(1), keepdims=1)
    return p("Sub", top, logits), constants, p("Equal", label, p.integers(*range(outputs)))


def certificate(p, logits, norm, size, label, task, head, bounds, errors: list[Error], outputs):
    """The radius (batch, 1), and whether it holds.

    Args:
        p: a program in float64.
        logits, label: values (batch, outputs) in float64, and their `decision`.
        norm, size: the `input_norm`, and the number of its entries.
        task, head, bounds: of `lipkit.certifier.certificate`.
        errors: of this program and, if it is to be certified, of the one in float32.
        outputs: number of logits.
    """
    margins, constants, own = _margins(p, logits, label, task, head, bounds, outputs)
    radius, holds = None, None
    for error, factor in zip(errors, (3.0, 1.0), strict=False):
        # the error of the first program at x, of the second one anywhere within the first's radius
        reach = norm if radius is None else p("Add", norm, radius)
        # the norm's squares, their sum and root; here a sum, two products and a sum
        factor = inflate(factor * ROOT_2, size + 8)
        lost = p.plus(p.times(reach, factor * error.slope), factor * error.offset)
        margins = p("Sub", margins, lost)
        radii = p("Min", p("Div", margins, constants), p.weights(LARGEST))
        radii = p("Max", radii, p.weights(0.0))
        if own is not None:
            radii = p("Where", own, p.weights(LARGEST), radii)
        radius = p("ReduceMin", radii, p.integers(1), keepdims=1)
        small = p("LessOrEqual", reach, p.weights(error.largest))
        holds = small if holds is None else p("And", holds, small)
    return radius, holds


def usable(p, *values):
    """Whether all values (batch, ...) are finite, (batch, 1)."""
    sizes = [p("ReduceSum", p("Abs", value), p.integers(1), keepdims=1) for value in values]
    return p("Less", p("Sum", *sizes), p.weights(math.inf))


def agreement(p, *labels):
    """Whether two programs decide alike, (batch, 1)."""
    same = p.cast(p("Equal", *labels))
    return p("Greater", p("ReduceMin", same, p.integers(1), keepdims=1), p.weights(0.5))

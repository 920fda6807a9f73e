"""Attempts to refute a bound and certificates: what they find is a fault, what they miss is not."""

import re
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import lipkit
from fuzzing import levels, slopes
from fuzzing.function import Joint, decision, margins
from fuzzing.subject import MANY
from lipkit.certifier import graph as g
from lipkit.certifier.api import reading_of

KINKED = {"linear", "relu", "relu6", "abs", "negative", "clip", "hard_tanh", "soft_shrink"}
KINKED |= {"hard_sigmoid"}
CURVED = (g.Softmax, g.LogSoftmax, g.Norm, g.RootOfSquares, g.Custom)
NOTHING = 1e-100  # bounds of zeros


@dataclass
class Outcome:
    """What happened to one graph.

    Attributes:
        bounded: whether there is a bound; else it was refused, for a `reason`.
        reason: of a refusal.
        violations: what was claimed and is not so, or raised and is no refusal.
        linear: whether the graph is piecewise linear.
        share: the largest slope that was found, as a share of the bound; None where that is 0.
        certificates: those in the program's format that were attacked.
        error: the largest error of the program's margins, as a share of the one that is modelled.
    """

    bounded: bool = False
    reason: str = ""
    violations: list[str] = field(default_factory=list)
    linear: bool = False
    share: float | None = None
    certificates: int = 0
    error: float = 0.0


def check(subject, rng) -> Outcome:
    """Attack all that lipkit says of a program."""
    outcome = Outcome()
    try:
        _attack(subject, rng, outcome)
    except lipkit.NotCertifiable as error:
        outcome.reason = _kind(error)
    except Exception as error:  # that lipkit raises no others is what is tested
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        clear = any(words in text for words in ("not a valid one", "give `input_shape`"))
        if subject.damaged and isinstance(error, ValueError) and clear:
            outcome.reason = "no valid file, or sizes that it does not say"
        else:
            outcome.violations.append(text)
    return outcome


def _attack(subject, rng, outcome):
    bound = float(lipkit.lipschitz_bound(subject.model))
    outcome.bounded = True
    if subject.damaged and not subject.runs():  # with inputs of other shapes, perhaps
        return
    reading = reading_of(subject.model)
    function = Joint(reading.graph)
    outcome.linear = all(map(_is_kinked, reading.graph.nodes))
    # of a float64 program too: what its elementwise functions lack is for `levels` to judge
    tolerance = 1e-6 if subject.dtype == "float64" and not reading.rewritten else 1e-4
    agrees = _agree(subject, function, rng, outcome, tolerance)
    _bound(subject, function, bound, rng, outcome, tolerance if agrees else None)
    if subject.bias is not None:
        _real(subject, function, rng, outcome)
        levels.attack(subject, function, rng, outcome)


def _kind(error):
    """The reason of a refusal without names and numbers."""
    text = re.sub(r"'[^']*'|[\[(][^)\]]*[\])]|[-+.\d]*\d(e[-+]?\d+)?", "_", error.reason)
    return text.strip()[:90]


def _is_kinked(node):
    op = node.op
    return op.name in KINKED if isinstance(op, g.Elementwise) else not isinstance(op, CURVED)


def _agree(subject, function, rng, outcome, tolerance):
    """Whether the program computes what is bounded, on other inputs than lipkit's own."""
    for size, batch in ((1e-2, MANY), (1.0, 1), (30.0, MANY), (1e3, 1)):
        x = (size * rng.standard_normal((batch, function.n))).astype(subject.dtype)
        values = function.values(x.astype("float64"))
        expected = function.joined(values)
        outputs = subject.in_batches(function.split(x), batch)
        if sum(y.size for y in outputs) != expected.size:
            outcome.violations.append(
                f"bounded as {expected.shape} and has the outputs {[y.shape for y in outputs]}"
            )
            return False
        got = np.concatenate([y.reshape(batch, -1) for y in outputs], axis=1)
        # what cancels leaves the rounding errors of the largest value on the way
        reach = 1 + max(float(np.abs(v).max(initial=0.0)) for v in values)
        if not np.isfinite(got).all() or reach > 1e30:
            continue
        difference = float(np.abs(got - expected).max(initial=0.0))
        if difference > tolerance * reach:
            outcome.violations.append(
                f"read as another function: at inputs of size {size}, batch {batch}, outputs "
                f"differ by {difference:.3g} of {np.abs(expected).max():.3g}"
            )
            return False
    return True


def _bound(subject, function, bound, rng, outcome, tolerance):
    """Slopes of the function, and within a tolerance of the program, against the bound."""
    x, y = slopes.steepest(function, rng)
    ratio = slopes.exact(function, x, y)
    if bound > NOTHING:
        outcome.share = ratio / bound
    if ratio > bound * (1 + 1e-9):
        outcome.violations.append(f"bound {bound!r}, and the slope {ratio!r} between {x} and {y}")
    if tolerance is not None and bound > NOTHING:
        outputs = subject.in_batches(function.split(np.stack([x, y])), 1)
        outputs = np.concatenate([o.reshape(2, -1) for o in outputs], axis=1)
        values = function.values(np.stack([x, y]))
        noise = tolerance * max(float(np.abs(v).max(initial=0.0)) for v in values)
        change, distance = np.linalg.norm(outputs[0] - outputs[1]), np.linalg.norm(x - y)
        if change - noise > bound * distance * (1 + tolerance):
            outcome.violations.append(f"bound {bound!r}, and {change / distance!r} of the program")


def _real(subject, function, rng, outcome):
    """Certificates in real arithmetic, along the way to the next decision."""
    x = rng.standard_normal((3, function.n)) * np.array([[0.1], [1.0], [10.0]])
    x = x.astype(subject.dtype).astype("float64")
    result = lipkit.certify(subject.model, function.given(x))
    for row, label, radius in zip(x, result.label, result.radius, strict=True):
        if not 0 < radius < 1e100:
            continue
        for y in slopes.towards(function, row, label, radius, rng):
            logits = function(y[None].astype("longdouble"))
            behind = -margins(logits, np.array([label]))[0]
            if decision(logits)[0] != label and behind > 1e-12 * np.abs(logits).max():
                outcome.violations.append(f"real: radius {radius!r} of label {label} broken at {y}")
                return

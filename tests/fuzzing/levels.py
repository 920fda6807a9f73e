"""Certificates of the program in its own format, at margins as small as are certified."""

import numpy as np

import lipkit
from fuzzing import slopes
from fuzzing.function import decision, gaps
from fuzzing.subject import MANY
from fuzzing.sums import adversarial

SLACKS = (1.0, 1.03, 1.2, 2.0)  # of the margin over the modelled error


def attack(subject, function, rng, outcome):
    """Compare labels at inputs whose sums are rounded to one side, one and many at a time.

    Where the program's margin is farthest below the real one, the last bias is moved until the
    margin is hardly certified, and the labels are those of the program there and in the radius.
    """
    x = _inputs(function, subject.dtype, rng)
    result = lipkit.certify(subject.model, function.given(x), arithmetic=subject.dtype)
    sure = result.status == "certified"
    for batch in (1, MANY):
        logits = run(subject, function, x, batch)
        _compare(x, result, logits, batch, outcome)
        with np.errstate(all="ignore"):
            # by how much the program has less of the margin, over the alternative that limits it
            less = result.margin[:, None] - gaps(logits, np.where(sure, result.label, 0))
            error = less[np.arange(len(x)), np.argmin(np.abs(less), axis=1)]
            modelled = result.margin - result.radius * result.lipschitz
            share = np.where(sure & (modelled > 0), error / modelled, 0.0)
            clear = modelled > 1e-9 * result.margin  # more than the rounding of this difference
        if share.max(initial=0.0) > 0:
            outcome.error = max(outcome.error, float(np.max(share[clear], initial=0.0)))
            worst = int(np.argmax(share))
            points = np.stack([x[worst]] * batch)
            # the bias that is moved is rounded to the format: the second move is a unit above
            unit = float(np.spacing(np.abs(result.margin[worst]).astype(subject.dtype)))
            left = np.insert(modelled[worst] * np.array(SLACKS), 1, modelled[worst] + 2 * unit)
            moves = left - result.margin[worst]
            _moved(subject, function, points, int(result.label[worst]), moves, rng, outcome)


def run(subject, function, x, batch):
    """The logits that the program computes, this many samples at a time."""
    return subject.in_batches(function.split(x), batch)[0].reshape(len(x), -1)


def _inputs(function, dtype, rng):
    """Samples (24, values): those with one-sided sums, and others."""
    shape = function.shapes[0] if len(function.shapes) == 1 else (function.n,)
    base = np.abs(rng.standard_normal(function.n)) + 0.5
    weights = slopes.jacobian(function, base[None], 1e-4)[0][0]
    usable = np.isfinite(weights).all() and np.abs(weights).max() > 0
    others = np.array([1e-2, 1.0, 300.0])[:, None] * rng.standard_normal((3, function.n))
    x = [
        others,
        adversarial(shape, dtype, rng, weights if usable else None, 6),
        adversarial(shape, dtype, rng, None, 15),
    ]
    x = np.concatenate([part.reshape(-1, function.n) for part in x])
    return x.astype(dtype).astype("float64")


def _compare(x, result, logits, batch, outcome):
    labels, sure = decision(logits), result.status == "certified"
    outcome.certificates += int(sure.sum())
    for i in np.flatnonzero(sure & (labels != result.label))[:1]:
        outcome.violations.append(
            f"{result.arithmetic}, batch {batch}: label {result.label[i]} certified with radius "
            f"{result.radius[i]!r}, and the program has {logits[i]} at {x[i].tolist()}"
        )


def _moved(subject, function, x, label, moves, rng, outcome):
    """Attack the first certificate that there is of these moves of the margin at x (equal rows)."""
    bias = subject.bias()
    for move in moves:
        shift = np.zeros_like(bias)
        if len(bias) == 1:
            shift[0] = move if label else -move
        else:
            shift[label] = move
        subject.move(shift)
        try:
            result = lipkit.certify(subject.model, function.given(x), arithmetic=subject.dtype)
            if result.status[0] == "certified" and result.label[0] == label:
                _compare(x, result, run(subject, function, x, len(x)), f"{len(x)}, moved", outcome)
                _around(subject, function, x[0], result, len(x), rng, outcome)
                return
        finally:
            subject.move(bias - subject.bias())


def _around(subject, function, x, result, batch, rng, outcome):
    """The program's labels within the radius of the first certificate."""
    label, radius = int(result.label[0]), float(result.radius[0])
    points = [*slopes.towards(function, x, label, radius, rng)]
    points += [np.nextafter(x.astype(subject.dtype), end) for end in (-np.inf, np.inf)]
    points = np.array([*points, x]).astype(subject.dtype).astype("float64")
    points = points[np.linalg.norm(points - x, axis=1) <= radius]
    labels = decision(run(subject, function, points, batch))
    for y in points[labels != label][:1]:
        outcome.violations.append(
            f"{result.arithmetic}, batch {batch}: radius {radius!r} of label {label} at "
            f"{x.tolist()} broken at {y.tolist()}"
        )

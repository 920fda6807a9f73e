"""The nearest inputs, along the gradient, that a model decides on differently."""

from dataclasses import dataclass

import numpy as np

from lipkit._checks import integer, real
from lipkit.explain.margins import Margins

REACHED = 0.99  # share of the margin aimed at that is enough
HALVINGS = 12


@dataclass(frozen=True, eq=False)
class Counterfactuals:
    """Inputs with another label, near n given ones; print it.

    Attributes:
        x: (n, ...) the counterfactual inputs, in the model's input dtype; where none was found,
            the last attempt.
        label: (n,) the model's own decision at `x`.
        before: (n,) its decision at the given inputs.
        distance: (n,) Euclidean distance of `x` from the given input: an upper bound on the
            distance to the nearest input of that label, and at least the certified radius where
            `flipped`.
        flipped: (n,) whether `label` is the target or, without a target, differs from `before`.

    Example:
    >>> result = lipkit.explain.counterfactual(model, x)
    >>> len(result), result.x.shape, result.label.shape
    (200, (200, 2), (200,))
    """

    x: np.ndarray
    label: np.ndarray
    before: np.ndarray
    distance: np.ndarray
    flipped: np.ndarray

    def __len__(self):
        return len(self.x)

    def __str__(self):
        found = self.distance[self.flipped]
        middle = f", median distance {np.median(found):.4g}" if len(found) else ""
        return f"{len(found)} of {len(self)} inputs have a counterfactual{middle}"

    __repr__ = __str__


def counterfactual(
    model, x, target=None, *, overshoot=1e-3, steps=20, low=None, high=None, frozen=None
) -> Counterfactuals:
    """Move inputs along the gradient until the model decides differently.

    With m the margin of the decision, or minus that of the target, Newton's steps towards
    m = -overshoot |m(x)| are

        z <- z - (m(z) + overshoot |m(x)|) grad m(z) / |grad m(z)|²,

    followed by a bisection between the last two points. For a network that was trained with the
    HKR loss the gradient has norm almost 1, so that one step does, and its direction is that of
    the optimal transport between the classes. A feature that reaches its limit stays there, and the
    next step takes the gradient of the others: for a linear margin the result is the nearest within
    the limits.

    Args:
        model: as in `lipkit.explain.saliency`.
        x: (n, ...) inputs.
        target: class to reach, one or (n,); None: any other class.
        overshoot: how sure of its label the counterfactual should be, > 0, as a share of the margin
            at x: 0.001 just crosses, 1 is as sure as x was of the opposite.
        steps: largest number of Newton's steps, >= 1.
        low, high: limits of the features, numbers or arrays of an input's shape, such as the
            extremes of the data; None: none. A feature beyond one may stay or come back.
        frozen: booleans of an input's shape, true where a feature must stay as it is; None:
            nowhere.

    Returns:
        `Counterfactuals` with x, label, before, distance and flipped of each input.

    Raises:
        ValueError: bad arguments, or a model that ends with a sigmoid or softmax.

    Example:
    >>> result = lipkit.explain.counterfactual(model, x)
    >>> bool((result.distance >= lipkit.certify(model, x).radius)[result.flipped].all())
    True
    >>> inside = lipkit.explain.counterfactual(model, x, low=x.min(axis=0), high=x.max(axis=0))
    >>> bool((inside.x >= x.min(axis=0)).all())
    True

    References: Serrurier et al., CVPR 2021, arXiv:2006.06520, for the direction; Serrurier et al.,
    NeurIPS 2023, arXiv:2206.06854, for counterfactuals; Moosavi-Dezfooli et al., "DeepFool", CVPR
    2016, arXiv:1511.04599, for the steps. Labels are those of the model in its own arithmetic.
    """
    overshoot, steps = real("overshoot", overshoot, "(0, inf)"), integer("steps", steps)
    margins = Margins(model, x)
    labels = margins.labels(target)
    sign = -1.0 if target is None else 1.0  # the way in which the margin has to go

    def gain(points):
        """What has to become positive (n,), and its gradient as rows (n, d), in float64."""
        value, gradient = margins(points.astype(margins.x.dtype).reshape(margins.x.shape), labels)
        return sign * value.astype("float64"), sign * _rows(gradient)

    start = _rows(margins.x)
    low, high = _limits(margins.x, low, high, frozen)
    value, gradient = gain(start)
    aim = overshoot * np.abs(value)
    arrived = value > 0  # at a target
    points, last = start.copy(), start.copy()
    for _ in range(steps):
        free = np.where(gradient > 0, points < high, points > low)
        gradient = gradient * free
        square = np.sum(gradient**2, axis=1)
        length = np.where(arrived | (square == 0), 0.0, (aim - value) / np.maximum(square, 1e-300))
        last = np.where(arrived[:, None], last, points)
        points = np.clip(points + length[:, None] * gradient, low, high)
        value, gradient = gain(points)
        arrived = arrived | (value >= REACHED * aim)
        if arrived.all():
            break
    points = _nearest(gain, last, points, arrived, aim)
    x = points.astype(margins.x.dtype)
    shaped = x.reshape(margins.x.shape)
    label = margins.decide(shaped)
    return Counterfactuals(
        x=shaped,
        label=label,
        before=margins.decision,
        distance=np.linalg.norm(x.astype("float64") - start, axis=1),
        flipped=label != margins.decision if target is None else label == labels,
    )


def _rows(array):
    """Float64 samples as rows: (n, ...) -> (n, d)."""
    return array.reshape(len(array), -1).astype("float64")


def _limits(x, low, high, frozen):
    """The least and the largest value of each feature of each input, both (n, d)."""
    shape, rows = x.shape[1:], _rows(x)
    frozen = np.zeros(shape, bool) if frozen is None else _limit("frozen", frozen, shape)
    if frozen.dtype.kind != "b":
        raise ValueError(f"`frozen` must be booleans. Received: dtype {frozen.dtype}")
    low = _limit("low", -np.inf if low is None else low, shape).astype("float64")
    high = _limit("high", np.inf if high is None else high, shape).astype("float64")
    if not (low <= high).all():
        raise ValueError("`low` must be at most `high` in each feature, and neither undefined.")
    stay = frozen.reshape(-1)
    return (
        np.where(stay, rows, np.minimum(low.reshape(-1), rows)),
        np.where(stay, rows, np.maximum(high.reshape(-1), rows)),
    )


def _limit(name, value, shape):
    value = np.asarray(value)
    if value.dtype.kind not in "biuf" or value.shape not in ((), shape):
        raise ValueError(
            f"`{name}` must be one value, or an array of an input's shape {shape}. Received: shape "
            f"{value.shape}, dtype {value.dtype}"
        )
    return np.broadcast_to(value, shape)


def _nearest(gain, last, points, arrived, aim):
    """Bisection between the last points and those that arrived, for the nearest that suffice."""
    for _ in range(HALVINGS):
        middle = (last + points) / 2
        enough = (gain(middle)[0] >= REACHED * aim) & arrived
        points = np.where(enough[:, None], middle, points)
        last = np.where(enough[:, None] | ~arrived[:, None], last, middle)
    return points

"""What one critic proves about two samples, and about what they were drawn from."""

import math
from typing import NamedTuple

import keras
import numpy as np

from lipkit.attacks.ratio import proven_values
from lipkit.certifier import lipschitz_bound
from lipkit.certifier.norms import U
from lipkit.certifier.reader import read
from lipkit.export import vanilla_model
from lipkit.wasserstein.betting import lower_mean
from lipkit.wasserstein.result import WassersteinDistance

# of a statement, beside the means of blocks: the mean of these, differences and the quotient
ROUNDINGS = 12


class Statements(NamedTuple):
    """What one critic says; see `WassersteinDistance`."""

    estimate: float
    lower: float
    interval: tuple[float, float]
    empirical: float
    lipschitz: float
    critic: keras.Model
    history: dict[str, list[float]]


def statements(model, history, x, y, error) -> Statements:
    """What a trained critic says of two samples.

    Args:
        model, history: the critic and its training.
        x, y: both samples in float64, each as (train, held); the critic depends on `train` only.
        error: probability with which each of `lower` and `interval` may be wrong.
    """
    model = vanilla_model(model)  # in which no kernel is computed at each call
    bound = lipschitz_bound(model)
    evaluate = proven_values(read(model).graph)
    (x_values, x_blur), (y_values, y_blur) = (_values(evaluate, parts) for parts in (x, y))
    blur = x_blur + y_blur  # of a difference of means
    if not math.isfinite(bound) or not math.isfinite(blur):
        raise ValueError(
            "The critic has no finite values: use a smaller `learning_rate`, or another `critic`. "
            f"Received: its Lipschitz bound {float(bound)}, errors of its values {blur}"
        )
    x_all, y_all, seen = map(np.concatenate, (x_values, y_values, (x_values[0], y_values[0])))
    low, high = float(seen.min()), float(seen.max())
    # cut off, f keeps its constant and is bounded whatever the distributions are
    x_held, y_held = (np.clip(values[1], low, high) for values in (x_values, y_values))
    n = min(len(x_held), len(y_held))
    largest = max(float(np.abs(x_all).max()), float(np.abs(y_all).max()))
    block = -(-max(len(x_held), len(y_held)) // n)  # whose mean has as many roundings
    blur += 2 * (block + ROUNDINGS) * U * largest
    pairs = _blocks(x_held, n) - _blocks(y_held, n)
    unit = 1 / bound if bound else 0.0  # a constant critic proves nothing

    def lower(sign, error):
        return (lower_mean(sign * pairs, high - low, error) - blur) * unit

    return Statements(
        estimate=(_mean(x_held) - _mean(y_held)) * unit,
        lower=lower(1, error),
        interval=(lower(1, error / 2), -lower(-1, error / 2)),
        empirical=(_mean(x_all) - _mean(y_all) - blur) * unit,
        lipschitz=float(bound),
        critic=model,
        history={name: [float(v) for v in values] for name, values in history.items()},
    )


def _values(evaluate, parts):
    """Float64 values of f on each part, and a bound on their errors."""
    values, errors = zip(*(evaluate(part) for part in parts), strict=True)
    return [v[:, 0] for v in values], max(float(e.max()) for e in errors)


def _blocks(values, n):
    """Means of n blocks: independent, and of the same expectation, also if not of one size."""
    return np.array([block.mean() for block in np.array_split(values, n)])


def _mean(values):
    """With a few roundings in all."""
    return math.fsum(values) / len(values)


def combined(found, confidence) -> WassersteinDistance:
    """What several critics say; each may be wrong with its share of the probability."""
    best = max(found, key=lambda f: f.empirical)
    low, high = (_mean(ends) for ends in zip(*(f.interval for f in found), strict=True))
    return WassersteinDistance(
        estimate=_mean([f.estimate for f in found]),
        lower_bound=max(0.0, *(f.lower for f in found)),
        interval=(low, high),
        empirical_lower_bound=max(0.0, best.empirical),
        confidence=confidence,
        lipschitz_bound=best.lipschitz,
        critic=best.critic,
        history=best.history,
    )

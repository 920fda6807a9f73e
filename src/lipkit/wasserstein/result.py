"""What `wasserstein_distance` returns."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False, repr=False)
class WassersteinDistance(float):
    """An estimate of a Wasserstein-1 distance, with what is proven about it; print it.

    In arithmetic and formatting it is the float `estimate`. With f a critic, L a proven bound on
    its Lipschitz constant, and g the critic cut off at its range on the samples that it was trained
    on, which is bounded and has the same L:

    Attributes:
        estimate: mean g(x) - mean g(y) over L, on the samples that f was not trained on: the mean
            over all critics.
        lower_bound: a lower bound on the distance of the two *distributions* that is wrong with
            probability at most 1 - `confidence`; at least 0. Proven, for independent samples of any
            distributions, see `lipkit.wasserstein.betting`.
        interval: (low, high), which contains the mean over the critics of (E g(x) - E g(y)) / L
            with probability at least `confidence`, proven in the same way. It measures the noise
            of the estimate; `high` is not an upper bound on the distance, which a better critic may
            show to be larger.
        empirical_lower_bound: mean f(x) - mean f(y) over L on *all* the samples, of the critic for
            which it is largest, at least 0: a proven lower bound on the exact distance of the two
            finite samples, without statistics. The number to compare with an exact solver's.
        confidence: confidence level that was asked for.
        lipschitz_bound: L, of that critic.
        critic: that f, as a plain Keras model that needs no lipkit, of raw inputs: flattened ones,
            unless a critic was given.
        history: history of its training: a dict of lists, one value an epoch.

    Example:
    >>> distance = lipkit.wasserstein_distance(x[y > 0], x[y <= 0], epochs=1, steps=5)
    >>> isinstance(distance, float), len(distance.interval), len(distance.history["loss"])
    (True, 2, 1)
    """

    estimate: float
    lower_bound: float
    interval: tuple[float, float]
    empirical_lower_bound: float
    confidence: float
    lipschitz_bound: float
    critic: Any
    history: dict[str, list[float]]

    def __new__(cls, estimate, *_, **__):
        return super().__new__(cls, estimate)

    def __str__(self):
        low, high = self.interval
        share = f"{100 * self.confidence:g} %"
        return (
            f"Wasserstein-1 distance: about {self.estimate:.6g} (estimate; {share} interval of its "
            f"noise {low:.6g} ... {high:.6g})\n"
            f"  of the distributions: at least {self.lower_bound:.6g} with {share} confidence\n"
            f"  of the two samples:   at least {self.empirical_lower_bound:.6g} (proven)"
        )

    __repr__ = __str__

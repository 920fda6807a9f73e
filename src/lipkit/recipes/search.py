"""The search of the default recipe: which constant of the outputs generalises, and to what radius.

A loss such as the cross-entropy asks for outputs of a size that a 1-Lipschitz network may not have.
So the candidates differ in the constant of the network that the loss sees: small ones give wide
margins, large ones follow the data closely. All are trained side by side, on parts of the rows, and
judged on the rows that each part leaves out.
"""

from dataclasses import dataclass

import numpy as np

LADDER = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # constants for classes, per unit of scaled inputs
TARGETS_LADDER = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # the same, for standardised targets
FOLDS, SMALL = 3, 2000  # parts, where there are fewer rows than that; otherwise one
FRACTION, MOST = 0.2, 20_000  # of rows that one part leaves out, and the largest number of them
ACCURACY_COST = 0.01  # of the best candidate's accuracy on rows left out
CERTIFIED_COST = 0.03  # of the candidate's own accuracy, within the radius
SCORE_COST = 0.005  # of the best candidate's R² on rows left out


@dataclass(frozen=True)
class Parts:
    """Which rows which part of the data leaves out.

    Attributes:
        out: (n,) number of the part that leaves the row out; -1 for none.
        count: number of parts that leave rows out.
        whole: whether one more part has all rows.
    """

    out: np.ndarray
    count: int
    whole: bool

    @classmethod
    def of(cls, strata, fraction, seed):
        """Parts that leave the same share of each stratum out.

        Args:
            strata: (n,) integers from 0, such as classes.
            fraction: share of the rows that one part leaves out; None for a choice by n; 0 for one
                part, which leaves none out.
            seed: of the draw.
        """
        n, rng = len(strata), np.random.default_rng((seed, 1))
        out = np.full(n, -1)
        if fraction == 0:
            return cls(out, 0, True)
        folds = FOLDS if fraction is None and n < SMALL else 1
        share = min(FRACTION, MOST / n) if fraction is None else fraction
        for stratum in np.unique(strata):
            rows = rng.permutation(np.flatnonzero(strata == stratum))
            if folds > 1:
                out[rows] = (np.arange(len(rows)) + rng.integers(folds)) % folds
            elif len(rows) > 1:
                out[rows[: min(max(round(share * len(rows)), 1), len(rows) - 1)]] = 0
        return cls(out, folds, n <= MOST)

    def rows(self):
        """The rows of each part."""
        parts = [np.flatnonzero(self.out != part) for part in range(self.count)]
        return [*parts, np.arange(len(self.out))] if self.whole else parts

    def left_out(self):
        """Each part that leaves rows out, and these rows."""
        return [(part, np.flatnonzero(self.out == part)) for part in range(self.count)]


def margins(values, y, kernel):
    """Radii within which the outputs decide for y, negative where they do not.

    Args:
        values: (candidates, n, outputs) of 1-Lipschitz outputs, or one output for two classes.
        y: (n,) classes.
        kernel: (candidates, m, outputs) of the heads, with columns of norm 1.

    Returns:
        (candidates, n), in units of scaled inputs.
    """
    if values.shape[-1] == 1:
        return (2 * y - 1) * values[..., 0]
    own = np.take_along_axis(values, y[None, :, None], axis=-1)
    norms = np.linalg.norm(kernel[:, :, :, None] - kernel[:, :, None, :], axis=1)
    ratios = (own - values) / np.maximum(norms[:, y], 1e-6)
    np.put_along_axis(ratios, np.broadcast_to(y[None, :, None], own.shape), np.inf, axis=-1)
    return ratios.min(axis=-1)


def _share(holds, weights):
    return holds @ weights / weights.sum()


def _smooth(values):
    """Means of neighbours on the ladder, which are alike: (1, 2, 1) / 4, at the ends (3, 1) / 4."""
    around = np.concatenate([values[:1], values, values[-1:]])
    return (around[:-2] + 2 * around[1:-1] + around[2:]) / 4


def _radius(margin, weights, share):
    """The largest radius that this share of the rows is certified to; 0 if there is none."""
    order = np.argsort(-margin)
    reached = np.cumsum(weights[order]) >= share * weights.sum() * (1 - 1e-12)
    return max(float(margin[order][np.argmax(reached)]), 0.0)


def choose_classes(margin, weights, eps=None):
    """The candidate to keep, the radius and the trade.

    Args:
        margin: (ladders, candidates, n) radii on rows left out, negative where the decision is
            wrong.
        weights: (n,) of the rows.
        eps: a radius: the candidate with most rows certified to it is taken. None: of the
            candidates whose accuracy is at most `ACCURACY_COST` below the best, that which has the
            largest radius at a cost of `CERTIFIED_COST`.

    Returns:
        The place of the candidate (ladder, candidate), eps, and for each candidate a dictionary of
        `eps`, `accuracy`, smoothed along the ladder, and `certified`, the share at its eps.
    """
    accuracy = np.stack([_smooth(_share(ladder > 0, weights)) for ladder in margin])
    shares = np.maximum(accuracy - CERTIFIED_COST, 1e-3)
    places = list(np.ndindex(accuracy.shape))
    radii = np.array([_radius(margin[i], weights, shares[i]) for i in places])
    at = radii if eps is None else np.full(len(radii), eps)
    certified = np.array(
        [
            _share((margin[i] > 0) & (margin[i] >= r), weights)
            for i, r in zip(places, at, strict=True)
        ]
    )
    if eps is None:
        allowed = accuracy.ravel() >= accuracy.max() - ACCURACY_COST
        chosen = int(np.argmax(np.where(allowed, radii, -1.0)))
    else:
        chosen = int(np.lexsort((radii, certified))[-1])
    trade = [
        {"eps": float(r), "accuracy": float(a), "certified": float(c)}
        for r, a, c in zip(at, accuracy.ravel(), certified, strict=True)
    ]
    return places[chosen], float(at[chosen]), trade


def choose_targets(scores):
    """The candidate with the smallest constant whose score is at most `SCORE_COST` below the best.

    Args:
        scores: (ladders, candidates) R² on rows left out, constants ascending.

    Returns:
        The place of the candidate, and for each a dictionary of `r2`.
    """
    allowed = scores >= scores.max() - SCORE_COST
    candidate = int(np.argmax(allowed.any(axis=0)))
    ladder = int(np.argmax(np.where(allowed[:, candidate], scores[:, candidate], -np.inf)))
    return (ladder, candidate), [{"r2": float(score)} for score in scores.ravel()]

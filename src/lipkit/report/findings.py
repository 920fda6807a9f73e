"""What the report computes from a run: attacks, examples and singular values."""

import math
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from lipkit.attacks import falsify, pgd
from lipkit.certifier import certify
from lipkit.certifier.interval import values
from lipkit.certifier.weights import weighted_bound
from lipkit.compute_layer_sv import compute_layer_sv
from lipkit.report.baselines import Baselines, compare
from lipkit.report.changes import frozen
from lipkit.runs import Run

SEED = 0
MULTIPLES = np.geomspace(1.0, 16.0, 16)  # of the certified radius, searched for another label


@dataclass(frozen=True)
class Attacked:
    """The nearest inputs of another label that an attack found for m test points.

    Attributes:
        rows: (m,) the points.
        distance: (m,) 0 where the decision is wrong as it is, inf where nothing was found.
        radius: (m,) certified radii of right decisions, otherwise -1.
    """

    rows: np.ndarray
    distance: np.ndarray
    radius: np.ndarray

    @property
    def tried(self) -> int:
        """Number of right decisions with a certificate, which are those that were attacked."""
        return int(np.sum(self.radius >= 0))

    @property
    def broken(self) -> int:
        """Number of attacked points for which another label was found."""
        return int(np.sum(np.isfinite(self.distance) & (self.radius >= 0)))

    @property
    def refuted(self) -> int:
        """Number of those with another label inside their certified radius."""
        return int(np.sum(self.distance <= self.radius))

    def accuracy(self, eps) -> np.ndarray:
        """Share of the points that the attack leaves right within each radius: an upper bound."""
        return np.mean(self.distance > np.asarray(eps)[:, None], axis=1)

    def certified(self, eps) -> np.ndarray:
        """Share of the points that are proven right within each radius: a lower bound."""
        return np.mean(self.radius >= np.asarray(eps)[:, None], axis=1)


def attack(run) -> Attacked:
    """Attack the sample: projected gradient ascent in balls of 1 to 16 certified radii.

    What it finds is drawn back towards the point as long as the label is proven to be another one.
    """
    model, x, certificates = run.space
    right = certificates.label[run.sample] == run.y[run.sample]
    sure = right & certificates.certified[run.sample]
    result = Attacked(
        run.sample,
        np.where(right, np.inf, 0.0),
        np.where(sure, certificates.radius[run.sample], -1.0),
    )
    chosen = np.flatnonzero(sure)
    rows = np.repeat(run.sample[chosen], len(MULTIPLES))
    if not len(rows):
        return result
    certificates = _rows(certificates, rows)
    radius = certificates.radius * np.tile(MULTIPLES, len(chosen))
    found = pgd(model, x[rows], certificates, radius, seed=SEED)
    broken = rows[found.broken]
    near = _drawn_back(model, x[broken], run.y[broken], found.x[found.broken])
    np.minimum.at(result.distance, np.repeat(chosen, len(MULTIPLES))[found.broken], near)
    return result


@dataclass(frozen=True)
class Moved:
    """How far an attack moved the values of m test points, within the radius of their intervals.

    Attributes:
        rows: (m,) the points, those of the sample that have an interval.
        distance: (m,) of the values that were found from those at the points.
        refuted: number of values that were proven to leave their intervals.
    """

    rows: np.ndarray
    distance: np.ndarray
    refuted: int

    @property
    def tried(self) -> int:
        """Number of intervals that were attacked."""
        return len(self.rows)


def moved(run) -> Moved:
    """Attack the intervals of the sample, upward and downward."""
    model, x, intervals = run.space
    rows = run.sample[intervals.certified[run.sample]]
    names = ("value", "lower", "upper", "status", "y")
    own = replace(intervals, **{name: getattr(intervals, name)[rows] for name in names})
    found = falsify(model, x[rows], own, seed=SEED)
    ends = values(model, found.x)[:, 0]
    return Moved(rows, np.abs(ends - own.value), int(found.broken.sum()))


def _rows(certificates, rows):
    """Certificates of some points, in this order."""
    names = ("label", "radius", "margin", "lipschitz", "status", "y")
    return replace(certificates, **{name: getattr(certificates, name)[rows] for name in names})


def _drawn_back(model, start, label, found, steps=16):
    """Distances of the first points, on the way from x to `found`, that have another label."""
    if not len(start):
        return np.empty(0)
    x = start.astype("float64")
    share = np.linspace(1 / steps, 1.0, steps)
    way = x + share.reshape(-1, *[1] * x.ndim) * (found - x)  # (steps, m, ...)
    way = way.astype(start.dtype)
    labels = certify(model, way.reshape(-1, *x.shape[1:]), progress=False)
    other = labels.label.reshape(steps, -1) != label
    other &= labels.certified.reshape(steps, -1)
    first = np.where(other.any(axis=0), other.argmax(axis=0), steps - 1)
    moved = way[first, np.arange(len(x))] - x
    return np.linalg.norm(moved.reshape(len(x), -1), axis=1)


def singular_values(model):
    """(name, smallest, largest) of each layer that there is a rule for, but plain isometries."""
    ranges = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        try:
            low, high = compute_layer_sv(layer)
        except ValueError:  # its matrix is too large
            continue
        if low is not None and (layer.weights or (low, high) != (1.0, 1.0)):
            ranges.append((layer.name, low, high))
    return ranges


@dataclass(frozen=True)
class Findings:
    """A run and what was found out about it.

    Attributes:
        run: the run.
        eps: the radius that the headline is about.
        asked: whether training was told that radius.
        attacked: what the attack found; of a regression how far it moved the values.
        freeze: names of the columns that counterfactuals must not change.
        frozen: whether each feature is of one of them.
        baselines: the comparison, if it was asked for.
    """

    run: Run
    eps: float
    asked: bool
    attacked: Any
    freeze: tuple[str, ...]
    frozen: np.ndarray
    baselines: Baselines | None

    @property
    def constant(self) -> float:
        """The proven Lipschitz constant per unit of the distance that radii count."""
        run = self.run
        return weighted_bound(run.model, run.weights) if run.weighted else float(run.bound)

    @property
    def reach(self) -> float:
        """Of a regression: how far values move at most, of those with an interval (proven)."""
        sure = self.run.certificates.reach[self.run.certified]
        return float(sure.max()) if len(sure) else math.inf


def investigate(run: Run, freeze=(), baselines=False) -> Findings:
    """All that takes computing."""
    if freeze and run.info.regression:
        raise ValueError(
            "`freeze` (--freeze) is about inputs that are decided otherwise, and this run predicts "
            f"numbers. Received: {', '.join(freeze)}"
        )
    stay = frozen(run, freeze)  # which may refuse a name, before anything is computed
    compared = compare(run) if baselines else None
    if run.info.regression:
        return Findings(run, run.certificates.radius, True, moved(run), (), stay, compared)
    eps: Any = run.info.settings.get("eps")
    asked = isinstance(eps, (int, float)) and 0 < eps < np.inf
    if not asked:
        eps = float(np.median(run.certificates.radius))
        eps = math.floor(eps / (unit := 10 ** math.floor(math.log10(eps)))) * unit if eps else 0.0
    return Findings(run, float(eps), asked, attack(run), tuple(freeze), stay, compared)

"""Values of a model in float64, and the interval that they stay in around an input."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipkit._files.atomic import replacing
from lipkit._files.opened import read_json
from lipkit.certifier import bounding, evaluate, rounding
from lipkit.certifier.api import analyse, tracked
from lipkit.certifier.arithmetic import DOUBLE
from lipkit.certifier.norms import inflate, mul_up
from lipkit.certifier.reader import read
from lipkit.certifier.result import ASSUMPTIONS
from lipkit.certifier.status import Status
from lipkit.certifier.weights import assumed, factor, only_input


def _batches(x, size):
    x = np.asarray(x, "float64")
    return [x[start : start + size] for start in range(0, max(len(x), 1), size)]


def values(model, x, batch_size=256) -> np.ndarray:
    """The outputs of a model in float64: what certificates in real arithmetic are about.

    They do not depend on the batch that a sample is in. Estimates: `output_interval` has the proof.
    """
    graph = read(model).graph
    parts = [evaluate.run(graph, part)[graph.outputs[0]] for part in _batches(x, batch_size)]
    return np.concatenate(parts)


def _around(model, x, radius, weights, batch_size, progress):
    """f(x), the distance that it keeps to within a radius of x (infinite: unknown), and L."""
    reading, bounds = analyse(model)
    graph, local = reading.graph, rounding.local_errors(reading.graph, DOUBLE)
    if x.shape[1:] != only_input(graph)[1] or len(graph.outputs) != 1:
        raise ValueError(
            f"`model` must have one output, and `x` the shape (n, *{only_input(graph)[1]}). "
            f"Received: {len(graph.outputs)} outputs, x of shape {x.shape}"
        )
    constant = float(mul_up(bounding.output_bound(graph, bounds), factor(graph, weights)))
    middle, error = [], []
    for part in tracked(_batches(x, batch_size), progress):
        found = evaluate.run(graph, part)
        reach = [rounding.norms(value) for value in found]
        errors, overflow = rounding.forward_errors(graph, bounds.own, local, reach, DOUBLE)
        middle.append(found[graph.outputs[0]])
        error.append(np.where(overflow, np.inf, errors[graph.outputs[0]]))
    half = inflate(np.concatenate(error) + constant * radius, 2)  # a product and a sum
    return np.concatenate(middle), half, constant


def _ends(middle, half):
    """Arrays (lower, upper), rounded outward."""
    half = half.reshape(-1, *(1,) * (middle.ndim - 1))
    known = np.isfinite(half)
    middle, half = np.where(known, middle, 0.0), np.where(known, half, np.inf)
    return np.nextafter(middle - half, -np.inf), np.nextafter(middle + half, np.inf)


def output_interval(model, x, radius=0.0, weights=None, batch_size=256):
    """Proven bounds on each output at all inputs within a distance of x: f(x) -+ (error + L r).

    L is the proven Lipschitz constant of the whole output, `error` bounds the rounding of f(x) in
    float64. They hold for the network in real arithmetic.

    Args:
        model: as in `lipkit.lipschitz_bound`, with one input and one output.
        x: (n, ...) inputs.
        radius: distance, finite and >= 0: one, or (n,).
        weights: w, for distances |w (x' - x)|: see `lipkit.certifier.reweighted`. None: all 1.
        batch_size: inputs evaluated at a time.

    Returns:
        Arrays (lower, upper) of the shape of the output, (n, ...): infinite where the arithmetic
        may overflow.

    Raises:
        NotCertifiable: the model has a layer without a rule.
        ValueError: negative or non-finite radii, inputs that are not finite, bad weights.

    Example:
    >>> lower, upper = lipkit.certifier.output_interval(model, x, radius=0.1)
    >>> lower.shape, bool((upper - lower < 0.21).all())
    ((200, 1), True)
    """
    x = np.asarray(x, "float64")
    radius = np.asarray(radius, "float64")
    if radius.shape not in ((), x.shape[:1]) or not (np.isfinite(radius) & (radius >= 0)).all():
        raise ValueError(
            f"`radius` must be finite and >= 0, one or {len(x)}. Received: radius={radius}"
        )
    if not np.isfinite(x).all():
        raise ValueError("`x` must be finite. Received: nan or infinity")
    middle, half, _ = _around(model, x, radius, weights, batch_size, False)
    return _ends(middle, half)


@dataclass(frozen=True, eq=False)
class Intervals:
    """The values of a model of one output at n inputs, and how far they can move.

    `lipkit.certifier.certify_values` returns it.

    Args:
        value: (n,) f(x) in float64, between `lower` and `upper`; nan for an input that is not
            finite.
        lower, upper: (n,) proven: f has no value outside at any input within `radius`. Infinite
            where nothing is proven.
        radius: the one distance that they are about.
        constant: proven Lipschitz constant, in units of the value per unit of distance.
        status: (n,) the `Status` of each: `"certified"`, or the reason why not.
        assumptions: what the proof takes for granted.
        y: (n,) true values, nan where one is not known, or None.

    Example:
    >>> intervals = lipkit.certifier.certify_values(model, x, radius=0.1)
    >>> len(intervals), bool(((intervals.lower < intervals.value)[intervals.certified]).all())
    (200, True)
    >>> intervals.save("intervals.json")
    >>> str(lipkit.certifier.Intervals.load("intervals.json")) == str(intervals)
    True
    """

    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    radius: float
    constant: float
    status: np.ndarray
    assumptions: tuple[str, ...] = ASSUMPTIONS
    y: np.ndarray | None = None
    arithmetic = "real"  # what they are true of: not a field, as there is no other

    def __len__(self) -> int:
        return len(self.value)

    @property
    def certified(self) -> np.ndarray:
        """(n,) whether each input has an interval."""
        return self.status == Status.CERTIFIED

    @property
    def reach(self) -> np.ndarray:
        """(n,) proven: how far the value can move from f(x). Infinite where nothing is proven."""
        with np.errstate(invalid="ignore"):  # of values that are nan
            ends = np.maximum(self.upper - self.value, self.value - self.lower)
        return np.where(self.certified, np.nextafter(ends, np.inf), np.inf)

    @property
    def error(self) -> np.ndarray:
        """(n,) f(x) less the true value, nan where one of them is not known.

        Raises:
            ValueError: there are no true values.
        """
        if self.y is None:
            raise ValueError("Errors need the true values: certify_values(model, x, y).")
        return self.value - self.y

    def r2(self) -> float:
        """The share of the variance of the true values that is explained: at most 1.

        Of the inputs whose value and true value are known.

        Raises:
            ValueError: there are no true values, or fewer than two different ones.
        """
        error = self.error
        known = np.isfinite(error)
        truth = np.asarray(self.y)[known]
        if not len(truth) or np.ptp(truth) == 0:
            raise ValueError(
                f"R2 needs at least two different true values. Received: {len(truth)} that are "
                "known, all the same"
            )
        return 1.0 - float(np.sum(error[known] ** 2) / np.sum((truth - truth.mean()) ** 2))

    def save(self, path: str | Path) -> None:
        """Write a JSON file, which `Intervals.load` reads.

        Args:
            path: of the file; one that exists is replaced.
        """
        document = {
            "radius": self.radius,
            "constant": self.constant,
            "arithmetic": self.arithmetic,
            "assumptions": list(self.assumptions),
            **{name: _listed(getattr(self, name)) for name in ("value", "lower", "upper")},
            "status": [str(status) for status in self.status],
        }
        if self.y is not None:
            document["y"] = _listed(self.y)
        with replacing(path) as new:
            new.write_text(json.dumps(document, allow_nan=False))

    @classmethod
    def load(cls, path: str | Path) -> "Intervals":
        """Read what `save` wrote.

        Args:
            path: of the file.

        Returns:
            The same intervals.
        """
        document = read_json(path)
        unknown = {"value": np.nan, "lower": -np.inf, "upper": np.inf, "y": np.nan}
        columns = {
            name: np.array([none if v is None else v for v in document[name]], "float64")
            for name, none in unknown.items()
            if name in document
        }
        return cls(
            **columns,
            radius=float(document["radius"]),
            constant=float(document["constant"]),
            status=np.array([Status(text) for text in document["status"]], dtype=object),
            assumptions=tuple(document["assumptions"]),
        )

    def __str__(self):
        sure = self.certified
        moves = (
            f", by at most {np.median(self.reach[sure]):.4g} in the median" if sure.any() else ""
        )
        return f"{sure.sum()} of {len(self)} values certified within {self.radius:.4g}{moves}"

    __repr__ = __str__


def _listed(array):
    """Numbers for JSON, which has none that are not finite."""
    return [value if np.isfinite(value) else None for value in array.tolist()]


def certify_values(
    model, x, y=None, *, radius, weights=None, batch_size=256, progress=None
) -> Intervals:
    """Certify the values of a model of one output: the interval that each stays in.

    Args:
        model: as in `lipkit.lipschitz_bound`, with one input and one output, a number.
        x: (n, ...) inputs. One that is not finite has no interval, and its status says so.
        y: (n,) true values, nan where one is not known; None: unknown.
        radius: the distance within which inputs may move, finite and >= 0.
        weights: w, for distances |w (x' - x)|: see `lipkit.certifier.reweighted`. None: all 1.
        batch_size, progress: as in `lipkit.certify`.

    Returns:
        `Intervals`; for several outputs, or radii, there is `output_interval`.

    Raises:
        NotCertifiable: the model has a layer without a rule.
        ValueError: an argument outside of what is listed here.

    Example:
    >>> intervals = lipkit.certifier.certify_values(model, x, radius=0.1)
    >>> bool((intervals.upper - intervals.lower < 0.21).all())
    True
    """
    x = np.asarray(x, "float64")
    n = len(x) if x.ndim > 1 else 0
    if not n:
        raise ValueError(f"`x` must be (n, ...) with n >= 1. Received: shape {x.shape}")
    if np.shape(radius) or not 0 <= radius < np.inf:
        raise ValueError(f"`radius` must be a finite number >= 0. Received: radius={radius!r}")
    if y is not None and np.shape(y) != (n,):
        raise ValueError(f"`y` must have shape ({n},). Received: shape {np.shape(y)}")
    finite = np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
    inputs = np.where(finite.reshape(-1, *[1] * (x.ndim - 1)), x, 0.0)
    middle, half, constant = _around(model, inputs, float(radius), weights, batch_size, progress)
    if middle.size != n:
        raise ValueError(f"`model` must have one number as output. Received: {middle.shape[1:]}")
    half = np.where(finite, half, np.inf)
    status = np.array([Status.CERTIFIED] * n, dtype=object)
    status[~np.isfinite(half)] = Status.OVERFLOW
    status[~finite] = Status.BAD_INPUT
    lower, upper = _ends(middle := middle.reshape(n), half)
    value = np.where(finite & np.isfinite(middle), middle, np.nan)
    y = None if y is None else np.asarray(y, "float64")
    return Intervals(
        value, lower, upper, float(radius), constant, status, assumed(ASSUMPTIONS, weights), y
    )

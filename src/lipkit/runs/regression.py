"""Runs of regressions: their rows, the intervals of their values, and how a run is checked."""

import numpy as np

from lipkit.certifier import Intervals, certify_values
from lipkit.data import splits
from lipkit.recipes.scaling import weights_of
from lipkit.runs.folder import RunFolder
from lipkit.runs.schema import CERTIFICATES, CLOSE, INFO, PLAIN, TEST

load = Intervals.load
TARGET = "the column of numbers to predict"
ENDS = ("value", "lower", "upper")


def truth(dataset, path):
    """The numbers to predict, if they are there, and differ."""
    if dataset.y is None:
        raise ValueError(f"{path} has no numbers to predict: expected an NPZ file with an array y.")
    if np.ptp(dataset.y) == 0:
        raise ValueError(f"{path} has only one target, {dataset.y[0]:g}: nothing to predict.")
    return dataset.y


def split(y, dataset, share, seed, most):
    """The rows to train on, and those held out."""
    rows, held = splits.random(len(y), share, seed, most)
    for name, part in {"held out": held, "to train on": rows}.items():
        if np.ptp(y[part]) == 0:
            raise ValueError(
                f"The {len(part)} rows {name} have one target, {y[part][0]:g}: no score can be "
                "computed. Choose another share to hold out (--test-size), or --seed."
            )
    return rows, held


def proven(model, x, y, settings, radius=None, **options) -> Intervals:
    """Intervals in the distances of the run, for the radius that it was trained for."""
    radius = settings["eps"] if radius is None else radius
    return certify_values(model, x, y, radius=radius, weights=weights_of(settings), **options)


def facts(dataset, intervals):
    """What the record of a run says of its numbers."""
    return {"task": "regression", "classes": [], "r2": intervals.r2()}


def outputs(info):
    """Numbers of outputs that the model may have."""
    return (1,)


def check_truth(files: RunFolder, info, y):
    """Give up on held-out targets that cannot be right."""
    n = info.split.test
    good = y.shape == (n,) and y.dtype.kind == "f" and np.isfinite(y).all()
    files.check(TEST, good, f"must hold {n} finite numbers y")


def check(files: RunFolder, info, y, found: Intervals):
    """Give up on intervals that are not of the held-out targets."""
    name = CERTIFICATES
    columns = [found.value, found.lower, found.upper, found.status, found.y]
    good = all(column is not None and column.shape == y.shape for column in columns)
    files.check(name, good, f"must hold one interval and true value for each of {len(y)} inputs")
    good = 0 <= found.radius < np.inf and found.constant >= 0
    files.check(name, good, "has a radius or constant that is not a number >= 0")
    within = (found.lower <= found.value) & (found.value <= found.upper)
    files.check(name, within[found.certified].all(), "has values outside of their intervals")
    finite = np.isfinite(found.lower) | np.isfinite(found.upper)
    none = finite[~found.certified]
    files.check(name, not none.any(), "has intervals of points that it says are not certified")
    files.check(name, (found.y == y).all(), f"has other true values than {TEST}")
    r2 = found.r2()
    near = abs(r2 - info.r2) <= CLOSE * max(1.0, abs(info.r2))
    files.check(name, near, f"has R2 {r2:.6g}, {INFO} {info.r2:.6g}")


def check_again(files: RunFolder, model, x, found: Intervals, sample, settings):
    """Give up on intervals that are others if computed anew, of some rows with inputs x."""
    again = proven(model, x, None, settings, found.radius, progress=False)
    sure = found.certified[sample]
    slack = CLOSE * np.maximum(np.abs(found.value[sample]), found.reach[sample])
    pairs = [(getattr(again, name), getattr(found, name)[sample]) for name in ENDS]
    with np.errstate(invalid="ignore"):  # of ends that are infinite
        near = np.all([np.abs(new - old) <= slack for new, old in pairs], axis=0)
    good = (again.certified == sure) & (near | ~sure)
    good &= np.isclose(again.constant, found.constant, rtol=CLOSE)
    files.check(
        CERTIFICATES,
        good.all(),
        f"does not belong to {PLAIN} and {TEST}: certified anew, {(~good).sum()} of "
        f"{len(sample)} points have another value or interval",
    )

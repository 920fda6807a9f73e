"""Runs of classifiers: their rows, their certificates, and how a stored run is checked."""

import numpy as np

from lipkit.certifier import Certificates, certify, reweighted
from lipkit.data import splits
from lipkit.recipes.scaling import weights_of
from lipkit.runs.folder import RunFolder
from lipkit.runs.schema import CERTIFICATES, CLOSE, INFO, PLAIN, TEST

load = Certificates.load
TARGET = "the column that holds the classes"


def truth(dataset, path):
    """The classes of the rows, if there are any to tell apart."""
    if dataset.y is None:
        raise ValueError(f"{path} has no classes: expected sub-folders of images, or an array y.")
    if len(dataset.classes) < 2:
        raise ValueError(
            f"{path} has only one class, {dataset.classes[0]!r}; at least 2 are needed."
        )
    return dataset.y


def split(y, dataset, share, seed, most):
    """The rows to train on, and those held out."""
    return splits.stratified(y, share, seed, most, dataset.classes)


def proven(model, x, y, settings, **options) -> Certificates:
    """Certificates in the distances of the run."""
    return reweighted(certify(model, x, y, **options), model, weights_of(settings))


def facts(dataset, certificates):
    """What the record of a run says of its classes."""
    right = certificates.label == certificates.y
    of_classes = [right[certificates.y == c].mean() for c in np.unique(certificates.y)]
    return {
        "classes": list(dataset.classes),
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean(of_classes)),
    }


def outputs(info):
    """Numbers of outputs that the model may have."""
    return (len(info.classes),) + ((1,) if len(info.classes) == 2 else ())


def check_truth(files: RunFolder, info, y):
    """Give up on held-out classes that cannot be right."""
    n, classes = info.split.test, len(info.classes)
    good = y.shape == (n,) and y.dtype.kind == "i" and y.min() >= 0 and y.max() < classes
    files.check(TEST, good, f"must hold {n} classes y from 0 to {classes - 1}")


def check(files: RunFolder, info, y, found: Certificates):
    """Give up on certificates that are not of the held-out classes."""
    name = CERTIFICATES
    columns = [found.label, found.radius, found.status, found.y]
    good = all(column is not None and column.shape == y.shape for column in columns)
    files.check(name, good, f"must hold one decision and true label for each of {len(y)} inputs")
    good = found.radius.dtype.kind == "f" and np.isfinite(found.radius).all()
    files.check(name, good and (found.radius >= 0).all(), "has radii that are not numbers >= 0")
    none = found.radius[~found.certified]
    files.check(name, not none.any(), "has radii of points that it says are not certified")
    files.check(name, (found.y == y).all(), f"has other true labels than {TEST}")
    accuracy = float(np.mean(found.label == y))
    # a decision within the rounding error may be another one in the program that was counted
    near = abs(accuracy - info.accuracy) * len(y) < 1.5
    files.check(name, near, f"has accuracy {accuracy:.6g}, {INFO} {info.accuracy:.6g}")


def check_again(files: RunFolder, model, x, found: Certificates, sample, settings):
    """Give up on certificates that are others if computed anew, of some rows with inputs x."""
    again = proven(model, x, None, settings, arithmetic=found.arithmetic, progress=False)
    radius, label = found.radius[sample], found.label[sample]
    slack = CLOSE * np.maximum(radius, np.median(radius))
    good = np.abs(again.radius - radius) <= slack
    good &= (again.label == label) | (radius <= slack)
    files.check(
        CERTIFICATES,
        good.all(),
        f"does not belong to {PLAIN} and {TEST}: certified anew, {(~good).sum()} of "
        f"{len(sample)} points have another radius or decision",
    )

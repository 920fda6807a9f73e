"""What a person should know before they trust the certificates of a run."""

import numpy as np

from lipkit.certifier import Intervals

UNLIKE = 1000.0  # ratio of spreads from which one distance for all columns means little
FEW = 50  # rows held out
OVERFITTED = 0.1  # by which the accuracy, or R2, in training exceeds the other
HELP = "more rows, fewer columns (--drop) or fewer epochs (--epochs) may help"
RARE = 0.2  # share of a class beside that of equally many rows in each


def about(dataset, rows, settings, training, certificates) -> list[str]:
    """Warnings about a run, each with what can be done.

    Args:
        dataset: `lipkit.data.files.Dataset` of all rows.
        rows: (n,) those trained on.
        settings: of the recipe.
        training: certificates, or intervals, of rows that were trained on.
        certificates: of those held out.
    """
    found = [*_units(dataset, rows, settings), *_names(dataset, rows)]
    if isinstance(certificates, Intervals):
        return [*found, *_values(certificates, training)]
    found += _classes(dataset.y[rows], dataset.classes, settings, certificates)
    held, accuracy = len(certificates), certificates.certified_accuracy(0.0)
    if held < FEW:
        found.append(
            f"Only {held} rows were held out: one row is {100 / held:.1f} points of accuracy. "
            "Certificates hold for each row; shares are rough."
        )
    if (gap := training.certified_accuracy(0.0) - accuracy) > OVERFITTED:
        better = f"Rows that were trained on are decided {100 * gap:.0f} points better than others"
        found.append(f"{better}: {HELP}.")
    return found


def _values(held, training):
    """Predictions of numbers that are rough, or no better than their mean."""
    score, before = held.r2(), training.r2()
    if len(held) < FEW:
        yield f"Only {len(held)} rows were held out: R2 is rough. Intervals hold for each row."
    if before - score > OVERFITTED:
        better = f"R2 is {before:.2f} on rows that were trained on, and {score:.2f} on others"
        yield f"{better}: {HELP}."
    if score <= 0:
        yield (
            f"R2 is {score:.2f} on the rows held out: the mean of the target does as well as the "
            "model."
        )


def _columns(dataset, rows):
    """The values of each column of a table in some rows, one column at a time."""
    return (dataset.x[rows, i] for i in range(dataset.x.shape[1] * (dataset.x.ndim == 2)))


def _units(dataset, rows, settings):
    """Columns that one distance in raw units cannot hold together."""
    if dataset.x.ndim != 2 or settings.get("feature_weights_source") != "none":
        return
    spread = np.array([values.std() for values in _columns(dataset, rows)])
    low, high = np.argmin(np.where(spread > 0, spread, np.inf)), np.argmax(spread)
    if spread[high] > UNLIKE * spread[low] > 0:
        yield (
            f"Column {dataset.features[high]!r} varies {spread[high] / spread[low]:.0e} times as "
            f"much as {dataset.features[low]!r}, and distances are in raw units: that column "
            "hardly counts. Leave out --feature-weights none, or give weights in a file."
        )


def _names(dataset, rows):
    """Columns of numbers that seem to name rows, or to be dates."""
    for column, values in zip(dataset.features, _columns(dataset, rows), strict=False):
        whole = len(values) > 20 and (values == np.floor(values)).all()
        if not whole:
            continue
        if ((values >= 19000101) & (values <= 21001231)).all() and (values % 100 <= 31).all():
            yield f"Column {column!r} looks like dates such as 20240131: --drop it, or --dates."
        elif len(np.unique(values)) == len(values) and np.ptp(values) < 3 * len(values):
            yield f"Column {column!r} has another whole number in each row, like an id: --id it."


def _classes(y, names, settings, certificates):
    """Classes that are rare, or never decided for."""
    shares = np.bincount(y, minlength=len(names)) / len(y)
    rare = int(np.argmin(shares))
    if shares[rare] < RARE / len(names) and not settings.get("class_weight"):
        yield (
            f"Class {names[rare]!r} has {100 * shares[rare]:.1f} % of the rows: accuracy says "
            "little about it. --class-weight balanced counts all classes alike."
        )
    never = set(range(len(names))) - {*certificates.label.tolist()}
    if missing := [names[label] for label in sorted(never)]:
        yield f"No row that was held out is decided for {', '.join(map(repr, missing[:5]))}."

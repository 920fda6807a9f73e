"""Missing cells of encoded tables: what they become, learned on the rows to train on."""

from dataclasses import replace

import numpy as np

from lipkit._choices import IMPUTATIONS

METHODS = {name: getattr(np, f"nan{name}") for name in IMPUTATIONS}


def _parts(x, columns):
    """Each column with its numbers (n, features)."""
    ends = np.cumsum([len(column.features) for column in columns])
    return zip(columns, np.split(x, ends[:-1], axis=1) if columns else (), strict=True)


def missing(x, columns) -> np.ndarray:
    """Whether each cell is missing: bool (n, columns)."""
    gaps = [np.isnan(part[:, 0]) for _, part in _parts(x, columns)]
    return np.stack(gaps, axis=1) if gaps else np.zeros((len(x), 0), bool)


def learn(x, columns, method):
    """Columns that fill their missing cells: with `method`, or the most frequent category.

    Args:
        x: (n, features) numbers of the rows to learn from.
        columns: their columns.
        method: `"median"` or `"mean"`; booleans take the more frequent value.
    """
    return [
        replace(column, fill=_fill(column, part, method)) for column, part in _parts(x, columns)
    ]


def _fill(column, part, method):
    if np.isnan(part[:, 0]).all():
        raise ValueError(
            f"Column {column.name!r} has no values in the rows to train on: --drop '{column.name}'."
        )
    if column.kind == "category":
        return column.categories[int(np.argmax(np.nansum(part, axis=0)))]
    if column.kind == "boolean":
        return float(np.nanmean(part) > 0.5)
    return float(METHODS[method](part))


def fill(x, columns) -> np.ndarray:
    """Fill the missing cells of x (n, features) in place."""
    for column, part in _parts(x, columns):
        if column.fill is not None:
            part[np.isnan(part[:, 0])] = column.filling()
    return x

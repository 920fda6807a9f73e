"""Nearby inputs with other decisions that could be data: in range, and with whole categories."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from lipkit.data.dataset import encoded_columns
from lipkit.data.tables import Column
from lipkit.explain import counterfactual, saliency

SWITCHED = ("boolean", "category")  # kinds of columns that change as a whole, or not
SWITCHES = 16  # of categories that are tried for a row, the most promising by the gradient


@dataclass(frozen=True)
class Changes:
    """For each of m test points, the nearest input with another decision that was found.

    Attributes:
        x: (m, ...) in units of the data.
        label: (m,) its decision.
        distance: (m,) from the test point, as the run measures it; inf where none was found.
    """

    x: np.ndarray
    label: np.ndarray
    distance: np.ndarray


def columns(run) -> list[tuple[Column, slice]]:
    """The columns of a table, with their features; arrays have a column for each.

    Numbers that are 0 or 1 in all test rows count as booleans.
    """
    data = run.info.data
    found = encoded_columns(data.encoding) or [Column(name, "number") for name in data.features]
    ends = np.cumsum([0, *(len(column.features) for column in found)]).tolist()
    places = [slice(*pair) for pair in pairwise(ends)]
    binary = ((run.x == 0) | (run.x == 1)).all(axis=0)
    return [
        (
            replace(column, kind="boolean")
            if column.kind == "number" and binary[place].all()
            else column,
            place,
        )
        for column, place in zip(found, places, strict=True)
    ]


def frozen(run, names) -> np.ndarray:
    """Whether each feature must stay, from names of columns or features: of an input's shape.

    Raises:
        ValueError: a name that the data do not have.
    """
    stay = np.zeros(run.x.shape[1:], bool)
    if names and run.unit != "row":
        raise ValueError(f"`freeze` (--freeze) is for tables. Received: {', '.join(names)}")
    known = columns(run) if names else []
    places = {name: i for i, name in enumerate(run.info.data.features)}
    places |= {column.name: place for column, place in known}
    for name in names:
        if name not in places:
            raise ValueError(
                f"`freeze` (--freeze) must name columns of the data. Received: {name!r}. Columns: "
                f"{', '.join(column.name for column, _ in known)}"
            )
        stay[places[name]] = True
    return stay


def nearest(run, rows, stay) -> Changes:
    """Counterfactuals of test points within the range of the test data.

    Numbers follow the gradient. Of booleans and categories at most one is switched, as a whole.

    Args:
        run: the run.
        rows: (m,) the test points.
        stay: features that must not change, of an input's shape.
    """
    table = run.unit == "row"
    owner, starts = np.arange(len(rows)), run.x[rows].astype("float64")
    fixed = stay.copy()
    if table:
        for column, place in columns(run):
            fixed[place] |= column.kind in SWITCHED
        switched, of = _switched(run, rows, fixed & ~stay)
        owner, starts = np.concatenate([owner, of]), np.concatenate([starts, switched])
    model, z, certificates = run.space
    dtype = model.inputs[0].dtype
    begun = (run.weights * starts).astype(dtype)
    ends = [
        (run.weights * end(run.x, axis=0 if table else None)).astype(dtype)
        for end in (np.min, np.max)
    ]
    found = counterfactual(model, begun, low=ends[0], high=ends[1], frozen=fixed)
    decided = certificates.label[rows][owner]
    done = found.before != decided  # by the switch alone
    at = np.where(_wide(done, z), begun, found.x).astype("float64")
    label = np.where(done, found.before, found.label)
    moved = (at - z[rows][owner]).reshape(len(at), -1)
    distance = np.where(label == decided, np.inf, np.linalg.norm(moved, axis=1))
    best = [np.flatnonzero(owner == i)[np.argmin(distance[owner == i])] for i in range(len(rows))]
    x = np.where(at == begun, starts, at / run.weights)
    return Changes(x[best], label[best], distance[best])


def _wide(mask, x):
    """A mask of samples that applies to all their features."""
    return mask.reshape(-1, *[1] * (x.ndim - 1))


def _switched(run, rows, may_switch):
    """Copies of rows with one category or boolean switched, and which row each is of."""
    model, z, _ = run.space
    known = [(column, place) for column, place in columns(run) if may_switch[place].all()]
    slope = saliency(model, z[rows]).astype("float64") * run.weights  # of the margin, per x
    points, owner = [], []
    for i, row in enumerate(rows):
        x = run.x[row].astype("float64")
        tried = []
        for column, place in known:
            choices = np.eye(len(column.categories)) if column.categories else np.eye(2)[:, 1:]
            gains = (choices - x[place]) @ slope[i, place]
            tried += [
                (gain, place, choice)
                for gain, choice in zip(gains, choices, strict=True)
                if not np.array_equal(choice, x[place])
            ]
        for _, place, choice in sorted(tried, key=lambda t: t[0])[:SWITCHES]:
            points.append(x.copy())
            points[-1][place] = choice
            owner.append(i)
    return np.array(points).reshape(-1, *z.shape[1:]), np.array(owner, int)

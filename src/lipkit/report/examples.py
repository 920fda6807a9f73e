"""The least and the most robust test points, with what would change their decisions."""

import numpy as np

from lipkit.report import pictures
from lipkit.report.changes import SWITCHED, columns, nearest
from lipkit.report.markup import Html, table, tag
from lipkit.report.numbers import at_least, changed, number

EXAMPLES = 3  # of each kind
COLUMNS = 6  # of each, those that change most


def extremes(run):
    """Rows of the certified points with the smallest radii, and of those with the largest."""
    order = np.flatnonzero(run.certified)
    order = order[np.argsort(run.certificates.radius[order], kind="stable")]
    least = order[:EXAMPLES]
    return least, order[len(least) :][::-1][:EXAMPLES]


def examples(found) -> Html:
    """A card for each example."""
    run = found.run
    least, most = extremes(run)
    rows = np.concatenate([least, most])
    if not len(rows):
        return tag("p", "No test point has a certificate.")
    other = nearest(run, rows, found.frozen)
    cards = [_card(run, row, other, i) for i, row in enumerate(rows)]
    kinds = [("Least robust", cards[: len(least)]), ("Most robust", cards[len(least) :])]
    return tag(
        "div",
        tag(
            "p",
            "The certified test points with the smallest and the largest radii. A counterfactual "
            "is a nearby input with another decision: the nearest that was found, and farther away "
            "than the certified radius. It stays within the range of the test data. ",
            "In the differences, orange is brighter and blue is darker."
            if run.unit == "picture"
            else "Of categories and columns of 0 and 1 at most one changes, as a whole; what is "
            "not listed stays as it is. ",
            f"Frozen: {', '.join(found.freeze)}." if found.freeze else None,
        ),
        tag(
            "div",
            [tag("div", tag("h3", title), group) for title, group in kinds if group],
            class_="one" if run.unit == "row" else "two",
        ),
    )


def _card(run, row, other, i):
    """A test point, the i-th of the counterfactuals, and the difference."""
    classes, x = run.info.classes, run.x[row].astype("float64")
    true, decided, becomes = (
        classes[label] for label in (run.y[row], run.certificates.label[row], other.label[i])
    )
    title = f"Test {run.unit} {row}: {true}"
    verdict = "Rightly decided" if run.right[row] else f"Wrongly decided as {decided}"
    radius = f"{verdict}, certified radius {at_least(run.certificates.radius[row])}. "
    if np.isfinite(other.distance[i]):
        what = f"At distance {number(other.distance[i])} it is decided as {becomes}."
        show = _columns if run.unit == "row" else _pictures
        content = show(run, x, other.x[i] - x, decided, becomes)
    else:
        what, content = "No counterfactual was found within the range of the test data.", None
    text = tag("div", tag("h4", title), tag("p", radius, what, class_="note"))
    return tag("div", text, content, class_="example")


def _columns(run, x, delta, decided, becomes):
    """The columns that change most: values, change, and share of the squared distance."""
    squares = [
        (np.sum((run.weights * delta)[place] ** 2), column, place) for column, place in columns(run)
    ]
    squares = sorted((s for s in squares if s[0] > 0), key=lambda s: -s[0])
    total = sum(square for square, *_ in squares)
    rows = [
        (column.name, *_change(column, x[place], delta[place]), f"{100 * square / total:.1f}")
        for square, column, place in squares[:COLUMNS]
    ]
    if rest := squares[COLUMNS:]:
        share = 100 * sum(square for square, *_ in rest) / total
        rows.append((f"{len(rest)} more", "", "", "", f"{share:.1f}"))
    header = ("column", "value", "change", "becomes", "share, %")
    return table(header, rows, f"From {decided} to {becomes}; share of distance²", "lrrrr")


def _change(column, value, delta):
    """Value, change and what it becomes, as the table has them."""
    if column.kind not in SWITCHED:
        return changed(value[0], delta[0])
    names = column.categories or ("0", "1")
    ends = value, value + delta
    places = [int(v.argmax() if column.categories else round(v[0])) for v in ends]
    return names[places[0]], "", names[places[1]]


def _pictures(run, x, delta, decided, becomes):
    """The picture, its counterfactual, and where they differ."""
    ends = float(run.x.min()), float(run.x.max())
    largest = number(np.abs(delta).max(), 3)
    return tag(
        "div",
        pictures.picture(x, f"The test picture, decided {decided}", f"decided {decided}", *ends),
        pictures.picture(
            x + delta, f"Its counterfactual, decided {becomes}", f"decided {becomes}", *ends
        ),
        pictures.difference(
            delta,
            f"The difference of the two, at most {largest} in a pixel",
            f"difference, at most {largest}",
        ),
        class_="pictures",
    )

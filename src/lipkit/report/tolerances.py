"""What a radius is in the units of each column."""

import numpy as np

from lipkit.report.changes import SWITCHED, columns
from lipkit.report.markup import Html, table, tag
from lipkit.report.numbers import at_least, at_most, number, percent

SHOWN = 40  # columns; the others are folded
EXAMPLES = 3  # columns in a sentence


def tolerances(found) -> Html | None:
    """How far each column of a table may move alone, within the median radius."""
    run = found.run
    if run.unit != "row" or not run.certified.any():
        return None
    own = _of_values if run.info.regression else _of_decisions
    radius, claim = own(found)
    weights = np.broadcast_to(run.weights, run.x.shape[1:])
    rows = [
        (column.name, *alone(column, weights[place], radius, run.x[:, place]))
        for column, place in columns(run)
    ]
    header = ("column", "may move by", "range", "share of range")
    caption = "Each column in its own units; the range is that of the test data"
    tables = [table(header, part, caption, "lrrr") for part in (rows[:SHOWN], rows[SHOWN:]) if part]
    return tag(
        "div",
        tag(
            "p",
            _distance(run),
            f" {claim} as long as one column alone moves, up or down, by at most what the table "
            "says. Where several move at once, each may move less.",
        ),
        tables[0],
        [
            tag("details", tag("summary", f"{len(rows) - SHOWN} more columns"), more)
            for more in tables[1:]
        ],
    )


def in_units(found) -> str:
    """What the radius of the report is in the units of some columns, in a sentence; "" if none."""
    run = found.run
    if run.unit != "row" or not run.weighted or not found.eps > 0:
        return ""
    weights = np.broadcast_to(run.weights, run.x.shape[1:])
    moves = [
        f"{column.name} by {alone(column, weights[place], found.eps, run.x[:, place])[0]}"
        for column, place in columns(run)
        if column.kind not in SWITCHED
    ]
    if not moves:
        return ""
    return (
        f"In units of the columns, a distance of {at_least(found.eps)} is a move of one of them "
        f"alone, such as {', or '.join(moves[:EXAMPLES])}; the section on columns has all."
    )


def _of_decisions(found):
    run = found.run
    radius = float(np.median(run.certificates.radius[run.certified]))
    return radius, (
        f"The median certified radius is {at_least(radius)}. For at least half of the certified "
        "test rows, no other answer is reached"
    )


def _of_values(found):
    return found.eps, (
        f"The radius of this report is {at_least(found.eps)}. The prediction of a test row moves "
        f"by at most {at_most(found.reach)}"
    )


def _distance(run):
    """What one unit of distance is, in sentences that are true of all weights."""
    if not run.weighted:
        return "Radii are in the units of the data, the same for all columns."
    source = run.info.settings.get("feature_weights_source")
    if source in ("spread", "std"):
        name = {"spread": "spread", "std": "standard deviation"}[source]
        return (
            f"Every column counts by its own {name} in the training rows: a distance of 1 is one "
            f"{name} of one column. So results do not depend on the units of the table."
        )
    return (
        "Every column has a weight: a distance of 1 is a move of one column by 1 / weight, in its "
        "own units."
    )


def alone(column, weights, radius, values):
    """The move of one column, the range of its values, and the share of it."""
    if column.kind in SWITCHED:
        steps = _steps(weights)
        free = [step <= radius for step in steps]
        return "any" if all(free) else "some" if any(free) else "no change", "", ""
    width = float(np.ptp(values.astype("float64")))
    move = float(np.nextafter(radius / float(weights[0]), 0))
    share = percent(1e6 * min(move / width, 1), 1e6) if width else ""
    return at_least(move), number(width), share


def _steps(weights):
    """The distances of all changes of a category, or of a boolean."""
    if len(weights) == 1:
        return [float(weights[0])]
    squares = np.sort(weights**2)
    return [float(np.sqrt(pair)) for pair in (squares[:2].sum(), squares[-2:].sum())]

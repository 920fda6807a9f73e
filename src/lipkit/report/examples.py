"""The least and the most robust test points, with what would change their decisions."""

import math

import numpy as np

from lipkit.explain import counterfactual
from lipkit.report import pictures
from lipkit.report.markup import Html, at_least, number, table, tag

EXAMPLES = 3  # of each kind
FEATURES = 6  # of each, those that change most


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
    model, x, _ = run.space
    other = counterfactual(model, x[rows])
    cards = [_card(run, row, other, i) for i, row in enumerate(rows)]
    kinds = [("Least robust", cards[: len(least)]), ("Most robust", cards[len(least) :])]
    return tag(
        "div",
        tag(
            "p",
            "The certified test points with the smallest and the largest radii. A counterfactual "
            "is a nearby input with another decision: the nearest that was found, and farther away "
            "than the certified radius.",
            " In the differences, orange is brighter and blue is darker." * (run.unit == "picture"),
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
    if other.flipped[i]:
        what = f"At distance {number(other.distance[i])} it is decided as {becomes}."
        show = _features if run.unit == "row" else _pictures
        content = show(run, x, other.x[i].astype("float64") / run.weights - x, decided, becomes)
    else:
        what, content = "No counterfactual was found.", None
    text = tag("div", tag("h4", title), tag("p", radius, what, class_="note"))
    return tag("div", text, content, class_="example")


def _features(run, x, delta, decided, becomes):
    """The features that change most: values, change, and share of the squared distance."""
    names = run.info.data.features
    weighted = run.weights * delta
    order = np.argsort(-np.abs(weighted), kind="stable")
    shares = 100 * weighted**2 / max(np.sum(weighted**2), 1e-300)
    rows = [(names[i], *_sum(x[i], delta[i]), f"{shares[i]:.1f}") for i in order[:FEATURES]]
    rest = order[FEATURES:]
    if len(rest):
        largest = f"≤ {number(np.abs(delta[rest]).max(), 3)}"
        rows.append((f"{len(rest)} others", "", largest, "", f"{shares[rest].sum():.1f}"))
    header = ("feature", "value", "change", "becomes", "share, %")
    caption = f"From {decided} to {becomes}; share of distance²"
    return table(header, rows, caption, "lrrrr")


def _sum(value, change):
    """Value, change and their sum, with the decimals that show the change."""
    decimals = max(0, 2 - math.floor(math.log10(abs(change) or 1.0)))
    if decimals > 9 or abs(value) > 1e9:
        return number(value, 9), number(change, 3), number(value + change, 9)
    signs = ((value, "z"), (change, "+"), (value + change, "z"))  # z: no -0.00
    texts = (f"{v:{sign}.{decimals}f}" for v, sign in signs)
    return tuple(text.replace("-", "−") for text in texts)


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

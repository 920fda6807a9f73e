"""Where the radius comes from that the model was trained for."""

import math

from lipkit.report import figures
from lipkit.report.markup import Html, tag
from lipkit.report.numbers import at_least


def trade(settings) -> list[tuple[float, ...]]:
    """What the search of the radius found: (eps, accuracy, certified accuracy), by eps."""
    found = settings.get("trade")
    points = [
        tuple(point.get(key) for key in ("eps", "accuracy", "certified"))
        for point in (found if isinstance(found, list) else ())
        if isinstance(point, dict)
    ]
    good = all(
        isinstance(value, int | float) and 0 <= value < math.inf
        for point in points
        for value in point
    )
    return sorted(points) if good else []


def sentence(found) -> str:
    """The choice, in a sentence."""
    settings, eps = found.run.info.settings, at_least(found.eps)
    if not found.asked:
        return f"No radius was asked for in training; {eps} is the median radius, rounded down."
    points = trade(settings)
    match settings.get("eps_source"):
        case "given":
            return f"The radius {eps} was given to the training (--eps)."
        case "searched" if points:
            nearest = min(points, key=lambda point: abs(point[0] - found.eps))
            return (
                f"The radius {eps} was chosen on validation data: of {len(points)} that were "
                "tried, it is the largest that costs at most one point of accuracy, "
                f"{100 * nearest[1]:.1f} % against {100 * max(p[1] for p in points):.1f} % at best."
            )
        case "searched":
            return f"The radius {eps} was chosen on validation data."
        case "spread":
            return f"The radius {eps} was set from the spreads of the features, without a search."
    return f"The radius {eps} is the one that the model was trained for."


def frontier(points) -> list[tuple[float, ...]]:
    """The points that no other beats in radius and accuracy, by radius."""
    kept, best = [], -1.0
    for point in sorted(points, reverse=True):
        if point[1] > best:
            kept, best = [point, *kept], point[1]
    return kept


def explained(found) -> Html | None:
    """The curve of the trade, if there was a search."""
    points = frontier(trade(found.run.info.settings))
    if len(points) < 2:
        return None
    return tag(
        "div",
        figures.trade(points, found.eps, found.run.distances),
        tag(
            "p",
            "Each point is a model, measured on rows that were kept out of its training, and none "
            "that was tried has both a larger radius and a better accuracy; the test data had no "
            "part in the choice. A larger radius makes more of a promise, and leaves fewer answers "
            "that can keep it.",
            class_="note",
        ),
        class_="two",
    )

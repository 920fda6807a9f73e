"""What `lipkit certify` says of the answers of a classifier: radii, and shares of the rows."""

import numpy as np

from lipkit._table import table
from lipkit.data import cells


def _accuracy(result, counted=True) -> float:
    """Share of the rows with a class that are right, and counted."""
    return float(np.mean((counted & (result.label == result.y))[result.y >= 0]))


def _share(result, radius) -> float:
    """Share of the rows that are certified to this radius; of those with a class: and right."""
    sure = result.certified & (result.radius >= radius)
    return float(np.mean(sure)) if result.y is None else _accuracy(result, sure)


def summary(result, eps):
    """What is said of all rows together, for JSON, and the lines of it."""
    radii = [0.0, *([eps] if eps is not None else np.quantile(result.radius, [0.25, 0.5, 0.75]))]
    shares = [[float(r), _share(result, r)] for r in radii]
    document = {
        "median_radius": float(np.median(result.radius)),
        "accuracy": None if result.y is None else _accuracy(result),
        "share": "certified accuracy" if result.y is not None else "certified share",
        "shares": shares,
    }
    rows = [(f"{radius:.4g}", f"{share:.4f}") for radius, share in shares]
    return document, table(("radius", document["share"]), rows)


def columns(result, classes):
    """The answers, for a table with a line for each row."""
    numbers = range(int(max(result.label.max(), -1 if result.y is None else result.y.max())) + 1)
    names = [*map(cells.escaped, classes or map(str, numbers)), ""]  # the last for no label
    names = np.array(names, dtype=object)
    return {
        "label": names[result.label],
        "truth": names[result.y] if result.y is not None else [""] * len(result),
        "radius": map(repr, result.radius.tolist()),
        "margin": map(repr, result.margin.tolist()),
    }

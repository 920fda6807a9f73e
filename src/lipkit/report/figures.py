"""The figures of the report."""

import math

import numpy as np

from lipkit.report.axes import BOTTOM, RIGHT, TOP, WIDTH, Axes, left_of
from lipkit.report.markup import Html, short, tag
from lipkit.report.numbers import at_least, number

BINS = 30


def figure(caption, *pictures, legend=()) -> Html:
    """Pictures under a caption and a legend of pairs (class of the mark, text)."""
    keys = [
        tag("span", tag("i", class_=f"key {class_}"), text, class_="entry")
        for class_, text in legend
    ]
    legend = tag("div", keys, class_="legend") if keys else None
    return tag("figure", tag("figcaption", caption), legend, *pictures)


def _steps(x, y):
    """The corners of a curve that stays at y_i until x_(i + 1)."""
    return np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]


def _area(x, low, high):
    """The region between two such curves."""
    return *_steps(x, low), _steps(x, np.maximum(low, high))[1]


def _reach(run, attacked):
    """The radius where the axes end: what is certified, and most of what the attack found."""
    found = attacked.distance[np.isfinite(attacked.distance)]
    largest = float(run.certificates.radius.max())
    top = min(np.quantile(found, 0.98), 2 * largest) if len(found) else 0.0
    return 1.03 * max(largest, float(top)) or 1.0


def accuracy_against_radius(run, attacked, eps) -> Html:
    """The certified curve, and how far an attack lets accuracy fall."""
    top = _reach(run, attacked)
    radii = np.linspace(0, top, 241)
    proven = 100 * run.certificates.curve(radii)[1]
    same, broken = (100 * share(radii) for share in (attacked.certified, attacked.accuracy))
    sampled = len(attacked.rows) < len(run.y)
    axes = Axes((0, top), (0, 100), f"radius, {run.distances}", "accuracy on the test data, %")
    axes.area(*_area(radii, same, broken), "between")
    axes.upright(eps)
    axes.line(*_steps(radii, broken), "attacked")
    if sampled:
        axes.line(*_steps(radii, same), "certified thin")
    axes.line(*_steps(radii, proven), "certified")
    points = f"{len(attacked.rows)} sampled points"
    legend = [
        ("line certified", "certified: at least this (proven)"),
        *([("line certified thin", f"the same of {points}")] if sampled else []),
        ("line attacked", f"attack: at most this{f', on {points}' if sampled else ''}"),
        ("box between", "neither proven nor refuted"),
        ("line upright", f"radius {at_least(eps)}"),
    ]
    described = (
        f"Accuracy against radius. Certified: {proven[0]:.1f} % at radius 0, falling to 0 at "
        f"{number(run.certificates.radius.max())}. The attack's curve lies above it."
    )
    return figure("Accuracy against radius", axes.svg(described), legend=legend)


def trade(points, eps, unit) -> Html:
    """Validation accuracy and certified accuracy over the radius trained for; the chosen one."""
    x, right, proven = np.array(points).T
    right, proven = 100 * right, 100 * proven
    low = min(float(proven.min()), 90.0)
    axes = Axes(
        (0, 1.03 * max(float(x[-1]), eps)),
        (10 * math.floor(low / 10), 100),
        f"radius, {unit}",
        "validation data, %",
    )
    axes.upright(eps)
    for y, class_ in ((right, "accuracy"), (proven, "certified")):
        axes.line(x, y, class_)
        for place in zip(axes.x(x), axes.y(y), strict=True):
            axes.dot(*place, class_)
    legend = [
        ("line accuracy", "right"),
        ("line certified", "right, and proven within the radius"),
        ("line upright", f"chosen: {at_least(eps)}"),
    ]
    described = "; ".join(
        f"radius {number(e)}: {a:.1f} % right, {c:.1f} % proven"
        for e, a, c in zip(x, right, proven, strict=True)
    )
    return figure("The price of a radius", axes.svg(described), legend=legend)


def radii(run, eps) -> Html:
    """Histograms of the certified radii: right decisions, and wrong ones below."""
    radius = run.certificates.radius
    edges = np.linspace(0, 1.03 * float(radius.max()) or 1.0, BINS + 1)
    pictures = []
    for name, chosen, height in (("right", run.right, 230), ("wrong", ~run.right, 150)):
        counts = np.histogram(radius[chosen], edges)[0]
        axes = Axes(
            (0, float(edges[-1])),
            (0, max(int(counts.max()), 1) * 1.05),
            "certified radius" if name == "wrong" else "",
            f"number of {name} decisions, {chosen.sum()} in all",
            height=height,
            whole="y",
        )
        axes.bars(edges, counts, name)
        axes.upright(eps)
        middle = f", median radius {number(np.median(radius[chosen]))}" if chosen.any() else ""
        pictures.append(axes.svg(f"Histogram of radii: {chosen.sum()} {name} decisions{middle}."))
    legend = [
        ("box right", "right"),
        ("box wrong", "wrong"),
        ("line upright", f"radius {at_least(eps)}"),
    ]
    return figure("Certified radii", *pictures, legend=legend)


def predictions(run, rows, eps) -> Html:
    """Predictions over true values, each with its interval."""
    intervals, y = run.certificates, run.y
    sure = np.isfinite(intervals.lower) & np.isfinite(intervals.upper)
    rows = rows[sure[rows]]
    ends = intervals.lower[rows], intervals.upper[rows]
    across, up = _padded(y[rows]), _padded(np.concatenate([*ends, intervals.value[rows]]))
    axes = Axes(across, up, "true value", "prediction", height=400, left=left_of(up))
    diagonal = max(across[0], up[0]), min(across[1], up[1])
    if diagonal[0] < diagonal[1]:
        axes.line(diagonal, diagonal, "accuracy")
    x = axes.x(y[rows])
    for at, low, high in zip(x, *map(axes.y, ends), strict=True):
        axes.marks.append(tag("line", x1=at, x2=at, y1=low, y2=high, class_="range span"))
    for place in zip(x, axes.y(intervals.value[rows]), strict=True):
        axes.dot(*place, "certified")
    legend = [
        ("box certified", "prediction"),
        ("box span", f"where it stays within {at_least(eps)} (proven)"),
        ("line accuracy", "the truth itself"),
    ]
    described = (
        f"Predictions of {len(rows)} test points over their true values, which are from "
        f"{number(y[rows].min())} to {number(y[rows].max())}; each with its interval."
    )
    return figure("Prediction against truth", axes.svg(described), legend=legend)


def moves(distance, proven, eps) -> Html:
    """A histogram of how far an attack moved the predictions, and how far it could have."""
    edges = np.linspace(0, 1.03 * proven, BINS + 1)
    counts = np.histogram(distance, edges)[0]
    axes = Axes(
        (0, float(edges[-1])),
        (0, max(int(counts.max()), 1) * 1.05),
        f"move of the prediction within {at_least(eps)}",
        f"test points, {len(distance)} in all",
        whole="y",
    )
    axes.bars(edges, counts, "wrong")
    axes.upright(proven)
    legend = [("box wrong", "found by the attack"), ("line upright", "proven: no further")]
    described = (
        f"Histogram of the moves that an attack found, at most {number(distance.max())}; proven is "
        f"{number(proven)}."
    )
    return figure("Moves of the prediction", axes.svg(described), legend=legend)


def _padded(values):
    """The ends of an axis for some values."""
    low, high = float(values.min()), float(values.max())
    room = 0.04 * (high - low) or 1.0
    return low - room, high + room


def singular_values(ranges) -> Html:
    """The range of singular values of each layer, one row each."""
    positive = [low for _, low, _ in ranges if low > 0]
    top = max(high for *_, high in ranges)
    log = bool(positive) and top > 20 * min(positive)
    ends = (10 ** math.floor(math.log10(min(positive))), 1.3 * top) if log else (0.0, 1.06 * top)
    height = TOP + BOTTOM + 40 * len(ranges)
    axes = Axes(ends, (0, 1), "singular value", "", height=height, left=28, log=log)
    if ends[0] < 1 < ends[1]:
        axes.upright(1.0)
    for i, (name, low, high) in enumerate(ranges):
        y = TOP + 40 * i + 26
        left, right = (float(axes.x(max(v, ends[0]))) for v in (low, high))
        span = " to ".join(dict.fromkeys((number(low), number(high))))
        axes.marks += [
            tag("line", x1=axes.left, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"),
            axes.text(axes.left, y - 9, short(name, 28), "row-name"),
            axes.text(WIDTH - RIGHT, y - 9, span, "tick", "end"),
            tag("line", x1=left, x2=right, y1=y, y2=y, class_="range"),
        ]
        axes.dot(left, y, "certified")
        axes.dot(right, y, "certified")
    described = "Smallest and largest singular value of " + "; ".join(
        f"{name}: {number(low)} to {number(high)}" for name, low, high in ranges
    )
    return figure("Smallest and largest singular value of each layer", axes.svg(described))


def training(history) -> list[Html]:
    """A small picture for each quantity, with that of the validation data where there is one."""
    names = [name for name in history if not name.startswith("val_") or name[4:] not in history]
    return [picture for name in names if (picture := _curve(name, history)) is not None]


def _curve(name, history):
    lines = []
    for key, class_, label in (
        (name, "certified", "training"),
        (f"val_{name}", "attacked", "validation"),
    ):
        values = [(i + 1, v) for i, v in enumerate(history.get(key, ())) if v is not None]
        values = np.array([pair for pair in values if math.isfinite(pair[1])], "float64")
        if len(values):
            lines.append((*values.T, class_, label))
    if not lines:
        return None
    every = np.concatenate([y for _, y, *_ in lines])
    room = 0.06 * float(np.ptp(every)) or 0.1 * abs(float(every[0])) or 1.0
    last = max(float(x[-1]) for x, *_ in lines)
    ends = float(every.min()) - room, float(every.max()) + room
    axes = Axes((1, max(last, 2.0)), ends, "epoch", short(name, 32), height=220, whole="x")
    for x, y, class_, _ in lines:
        axes.line(x, y, class_)
    described = "; ".join(f"{label} {number(y[0])} to {number(y[-1])}" for _, y, _, label in lines)
    legend = [(f"line {class_}", label) for *_, class_, label in lines] if len(lines) > 1 else ()
    return figure(None, axes.svg(f"{name} over {last:.0f} epochs: {described}."), legend=legend)

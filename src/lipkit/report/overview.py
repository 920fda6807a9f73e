"""The headline, and what was trained on what."""

import json

import numpy as np

from lipkit.report.findings import Findings
from lipkit.report.markup import Html, at_least, at_most, facts, number, percent, table, tag


def headline(found: Findings) -> Html:
    """The four numbers, and what they mean in a sentence."""
    run, n, eps = found.run, len(found.run.y), at_least(found.eps)
    right, proven = int(run.right.sum()), round(n * run.certificates.certified_accuracy(found.eps))
    tiles = [
        ("Accuracy", percent(right, n), f"{right} of {n} test {run.unit}s"),
        (f"Certified at radius {eps}", percent(proven, n), f"{proven} of {n} proven to stay right"),
        (
            "Median certified radius",
            at_least(np.median(run.certificates.radius)),
            f"over {n} {run.unit}s, {run.distances}",
        ),
        ("Lipschitz constant", f"≤ {at_most(run.bound)}", "proven for the whole model"),
    ]
    cells = [
        tag(
            "div",
            tag("dt", name),
            tag("dd", value, class_="value"),
            tag("dd", detail, class_="detail"),
        )
        for name, value, detail in tiles
    ]
    sentence = (
        f"Of {n} {run.unit}s that were held out of training, the model decides {right} as they "
        f"are labelled. For {proven} of these it is proven that no change of the input by a "
        f"{'weighted' if run.weighted else 'Euclidean'} distance of at most {eps} leads to another "
        "decision. "
    )
    asked = (
        f"The radius {eps} is the one that the model was trained for."
        if found.asked
        else f"No radius was asked for in training; {eps} is the median radius, rounded down."
    )
    return tag(
        "section", tag("dl", cells, class_="tiles"), tag("p", sentence, asked), aria_label="Summary"
    )


def trained(found: Findings) -> Html:
    """Data, classes and settings."""
    run, y = found.run, found.run.y
    info = run.info
    data, split, settings = info.data, info.split, info.settings
    shape = data.image_shape
    features = data.features if data.kind == "table" else None
    rows = [
        ("Data", tag("code", data.path)),
        ("Kind", {"table": "table", "images": "pictures"}[data.kind]),
        (f"{run.unit}s".capitalize(), f"{data.rows:,}"),
        ("Split", f"{split.train:,} for training, {split.test:,} held out for this report"),
        ("Column of the classes", data.target),
        ("Size of a picture", " × ".join(map(str, shape)) if shape else None),
        ("Features", f"{len(features)}, listed below" if features else None),
        ("Training", f"{run.date}, {number(info.seconds, 3)} s"),
        ("Software", f"lipkit {info.lipkit} on Keras with {info.backend}"),
    ]
    counts = np.bincount(y, minlength=len(info.classes))
    classes = [
        (name, f"{count:,}", percent(count, len(y)))
        for name, count in zip(info.classes, counts, strict=True)
    ]
    values = [(name, tag("code", _value(v))) for name, v in settings.items() if v is not None]
    listed = features and tag(
        "details",
        tag("summary", f"The {len(features)} features"),
        tag("p", ", ".join(map(str, features)), class_="note"),
    )
    return tag(
        "div",
        facts(rows, "What the model was trained on"),
        listed or None,
        tag(
            "div",
            table(("class", "test points", "share"), classes, "Classes", "lrr"),
            facts(values, "Settings of the training"),
            class_="two",
        ),
    )


def _value(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""What was trained on what."""

import json

import numpy as np

from lipkit.report.findings import Findings
from lipkit.report.markup import Html, facts, table, tag
from lipkit.report.numbers import number, percent

ELSEWHERE = ("trade", "warnings")  # settings that the page shows in other places


def trained(found: Findings) -> Html:
    """Data, what is predicted, and settings."""
    run = found.run
    info = run.info
    data, split, settings = info.data, info.split, info.settings
    shape = data.image_shape
    features = data.features if data.kind == "table" else None
    rows = [
        ("Data", tag("code", data.path)),
        ("Kind", {"table": "table", "images": "pictures"}[data.kind]),
        (f"{run.unit}s".capitalize(), f"{data.rows:,}"),
        ("Split", f"{split.train:,} for training, {split.test:,} held out for this report"),
        ("Column to predict" if info.regression else "Column of the classes", data.target),
        ("Size of a picture", " × ".join(map(str, shape)) if shape else None),
        ("Features", f"{len(features)}, listed below" if features else None),
        ("Test score by seed", run.scores and str(run.scores)),
        ("Training", f"{run.date}, {number(info.seconds)} s"),
        ("Software", f"lipkit {info.lipkit} on Keras with {info.backend}"),
    ]
    values = [
        (name.replace("_", " "), tag("code", _value(v)))
        for name, v in settings.items()
        if v is not None and name not in ELSEWHERE
    ]
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
            _numbers(run.y) if info.regression else _classes(run.y, info.classes),
            facts(values, "Settings of the training"),
            class_="two",
        ),
    )


def _classes(y, classes):
    counts = np.bincount(y, minlength=len(classes))
    rows = [
        (name, f"{count:,}", percent(count, len(y)))
        for name, count in zip(classes, counts, strict=True)
    ]
    return table(("class", "test points", "share"), rows, "Classes", "lrr")


def _numbers(y):
    shares = {"smallest": 0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "largest": 1}
    rows = [(name, number(np.quantile(y, share))) for name, share in shares.items()]
    rows += [("mean", number(y.mean())), ("standard deviation", number(y.std()))]
    return table(("target", f"of {len(y):,}"), rows, "What is to be predicted, in the test", "lr")


def _value(value):
    """A setting as JSON, with numbers of three digits."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, float):
        return number(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

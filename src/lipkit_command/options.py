"""Arguments and options that commands share."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from lipkit_command.plain import choices, existing


def checked(check, message):
    """A callback that refuses what does not pass the check; None means that none was given."""

    def callback(value):
        if value is not None and not check(value):
            raise typer.BadParameter(f"{message}, got {value}")
        return value

    return callback


def one_of(names):
    """A callback that refuses other values."""
    return checked(lambda value: value in names, f"must be one of {', '.join(names)}")


def there(path):
    """A callback that refuses a path where nothing is, before the package is imported."""
    return path if path is None else existing(path)


def _use_backend(name):
    """A callback that makes Keras take a backend, which is fixed at its import."""
    if name is not None:
        one_of(choices.BACKENDS)(name)
        if find_spec(name) is None:
            raise typer.BadParameter(f"{name} is not installed: pip install 'lipkit[{name}]'")
        os.environ["KERAS_BACKEND"] = name
    return name


radius = checked(lambda value: 0 <= value < float("inf"), "must be a finite number >= 0")
share = checked(lambda value: 0 < value < 1, "must be between 0 and 1")

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        callback=there,
        help="Folder that `lipkit train` wrote, a .keras file or an .onnx file.",
    ),
]
Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        callback=there,
        help="CSV, XLSX or Parquet table, NPZ file of arrays x and y, or folder of images, one "
        "sub-folder per class.",
    ),
]
Run = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        callback=there,
        help="Run that MODEL was exported from: it says how columns become numbers and what the "
        "classes are called. (Default: MODEL, if it is a run.)",
    ),
]
Eps = Annotated[
    float | None,
    typer.Option(
        metavar="R",
        callback=radius,
        help="Radius (2-norm), in units of the run's distances: see `lipkit train --help`.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(metavar="COL", help="Column of a table to predict: classes, or numbers."),
]
Id = Annotated[
    str | None,
    typer.Option(
        metavar="COL", help="Column that names the rows: not an input, and kept with the results."
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option(metavar="COL", help="Column to leave out. Repeatable."),
]
Encoding = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of a CSV file, such as latin-1. (Default: UTF-8.)"),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        metavar="MARK",
        callback=one_of(choices.DECIMALS),
        help="Mark before decimals: " + " or ".join(choices.DECIMALS),
    ),
]
Missing = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="Text that stands for a missing value. Repeatable."),
]
Sheet = Annotated[
    str | None, typer.Option(metavar="NAME", help="Sheet of a workbook that has several.")
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        metavar="NAME",
        help="Name or number (from 0) of the output, if the model has several. (Default: the one "
        "that holds real numbers; labels do not count.)",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout instead of text.")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on where this training, with the same data and options, was broken off.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")]
Backend = Annotated[
    str | None,
    typer.Option(callback=_use_backend, help="Keras backend: " + ", ".join(choices.BACKENDS)),
]


def output(text):
    """A name, or the number of an output."""
    return int(text) if text is not None and text.isdecimal() else text

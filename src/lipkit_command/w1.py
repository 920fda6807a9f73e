"""`lipkit w1`: how far apart two sets of samples are."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lipkit_command import options, output


def w1(
    a: Annotated[
        Path,
        typer.Argument(
            metavar="A", callback=options.there, help="CSV, XLSX, Parquet or NPZ file of samples."
        ),
    ],
    b: Annotated[
        Path,
        typer.Argument(
            metavar="B", callback=options.there, help="Another file, with the same columns."
        ),
    ],
    columns: Annotated[
        str | None,
        typer.Option(metavar="COLS", help="Names, separated by commas. (Default: all columns.)"),
    ] = None,
    drop: options.Drop = None,
    encoding: options.Encoding = None,
    decimal: options.Decimal = None,
    missing: options.Missing = None,
    sheet: options.Sheet = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the critic's training.")] = 10,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    as_json: options.Json = False,
):
    """Estimate the Wasserstein-1 distance between two sets of samples.

    It is how far the samples of A have to be moved on average to become those of B, in units of
    the data. A critic is trained for it; the lower bounds are proven.

    For example:

        lipkit w1 january.csv february.csv --columns age,income
        lipkit w1 real.npz generated.npz --json
    """
    from lipkit.data import Format, files, tables
    from lipkit.runs.schema import INFO, TEST
    from lipkit.wasserstein import wasserstein_distance
    from lipkit_command.progress import Epochs

    for path in (a, b):
        if (path / INFO).is_file():
            raise ValueError(f"{path} is a run, and w1 compares samples, such as {path / TEST}.")
    chosen = [tables.Column(name.strip(), "number") for name in (columns or "").split(",") if name]
    known = {"columns": [asdict(column) for column in chosen]} if chosen else None
    format = Format().changed(encoding=encoding, decimal=decimal, missing=missing, sheet=sheet)
    read = {"drop": drop or (), "format": format, "partly": True}
    first = files.read(a, encoding=known, **read)
    texts = [column.name for column in first.columns() if column.kind == "category"]
    if texts:
        raise ValueError(f"{a}: column {texts[0]!r} holds text. Choose others with --columns.")
    second = files.read(b, encoding=first.encoding, **read)
    for path, dataset in ((a, first), (b, second)):
        if dataset.problems:
            row = min(dataset.problems)
            raise ValueError(
                f"{path}: {len(dataset.problems)} rows cannot be used, first row {row + 1}: "
                f"{dataset.problems[row]}. Correct them, or leave out these rows, or the column "
                "(--drop)."
            )
    distance = wasserstein_distance(
        first.x, second.x, epochs=epochs, seed=seed, callbacks=[Epochs()]
    )
    names = ("estimate", "lower_bound", "interval", "empirical_lower_bound", "confidence")
    values = {name: getattr(distance, name) for name in (*names, "lipschitz_bound")}
    document = {"a": str(a), "b": str(b), "samples": [len(first.x), len(second.x)], **values}
    output.show(as_json, document, [str(distance)])

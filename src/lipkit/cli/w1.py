"""`lipkit w1`: how far apart two sets of samples are."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from lipkit.cli import options, output
from lipkit.data import files, tables


def w1(
    a: Annotated[Path, typer.Argument(metavar="A", help="CSV, Parquet or NPZ file.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one, of the same columns.")],
    columns: Annotated[
        str | None, typer.Option(metavar="COLS", help="Names with commas. (By default all.)")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    as_json: options.Json = False,
):
    """Estimate the Wasserstein-1 distance between two files of samples.

    For example:

        lipkit w1 january.csv february.csv --columns age,income
        lipkit w1 real.npz generated.npz --json
    """
    raise NotImplementedError

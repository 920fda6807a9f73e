"""`lipkit report`: a run as a page."""

from pathlib import Path
from typing import Annotated

import typer

from lipkit.cli import options, output


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of `lipkit train`.")],
    as_json: options.Json = False,
):
    """Write a run's report: one HTML page that needs no network.

    For example:

        lipkit report runs/cancer
    """
    from lipkit.report import write_report

    path = write_report(run)
    output.show(as_json, {"run": str(run), "report": str(path)}, [str(path)])

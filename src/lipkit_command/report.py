"""`lipkit report`: a run as a page."""

from pathlib import Path
from typing import Annotated

import typer

from lipkit_command import options, output


def report(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", callback=options.there, help="Folder that `lipkit train` wrote."
        ),
    ],
    freeze: Annotated[
        list[str] | None,
        typer.Option(metavar="COL", help="Column that counterfactuals leave as it is. Repeatable."),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option("--baselines", help="Compare with two models of scikit-learn, trained now."),
    ] = False,
    as_json: options.Json = False,
):
    """Write a run's report: one HTML page that needs no network.

    For example:

        lipkit report runs/cancer
        lipkit report runs/loans --freeze age --baselines
    """
    from lipkit.report.page import write
    from lipkit.runs import read
    from lipkit.runs.schema import MANIFEST

    found = read(run)
    path = write(found, freeze=freeze or (), baselines=baselines)
    sha256 = found.sha256.get(MANIFEST)
    lines = [str(path), output.identity(run, sha256)]
    output.show(as_json, {"run": str(run), "sha256": sha256, "report": str(path)}, lines)

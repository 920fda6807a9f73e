"""How the model came about, what was checked, and how to do it again."""

import platform
import shlex
import sys

import keras
import numpy as np

from lipkit._version import __version__
from lipkit.report import figures
from lipkit.report.findings import Findings
from lipkit.report.markup import Html, facts, table, tag
from lipkit.report.numbers import at_most, number, percent
from lipkit.runs.schema import CERTIFICATES, INFO, PLAIN, TEST, TRAINED


def training(found: Findings) -> Html:
    """The curves of the training."""
    pictures = figures.training(found.run.info.history)
    if not pictures:
        return tag("p", "No history of the training was kept.", class_="note")
    return tag("div", pictures, class_="two")


def checks(found: Findings) -> Html:
    """What this report compared."""
    run = found.run
    n, attacked = len(run.y), found.attacked
    rows = [
        (
            f"Lipschitz bound of {PLAIN}",
            f"proven anew: {at_most(run.bound)}; {INFO} says {at_most(run.info.lipschitz_bound)}",
        ),
        _score(run),
        ("Certificates, computed anew", f"{len(run.sample)} of {n}; all agree with the file"),
        (
            f"Outputs of {TRAINED} and {PLAIN}",
            f"differ by at most {number(run.difference)} on {len(run.sample)} test points",
        ),
        (
            "Certificates under attack",
            f"{attacked.refuted} of {attacked.tried} were broken within their radius",
        ),
    ]
    return facts(rows, "Done when this report was written")


def _score(run):
    """The score of the test data, as the files have it, and as the record says."""
    if run.info.regression:
        score, stated = f"{run.certificates.r2():.4f}", f"{run.info.r2:.4f}"
        return f"R² of {CERTIFICATES} on {TEST}", f"{score}; {INFO} says {stated}"
    score, stated = percent(run.right.sum(), len(run.y)), f"{100 * run.info.accuracy:.1f} %"
    return f"Accuracy of {CERTIFICATES} on {TEST}", f"{score}; {INFO} says {stated}"


def reproduce(found: Findings) -> Html:
    """Command, versions and hashes."""
    run = found.run
    hashes = [(run.info.data.path, run.info.data.sha256), *run.sha256.items()]
    backend = keras.backend.backend()
    versions = [
        ("Trained with", f"lipkit {run.info.lipkit}, {run.info.backend}"),
        (
            "Report written with",
            f"lipkit {__version__}, Keras {keras.__version__}, {backend} "
            f"{sys.modules[backend].__version__}, NumPy {np.__version__}, "
            f"Python {platform.python_version()}",
        ),
    ]
    return tag(
        "div",
        tag("p", "The command that trained the model:"),
        tag("pre", shlex.join(map(str, run.info.command))),
        facts(versions, "Versions"),
        table(
            ("file", "SHA-256"),
            [(tag("code", name), tag("code", value)) for name, value in hashes],
            "Files and their hashes",
        ),
    )

"""`write_report`: from a run directory to a page."""

from pathlib import Path

from lipkit._files.atomic import replacing
from lipkit.report import summary, values
from lipkit.report.baselines import baselines
from lipkit.report.examples import examples
from lipkit.report.findings import Findings, investigate
from lipkit.report.markup import Html, tag
from lipkit.report.overview import trained
from lipkit.report.proof import assumptions, layers
from lipkit.report.provenance import checks, reproduce, training
from lipkit.report.robustness import accuracy, confusion, radii
from lipkit.report.style import sheet
from lipkit.report.tolerances import tolerances
from lipkit.runs import Run, read
from lipkit.runs.schema import REPORT

# no script and nothing from elsewhere, whatever the texts of the data are
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
BEGINNING = [("trained", "Data and settings", trained)]
DECISIONS = [
    ("accuracy", "Accuracy against radius", accuracy),
    ("radii", "Certified radii", radii),
    ("tolerances", "How far each column may move", tolerances),
    ("decisions", "Decisions", confusion),
    ("baselines", "Comparison with scikit-learn", baselines),
    ("examples", "Least and most robust examples", examples),
]
VALUES = [
    ("predictions", "Prediction against truth", values.predictions),
    ("stability", "How far predictions can move", values.stability),
    ("tolerances", "How far each column may move", tolerances),
    ("baselines", "Comparison with scikit-learn", baselines),
]
END = [
    ("layers", "Layers and proven bounds", layers),
    ("training", "Training", training),
    ("assumptions", "What the certificates rest on", assumptions),
    ("checks", "Checks of this report", checks),
    ("reproduce", "How to reproduce", reproduce),
]


def write_report(directory, *, freeze=(), baselines=False) -> Path:
    """Write `report.html` about a run: data, certificates, attack, examples, bounds, assumptions.

    The page is one file without scripts and links to elsewhere. Everything in it is computed from
    the files of the run, which are checked against each other before: the bound is proven anew,
    and so are certificates of a sample of the test points. Bounds are rounded up and certified
    radii down; the attack's curve is measured, not proven.

    Args:
        directory: folder that `lipkit train ... --out DIR` wrote.
        freeze: list of columns that the counterfactuals of examples must not change; of a run that
            predicts numbers there are none.
        baselines: whether to train two models of scikit-learn on the same rows and compare. The
            file that the run was trained on must still be there.

    Returns:
        The path of the page.

    Raises:
        ValueError: a file is missing, cannot be read or does not belong to the others, or the page
            cannot be written; or `freeze` names a column that the data do not have.
        ImportError: scikit-learn is missing, and `baselines` is true.

    Example:
        >>> lipkit.report.write_report(run).name
        'report.html'
    """
    return write(read(directory), freeze=freeze, baselines=baselines)


def write(run: Run, **options) -> Path:
    """`write_report` for a run that was read."""
    text = page(investigate(run, **options))
    path = run.directory / REPORT
    try:
        with replacing(path) as new:
            new.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}.") from None
    return path


def page(found: Findings) -> Html:
    """The whole document."""
    info = found.run.info
    name = Path(info.data.path).name or info.data.path
    own, sections = (values, VALUES) if info.regression else (summary, DECISIONS)
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Robustness report: {name}"),
        tag("style", Html(sheet())),
    ]
    header = tag(
        "header",
        tag("p", "lipkit robustness report", class_="over"),
        tag("h1", name),
        tag(
            "p",
            f"{own.subject(found)}. Trained {found.run.date} with lipkit {info.lipkit}.",
            class_="under",
        ),
    )
    made = [(key, title, section(found)) for key, title, section in BEGINNING + sections + END]
    shown = [(key, title, content) for key, title, content in made if content is not None]
    contents = tag(
        "nav",
        tag("ol", [tag("li", tag("a", title, href=f"#{key}")) for key, title, _ in shown]),
        aria_label="Contents",
    )
    parts = [tag("section", tag("h2", title), content, id=key) for key, title, content in shown]
    body = tag("div", header, contents, tag("main", own.summary(found), parts), class_="page")
    document = tag("html", tag("head", head), tag("body", body), lang="en")
    return Html(f"<!doctype html>\n{document}\n")

"""The first screen: what was trained, how often it is right and proven, and what to do next."""

import shlex

import numpy as np

from lipkit.report import choice, tolerances
from lipkit.report.findings import Findings
from lipkit.report.markup import Html, tag
from lipkit.report.numbers import at_least, at_most, number, percent

NAMED = 10  # classes in the header
ALIKE = 0.02  # so near are accuracies of which one says enough
BEHIND = 0.05  # so much less proven than right, as a share of all, is worth a word


def summary(found: Findings) -> Html:
    """Sentences, four numbers, warnings and the next step."""
    return framed(found, _lead(found), _tiles(found), _doubts(found), _advice(found))


def subject(found: Findings) -> str:
    """What the model is."""
    classes = found.run.info.classes
    more = f" and {len(classes) - NAMED} more" if len(classes) > NAMED else ""
    return f"A classifier of {len(classes)} classes: {', '.join(map(str, classes[:NAMED]))}{more}"


def framed(found, lead, tiles, doubts, advice) -> Html:
    """The first screen of any run.

    Args:
        found: the findings.
        lead: sentences.
        tiles: four triples of what is measured, its value, and what that is of.
        doubts: warnings of this report.
        advice: what else could be done, or "".
    """
    return tag(
        "section",
        tag("p", *lead, class_="lead"),
        tag("dl", [_tile(*tile) for tile in tiles], class_="tiles"),
        tag("p", units) if (units := tolerances.in_units(found)) else None,
        tag("p", choice.sentence(found)),
        _warnings(found, doubts),
        _next(found, advice),
        aria_label="Summary",
    )


def _counts(found):
    """Test points, those decided rightly, and those proven to stay right."""
    run = found.run
    n = len(run.y)
    return n, int(run.right.sum()), round(n * run.certificates.certified_accuracy(found.eps))


def _lead(found):
    run, info = found.run, found.run.info
    (n, right, proven), classes = _counts(found), info.classes
    task = (
        f"to tell {classes[0]} and {classes[1]} apart"
        if len(classes) == 2
        else f"to choose one of {len(classes)} classes"
    )
    return [
        f"A model was trained on {info.split.train:,} {run.unit}s {task}. Its answer is right for ",
        tag("strong", f"{right:,} of {n:,}"),
        f" {run.unit}s that it had not seen. For ",
        tag("strong", f"{proven:,}"),
        f" of them it is proven that no change up to a distance of {at_least(found.eps)}, "
        f"{run.distances}, leads to another answer.",
    ]


def _tiles(found):
    run, (n, right, proven) = found.run, _counts(found)
    return [
        ("Accuracy", percent(right, n), f"{right} of {n} test {run.unit}s{_balanced(run)}"),
        (
            f"Certified at radius {at_least(found.eps)}",
            percent(proven, n),
            f"{proven} of {n} proven to stay right",
        ),
        (
            "Median certified radius",
            at_least(np.median(run.certificates.radius)),
            f"over {n} {run.unit}s, {run.distances}",
        ),
        (
            "Lipschitz constant",
            number(found.constant),
            f"proven: ≤ {at_most(found.constant)}, for distances {run.distances}",
        ),
    ]


def _balanced(run):
    """The accuracy in which each class counts alike, where it is another one."""
    plain, alike = run.info.accuracy, run.info.balanced_accuracy
    if alike is None or abs(alike - plain) <= ALIKE:
        return ""
    return f"; {100 * alike:.1f} % if each class counts alike"


def _tile(name, value, detail):
    return tag(
        "div",
        tag("dt", name),
        tag("dd", value, class_="value"),
        tag("dd", detail, class_="detail"),
    )


def _doubts(found):
    run, (n, right, _) = found.run, _counts(found)
    counts = np.bincount(run.y, minlength=len(run.info.classes))
    if right <= counts.max():
        most = run.info.classes[counts.argmax()]
        yield (
            f"Always answering {most} would be right about {counts.max():,} of {n:,}: the model "
            "does no better."
        )


def _warnings(found, doubts):
    """What the training warned of, and what this report found."""
    said = found.run.info.settings.get("warnings")
    texts = [*map(str, said if isinstance(said, list) else ()), *doubts]
    if found.attacked.refuted:
        texts.append(
            f"{found.attacked.refuted} certificates were refuted. Do not rely on any of this run."
        )
    if not texts:
        return None
    return tag(
        "div",
        tag("h3", "Warnings"),
        tag("ul", [tag("li", text) for text in texts], class_="plain"),
        class_="warnings",
    )


def _advice(found):
    n, right, proven = _counts(found)
    if right - proven <= BEHIND * n:
        return ""
    return (
        f"{right - proven} answers are right but not proven. The section Accuracy against radius "
        "shows within which radius as many are proven as you need: train for it with --eps. "
    )


def _next(found, advice):
    """Advice, and commands to copy."""
    name = shlex.quote(str(found.run.directory))
    proofs = "intervals" if found.run.info.regression else "radii"
    steps = [
        f"lipkit certify {name} NEW_DATA",
        f"lipkit export {name} --to onnx --out m.onnx",
    ]
    return tag(
        "div",
        tag(
            "p",
            tag("strong", "Next. "),
            advice,
            f"New answers with their {proofs}, and a file to use:",
        ),
        tag("pre", "\n".join(steps)),
    )

"""How much of the accuracy is left, where, and what is confused."""

import numpy as np

from lipkit.report import choice, figures
from lipkit.report.findings import MULTIPLES, SEED, Findings
from lipkit.report.markup import Html, table, tag
from lipkit.report.numbers import at_least, percent, rounded_down


def accuracy(found: Findings) -> Html:
    """The certified curve beside the attack, and numbers from it."""
    run, attacked = found.run, found.attacked
    n, m = len(run.y), len(attacked.rows)
    radii = [0.0, *(rounded_down(found.eps * factor) for factor in (0.5, 1.0, 2.0, 4.0))]
    columns = [
        (f"certified, of\N{NO-BREAK SPACE}{n}", run.certificates.curve(radii)[1]),
        (f"certified, of\N{NO-BREAK SPACE}{m}", attacked.certified(radii)),
        (f"attacked, of\N{NO-BREAK SPACE}{m}", attacked.accuracy(radii)),
    ]
    columns = [columns[0], *columns[1 + (m == n) :]]  # twice the same where all were attacked
    cells = [[f"{100 * share:.1f} %" for share in shares] for _, shares in columns]
    rows = list(zip(map(at_least, radii), *cells, strict=True))
    header = ("radius", *(name for name, _ in columns))
    return tag(
        "div",
        tag(
            "p",
            "How much accuracy is left if every test input may be changed by up to a radius. "
            "The certified curve is a proof: no attack can push the accuracy below it. ",
            "The other curve is what an attack achieved: the accuracy is not above it. The truth "
            "lies between the two.",
        ),
        tag(
            "div",
            figures.accuracy_against_radius(run, attacked, found.eps),
            tag(
                "div",
                table(header, rows, "Remaining accuracy", "r" * len(header)),
                tag(
                    "p",
                    f"The attack: projected gradient ascent (lipkit.attacks.pgd), run for this "
                    f"report with seed {SEED} on {m} of {n} test points, in balls of 1 to "
                    f"{MULTIPLES[-1]:.0f} certified radii. Of {attacked.tried} points that are "
                    f"right and certified, it found inputs with another label for "
                    f"{attacked.broken}, each proven to be so; {attacked.refuted} lie within the "
                    "certified radius.",
                    class_="note",
                ),
            ),
            class_="two",
        ),
        choice.explained(found),
    )


def radii(found: Findings) -> Html:
    """Histogram of radii, and the classes one by one."""
    run = found.run
    rows = []
    for i, name in enumerate(run.info.classes):
        own = run.y == i
        right = own & run.right
        proven = right & run.certified & (run.certificates.radius >= found.eps)
        middle = at_least(np.median(run.certificates.radius[right])) if right.any() else "–"
        share = [percent(k.sum(), own.sum()) if own.any() else "–" for k in (right, proven)]
        rows.append((name, *share, middle))
    header = ("true class", "right", f"certified at {at_least(found.eps)}", "median radius")
    refused = ", ".join(f"{n} {reason}" for reason, n in run.certificates.reasons().items())
    return tag(
        "div",
        tag(
            "p",
            "The certified radius of a test point is the distance within which its decision is "
            "proven to stay. Wrong decisions have radii too: these are certified to stay wrong. ",
            f"Without a certificate, and so with radius 0: {refused}."
            if refused
            else "Every test point has a certificate.",
        ),
        tag(
            "div",
            figures.radii(run, found.eps),
            table(header, rows, "Each class; the radius is that of right decisions", "lrrr"),
            class_="two",
        ),
    )


def confusion(found: Findings) -> Html:
    """Decisions against true classes."""
    run, classes = found.run, found.run.info.classes
    columns = [*range(len(classes)), *([-1] if (run.certificates.label < 0).any() else [])]
    rows = []
    for i, name in enumerate(classes):
        own = run.y == i
        cells = [name]
        for j in columns:
            count = int(np.sum(own & (run.certificates.label == j)))
            share = count / max(int(own.sum()), 1)
            color = "var(--blue)" if i == j else "var(--orange)"
            cells.append(
                tag(
                    "td",
                    f"{count:,} ",
                    tag("small", percent(count, own.sum())) if count else None,
                    class_=None if count else "none",
                    style=f"--share: {share:.3f}; --cell: {color}",
                )
            )
        rows.append(cells)
    header = ("true class", *(classes[j] if j >= 0 else "no decision" for j in columns))
    caption = "Test points by true class (rows) and decision (columns); shares of the true class"
    dense = "matrix" if len(columns) <= 6 else "matrix dense"
    return tag("div", table(header, rows, caption), class_=dense)

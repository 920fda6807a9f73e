"""What the certificates rest on: bounds of the layers, assumptions, limits."""

from lipkit.report import figures
from lipkit.report.findings import Findings, singular_values
from lipkit.report.markup import Html, breakable, table, tag
from lipkit.report.numbers import at_most
from lipkit.runs.schema import PLAIN

TIMES = "\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}"


def layers(found: Findings) -> Html:
    """The proof of the bound, layer by layer, and singular values."""
    bound, run = found.run.bound, found.run
    units = (
        ["."]
        if not run.weighted
        else [
            " per unit of the data. In the distance that radii count, ",
            f"{run.distances}, it is ≤ ",
            tag("strong", at_most(found.constant)),
            ".",
        ]
    )
    rows = [
        (breakable(b.name), b.kind, b.method, at_most(b.bound), TIMES.join(map(str, b.input_shape)))
        for b in bound.layers
    ]
    header = ("layer", "kind", "method of the proof", "bound", "input")
    ranges = singular_values(run.model)
    picture = ranges and tag(
        "div",
        figures.singular_values(ranges),
        tag(
            "p",
            "Singular values are computed by a float64 decomposition: exact up to rounding, but "
            "not proven. A layer whose smallest and largest ones are close together passes on "
            "all directions with about the same strength.",
            class_="note",
        ),
        class_="two",
    )
    return tag(
        "div",
        tag(
            "p",
            "No change of the input is amplified by more than the Lipschitz constant. The bound of "
            "each layer was computed for this report from the stored weights, in float64, and "
            "rounded up; nothing that a layer says about itself was trusted.",
        ),
        table(header, rows, "Proven bounds of the exported model, layer by layer", "lllrl"),
        tag("p", "Lipschitz constant of the model ≤ ", tag("strong", at_most(bound)), *units),
        picture or None,
    )


OF_DECISIONS = (
    "A certificate says: no input within this radius of the test point gets another decision",
    "A certificate does not make a decision right: it makes it stable.",
    "The attack's curve is measured: a stronger attack may lower it, but not below the certified "
    "one.",
)
OF_VALUES = (
    "An interval says: no input within the radius of the test point gets a prediction outside of "
    "it",
    "An interval does not say how far a prediction is from the truth: it says how far it can move.",
    "What the attack found is measured: a stronger attack may move predictions further, but not "
    "out of their intervals.",
)


def assumptions(found: Findings) -> Html:
    """What is claimed, what is taken for granted, and what is not claimed."""
    run = found.run
    arithmetic = run.certificates.arithmetic
    program = {
        "real": "They hold for the network as a function of real numbers, with the weights as "
        "stored. They do not cover the rounding errors of a program that computes it in float32.",
    }.get(
        arithmetic,
        f"They hold for the network in real arithmetic and for the program that computes it in "
        f"{arithmetic}, whose worst-case rounding errors are subtracted.",
    )
    says, right, curve = OF_VALUES if run.info.regression else OF_DECISIONS
    claims = [
        says + " from the exported model. It covers all inputs in the ball, not just those that "
        "somebody tried.",
        program,
        f"They are about {PLAIN} as it is stored, identified by its hash below. After more "
        "training, or a cast of its weights, the model needs new ones.",
        "Distances are Euclidean, over all features together, in units of the data as the model "
        "gets them"
        + ", times the weights of the features" * run.weighted
        + "; a scaling inside the model is part of the proof.",
    ]
    limits = [
        "Nothing is said about changes beyond the radius, or about distances of another kind.",
        right,
        f"Shares and errors are those of these {len(run.y)} test points. How far they carry over "
        "to new data is a question of statistics, and of whether new data are like these.",
        "The comparison of the proof's reading of the model with the running model is a test on "
        "random inputs.",
        curve,
    ]
    return tag(
        "div",
        tag("h3", "What the certificates claim"),
        tag("ul", [tag("li", text) for text in claims], class_="plain"),
        tag("h3", "What the proof takes for granted"),
        tag("ul", [tag("li", _sentence(a)) for a in run.certificates.assumptions], class_="plain"),
        tag("h3", "What is not claimed"),
        tag("ul", [tag("li", text) for text in limits], class_="plain"),
    )


def _sentence(text):
    return f"{text[:1].upper()}{text[1:]}."

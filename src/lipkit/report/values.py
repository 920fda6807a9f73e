"""What the page says of a run that predicts numbers: how near they are, how far they can move."""

import numpy as np

from lipkit.report import figures
from lipkit.report.findings import SEED, Findings
from lipkit.report.markup import Html, table, tag
from lipkit.report.numbers import at_least, at_most, number, percent
from lipkit.report.summary import framed

SHOWN = 400  # points of a picture
SLACK = 1 + 1e-9  # more than the roundings of a sum of three


def subject(found: Findings) -> str:
    """What the model is."""
    return f"A regression of {_target(found)}"


def _target(found):
    return found.run.info.data.target or "a number"


def _errors(found):
    """The errors of the predictions that are known, without sign."""
    error = np.abs(found.run.certificates.error)
    return error[np.isfinite(error)]


def summary(found: Findings) -> Html:
    """Sentences, four numbers, warnings and the next step."""
    run, n = found.run, len(found.run.y)
    sure, middle = int(run.certified.sum()), number(np.median(_errors(found)))
    radius, reach = at_least(found.eps), at_most(found.reach)
    lead = [
        f"A model was trained on {run.info.split.train:,} {run.unit}s to predict {_target(found)}. "
        f"On {n:,} {run.unit}s that it had not seen, half of its predictions are off by at most ",
        tag("strong", middle),
        ". For ",
        tag("strong", f"{sure:,}"),
        f" of them it is proven that no change up to a distance of {radius}, {run.distances}, "
        "moves the prediction by more than ",
        tag("strong", reach),
        ".",
    ]
    tiles = [
        ("R²", number(run.info.r2), f"of the variance of {n} test {run.unit}s explained"),
        ("Median error", middle, f"over {n} test {run.unit}s"),
        (f"Moves within {radius}", f"± {reach}", f"proven for {sure} of {n} {run.unit}s"),
        (
            "Lipschitz constant",
            number(found.constant),
            f"proven: ≤ {at_most(found.constant)}, for distances {run.distances}",
        ),
    ]
    advice = (
        "A smaller constant makes narrower intervals, at the price of larger errors: train with "
        "--lipschitz. "
    )
    return framed(found, lead, tiles, _doubts(found), advice)


def _doubts(found):
    if (r2 := found.run.certificates.r2()) <= 0:
        yield f"R² is {number(r2)}: the mean of the target does as well as the model."


def predictions(found: Findings) -> Html:
    """Predictions over true values, with their intervals, and how large the errors are."""
    run, intervals, errors = found.run, found.run.certificates, _errors(found)
    n = len(run.y)
    rows = np.sort(np.random.default_rng(SEED).permutation(n)[:SHOWN])
    shares = {"50 %": 0.5, "75 %": 0.75, "90 %": 0.9, "all": 1.0}
    cells = [(name, number(np.quantile(errors, share))) for name, share in shares.items()]
    inside = int(np.sum((intervals.lower <= run.y) & (run.y <= intervals.upper) & run.certified))
    return tag(
        "div",
        tag(
            "p",
            "Each point is a test point: its prediction, and the interval in which that is proven "
            f"to stay while the input moves by at most {at_least(found.eps)}. The interval is "
            "about the model, not about the truth: the nearer the points to the line, the better "
            "the model.",
        ),
        tag(
            "div",
            figures.predictions(run, rows, found.eps),
            tag(
                "div",
                table(("of the test points", "error at most"), cells, "Errors", "lr"),
                tag(
                    "p",
                    f"The root of the mean squared error is {number(np.sqrt(np.mean(errors**2)))}; "
                    f"always predicting the mean would give {number(run.y.std())}. The truth lies "
                    f"in the interval of the prediction for {percent(inside, n)} of the test "
                    "points.",
                    f" The picture shows {len(rows)} of {n}, drawn at random." * (len(rows) < n),
                    class_="note",
                ),
            ),
            class_="two",
        ),
    )


def _tried(found):
    """The best R² on validation data for each constant that the search tried, if it did.

    Those of the other candidates are in proportion to that of the one that was kept.
    """
    settings = found.run.info.settings
    trade, kept = settings.get("trade"), settings.get("constant")
    points = [point for point in (trade if isinstance(trade, list) else ()) if _is_point(point)]
    constants = sorted({point["constant"] for point in points})
    if len(constants) < 2 or kept not in constants:
        return None
    best = [max(p["r2"] for p in points if p["constant"] == constant) for constant in constants]
    rows = [
        (number(found.constant * constant / kept), number(r2))
        for constant, r2 in zip(constants, best, strict=True)
    ]
    caption = "What the search found on rows that were kept out of training (estimates)"
    return table(("constant, about", "best R²"), rows, caption, "rr")


def _is_point(point):
    return isinstance(point, dict) and all(
        isinstance(point.get(key), int | float) and np.isfinite(point[key])
        for key in ("constant", "r2")
    )


def stability(found: Findings) -> Html:
    """What is proven at other radii, and how near an attack came to it."""
    moved, eps, constant = found.attacked, found.eps, found.constant
    rounding = max(found.reach - constant * eps, 0.0)
    rows = [
        (at_least(radius), f"± {at_most((constant * radius + rounding) * SLACK)}")
        for radius in (eps * factor for factor in (0.5, 1.0, 2.0, 4.0))
    ]
    return tag(
        "div",
        tag(
            "p",
            "A prediction moves by no more than the Lipschitz constant times the distance by which "
            "the input moves. That is a proof, for all inputs. An attack shows how much of it a "
            "change can really use.",
        ),
        tag(
            "div",
            figures.moves(moved.distance, found.reach, eps) if moved.tried else None,
            tag(
                "div",
                table(("radius", "prediction moves by at most"), rows, "Proven", "lr"),
                _attack(found) if moved.tried else None,
                _tried(found),
            ),
            class_="two",
        ),
    )


def _attack(found):
    moved = found.attacked
    share = 100 * moved.distance.max() / found.reach
    return tag(
        "p",
        f"The attack: projected gradient ascent and descent (lipkit.attacks.falsify), run for this "
        f"report with seed {SEED} on {moved.tried} of {len(found.run.y)} test points, within "
        f"{at_least(found.eps)}. It moved predictions by {number(np.median(moved.distance))} in "
        f"the median and {number(moved.distance.max())} at most, {share:.0f} % of what is proven "
        f"to be the end; {moved.refuted} left their interval.",
        class_="note",
    )

"""What `lipkit train` says of the run that it wrote."""

from dataclasses import asdict

import numpy as np

from lipkit_command import output


def show(as_json, found, scores, capped):
    """Print the run: its score, what is proven, and what can be done next.

    Args:
        as_json: as one JSON object.
        found: `lipkit.runs.TrainedRun`.
        scores: `lipkit.runs.Scores`, or None.
        capped: whether fewer rows were held out than asked for.
    """
    info, out = found.info, found.directory
    data, split, settings = info.data, info.split, info.settings
    epochs = len(next(iter(info.history.values())))
    size = f"{len(data.features)} features" if data.features else f"{data.image_shape}"
    of = f"{len(info.classes)} classes" if info.classes else "a number to predict"
    own = _values if info.regression else _decisions
    proven, document = own(found)
    said = {}
    if scores and scores.runs:
        said = {"seeds": scores.runs, "mean": scores.mean, "spread": scores.spread}
    lines = output.facts(
        [
            ("data", f"{data.path}: {data.rows} rows of {size}, {of}"),
            (
                "network",
                f"{settings['recipe']}, trained on {split.train} rows"
                + f", interrupted after {epochs} epochs" * bool(settings["interrupted"]),
            ),
            ("held out", f"{split.test} rows" + ", the most that lipkit holds out" * capped),
            *proven,
            *([("seeds", str(scores))] if said else []),
            ("Lipschitz", f"at most {found.constant:.6g} for these distances (proven)"),
            ("wrote", f"{out} in {info.seconds:.1f} s"),
            ("SHA-256", f"{found.sha256} of its manifest"),
            ("next", f"lipkit report {out}"),
            ("", f"lipkit certify {out} NEW_DATA"),
            ("", f"lipkit export {out} --to onnx --out model.onnx"),
        ]
    )
    document = {
        **asdict(info),
        "sha256": found.sha256,
        "eps": settings["eps"],
        **document,
        **said,
        "out": str(out),
    }
    output.show(as_json, document, lines)


def _decisions(found):
    info, certificates = found.info, found.certificates
    eps = info.settings["eps"]
    certified = certificates.certified_accuracy(eps)
    median = float(np.median(certificates.radius))
    rows = [
        ("accuracy", f"{info.accuracy:.4f} on the rows held out"),
        ("", f"{info.balanced_accuracy:.4f} if each class counts alike (balanced)"),
        ("certified", f"{certified:.4f} are right, and stay right within {eps:.4g} (proven)"),
        *(("", line) for line in _choice(info.settings)),
        ("radius", f"{median:.4g} in the median, {info.distances}"),
    ]
    return rows, {"certified_accuracy": certified, "median_radius": median}


def _choice(settings):
    """Where the radius comes from, if a search found it."""
    if settings.get("eps_source") != "searched":
        return
    yield "that radius is the largest of the candidates whose accuracy on rows that they"
    yield "were not trained on is at most one point below the best"


def _values(found):
    info, intervals = found.info, found.certificates
    error, moves = (float(np.median(part)) for part in (np.abs(intervals.error), intervals.reach))
    within = f"{intervals.radius:.4g} {info.distances}"
    rows = [
        ("R2", f"{info.r2:.4f} on the rows held out"),
        ("error", f"{error:.4g} in the median"),
        ("interval", f"predictions move by at most {moves:.4g} within {within} (proven)"),
    ]
    return rows, {"median_error": error, "median_reach": moves if np.isfinite(moves) else None}

"""`train_seeds`: the same training with several seeds, a run of each."""

import json
from contextlib import suppress
from pathlib import Path

from lipkit._checks import integer
from lipkit.certifier.weights import weighted_bound
from lipkit.data import files
from lipkit.runs.folder import RunFolder
from lipkit.runs.reading import read
from lipkit.runs.schema import MANIFEST
from lipkit.runs.scores import Scores
from lipkit.runs.training import UNASKED, TrainedRun, train


def train_seeds(
    data, out, target=None, *, seeds, seed=0, overwrite=False, resume=False, **options
) -> tuple[TrainedRun, Scores]:
    """Train with several seeds, to see how much of a test score is chance.

    The run of the first seed is `out`, that of each other one `OUT-seed-SEED` beside it. Each is
    whole when its training ends, and its score is then in the file `seeds.json` of `out`: what has
    ended is not lost with what comes later. Ctrl-C ends the training that runs, whose score does
    not count, and begins no other.

    Args:
        data, out, target: as in `train`.
        seeds: how many, >= 1.
        seed: the first one; the others follow it.
        overwrite: whether runs that are there may be replaced.
        resume: whether to leave out the seeds whose runs are there, of the same data and arguments,
            and to go on with an unfinished one.
        **options: the other arguments of `train`.

    Returns:
        The first run, and the `Scores` of all.

    Raises:
        ValueError: as in `train`; or there are runs that were not asked to be replaced, or of
            other data or arguments.

    Example:
        >>> np.savez("moons.npz", x=x, y=(y > 0).astype("int64"))
        >>> options = {"recipe": "linear", "epochs": 1}
        >>> found, scores = lipkit.runs.train_seeds("moons.npz", "all", seeds=2, **options)
        >>> sorted(scores.runs), scores.runs[1]["run"]
        ([0, 1], 'all-seed-1')
    """
    out, seeds, seed = Path(out), integer("seeds", seeds, 1), integer("seed", seed, 0)
    places = {seed: out}
    places |= {i: out.with_name(f"{out.name}-seed-{i}") for i in range(seed + 1, seed + seeds)}
    asked = {name: value for name, value in options.items() if name not in UNASKED}
    asked |= {"target": target, "data": files.sha256(data)}
    asked = json.loads(json.dumps(asked, default=str))
    done = _done(out, places, asked) if resume else {}
    _check_free({i: place for i, place in places.items() if i not in done}, overwrite)
    first, scores = None, Scores(done, asked)
    for number, place in places.items():
        if number in done:
            continue
        options |= {"seed": number, "overwrite": overwrite, "resume": resume}
        found = train(data, place, target, **options)
        first = first or (found if place == out else None)
        if found.info.settings["interrupted"]:
            break
        done[number] = {"run": place.name, "sha256": found.sha256, "score": found.info.score}
        scores.save(out)
    return first or _read(out), scores


def _done(out, places, asked):
    """The runs that an earlier call has made, which are still what it made."""
    scores = Scores.load(out)
    if scores is None:
        return {}
    names = sorted(name for name in asked if scores.asked.get(name) != asked[name])
    if names:
        raise ValueError(
            f"{out} is of another training: {', '.join(names)} changed. Ask for the same, or "
            "choose another folder."
        )
    kept = {}
    for number, run in scores.runs.items():
        with suppress(ValueError):  # there is none, or it is damaged: it is made again
            if number in places and RunFolder.open(places[number]).sha256 == run["sha256"]:
                kept[number] = run
    return kept


def _check_free(places, overwrite):
    """Refuse to begin where a later run would find its place taken."""
    taken = [place for place in places.values() if place.exists()]
    if taken and not overwrite:
        raise ValueError(
            f"{taken[0]} exists. Choose another folder, overwrite it (--overwrite), or go on with "
            "the seeds that are left (--resume)."
        )


def _read(out):
    """A run that was there, as its training gave it."""
    run = read(out)
    constant = weighted_bound(run.model, run.weights) if run.weighted else float(run.bound)
    return TrainedRun(out, run.info, run.certificates, run.sha256[MANIFEST], constant)

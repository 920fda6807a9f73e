"""`train`: from a data file to the folder of a run."""

import logging
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from lipkit import recipes
from lipkit._checks import integer, real
from lipkit._choices import PATIENCE
from lipkit._version import __version__
from lipkit.certifier import lipschitz_bound
from lipkit.certifier.weights import weighted_bound
from lipkit.data import files, frames
from lipkit.data.imputation import METHODS
from lipkit.errors import NotCertifiable
from lipkit.runs import cautions, resuming
from lipkit.runs.schema import DataInfo, RunInfo, Split
from lipkit.runs.tasks import TASKS, batch_size
from lipkit.runs.writing import new_run, write

LOG = logging.getLogger("lipkit")
LARGEST_TEST = 100_000  # samples held out
SEEN = 2000  # of the rows trained on, whose accuracy is compared with that of the others
UNASKED = ("data", "out", "overwrite", "resume", "callbacks", "command")  # arguments that a run's
# content does not depend on, but for the content of the data


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What `train` wrote.

    Attributes:
        directory: the run folder.
        info: its record.
        certificates: certificates of the samples held out; of a regression their `Intervals`.
        sha256: hash of its manifest, which stands for the run.
        constant: proven bound on the Lipschitz constant for the distances of the run.

    Example:
        >>> np.savez("moons.npz", x=x, y=(y > 0).astype("int64"))
        >>> found = lipkit.runs.train("moons.npz", "moons", recipe="linear", epochs=1)
        >>> len(found.certificates) == found.info.split.test == 40
        True
    """

    directory: Path
    info: RunInfo
    certificates: Any
    sha256: str
    constant: float


def train(
    data,
    out,
    target=None,
    *,
    task: Literal["classification", "regression"] = "classification",
    recipe="auto",
    eps=None,
    alpha=None,
    min_margin=None,
    lipschitz=None,
    epochs=None,
    budget=None,
    class_weight=None,
    early_stopping=False,
    patience=PATIENCE,
    test_size=0.2,
    seed=0,
    categorical=(),
    drop=(),
    dates=(),
    id=None,
    format=None,
    impute=None,
    feature_weights=None,
    image_size=None,
    overwrite=False,
    resume=False,
    callbacks=None,
    command=None,
) -> TrainedRun:
    """Train a model on a data file, certify held-out samples, and write all of it as a run.

    The folder appears at the end, whole; after an error `out` is as it was. Ctrl-C ends the
    training after the epoch, and the run is that of the model so far; a second one breaks off. What
    a process that ended has trained is in the folder `OUT.unfinished`, from which `resume` goes on.

    Args:
        data: CSV, TSV, XLSX or Parquet table, NPZ file of arrays x and y, or folder of images with
            one sub-folder for each class; see `lipkit.data.files.read`.
        out: path of the run folder.
        target: column of a table that holds the classes, or the numbers to predict.
        task: `"classification"`, or `"regression"` to predict numbers: of a table or an NPZ file.
        recipe: network, a name in `lipkit.recipes.RECIPES`.
        eps: radius to train for, in units of the feature weights, between 1e-30 and 1e30; None for
            a search, see `lipkit.recipes.train`. Intervals of a regression are within it.
        alpha, min_margin, epochs, class_weight, early_stopping, patience: as in
            `lipkit.recipes.train`; classes are numbered in the order of their names.
        lipschitz: of a regression the largest constant, in units of the target per unit of
            distance; None for a search.
        budget: of the search, in seconds of CPU time for 1,000 rows; None for 30.
        test_size: share of the samples to hold out, in (0, 1); at most 100,000 are.
        seed: seed of the split, the initial values and the batches, from 0 to 2**32 - 1.
        categorical: list of the columns to be read as categories, whatever they hold.
        drop: list of the columns to leave out.
        dates: list of the columns of dates, to be read as days since 1970-01-01.
        id: column that names the rows: it is left out.
        format: `lipkit.data.Format`, how the cells of a table are written; None for the usual ways.
        impute: `"median"` or `"mean"`, to fill missing cells with it, or with the most frequent
            category; None: missing cells are an error.
        feature_weights: {column or feature: weight}, 1 for the others: distances, and so `eps` and
            all radii, count a unit of that column as `weight`. Or `"spread"`, `"std"` or `"none"`,
            as in `lipkit.recipes.train`; None for `"spread"` of tables and `"none"` of images.
        image_size: (height, width) that all images are resized to.
        overwrite: whether a run that is at `out` may be replaced, and an unfinished one removed.
        resume: whether to go on with an unfinished run for `out`, which must be of the same data
            and arguments. If there is none, training begins.
        callbacks: as in Keras's `fit`.
        command: list of strings, the command line to record; None for that of this process.

    Returns:
        `TrainedRun`; `lipkit.runs.read(out)` reads and checks it.

    Raises:
        FileNotFoundError: `data` does not exist.
        ValueError: the data, an argument or `out` is not usable; the message says which.
        NotCertifiable: the training diverged.

    Example:
        >>> np.savez("moons.npz", x=x, y=(y > 0).astype("int64"))
        >>> found = lipkit.runs.train("moons.npz", "moons", recipe="linear", epochs=1)
        >>> lipkit.runs.latest(".").name
        'moons'
    """
    asked = {name: value for name, value in locals().items() if name not in UNASKED}
    started, data = time.monotonic(), Path(data)
    test_size = real("test_size", test_size, "(0, 1)")
    seed = integer("seed", seed, 0)
    if task not in TASKS:
        raise ValueError(f"`task` must be one of {[*TASKS]}. Received: task={task!r}")
    own = TASKS[task]
    if target is None and frames.is_table(data):
        raise ValueError(f"`target` is missing (--target): name {own.TARGET}.")
    if impute not in (None, *METHODS):
        raise ValueError(f"`impute` must be one of {[*METHODS]}. Received: impute={impute!r}")
    resuming.check(out, resume, overwrite)
    with new_run(out, overwrite) as folder:
        dataset = files.read(
            data,
            target,
            categorical=categorical,
            drop=drop,
            dates=dates,
            id=id,
            format=format,
            impute=impute is not None,
            image_size=image_size,
            targets=task == "regression",
        )
        truth = own.truth(dataset, data)
        rows, held = own.split(truth, dataset, test_size, seed, LARGEST_TEST)
        if impute:
            dataset = files.impute(dataset, impute, rows)
        with resuming.kept(out, {**asked, "data": dataset.sha256}, resume) as stages:
            with stages:
                trained = recipes.train(
                    dataset.x[rows],
                    truth[rows],
                    task=task,
                    recipe=recipe,
                    eps=eps,
                    epochs=epochs,
                    seed=seed,
                    feature_weights=_weights(feature_weights, dataset),
                    callbacks=callbacks,
                    alpha=alpha,
                    min_margin=min_margin,
                    class_weight=class_weight,
                    lipschitz=lipschitz,
                    early_stopping=early_stopping,
                    patience=patience,
                    budget=recipes.BUDGET if budget is None else budget,
                    stages=stages,
                )
            if not all(np.isfinite(values).all() for values in trained.history.values()):
                raise NotCertifiable(
                    "the training gave infinite or undefined values; nothing was written"
                )
            plain = trained.model.vanilla_export()
            bound = float(lipschitz_bound(plain))
            constant = weighted_bound(plain, trained.settings["feature_weights"])
            x, y = dataset.x[held], truth[held]
            certificates, seen = (
                own.proven(plain, *both, trained.settings, batch_size=batch_size(x))
                for both in ((x, y), (dataset.x[rows[:SEEN]], truth[rows[:SEEN]]))
            )
            warned = cautions.about(dataset, rows, trained.settings, seen, certificates)
            info = RunInfo(
                lipkit=__version__,
                backend=keras.backend.backend(),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                **own.facts(dataset, certificates),
                settings={
                    **trained.settings,
                    "interrupted": stages.interrupted or None,
                    "warnings": warned,
                },
                split=Split(train=len(rows), test=len(held)),
                history=trained.history,
                lipschitz_bound=bound,
                command=list(sys.orig_argv if command is None else command),
                seconds=time.monotonic() - started + stages.earlier,
                data=DataInfo(
                    path=str(data),
                    sha256=dataset.sha256,
                    rows=len(dataset.x),
                    kind=dataset.kind,
                    target=target,
                    features=list(dataset.features),
                    image_shape=list(dataset.x.shape[1:]) if dataset.kind == "images" else None,
                    encoding=dataset.encoding,
                ),
            )
            sha256 = write(folder, info, trained.model, x, y, certificates)
    resuming.clear(out)
    for text in warned:
        LOG.warning("%s", text)
    return TrainedRun(Path(out), info, certificates, sha256, constant)


def _weights(given, dataset):
    """Weights of the features from those of columns, or features, by name, or their kind."""
    if not isinstance(given, dict):
        return given or "auto"
    places = {name: [i] for i, name in enumerate(dataset.features)}
    start = 0
    for column in dataset.columns():
        places[column.name] = list(range(start, start := start + len(column.features)))
    values = np.ones(len(dataset.features))
    for name, weight in given.items():
        if name not in places:
            raise ValueError(f"Feature weights: {name!r} is not a column of the data.")
        values[places[name]] = weight
    return values

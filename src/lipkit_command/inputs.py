"""Data for a model, read as its training data were, and their certificates."""

from dataclasses import replace
from typing import Any

import numpy as np

import lipkit
from lipkit.certifier import reweighted
from lipkit.data import files, frames
from lipkit.data.dataset import Dataset, encoded_format
from lipkit.runs.tasks import TASKS, batch_size


def read(loaded, path, target=None, id=None, drop=None, **written) -> Dataset:
    """The data set in a file, encoded as the model's run says; rows that do not fit are NaN.

    A model without a run takes numbers in the order of the columns, and its classes are numbers.

    Args:
        loaded: `lipkit.runs.Loaded`.
        path: file or folder.
        target: column of the classes; None: that of the run, if a table has it.
        id: column that names the rows; None: that of the run, if a table has it.
        drop: list of columns to leave out.
        written: arguments of `lipkit.data.Format`; those that are None are as in the run.

    Raises:
        ValueError: the file does not fit the model.
    """
    info = loaded.info
    encoding = info.data.encoding if info else {}
    dataset = files.read(
        path,
        target or (info.data.target if info and frames.is_table(path) else None),
        encoding=encoding,
        classes=info and info.classes,
        id=id,
        drop=drop or (),
        targets=loaded.regression,
        format=encoded_format(encoding).changed(**written),
        partly=True,
    )
    if target and dataset.y is None:
        what = "numbers" if loaded.regression else "classes"
        raise ValueError(f"{path} has no column {target!r} with {what} (--target).")
    return dataset if info else _plain(dataset, path)


def _plain(dataset, path):
    """The data set for a model without a run."""
    texts = [column.name for column in dataset.columns() if column.kind == "category"]
    names = [] if dataset.y is None else dataset.classes
    if texts or not all(name.lstrip("-").isdecimal() for name in names):
        what = f"column {texts[0]!r} holds" if texts else "the classes are"
        raise ValueError(
            f"{path}: {what} text, and only the run of a model says how it counts them: add "
            "--run RUN (the folder of `lipkit train`)."
        )
    y = None if dataset.y is None else np.array([*map(int, names), -1])[dataset.y]
    return replace(dataset, y=y, classes=())


def refuse_for_values(require, arithmetic, output):
    """Refuse options of `certify` that mean nothing for a run that predicts numbers."""
    if require is not None:
        raise ValueError(
            "--require is a share of right answers, and this run predicts numbers, which are right "
            "or wrong by more or less: read the intervals (--out FILE)."
        )
    if arithmetic != "real":
        raise ValueError(f"--arithmetic {arithmetic}: there are intervals in real arithmetic only.")
    if output is not None:
        raise ValueError("--output: the model of this run has one output.")


def certify(loaded, dataset, path, arithmetic: Any = "real", output=None, eps=None):
    """Certificates of a data set, in the distances of the run; its shape must be the model's.

    Their `y` is -1 where the class of a row is missing. Of a run that predicts numbers they are
    intervals for the radius `eps`, or the one that it was trained for.
    """
    if loaded.regression:
        return _intervals(loaded, dataset, path, eps)
    if loaded.weights is not None and arithmetic != "real":
        raise ValueError(
            f"--arithmetic {arithmetic}: this run measures distances with feature weights, for "
            "which there are proofs in real arithmetic only."
        )
    result = lipkit.certify(
        loaded.model,
        dataset.x,
        None if dataset.y is None else np.maximum(dataset.y, 0),
        arithmetic=arithmetic,
        output=output,
        batch_size=batch_size(dataset.x),
    )
    if result.misfit:
        columns = f" Columns read: {', '.join(dataset.features)}." * bool(dataset.features)
        raise ValueError(
            f"{path} does not fit the model: {result.status[0]}: {result.misfit}.{columns} "
            "--target names a column that is not an input."
        )
    if dataset.y is not None and result.y is not None:
        result = replace(result, y=np.where(dataset.y < 0, -1, result.y))
    return reweighted(result, loaded.model, loaded.weights)


def _intervals(loaded, dataset, path, eps):
    """The intervals of a data set."""
    data, x = loaded.info.data, dataset.x
    shape = tuple(data.image_shape or [len(data.features)])
    if x.shape[1:] != shape:
        raise ValueError(
            f"{path} does not fit the model: expected rows of the shape {shape}, got {x.shape[1:]}."
        )
    return TASKS[loaded.info.task].proven(
        loaded.model, x, dataset.y, loaded.info.settings, eps, batch_size=batch_size(x)
    )

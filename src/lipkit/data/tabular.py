"""Data sets from tables: columns, classes and names of rows, in any of the formats of `frames`."""

from dataclasses import asdict

import numpy as np

from lipkit.data import cells, encoders, frames, imputation, labels, tables
from lipkit.data.dataset import Dataset, encoded_columns, encoded_format
from lipkit.data.formats import USUAL

ADVICE = "Correct it, or leave out the row, or the column (--drop)."


def read(path, target, encoding, classes, *, categorical, drop, dates, id, format, partly, targets):
    """The data set in a table; missing cells are NaN. Arguments and errors: see `files.read`."""
    encoding = encoding or {}
    known, format = encoded_columns(encoding), format or encoded_format(encoding)
    _check_roles(target, id, categorical, dates)
    if taken := {column.name for column in known} & {*drop}:
        raise ValueError(f"Column {min(taken)!r} is an input of the model: --drop others.")
    wanted = [column.name for column in known] or [*categorical, *drop, *dates]
    wanted += [target] if target and not known else []
    wanted += [id] if id else []
    id = id or encoding.get("id")
    texts = [column.name for column in known if column.kind in ("category", "date")]
    frame = frames.read(path, [*(texts or [*categorical, *dates]), *([id] if id else [])], format)
    frames.check_columns(frame, wanted, path)
    y = None
    if target in frame.columns:
        present = _present(frame[target], target, partly)
        if targets:
            y = _numbers(frame[[target]][present], path, format, len(frame))
        else:
            y, classes = _classes(frame[target], present, classes, partly)
    ids = _ids(frame[id]) if id in frame.columns else None
    inputs = frame.drop(columns=[*({target, id, *drop} & {*frame.columns})])
    columns = known or tables.infer(inputs, categorical, dates, format)
    if not columns:
        raise ValueError(
            f"{path} has no column besides {target!r}: nothing to learn from. Add columns."
        )
    x, problems = encoders.encode(inputs, columns, path, format)
    del frame, inputs
    frames.release()
    if problems and not partly:
        row = min(problems)
        raise ValueError(f"{path}: row {row + 1}: {problems[row]}. {ADVICE}")
    imputed = _fill(x, columns, problems, partly)
    saved = {"columns": [asdict(column) for column in columns]}
    saved |= {"format": asdict(format)} if format != USUAL else {}
    saved |= {"id": id} if id else {}
    features = tuple(name for column in columns for name in column.features)
    return Dataset(x, y, "table", tuple(classes or ()), features, saved, ids, imputed, problems)


def _check_roles(target, id, categorical, dates):
    """Refuse columns that are to be two things."""
    if id is not None and id == target:
        raise ValueError(f"Column {id!r} cannot be both --id and --target: choose one.")
    if both := {*categorical} & {*dates}:
        raise ValueError(f"Column {min(both)!r} cannot be both --categorical and --dates.")


def _fill(x, columns, problems, partly):
    """Fill missing cells in place; gives how many of each row, or None if none can be."""
    gaps = imputation.missing(x, columns)
    fillable = np.array([column.fill is not None for column in columns])
    imputation.fill(x, columns)
    if partly:
        for row, place in zip(*np.nonzero(gaps & ~fillable), strict=True):
            problems.setdefault(int(row), f"column {columns[place].name!r} has no value")
        x[[*problems]] = np.nan
        gaps[[*problems]] = False
    return (gaps & fillable).sum(axis=1) if fillable.any() else None


def _present(series, target, partly):
    """Where the target has a value: in all rows, but of files that are read partly."""
    missing = series.isna().to_numpy()
    if missing.any() and not partly:
        raise ValueError(
            f"Target {target!r} has {missing.sum()} missing values, first in row "
            f"{np.argmax(missing) + 1}. Fill them in, or leave these rows out."
        )
    return ~missing


def _classes(series, present, classes, partly):
    """Classes of the rows, -1 where it is missing or not known, and their names."""
    if not present.any():
        return None, classes
    values = series[present]
    texts = values.map(cells.unescaped) if series.dtype.kind not in "biuf" else values
    y = np.full(len(series), -1)
    name = f"Target {series.name!r}"
    y[present], classes = labels.encode(texts.to_numpy(), name, classes, partly=partly)
    return y, classes


def _numbers(frame, path, format, rows):
    """Numbers to predict, NaN where one is missing, from the cells that are not."""
    column = tables.Column(str(frame.columns[0]), "number")
    found, problems = encoders.encode(frame, [column], path, format)
    if problems:
        first = min(problems)
        raise ValueError(
            f"{path}: row {frame.index[first] + 1}: target {problems[first]}. Correct it, or leave "
            "out the row; texts can be classes (--task classification)."
        )
    if not len(frame):
        return None
    y = np.full(rows, np.nan)
    y[frame.index] = found[:, 0]
    return y


def _ids(series):
    texts = [labels.text_of(value) for value in series.astype(object).where(series.notna(), "")]
    return np.array(texts, dtype=object)

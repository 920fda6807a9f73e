"""Data sets from files: tables, arrays and folders of images."""

import logging
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from lipkit._files import opened
from lipkit._files.atomic import existing
from lipkit.data import arrays, frames, images, imputation, labels, tabular
from lipkit.data.dataset import Dataset

LOG = logging.getLogger("lipkit")


def read(
    path,
    target=None,
    *,
    encoding=None,
    classes=None,
    categorical=(),
    drop=(),
    dates=(),
    id=None,
    format=None,
    impute=False,
    image_size=None,
    partly=False,
    targets=False,
) -> Dataset:
    """Read samples, and their classes, or numbers to predict, where they are given.

    Args:
        path: a CSV (also separated by semicolons or tabs, or compressed as .csv.gz), TSV, Parquet
            or XLSX file with one row a sample, in which empty cells, NA, NaN, null and None are
            missing; an NPZ file with an array `x` (n, ...) and perhaps `y` (n,) and `classes`, the
            names that y counts; or a folder of images with one sub-folder per class.
        target: column of the classes, or targets, in a table. With `encoding` it may be absent.
        encoding: `encoding` of another `Dataset`, to read the file in the same way; columns that
            it does not have are left out. Arrays of shape (n, height, width) are images and get an
            axis of one channel, unless the encoding is another one, such as {}.
        classes: names of the classes, in the model's order; None: all that occur, sorted.
        categorical: list of the columns to be read as categories, whatever they hold.
        drop: list of the columns to leave out; not those of `encoding`.
        dates: list of the columns of dates, to be read as days since 1970-01-01.
        id: column that names the rows, and is left out of x; None: that of `encoding`, if any.
        format: a `Format`, how the cells of a table are written; None: that of `encoding`.
        impute: keep missing cells as NaN, for `impute`; otherwise they are an error.
        image_size: (height, width) that images are resized to.
        partly: read the rows that can be read, and put into `Dataset.problems` what is wrong with
            the others; otherwise they are an error.
        targets: whether y are numbers to predict, and not classes.

    Raises:
        ValueError: what is wrong with the file, where in it, and what can be done.
        OSError: the file cannot be read.
    """
    path = Path(path)
    for name, columns in {"categorical": categorical, "drop": drop, "dates": dates}.items():
        if isinstance(columns, str):
            raise ValueError(
                f"`{name}` must be a list of column names. Received: {name}={columns!r}. Write "
                f"{name}=[{columns!r}]."
            )
    if not existing(path).is_dir():
        opened.regular(path)
        _check_suffix(path)
    if not frames.is_table(path) and (target or categorical or drop or dates or id or impute):
        raise ValueError(
            "`target`, `categorical`, `drop`, `dates`, `id` and `impute` apply only to tables "
            f"({', '.join(frames.SUFFIXES)}). Received: {path}"
        )
    if image_size and not path.is_dir():
        raise ValueError(f"`image_size` is for folders of images. Received: {path}.")
    with opened.unchanged(*_files(path)) as digest:
        if path.is_dir():
            data = _images(path, encoding, classes, image_size, partly, targets)
        elif frames.is_table(path):
            data = tabular.read(
                path,
                target,
                encoding,
                classes,
                categorical=categorical,
                drop=drop,
                dates=dates,
                id=id,
                format=format,
                partly=partly,
                targets=targets,
            )
        else:
            data = _arrays(path, encoding, classes, partly, targets)
    if not (impute or partly):
        check_complete(data, path)
    return replace(data, sha256=digest)


def _check_suffix(path):
    known = (*frames.SUFFIXES, ".npz")
    if not path.name.lower().endswith(known):
        raise ValueError(
            f"{path} is not of a known type: expected {', '.join(known)}, or a folder of images."
        )


def _files(path):
    """The files that a data set is in, and the folder that they are in."""
    return (images.find(path)[0], path) if path.is_dir() else ([path], None)


def check_complete(data, path) -> None:
    """Refuse missing cells."""
    gaps = imputation.missing(data.x, data.columns())
    counts = zip(data.columns(), gaps.sum(axis=0), gaps.argmax(axis=0), strict=True)
    found = [f"{c.name} ({count}, first in row {row + 1})" for c, count, row in counts if count]
    if found:
        raise ValueError(
            f"{path} has missing values in {', '.join(found)}. Fill them in (--impute median), or "
            "leave the columns out (--drop)."
        )


def impute(data: Dataset, method, rows) -> Dataset:
    """The data set with its missing cells filled, as learned on some rows: see `imputation`."""
    columns = imputation.learn(data.x[rows], data.columns(), method)
    imputed = imputation.missing(data.x, columns).sum(axis=1)
    if count := np.count_nonzero(imputed):
        LOG.warning(
            "%d of %d rows have missing cells, which are filled: what is said of such a row is "
            "true of the filled one",
            *(count, len(imputed)),
        )
    x = imputation.fill(data.x.copy(), columns)
    saved = {**data.encoding, "columns": [asdict(column) for column in columns]}
    return replace(data, x=x, imputed=imputed, encoding=saved)


def _images(path, encoding, classes, size, partly, targets):
    paths, names = images.find(path)
    images.warn_of_others(path)
    known = (encoding or {}).get("image", {})
    size = known.get("resized") or size
    problems = {}
    x = images.read(paths, size, known.get("shape"), problems if partly else None)
    y = None
    if names is not None and not targets:  # which folders do not have
        y, classes = labels.encode(names, f"Folder {path}", classes, partly=partly)
    saved = {"image": {"shape": list(x.shape[1:]), "resized": size and list(size)}}
    return Dataset(x, y, "images", tuple(classes or ()), (), saved, problems=problems)


def _arrays(path, encoding, classes, partly, targets):
    found = arrays.read_npz(path)
    if "x" not in found:
        raise ValueError(f"{path} needs an array 'x'. It has: {', '.join(found) or 'none'}.")
    x, bad = arrays.numbers(found["x"], f"{path}: x")
    problem = "numbers that are missing, infinite or too large for float32"
    if bad.any() and not partly:
        raise ValueError(
            f"{path}: x has {problem} in {bad.sum()} rows, first in row {np.argmax(bad) + 1}. "
            "Leave these rows out."
        )
    x[bad] = np.nan
    problems = {int(row): problem for row in np.flatnonzero(bad)}
    shape, saved = [*x.shape[1:], 1], {}
    if x.ndim == 3 and (encoding is None or encoding.get("image", {}).get("shape") == shape):
        x, saved = x[..., None], {"image": {"shape": shape}}
    y = found.get("y")
    if y is not None:
        if targets:
            y = arrays.targets(y, f"{path}: y")
        else:
            y, classes = labels.encode(y, f"{path}: y", classes, found.get("classes"), partly)
        if len(y) != len(x):
            what = "target" if targets else "class"
            raise ValueError(
                f"{path}: x has {len(x)} rows and y has {len(y)}: give each row of x a {what}."
            )
    kind = "table" if x.ndim == 2 else "images"
    features = tuple(f"x{i}" for i in range(x.shape[1])) if x.ndim == 2 else ()
    return Dataset(x, y, kind, tuple(classes or ()), features, saved, problems=problems)


def sha256(path) -> str:
    """Hash of a file, or of the names and contents of a folder's images."""
    return opened.sha256(*_files(Path(path)))

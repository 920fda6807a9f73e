"""Data sets from files: tables, arrays and folders of images."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from lipkit._files import opened
from lipkit._files.atomic import existing
from lipkit.data import cells, frames, images, imputation, labels, tables
from lipkit.data.arrays import read_npz


@dataclass(frozen=True)
class Dataset:
    """Samples, and how they were read.

    Attributes:
        x: float64 (n, ...), the numbers of the file. Of a table: numbers as they are, booleans as
            0 and 1, one number for each category: distances, and so radii, take a change of
            category as sqrt(2). Of images: (n, height, width, 1 or 3), from 0 to 1.
        y: int64 (n,), the number of each sample's class, or None.
        kind: `"table"` or `"images"`.
        classes: names of the classes, or ().
        features: names of the numbers of a table's rows, or ().
        encoding: what `read` needs to read another file in the same way; JSON-ready.
        sha256: hash of what was read, as `sha256` gives it.
    """

    x: np.ndarray
    y: np.ndarray | None
    kind: str
    classes: tuple[str, ...]
    features: tuple[str, ...]
    encoding: dict
    sha256: str = ""

    def head(self, rows: int):
        """The data set of the first rows."""
        return replace(self, x=self.x[:rows], y=None if self.y is None else self.y[:rows])

    def columns(self) -> list[tables.Column]:
        """The columns of a table; of other data none."""
        return encoded_columns(self.encoding)


def encoded_columns(encoding) -> list[tables.Column]:
    """The columns of `Dataset.encoding`."""
    return [
        tables.Column(**{**column, "categories": tuple(column["categories"])})
        for column in encoding.get("columns", ())
    ]


def read(
    path,
    target=None,
    *,
    encoding=None,
    classes=None,
    categorical=(),
    drop=(),
    impute=False,
    image_size=None,
) -> Dataset:
    """Read samples, and their classes where they are given.

    Args:
        path: a CSV (also separated by semicolons or tabs), TSV or Parquet file with one row a
            sample, in which empty cells, NA, NaN, null and None are missing; an NPZ file with an
            array `x` (n, ...) and perhaps `y` (n,) and `classes`, the names that y counts; or a
            folder of images with one sub-folder per class.
        target: column of the classes in a table. With `encoding` it may be absent.
        encoding: `encoding` of another `Dataset`, to read the file in the same way; columns that
            it does not have are left out.
        classes: names of the classes, in the model's order; None: all that occur, sorted.
        categorical: list of the columns to be read as categories, whatever they hold.
        drop: list of the columns to leave out.
        impute: keep missing cells as NaN, for `impute`; otherwise they are an error.
        image_size: (height, width) that images are resized to.

    Raises:
        ValueError: what is wrong with the file, where in it, and what can be done.
        OSError: the file cannot be read.
    """
    path = Path(path)
    for name, columns in {"categorical": categorical, "drop": drop}.items():
        if isinstance(columns, str):
            raise ValueError(
                f"`{name}` must be a list of column names. Received: {name}={columns!r}. Write "
                f"{name}=[{columns!r}]."
            )
    if not existing(path).is_dir():
        opened.regular(path)
    with opened.unchanged(*_files(path)) as digest:
        data = _read(path, target, encoding, classes, categorical, drop, impute, image_size)
    return replace(data, sha256=digest)


def _files(path):
    """The files that a data set is in, and the folder that they are in."""
    return (images.find(path)[0], path) if path.is_dir() else ([path], None)


def _read(path, target, encoding, classes, categorical, drop, impute, image_size):
    suffix, suffixes = path.suffix.lower(), ", ".join(frames.SUFFIXES)
    if not path.is_dir() and suffix not in (*frames.SUFFIXES, ".npz"):
        raise ValueError(
            f"{path} is not of a known type: expected {suffixes}, .npz, or a folder of images."
        )
    if not path.is_dir() and suffix in frames.SUFFIXES:
        data = _table(path, target, encoding, classes, categorical, drop)
    elif categorical or drop or impute or target:
        raise ValueError(
            "`target`, `categorical`, `drop` and `impute` apply only to tables "
            f"({suffixes}). Received: {path}"
        )
    elif path.is_dir():
        data = _images(path, encoding, classes, image_size)
    else:
        data = _arrays(path, classes)
    if image_size and "image" not in data.encoding:
        raise ValueError(f"`image_size` is for folders of images. Received: {path}.")
    if not impute:
        check_complete(data, path)
    return data


def check_complete(data, path) -> None:
    """Refuse missing cells."""
    counts = imputation.missing(data.x, data.columns()) if data.encoding.get("columns") else {}
    if counts:
        found = ", ".join(f"{name} ({count})" for name, count in counts.items())
        raise ValueError(
            f"{path} has missing values in {found}. Fill them in (--impute median), or leave the "
            "columns out (--drop)."
        )


def impute(data: Dataset, method, rows) -> Dataset:
    """The data set with its missing cells filled, as learned on some rows: see `imputation`."""
    columns = imputation.learn(data.x[rows], data.columns(), method)
    x = imputation.fill(data.x.copy(), columns)
    return replace(data, x=x, encoding={"columns": [asdict(column) for column in columns]})


def _table(path, target, encoding, classes, categorical, drop):
    known = encoded_columns(encoding or {})
    texts = [column.name for column in known if column.kind == "category"] or categorical
    frame = frames.read(path, texts)
    wanted = [column.name for column in known] or [
        *categorical,
        *drop,
        *([target] if target else []),
    ]
    frames.check_columns(frame, wanted, path)
    y = None
    if target in frame.columns:
        y, classes = _target(frame[target], target, classes)
    inputs = frame.drop(columns=[*drop, *([] if y is None else [target])])
    columns = known or tables.infer(inputs, categorical)
    if not columns:
        raise ValueError(f"{path} has no column besides {target!r}: nothing to learn from.")
    features = [name for column in columns for name in column.features]
    x = imputation.fill(tables.encode(inputs, columns, path), columns)
    saved = {"columns": [asdict(column) for column in columns]}
    return Dataset(x, y, "table", tuple(classes or ()), tuple(features), saved)


def _target(series, target, classes):
    if series.isna().any():
        raise ValueError(f"Target {target!r} has {series.isna().sum()} missing values.")
    texts = series.map(cells.unescaped) if series.dtype.kind not in "biuf" else series
    return labels.encode(texts.to_numpy(), f"Target {target!r}", classes)


def _images(path, encoding, classes, size):
    paths, names = images.find(path)
    known = (encoding or {}).get("image", {})
    size = known.get("resized") or size
    x = images.read(paths, size, known.get("shape"))
    y = None
    if names is not None:
        y, classes = labels.encode(names, f"Folder {path}", classes)
    saved = {"image": {"shape": list(x.shape[1:]), "resized": size and list(size)}}
    return Dataset(x, y, "images", tuple(classes or ()), (), saved)


def _arrays(path, classes):
    arrays = read_npz(path)
    if "x" not in arrays:
        raise ValueError(f"{path} needs an array 'x'. It has: {', '.join(arrays) or 'none'}.")
    x, y, names = arrays["x"], arrays.get("y"), arrays.get("classes")
    if x.dtype.kind not in "biuf" or not 2 <= x.ndim <= 4 or not x.size:
        raise ValueError(
            f"{path}: x must hold numbers of shape (n, ...) with 2 to 4 axes, n >= 1. Received: "
            f"{x.dtype} of shape {x.shape}."
        )
    x = tables.exact(x, f"{path}: x")
    bad = ~(np.abs(x) <= tables.LARGEST).reshape(len(x), -1).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{path}: x has numbers that are missing, infinite or too large for float32 in "
            f"{bad.sum()} rows, first in row {np.argmax(bad) + 1}."
        )
    if y is not None:
        y, classes = labels.encode(y, f"{path}: y", classes, names)
        if len(y) != len(x):
            raise ValueError(f"{path}: x has {len(x)} rows and y has {len(y)}.")
    if x.ndim > 2:
        return Dataset(x, y, "images", tuple(classes or ()), (), {})
    features = tuple(f"x{i}" for i in range(x.shape[1]))
    return Dataset(x, y, "table", tuple(classes or ()), features, {})


def sha256(path) -> str:
    """Hash of a file, or of the names and contents of a folder's images."""
    return opened.sha256(*_files(Path(path)))

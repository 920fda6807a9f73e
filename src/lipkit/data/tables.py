"""The columns of tables as numbers."""

import math
import re
from dataclasses import dataclass

import numpy as np

from lipkit._files.limits import check_bytes
from lipkit.data.frames import is_number, pandas, some
from lipkit.data.labels import check_texts, text_of

LARGEST = float(np.finfo("float32").max)  # models compute in float32
MOST_CATEGORIES, MOST_CHOSEN = 100, 1000
NUMBER = re.compile(r"[-+$€£]*[\d.,'_ ]*\d[\d.,'_ ]*(e[-+]?\d+)?\s*%?", re.IGNORECASE)
KINDS = {
    **dict.fromkeys(("integer", "floating", "mixed-integer-float"), "number"),
    **dict.fromkeys(("string", "categorical"), "category"),
    "boolean": "boolean",
}


@dataclass(frozen=True)
class Column:
    """How a column becomes numbers: itself, 0 and 1, or one number for each of its categories.

    Attributes:
        name: name of the column.
        kind: `"number"`, `"boolean"` or `"category"`.
        categories: texts in the order of their features.
        fill: what a missing cell becomes; None: a missing cell is an error.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    fill: float | str | None = None

    def __post_init__(self):
        texts = (self.name, *self.categories)
        fills = (str,) if self.kind == "category" else (int, float)
        good = self.kind in KINDS.values() and all(isinstance(text, str) for text in texts)
        if not good or not (self.fill is None or isinstance(self.fill, fills)):
            raise ValueError(f"There is no such column: {self}")

    @property
    def features(self) -> list[str]:
        """Names of the numbers."""
        if self.kind != "category":
            return [self.name]
        return [f"{self.name}={category}" for category in self.categories]

    def filling(self) -> np.ndarray:
        """The numbers of a missing cell: (features,)."""
        if self.kind == "category":
            return np.array([category == self.fill for category in self.categories], "float64")
        return np.array([self.fill], "float64")


def infer(frame, categorical=()) -> list[Column]:
    """What each column of a table is.

    Numbers and booleans are what pandas reads as such, texts are categories. Numbers that are
    written as text, more than 100 different texts, dates and others are refused, unless the column
    is named in `categorical`.

    Raises:
        ValueError: naming all columns that cannot be used, and what can be done.
    """
    columns, problems = [], []
    for name in frame.columns:
        try:
            columns.append(_infer(frame[name], name in categorical))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(" ".join(problems))
    return columns


def _infer(series, chosen):
    name = str(series.name)
    read = pandas().api.types.infer_dtype(series, skipna=True)
    if series.isna().all():
        raise ValueError(f"Column {name!r} has no values: --drop '{name}'.")
    if name.startswith("Unnamed: "):
        raise ValueError(f"Column {name[9:]} has no name. If it numbers the rows: --drop '{name}'.")
    if not chosen and KINDS.get(read) in ("number", "boolean"):
        _refuse_rounding(name, _values(series))
        return Column(name, KINDS[read])
    if not chosen and read not in KINDS:
        raise ValueError(f"Column {name!r} has the type {read}, which is not numeric: --drop it.")
    codes, texts = _texts(series)
    if not chosen:
        _refuse_numbers(name, codes, texts)
    if len(texts) > (MOST_CHOSEN if chosen else MOST_CATEGORIES):
        raise ValueError(
            f"Column {name!r} has {len(texts)} different texts: leave it out (--drop '{name}')"
            + ("." if chosen else f", or use them as categories (--categorical '{name}').")
        )
    return Column(name, "category", tuple(sorted(set(texts))))


def _texts(series):
    """The number of each cell's text, -1 where it is missing, and the texts."""
    codes, values = pandas().factorize(series)
    texts = [text_of(value) for value in values]
    check_texts(texts, f"Column {str(series.name)!r}")
    return codes, texts


def _refuse_numbers(name, codes, texts):
    """Refuse numbers among texts; name the first cell that keeps the column from being numbers."""
    if not any(NUMBER.fullmatch(text.strip()) for text in texts):
        return
    bad = next((i for i, text in enumerate(texts) if not is_number(text)), 0)
    raise ValueError(
        f"Column {name!r} has numbers written as text or mixed with text: {texts[bad]!r} in "
        f"row {int(np.argmax(codes == bad)) + 1}. Correct the file, or use the column as "
        f"categories (--categorical '{name}')."
    )


def _values(series):
    """Float64, NaN where a cell is missing."""
    present = series.dropna() if series.dtype.kind not in "fb" else series[:0]
    exact(present.to_numpy(), f"Column {str(series.name)!r}")
    return series.to_numpy(dtype="float64", na_value=np.nan)


def exact(values, name) -> np.ndarray:
    """The values in float64, if that has them."""
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        raise ValueError(f"{name} has the type {values.dtype}: save it as float64.")
    integers = [values.max(), values.min()] if values.dtype.kind in "iu" and values.size else []
    if values.dtype.kind == "O":
        integers = [value for value in values.ravel() if isinstance(value, int)]
    if any(abs(int(value)) > 2**53 for value in integers):
        raise ValueError(
            f"{name} has integers above 2**53, which float64 rounds. Subtract a number from "
            "them, or leave them out."
        )
    return values.astype("float64")


def _refuse_rounding(name, values):
    """Refuse numbers that float32 does not tell apart: models take float32."""
    with np.errstate(over="ignore", invalid="ignore"):  # infinite ones are refused as such
        error = np.nanmax(np.abs(values.astype("float32") - values))
        spread = np.nanmax(values) - np.nanmin(values)
    if 0 < spread < 1e3 * error < np.inf:
        raise ValueError(
            f"Column {name!r} does not fit float32: its values differ by {spread:.3g}, and are "
            f"rounded by {error:.3g}. Subtract a number from the column, or --drop '{name}'."
        )


def encode(frame, columns, name="The table") -> np.ndarray:
    """Numbers float64 (n, features) of a table: NaN where a cell is missing.

    Raises:
        ValueError: a cell is not what its column holds: the column, the row and the cell.
    """
    shape = len(frame), sum(len(column.features) for column in columns)
    check_bytes(name, 8 * math.prod(shape), f"its {shape[0]} rows of {shape[1]} numbers")
    x = np.empty(shape)
    start = 0
    for column in columns:
        part = x[:, start : start + len(column.features)]
        encoder = _categories if column.kind == "category" else _numbers
        encoder(frame[column.name], column, part)
        start += len(column.features)
    return x


def _numbers(series, column, part):
    read = pandas().api.types.infer_dtype(series, skipna=True)
    if series.isna().all():
        part[:] = np.nan
        return
    if KINDS.get(read) == "category":
        codes, texts = _texts(series)
        _refuse_numbers(column.name, codes, texts)
    if KINDS.get(read) not in ("number", "boolean"):
        raise ValueError(f"Column {column.name!r} must hold numbers. It has the type {read}.")
    values = _values(series)
    part[:, 0] = values
    bad = np.abs(values) > LARGEST
    if column.kind == "boolean":
        bad |= ~np.isnan(values) & (values != 0) & (values != 1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"Column {column.name!r} must hold "
            f"{'true or false' if column.kind == 'boolean' else 'finite float32 numbers'}. "
            f"Row {row + 1} has {values[row]:g}."
        )


def _categories(series, column, part):
    codes, texts = _texts(series)
    place = {category: i for i, category in enumerate(column.categories)}
    unknown = [i for i, text in enumerate(texts) if text not in place]
    if unknown:
        raise ValueError(
            f"Column {column.name!r} has {texts[unknown[0]]!r} in row "
            f"{int(np.argmax(codes == unknown[0])) + 1}, which the model was not trained on. It "
            f"knows {some(column.categories)}."
        )
    places = np.array([place[text] for text in texts] + [-1])[codes]  # the last for missing cells
    part[:] = places[:, None] == np.arange(part.shape[1])
    part[places < 0] = np.nan

"""What the columns of tables are."""

import re
from dataclasses import dataclass

import numpy as np

from lipkit.data import dates
from lipkit.data.formats import USUAL
from lipkit.data.frames import pandas
from lipkit.data.labels import check_texts, text_of, warn_alike

MOST_CATEGORIES, MOST_CHOSEN = 100, 1000
NUMBER = re.compile(r"[-+$€£]*[\d.,'_ ]*\d[\d.,'_ ]*(e[-+]?\d+)?\s*%?", re.IGNORECASE)
KINDS = {
    **dict.fromkeys(("integer", "floating", "mixed-integer-float", "decimal"), "number"),
    **dict.fromkeys(("string", "categorical"), "category"),
    **dict.fromkeys(("datetime64", "datetime", "date"), "date"),
    "boolean": "boolean",
}


@dataclass(frozen=True)
class Column:
    """How a column becomes numbers: itself, 0 and 1, days, or one number for each category.

    Attributes:
        name: name of the column.
        kind: `"number"`, `"boolean"`, `"date"` or `"category"`.
        categories: texts in the order of their features.
        fill: what a missing cell becomes; None: a missing cell is an error.
        format: how dates are written, one of `dates.FORMATS`.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    fill: float | str | None = None
    format: str = dates.ISO

    def __post_init__(self):
        texts = (self.name, *self.categories)
        fills = (str,) if self.kind == "category" else (int, float)
        good = self.kind in KINDS.values() and all(isinstance(text, str) for text in texts)
        good &= self.format in dates.FORMATS
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


def infer(frame, categorical=(), as_dates=(), format=USUAL) -> list[Column]:
    """What each column of a table is.

    Numbers and booleans are what pandas reads as such, texts are categories. Numbers and dates that
    are written as text, more than 100 different texts, dates and others are refused, unless the
    column is named in `categorical` or `as_dates`.

    Raises:
        ValueError: naming all columns that cannot be used, and what can be done.
    """
    columns, problems = [], []
    for name in frame.columns:
        try:
            columns.append(_infer(frame[name], name in categorical, name in as_dates, format))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(" ".join(problems))
    return columns


def _infer(series, chosen, dated, format):
    name = str(series.name)
    read = pandas().api.types.infer_dtype(series, skipna=True)
    kind = KINDS.get(read)
    if series.isna().all():
        raise ValueError(f"Column {name!r} has no values: --drop '{name}'.")
    if name.startswith("Unnamed: ") and not (chosen or dated):
        raise ValueError(
            f"Column {name[9:]} has no name. If it numbers the rows: --drop '{name}'. Otherwise "
            "name it in the file."
        )
    if dated:
        return _dates(series, name, kind)
    if kind == "date" and not chosen:
        raise ValueError(_dated(name))
    if kind in ("number", "boolean") and not chosen:
        _refuse_rounding(name, _values(series))
        return Column(name, kind)
    if kind is None and not chosen:
        raise ValueError(
            f"Column {name!r} has the type {read}, which is not numeric: leave it out "
            f"(--drop '{name}')."
        )
    codes, texts = texts_of(series)
    if not chosen:
        _refuse_numbers(name, codes, texts, format)
    if len(texts) > (MOST_CHOSEN if chosen else MOST_CATEGORIES):
        uses = f", use them as categories (--categorical '{name}'), or as names of the rows (--id"
        raise ValueError(
            f"Column {name!r} has {len(texts)} different texts: leave it out (--drop '{name}')"
            + ("." if chosen else f"{uses} '{name}').")
        )
    categories = tuple(sorted(set(texts)))
    warn_alike(categories, f"Column {name!r}")
    return Column(name, "category", categories)


def _dates(series, name, kind):
    column = Column(name, "date")
    if kind != "date":
        _, texts = texts_of(series)
        column = Column(name, "date", format=dates.format_of(texts, f"Column {name!r}"))
    _refuse_rounding(name, dates.days(series.dropna().unique(), column.format))
    return column


def _dated(name, such=""):
    return (
        f"Column {name!r} has dates{such}: make them numbers of days (--dates '{name}'), or leave "
        f"the column out (--drop '{name}')."
    )


def texts_of(series):
    """The number of each cell's text, -1 where it is missing, and the texts."""
    codes, values = pandas().factorize(series)
    texts = [text_of(value) for value in values]
    check_texts(texts, f"Column {str(series.name)!r}")
    return codes, texts


def _refuse_numbers(name, codes, texts, format):
    """Refuse dates and numbers among texts; name the first cell that keeps them from being some."""
    if found := next(filter(dates.is_like, texts), None):
        raise ValueError(_dated(name, f" such as {found!r}"))
    if not any(NUMBER.fullmatch(text.strip()) for text in texts):
        return
    numbers = [format.number(text) for text in texts]
    bad = [i for i, number in enumerate(numbers) if number is None or np.isinf(number)]
    first = bad[0] if bad else 0
    cell = f"{texts[first]!r} in row {int(np.argmax(codes == first)) + 1}"
    if bad and all(numbers[i] is not None for i in bad):  # pandas 2 reads those as texts
        raise ValueError(
            f"Column {name!r} has numbers that float64 does not hold: {cell}. Correct it in the "
            f"file, or leave the column out (--drop '{name}')."
        )
    raise ValueError(
        f"Column {name!r} has numbers written as text or mixed with text: {cell}. "
        f"{_advice([texts[i] for i in bad or [0]], format)}, or use the column as categories "
        f"(--categorical '{name}')."
    )


def _advice(texts, format):
    """What to do about texts in a column of numbers."""
    other = "." if format.decimal == "," else ","
    marked = re.compile(rf"[-+]?\d+{other}\d+([eE][-+]?\d+)?")
    rest = [text for text in texts if not marked.fullmatch(text.strip())]
    found = []
    if len(rest) < len(texts):
        found.append(
            f"If {other!r} is the mark of decimals: --decimal {other} (if it separates thousands, "
            "take it out of the file)"
        )
    if rest and len(rest) <= 3 and not any(re.search(r"\d", text) for text in rest):
        options = " ".join(f"--missing '{text}'" for text in rest)
        what = "that" if rest == texts else ", ".join(map(repr, rest))
        found.append(f"If {what} stands for a missing value: {options}. Otherwise correct the file")
    elif rest:
        found.append(
            "Write plain numbers, without words and signs of currency, percent or thousands"
        )
    return ". ".join(found)


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
            "them, or leave them out (--drop)."
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

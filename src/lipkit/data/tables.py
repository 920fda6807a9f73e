"""Tables from CSV and Parquet files, and their columns as numbers."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipkit.data.labels import text_of

SUFFIXES = (".csv", ".tsv", ".parquet")
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
        name: of the column.
        kind: `"number"`, `"boolean"` or `"category"`.
        categories: texts in the order of their features.
        fill: what a missing cell becomes; None: a missing cell is an error.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    fill: float | str | None = None

    @property
    def features(self) -> list[str]:
        """Names of the numbers."""
        if self.kind != "category":
            return [self.name]
        return [f"{self.name}={category}" for category in self.categories]

    def filling(self) -> np.ndarray:
        """The numbers of a missing cell: (features,)."""
        if self.kind == "category":
            return np.array([category == self.fill for category in self.categories], "float32")
        return np.array([self.fill], "float32")


def _pandas():
    try:
        import pandas
    except ImportError:
        raise ImportError("Tables need pandas: pip install 'lipkit[tables]'.") from None
    return pandas


def read_frame(path: Path, texts=()):
    """The table in a file as a pandas DataFrame; columns in `texts` are not parsed."""
    pandas = _pandas()
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            names = parquet.read_schema(path).names
        else:
            names, separator = _header(path)
        _check_names(path, names)
        if path.suffix == ".parquet":
            frame = pandas.read_parquet(path)
        else:
            frame = pandas.read_csv(
                path,
                sep=separator,
                dtype=dict.fromkeys(texts, str),
                skipinitialspace=True,
                low_memory=False,
                encoding="utf-8-sig",
            )
    except ImportError:
        raise ImportError("Parquet files need pyarrow: pip install 'lipkit[tables]'.") from None
    except (UnicodeDecodeError, csv.Error, pandas.errors.ParserError) as error:
        raise ValueError(f"{path} is not a readable table: {error}") from None
    except Exception as error:
        if type(error).__module__.startswith("pyarrow"):
            raise ValueError(f"{path} is not a readable Parquet file: {error}") from None
        raise
    if not len(frame):
        raise ValueError(f"{path} has no rows below its column names.")
    return frame.reset_index(drop=True)


def _header(path):
    """Names in the first line, and the separator that makes the most of them."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        found = {}
        for separator in ",;\t|":
            file.seek(0)
            lines = csv.reader(file, delimiter=separator)
            found[separator] = next(lines, []), next(lines, [])
    separator = max(found, key=lambda s: len(found[s][0]))
    names, cells = found[separator]
    if len(cells) > len(names) > 0:  # pandas would take the first for a name of the row
        raise ValueError(f"{path}: its rows have more cells than its first line has names.")
    return [name.strip() for name in names], separator


def _check_names(path, names):
    if not names:
        raise ValueError(f"{path} is empty.")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has more than one column of the name {_some(twice)}. Rename it.")
    if path.suffix != ".parquet" and all(_is_number(name) for name in names):
        raise ValueError(f"{path} has numbers in its first line, which must name the columns.")


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _some(names, most=10):
    quoted = [repr(str(name)) for name in names]
    return ", ".join(quoted[:most]) + (f" and {len(quoted) - most} more" * (len(quoted) > most))


def check_columns(frame, names, path):
    """Refuse names that the table does not have."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"{path} has no column {_some(missing)}. It has: {_some(frame.columns, 30)}."
        )


def infer(frame, categorical=()) -> list[Column]:
    """What each column of a table is.

    Numbers and booleans are what pandas reads as such, texts are categories. Numbers that are
    written as text, texts of more than 100 kinds, dates and others are refused, unless the column
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
    pandas, name = _pandas(), str(series.name)
    read = pandas.api.types.infer_dtype(series, skipna=True)
    if series.isna().all():
        raise ValueError(f"Column {name!r} has no values: --drop '{name}'.")
    if name.startswith("Unnamed: "):
        raise ValueError(f"Column {name[9:]} has no name. If it numbers the rows: --drop '{name}'.")
    if not chosen and KINDS.get(read) in ("number", "boolean"):
        return Column(name, KINDS[read])
    if not chosen and read not in KINDS:
        raise ValueError(f"Column {name!r} is of the type {read}, which is no number: --drop it.")
    codes, values = pandas.factorize(series)
    texts = [text_of(value) for value in values]
    if not chosen:
        _refuse_numbers(name, codes, texts)
    if len(texts) > (MOST_CHOSEN if chosen else MOST_CATEGORIES):
        raise ValueError(
            f"Column {name!r} has {len(texts)} different texts: leave it out (--drop '{name}')"
            + ("." if chosen else f", or use them as categories (--categorical '{name}').")
        )
    return Column(name, "category", tuple(sorted(set(texts))))


def _refuse_numbers(name, codes, texts):
    """Refuse numbers among texts; name the first cell that keeps the column from being numbers."""
    if not any(NUMBER.fullmatch(text.strip()) for text in texts):
        return
    bad = next((i for i, text in enumerate(texts) if not _is_number(text)), 0)
    raise ValueError(
        f"Column {name!r} has numbers, but written as text or among texts: {texts[bad]!r} in row "
        f"{int(np.argmax(codes == bad)) + 1}. Correct the file, or use the column as categories "
        f"(--categorical '{name}')."
    )


def encode(frame, columns) -> np.ndarray:
    """Numbers float32 (n, features) of a table: NaN where a cell is missing and nothing fills it.

    Raises:
        ValueError: a cell is not what its column holds: the column, the row and the cell.
    """
    x = np.empty((len(frame), sum(len(column.features) for column in columns)), "float32")
    start = 0
    for column in columns:
        part = x[:, start : start + len(column.features)]
        encoder = _categories if column.kind == "category" else _numbers
        encoder(frame[column.name], column, part)
        if column.fill is not None:
            part[np.isnan(part[:, 0])] = column.filling()
        start += len(column.features)
    return x


def _numbers(series, column, part):
    pandas = _pandas()
    read = pandas.api.types.infer_dtype(series, skipna=True)
    if series.isna().all():
        part[:] = np.nan
        return
    if KINDS.get(read) == "category":
        codes, values = pandas.factorize(series)
        texts = [text_of(value) for value in values]
        _refuse_numbers(column.name, codes, texts)
    if KINDS.get(read) not in ("number", "boolean"):
        raise ValueError(f"Column {column.name!r} must hold numbers. It is of the type {read}.")
    values = series.to_numpy(dtype="float64", na_value=np.nan)
    with np.errstate(over="ignore"):
        part[:, 0] = values
    bad = np.isinf(part[:, 0])
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
    codes, values = _pandas().factorize(series)
    place = {category: i for i, category in enumerate(column.categories)}
    texts = [text_of(value) for value in values]
    unknown = [i for i, text in enumerate(texts) if text not in place]
    if unknown:
        raise ValueError(
            f"Column {column.name!r} has {texts[unknown[0]]!r} in row "
            f"{int(np.argmax(codes == unknown[0])) + 1}, which the model was not trained on. It "
            f"knows {_some(column.categories)}."
        )
    places = np.array([place[text] for text in texts] + [-1])[codes]  # the last for missing cells
    part[:] = places[:, None] == np.arange(part.shape[1])
    part[places < 0] = np.nan

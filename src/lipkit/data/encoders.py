"""The cells of tables as numbers, and what keeps a cell from being one."""

import math

import numpy as np

from lipkit._files.limits import check_bytes
from lipkit.data import dates
from lipkit.data.delimited import some
from lipkit.data.formats import USUAL
from lipkit.data.frames import pandas
from lipkit.data.tables import KINDS, texts_of

LARGEST = float(np.finfo("float32").max)  # models compute in float32
TRUTHS = {"true": 1.0, "false": 0.0}
EXPECTED = {
    "number": "finite float32 numbers",
    "boolean": "true or false",
    "date": "dates as in training",
}


def encode(frame, columns, name="The table", format=USUAL):
    """Numbers of a table.

    Args:
        frame: a pandas DataFrame.
        columns: list of its `Column`s to encode.
        name: what it is, for errors.
        format: how numbers are written in texts.

    Returns:
        x: float64 (n, features), NaN where a cell is missing, or is not what its column holds.
        problems: {row: what is wrong with the first cell that is not}.
    """
    shape = len(frame), sum(len(column.features) for column in columns)
    check_bytes(name, 8 * math.prod(shape), f"its {shape[0]} rows of {shape[1]} numbers")
    x, problems, start = np.empty(shape), {}, 0
    for column in columns:
        part = x[:, start : start + len(column.features)]
        encoder = _categories if column.kind == "category" else _numbers
        for row, problem in encoder(frame[column.name], column, part, format):
            problems.setdefault(int(row), f"column {column.name!r} {problem}")
        start += len(column.features)
    return x, problems


def _numbers(series, column, part, format):
    """Write the numbers of a column; gives the rows that have none, and what they have."""
    read = KINDS.get(pandas().api.types.infer_dtype(series, skipna=True))
    if read in ("number", "boolean") and column.kind != "date":
        values = series.to_numpy(dtype="float64", na_value=np.nan)
        missing = np.isnan(values)
        exact = series.dtype.kind == "f" or "boolean" in (read, column.kind)
    else:
        codes, cells = pandas().factorize(series)
        found = _dates(cells, column) if column.kind == "date" else _parsed(cells, column, format)
        values = np.append(found, np.nan)[codes]  # the last for missing cells
        missing, exact = codes < 0, True
    good = np.abs(values) <= (LARGEST if exact else 2**53)
    if column.kind == "boolean":
        good &= (values == 0) | (values == 1)
    part[:, 0] = np.where(good, values, np.nan)
    expected = EXPECTED[column.kind] if exact else "integers of at most 2**53"
    bad = np.flatnonzero(~missing & ~good)
    for row, cell in zip(bad, series.iloc[bad], strict=True):
        yield row, f"must hold {expected}, and has {_shown(cell)}"


def _parsed(cells, column, format):
    """Numbers of different cells, NaN for those that have none."""
    truths = TRUTHS if column.kind == "boolean" else {}
    numbers = (truths.get(str(cell).strip().lower(), format.number(cell)) for cell in cells)
    return np.array([np.nan if number is None else number for number in numbers], "float64")


def _dates(cells, column):
    if KINDS.get(pandas().api.types.infer_dtype(cells)) == "date":
        return dates.days(cells)
    return dates.days(pandas().Index([str(cell) for cell in cells]), column.format)


def _shown(cell):
    return repr(cell[:50]) if isinstance(cell, str) else f"{cell}"


def _categories(series, column, part, format):
    """Write a 1 for each cell's category; gives rows with others."""
    codes, texts = texts_of(series)
    place = {category: i for i, category in enumerate(column.categories)}
    places = np.array([place.get(text, -1) for text in texts] + [-1])[codes]
    part[:] = places[:, None] == np.arange(part.shape[1])
    part[places < 0] = np.nan
    known = some(column.categories)
    for row in np.flatnonzero((places < 0) & (codes >= 0)):
        text = texts[codes[row]]
        yield row, f"has {text!r}, which the model was not trained on: it knows {known}"

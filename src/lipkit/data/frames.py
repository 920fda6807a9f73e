"""CSV and Parquet files as pandas tables, with columns that have one name each."""

import csv
from pathlib import Path

from lipkit._files.limits import check_bytes

SUFFIXES = (".csv", ".tsv", ".parquet")


def pandas():
    """The package, or what to install."""
    try:
        import pandas
    except ImportError:
        raise ImportError("Tables need pandas: pip install 'lipkit[tables]'.") from None
    return pandas


def read(path: Path, texts=()):
    """The table in a file as a pandas DataFrame.

    Args:
        path: a CSV, TSV or Parquet file.
        texts: columns of a CSV file that are not to be parsed.

    Raises:
        ValueError: what keeps the file from being a table of named columns.
    """
    frame = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path, texts)
    if not len(frame):
        raise ValueError(f"{path} has no rows below its column names.")
    return frame.reset_index(drop=True)


def _parquet(path):
    read_parquet = pandas().read_parquet
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ImportError("Parquet files need pyarrow: pip install 'lipkit[tables]'.") from None
    try:
        about = parquet.read_metadata(path)
        _check_names(path, about.schema.to_arrow_schema().names)
        groups = [about.row_group(i).total_byte_size for i in range(about.num_row_groups)]
        check_bytes(path, max(sum(groups), 8 * about.num_rows * about.num_columns), "its columns")
        return read_parquet(path)
    except ArrowException as error:
        raise ValueError(f"{path} is not a readable Parquet file: {error}") from None


def _csv(path, texts):
    errors = (UnicodeDecodeError, csv.Error, pandas().errors.ParserError)
    try:
        names, separator = _header(path)
        _check_names(path, names)
        if all(is_number(name) for name in names):
            raise ValueError(f"{path} has numbers in its first line, which must name the columns.")
        return pandas().read_csv(
            path,
            sep=separator,
            dtype=dict.fromkeys(texts, str),
            skipinitialspace=True,
            low_memory=False,
            float_precision="round_trip",  # the double that is nearest to the decimal number
            encoding="utf-8-sig",
        )
    except errors as error:
        raise ValueError(f"{path} is not a readable table: {error}") from None


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
        raise ValueError(f"{path} has more than one column named {some(twice)}. Rename them.")


def is_number(text: str) -> bool:
    """Whether Python reads a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def some(names, most=10) -> str:
    """The first names, in quotes, and how many more there are."""
    quoted = [repr(str(name)) for name in names]
    return ", ".join(quoted[:most]) + (f" and {len(quoted) - most} more" * (len(quoted) > most))


def check_columns(frame, names, path):
    """Refuse names that the table does not have."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"{path} has no column {some(missing)}. It has: {some(frame.columns, 50)}."
        )

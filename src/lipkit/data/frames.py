"""Tables in files as pandas tables, with columns that have one name each."""

import sys
from pathlib import Path

from lipkit._files.limits import check_bytes
from lipkit.data import delimited, sheets
from lipkit.data.delimited import check_names, is_number, some
from lipkit.data.formats import USUAL

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".xlsx")


def is_table(path) -> bool:
    """Whether a file is a table, by its name."""
    return Path(path).name.lower().endswith(SUFFIXES)


def pandas():
    """The package, or what to install."""
    try:
        import pandas
    except ImportError:
        raise ImportError("Tables need pandas: pip install 'lipkit[tables]'.") from None
    return pandas


def read(path: Path, texts=(), format=USUAL):
    """The table in a file as a pandas DataFrame.

    Args:
        path: a CSV, TSV, Parquet or XLSX file.
        texts: columns, but of a Parquet file, that are not to be parsed.
        format: how its cells are written.

    Raises:
        ValueError: what keeps the file from being a table of named columns.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        frame = _parquet(path, format.missing)
    elif suffix == ".xlsx":
        frame = delimited.parse(pandas(), sheets.text(path, format), path, texts, format)
    else:
        with delimited.opened(path, format.encoding) as file:
            frame = delimited.parse(pandas(), file, path, texts, format)
    if not len(frame):
        raise ValueError(f"{path} has no rows below its column names.")
    return frame.reset_index(drop=True)


def release():
    """Give back the memory of tables that are gone, which Arrow keeps for others."""
    if pyarrow := sys.modules.get("pyarrow"):
        pyarrow.default_memory_pool().release_unused()


def _parquet(path, missing):
    read_parquet = pandas().read_parquet
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ImportError("Parquet files need pyarrow: pip install 'lipkit[tables]'.") from None
    try:
        about = parquet.read_metadata(path)
        check_names(path, about.schema.to_arrow_schema().names)
        groups = [about.row_group(i).total_byte_size for i in range(about.num_row_groups)]
        check_bytes(path, max(sum(groups), 8 * about.num_rows * about.num_columns), "its columns")
        frame = read_parquet(path)
    except ArrowException as error:
        raise ValueError(f"{path} is not a readable Parquet file: {error}") from None
    if missing:
        cells = [*missing, *(float(text) for text in missing if is_number(text))]
        frame = frame.apply(lambda column: column.mask(column.isin(cells)))
    return frame


def check_columns(frame, names, path):
    """Refuse names that the table does not have."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"{path} has no column {some(missing)}. It has: {some(frame.columns, 50)}. Its first "
            "line must name the columns."
        )

"""Text files of cells between separators as pandas tables."""

import codecs
import csv
import gzip
import re
import zlib
from contextlib import contextmanager
from typing import Any

from lipkit._files.limits import check_bytes

SEPARATORS = ",;\t|"
# the longest first: that of UTF-32 starts as that of UTF-16
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SAID = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # a first line by which Excel is told


@contextmanager
def opened(path, encoding=None):
    """The characters of a file, which may be compressed by gzip.

    Args:
        path: the file.
        encoding: its encoding; None: what its first bytes say, or UTF-8.
    """
    open_: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with open_(path, "rb") as file:
            start = file.read(4)
            if open_ is gzip.open:
                _check_size(path, file)
        if encoding is None or codecs.lookup(encoding).name == "utf-8":
            known = (name for mark, name in MARKS.items() if start.startswith(mark))
            encoding = next(known, "utf-8")
        with open_(path, "rt", encoding=encoding, newline="") as file:
            yield file
    except UnicodeError as error:
        raise ValueError(
            f"{path} is not text in {encoding} ({getattr(error, 'reason', error)}). Older programs "
            "write Latin-1: --encoding latin-1."
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not a readable gzip file: {error}. Save it again.") from None


def _check_size(path, file):
    """Refuse a compressed file whose content is too large."""
    total = 0
    while block := file.read(1 << 20):
        total += len(block)
        check_bytes(path, total, "its text")


def header(file, path) -> tuple[list[str], str, int]:
    """Names in the first line, the separator that makes the most of them, and lines to skip.

    Raises:
        ValueError: the rows have more cells than there are names.
    """
    said = SAID.fullmatch(file.readline())
    found = {}
    for separator in said[1] if said else SEPARATORS:
        file.seek(0)
        if said:
            file.readline()
        rows = (row for row in csv.reader(file, delimiter=separator) if row)
        found[separator] = next(rows, []), next(rows, [])
    file.seek(0)
    separator = max(found, key=lambda s: len(found[s][0]))
    names, cells = found[separator]
    if len(cells) > len(names) > 0:  # pandas would take the first for a name of the row
        raise ValueError(
            f"{path}: its rows have more cells than its first line has names. Delete lines above "
            "the names, and name all columns."
        )
    return [name.strip() for name in names], separator, int(said is not None)


def parse(pandas, file, path, texts, format):
    """The cells of an opened file: a pandas DataFrame, without columns that hold nothing.

    Args:
        pandas: the package.
        file: an opened text file, at its start.
        path: its name, for errors.
        texts: columns that are not to be parsed.
        format: a `Format`.

    Raises:
        ValueError: it is not a table of named columns.
    """
    try:
        names, separator, skipped = header(file, path)
        names = [name or f"Unnamed: {i}" for i, name in enumerate(names)]
        check_names(path, names)
        if all(is_number(name) for name in names):
            raise ValueError(
                f"{path} has numbers in its first line, which must name the columns. Add a line of "
                "names at its top."
            )
        frame = pandas.read_csv(
            file,
            sep=separator,
            names=names,
            header=0,
            skiprows=skipped,
            dtype=dict.fromkeys(texts, str),
            skipinitialspace=True,
            low_memory=False,
            float_precision="round_trip",  # the double that is nearest to the decimal number
            decimal=format.decimal,
            na_values=list(format.missing),
        )
    except (csv.Error, pandas.errors.ParserError) as error:
        raise ValueError(
            f"{path} is not a readable table: {str(error).strip()}. Each row needs one cell for "
            "each name: put quotes around texts that have the separator in them."
        ) from None
    # of a separator at the end of each line
    nothing = [name for name in names if name.startswith("Unnamed: ") and frame[name].isna().all()]
    return frame.drop(columns=nothing)


def check_names(path, names):
    """Refuse a table without names, or with one name twice."""
    if not names:
        raise ValueError(f"{path} is empty: it needs a line of names and a row for each case.")
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

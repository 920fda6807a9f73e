"""Text and tables for terminals."""

import unicodedata
from collections.abc import Iterable, Sequence

UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control and format characters, surrogates, separators


def printable(text) -> str:
    """The text, with escapes for characters that a terminal would act on, or hide."""
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in UNSEEN else c for c in str(text))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of columns, each as wide as its widest cell."""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, tuple("-" * width for width in widths), *rows)
    ]

"""How the cells of a table are written."""

import math
import re
from dataclasses import dataclass, replace

from lipkit._choices import DECIMALS

PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?inf(inity)?", re.IGNORECASE)


@dataclass(frozen=True)
class Format:
    """How the cells of a table are written, where a file does not say it.

    Args:
        encoding: of the characters in a CSV file, as `"latin-1"`; None: UTF-8, or UTF-16 if the
            file starts as such.
        decimal: the mark before decimals, `"."` or `","`. Marks between thousands are not read.
        missing: texts that stand for a missing value, beside empty cells, NA, NaN, null and None.
        sheet: name of a sheet in a workbook; None: the only one.

    Raises:
        ValueError: an argument is not of this kind.

    Example:
        >>> lipkit.data.Format(decimal=",", missing=["?"])
        Format(encoding=None, decimal=',', missing=('?',), sheet=None)
    """

    encoding: str | None = None
    decimal: str = "."
    missing: tuple[str, ...] = ()
    sheet: str | None = None

    def __post_init__(self):
        if self.decimal not in DECIMALS:
            raise ValueError(f"`decimal` must be '.' or ','. Received: decimal={self.decimal!r}")
        texts = self.missing
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"`missing` must be a list of texts. Received: missing={texts!r}")
        object.__setattr__(self, "missing", tuple(texts))
        try:
            "".encode(self.encoding or "utf-8")
        except (LookupError, TypeError):
            raise ValueError(
                "`encoding` must be one that Python knows, such as utf-8, latin-1 or cp1252. "
                f"Received: encoding={self.encoding!r}"
            ) from None

    def changed(self, **given):
        """The same format but for the arguments that are given, those that are not None."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def number(self, value) -> float | None:
        """The number in a cell, infinite where float64 rounds an integer; None if it holds none."""
        text = str(value).strip()
        if isinstance(value, str) and self.decimal == ",":
            text = text.translate(str.maketrans(",.", ".,"))
        if not PLAIN.fullmatch(text):
            return None
        rounded = text.lstrip("-+").isdecimal() and abs(int(text)) > 2**53
        return math.inf if rounded else float(text)


USUAL = Format()

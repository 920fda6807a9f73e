"""Texts in cells of tables that spreadsheets would run as formulas, and back."""

import re

from lipkit.data.frames import is_number

STARTS = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # the last four: full-width = + - @
FORMULA = re.compile(f"'*[{STARTS}]")
ESCAPED = re.compile(f"'+[{STARTS}]")


def escaped(text):
    """The text with ' before it, the sign for text, if it is none of a number but of a formula."""
    text = str(text)
    return f"'{text}" if FORMULA.match(text) and not is_number(text) else text


def unescaped(value):
    """Inverse of `escaped`; of what is no text, the same."""
    return value[1:] if isinstance(value, str) and ESCAPED.match(value) else value

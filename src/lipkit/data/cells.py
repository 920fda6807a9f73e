"""Texts in cells of tables that spreadsheets would run as formulas, and back."""

import re

from lipkit.data.delimited import is_number

STARTS = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # the last four: full-width = + - @
FORMULA = re.compile(f"'*[{STARTS}]")
ESCAPED = re.compile(f"'+[{STARTS}]")


def escaped(text):
    """The text, after a ' (which marks text) if a spreadsheet would take it for a formula."""
    text = str(text)
    return f"'{text}" if FORMULA.match(text) and not is_number(text) else text


def unescaped(value):
    """Inverse of `escaped`; values that are not strings stay as they are."""
    return value[1:] if isinstance(value, str) and ESCAPED.match(value) else value

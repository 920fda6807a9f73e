"""Dates as days since 1970-01-01."""

import re

import numpy as np

from lipkit.data.frames import pandas

LIKE = re.compile(r"(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d\d))([ T].*)?")
ISO = "ISO8601"
DAYS = (
    *("%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y"),
)
FORMATS = (ISO, *(f"{day}{time}" for time in ("", " %H:%M", " %H:%M:%S") for day in DAYS))


def is_like(text) -> bool:
    """Whether a text looks like a date."""
    return LIKE.fullmatch(text.strip()) is not None


def days(values, format=ISO) -> np.ndarray:
    """Float64 (n,): days since 1970-01-01 in UTC, with decimals for the time of day.

    Args:
        values: (n,) dates, or texts in the format.
        format: one of `FORMATS`.

    Returns:
        NaN for what is missing, or not a date.
    """
    found = pandas().to_datetime(values, format=format, errors="coerce", utc=True)
    stamps = np.asarray(found.tz_localize(None).to_numpy(), "datetime64[us]")
    return (stamps - np.datetime64(0, "us")) / np.timedelta64(1, "D")


def format_of(texts, name) -> str:
    """The format that all texts have.

    Raises:
        ValueError: there is none, or more than one.
    """
    texts = pandas().Index(texts)
    found = [format for format in FORMATS if not np.isnan(days(texts, format)).any()]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{name} has dates such as {texts[0]!r} in which day and month cannot be told apart: "
            "write them as YYYY-MM-DD, or leave the column out (--drop)."
        )
    shares = {format: np.isnan(days(texts, format)) for format in FORMATS}
    bad = shares[min(shares, key=lambda format: shares[format].sum())]
    raise ValueError(
        f"{name} has {texts[int(np.argmax(bad))]!r}, which is not a date as the others are: write "
        "all as YYYY-MM-DD, or leave the column out (--drop)."
    )

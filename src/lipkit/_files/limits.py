"""How much memory the content of a file may take: checked before it is taken."""

import os

VARIABLE = "LIPKIT_MAX_BYTES"
BYTES = 8 * 2**30  # of the numbers in one file
PIXELS = 2**27  # of one image
TEXT = 1000  # characters of a class or category
DOCUMENT = 2**28  # bytes of a JSON document


class TooLarge(ValueError):
    """More memory than is allowed."""


def check_bytes(path, count, what) -> None:
    """Refuse what takes more than `BYTES`, or than the environment variable allows.

    Args:
        path: the file, or another name for where it stands.
        count: number of bytes.
        what: what takes them, for the error.

    Raises:
        TooLarge: it is too much.
        ValueError: the variable does not hold a number.
    """
    given = os.environ.get(VARIABLE) or str(BYTES)
    if not given.isdecimal():
        raise ValueError(f"{VARIABLE} must be a number of bytes. Received: {given!r}")
    if count > int(given):
        raise TooLarge(
            f"{path}: {what} would take {count / 2**30:.3g} GiB, more than the "
            f"{int(given) / 2**30:.3g} GiB that are allowed. If that is what you want, set "
            f"{VARIABLE}={count}."
        )

"""What can be said of a certificate: that it holds, or why there is none."""

from enum import StrEnum


class Status(StrEnum):
    """Whether an input has a certificate, or why not; a member compares and prints as its text.

    Example:
    >>> Status = lipkit.certifier.Status
    >>> Status("tie") is Status.TIE, Status.CERTIFIED == "certified"
    (True, True)
    """

    CERTIFIED = "certified"
    TIE = "tie"
    ROUNDING = "margin within the rounding error"
    OVERFLOW = "possible overflow"
    BAD_INPUT = "non-finite input"
    BAD_OUTPUT = "non-finite output"
    WRONG_SHAPE = "wrong shape"
    WRONG_DTYPE = "wrong dtype"

    def __repr__(self):
        return repr(str(self))

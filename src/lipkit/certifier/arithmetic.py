"""The floating-point formats that programs compute in."""

from typing import NamedTuple

import numpy as np

from lipkit import _choices


class Arithmetic(NamedTuple):
    """A floating-point format, and the program that computes in it.

    Attributes:
        name: of the format.
        unit: its unit roundoff.
        tiny: its smallest normal number.
        largest: its largest number.
        program: what computes the activations, one of `lipkit.certifier.activations.PROGRAMS`, or
            None for any of them.
    """

    name: str
    unit: float
    tiny: float
    largest: float
    program: str | None = None


FORMATS = {
    name: Arithmetic(
        name, float(np.finfo(name).eps) / 2, float(np.finfo(name).tiny), float(np.finfo(name).max)
    )
    for name in _choices.FORMATS
}
DOUBLE = FORMATS["float64"]._replace(program="numpy")  # the certifier's own

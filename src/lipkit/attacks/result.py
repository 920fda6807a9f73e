"""What attacks return, and the exact distance that a break is judged by."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipkit.certifier.norms import deflate, inflate


@dataclass(frozen=True, eq=False)
class Falsification:
    """What attacks achieved against n certificates; print it.

    Attributes:
        attacked: (n,) whether the point has a certificate.
        broken: (n,) whether it has another label at `x`, within the radius times `scale`.
        x: (n, ...) adversarial inputs or best tries, in the model's input dtype.
        ratio: (n,) distance of `x` over the radius, without `scale`; nan where not attacked.
        attack: (n,) name of the attack that found `x`, or "".
        attacks: names of all that ran.
        scale: factor on the radii.
        arithmetic: what the certificates are true of.
    """

    attacked: np.ndarray
    broken: np.ndarray
    x: np.ndarray
    ratio: np.ndarray
    attack: np.ndarray
    attacks: tuple[str, ...]
    scale: float
    arithmetic: str

    def __str__(self):
        found = [f"{name} {np.sum(self.broken & (self.attack == name))}" for name in self.attacks]
        text = (
            f"{self.broken.sum()} of {self.attacked.sum()} certified points broken "
            f"({self.arithmetic}, radii x {self.scale:g}): {', '.join(found)}"
        )
        nearest = self.ratio[self.broken].min(initial=math.inf)
        return text if nearest == math.inf else f"{text}; nearest at {nearest:.6g} of its radius"

    __repr__ = __str__


def within(x, points, radius, scale=1.0) -> np.ndarray:
    """Whether |points - x| <= radius * scale in exact arithmetic: (n, d), (n, d), (n,) -> (n,).

    Float64 decides where its own rounding cannot matter, rational numbers elsewhere.
    """
    x, points = np.asarray(x, "float64"), np.asarray(points, "float64")
    # d differences, their squares and the sum, of which the root takes half; the limit's product
    roundings = x.shape[1] // 2 + 6
    with np.errstate(all="ignore"):
        length, limit = np.sqrt(np.sum((points - x) ** 2, axis=1)), radius * scale
        finite = np.isfinite(length)  # 1e-150: squares that underflow
        inside = finite & (inflate(length + 1e-150, roundings) < limit)
        outside = ~np.isfinite(points).all(axis=1) | (
            finite & (deflate(length, roundings) - 1e-150 > limit)
        )
    for i in np.flatnonzero(~inside & ~outside):
        pairs = zip(points[i].tolist(), x[i].tolist(), strict=True)
        exact = sum((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs)
        inside[i] = exact <= (Fraction(float(radius[i])) * Fraction(scale)) ** 2
    return inside

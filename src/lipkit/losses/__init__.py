"""Losses of 1-Lipschitz networks."""

from lipkit.losses.binary import HKR, KR, HingeMargin
from lipkit.losses.functional import hinge_margin, hkr, kr

__all__ = ["HKR", "KR", "HingeMargin", "hinge_margin", "hkr", "kr"]

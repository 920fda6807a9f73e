"""Attempts to break certificates. An attack can refute one; its failure proves nothing.

A break is claimed only for an array in the model's input dtype whose exact distance is within the
radius and whose label is another one: by proof for `"real"` certificates, in the program's own
output for `"float32"` and `"float64"`.
"""

from lipkit.attacks.api import ATTACKS, falsify, one_step, pgd, rounding_search
from lipkit.attacks.ratio import lipschitz_ratio
from lipkit.attacks.result import Falsification, within

__all__ = [
    "ATTACKS",
    "Falsification",
    "falsify",
    "lipschitz_ratio",
    "one_step",
    "pgd",
    "rounding_search",
    "within",
]

"""Losses of 1-Lipschitz networks: classes for Keras, and the pure functions behind them."""

from lipkit.losses import functional
from lipkit.losses.binary import HKR, KR, HingeMargin, NegKR, TauBinaryCrossentropy
from lipkit.losses.functional import *  # noqa: F403
from lipkit.losses.multiclass import (
    CategoricalHinge,
    LseHKR,
    MulticlassHinge,
    MulticlassHKR,
    MulticlassKR,
    MulticlassNegKR,
    MulticlassSoftHKR,
    MultiMargin,
    TauCategoricalCrossentropy,
    TauSparseCategoricalCrossentropy,
)

__all__ = [
    "CategoricalHinge",
    "HKR",
    "HingeMargin",
    "KR",
    "LseHKR",
    "MultiMargin",
    "MulticlassHKR",
    "MulticlassHinge",
    "MulticlassKR",
    "MulticlassNegKR",
    "MulticlassSoftHKR",
    "NegKR",
    "TauBinaryCrossentropy",
    "TauCategoricalCrossentropy",
    "TauSparseCategoricalCrossentropy",
    *functional.__all__,
]

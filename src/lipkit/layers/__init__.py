"""Keras layers whose Lipschitz constant is known by construction."""

from lipkit.layers.activations import FullSort, GroupSort, GroupSort2, MaxMin
from lipkit.layers.base import LipschitzKernel, LipschitzLayer
from lipkit.layers.blocks import (
    ConcatResidual,
    L2NormResidual,
    LipResidual,
    PrescaledAdditiveResidual,
    ScaledResidual,
)
from lipkit.layers.centering import BatchCentering, BatchLipNorm, LayerCentering
from lipkit.layers.dense import FrobeniusDense, SpectralDense

__all__ = [
    "BatchCentering",
    "BatchLipNorm",
    "ConcatResidual",
    "FrobeniusDense",
    "FullSort",
    "GroupSort",
    "GroupSort2",
    "L2NormResidual",
    "LayerCentering",
    "LipResidual",
    "LipschitzKernel",
    "LipschitzLayer",
    "MaxMin",
    "PrescaledAdditiveResidual",
    "ScaledResidual",
    "SpectralDense",
]

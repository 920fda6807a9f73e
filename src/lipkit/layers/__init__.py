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
from lipkit.layers.convolutional import (
    FrobeniusConv2D,
    SpectralConv1D,
    SpectralConv1DTranspose,
    SpectralConv2D,
    SpectralConv2DTranspose,
    SpectralConv3D,
    SpectralConv3DTranspose,
    SpectralDepthwiseConv1D,
    SpectralDepthwiseConv2D,
)
from lipkit.layers.dense import FrobeniusDense, SpectralDense
from lipkit.layers.padded import PadConv1D, PadConv2D

__all__ = [
    "BatchCentering",
    "BatchLipNorm",
    "ConcatResidual",
    "FrobeniusConv2D",
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
    "PadConv1D",
    "PadConv2D",
    "PrescaledAdditiveResidual",
    "ScaledResidual",
    "SpectralConv1D",
    "SpectralConv1DTranspose",
    "SpectralConv2D",
    "SpectralConv2DTranspose",
    "SpectralConv3D",
    "SpectralConv3DTranspose",
    "SpectralDense",
    "SpectralDepthwiseConv1D",
    "SpectralDepthwiseConv2D",
]

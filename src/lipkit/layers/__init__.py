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
from lipkit.layers.pooling import (
    ScaledAveragePooling1D,
    ScaledAveragePooling2D,
    ScaledAveragePooling3D,
    ScaledGlobalAveragePooling1D,
    ScaledGlobalAveragePooling2D,
    ScaledGlobalAveragePooling3D,
    ScaledGlobalL2NormPooling1D,
    ScaledGlobalL2NormPooling2D,
    ScaledGlobalL2NormPooling3D,
    ScaledL2NormPooling1D,
    ScaledL2NormPooling2D,
    ScaledL2NormPooling3D,
)
from lipkit.layers.reshaping import InvertibleDownSampling, InvertibleUpSampling
from lipkit.layers.trained_activations import Householder, PReLUlip

__all__ = [
    "BatchCentering",
    "BatchLipNorm",
    "ConcatResidual",
    "FrobeniusConv2D",
    "FrobeniusDense",
    "FullSort",
    "GroupSort",
    "GroupSort2",
    "Householder",
    "InvertibleDownSampling",
    "InvertibleUpSampling",
    "L2NormResidual",
    "LayerCentering",
    "LipResidual",
    "LipschitzKernel",
    "LipschitzLayer",
    "MaxMin",
    "PReLUlip",
    "PadConv1D",
    "PadConv2D",
    "PrescaledAdditiveResidual",
    "ScaledAveragePooling1D",
    "ScaledAveragePooling2D",
    "ScaledAveragePooling3D",
    "ScaledGlobalAveragePooling1D",
    "ScaledGlobalAveragePooling2D",
    "ScaledGlobalAveragePooling3D",
    "ScaledGlobalL2NormPooling1D",
    "ScaledGlobalL2NormPooling2D",
    "ScaledGlobalL2NormPooling3D",
    "ScaledL2NormPooling1D",
    "ScaledL2NormPooling2D",
    "ScaledL2NormPooling3D",
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

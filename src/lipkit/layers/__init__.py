"""Keras layers whose Lipschitz constant is known by construction."""

from lipkit.layers.activations import FullSort, GroupSort, GroupSort2, MaxMin
from lipkit.layers.base import LipschitzKernel, LipschitzLayer
from lipkit.layers.dense import FrobeniusDense, SpectralDense

__all__ = [
    "FrobeniusDense",
    "FullSort",
    "GroupSort",
    "GroupSort2",
    "LipschitzKernel",
    "LipschitzLayer",
    "MaxMin",
    "SpectralDense",
]

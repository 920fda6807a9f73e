"""Kernel rules: pure maps from a free matrix to one of spectral norm at most 1."""

from lipkit.parametrizations.base import Parametrization, get, register, serialize
from lipkit.parametrizations.orthogonal import Bjorck, Cholesky, Polar, Stiefel
from lipkit.parametrizations.scaling import AOL, Frobenius, Spectral, UnitColumns

__all__ = [
    "AOL",
    "Bjorck",
    "Cholesky",
    "Frobenius",
    "Parametrization",
    "Polar",
    "Spectral",
    "Stiefel",
    "UnitColumns",
    "get",
    "register",
    "serialize",
]

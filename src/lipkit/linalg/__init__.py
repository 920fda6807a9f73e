"""Pure functions on arrays of shape (..., m, n), on every Keras backend."""

from lipkit.linalg.almost_orthogonal import aol, conv_aol
from lipkit.linalg.norms import (
    divisor,
    frobenius_normalize,
    spectral_norm_bound,
    spectral_normalize,
)
from lipkit.linalg.orthogonal import bjorck, cholesky, polar

__all__ = [
    "aol",
    "bjorck",
    "cholesky",
    "conv_aol",
    "divisor",
    "frobenius_normalize",
    "polar",
    "spectral_norm_bound",
    "spectral_normalize",
]

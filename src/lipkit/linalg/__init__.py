"""Pure functions on arrays of shape (..., m, n), on every Keras backend."""

from lipkit.linalg.almost_orthogonal import aol, conv_aol
from lipkit.linalg.norms import (
    divisor,
    frobenius_normalize,
    spectral_norm_bound,
    spectral_normalize,
)
from lipkit.linalg.orthogonal import bjorck, cholesky, polar
from lipkit.linalg.stiefel import (
    drift,
    near_polar,
    retract,
    tangent,
    tangent_matmul,
)

__all__ = [
    "aol",
    "bjorck",
    "cholesky",
    "conv_aol",
    "divisor",
    "drift",
    "frobenius_normalize",
    "near_polar",
    "polar",
    "retract",
    "spectral_norm_bound",
    "spectral_normalize",
    "tangent",
    "tangent_matmul",
]

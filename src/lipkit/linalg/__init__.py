"""Pure functions on arrays of shape (..., m, n), on every Keras backend."""

from lipkit.linalg.norms import frobenius_normalize, spectral_norm_bound, spectral_normalize
from lipkit.linalg.orthogonal import bjorck, cholesky, polar

__all__ = [
    "bjorck",
    "cholesky",
    "frobenius_normalize",
    "polar",
    "spectral_norm_bound",
    "spectral_normalize",
]

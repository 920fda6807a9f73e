"""Independent truths in NumPy float64, written from the papers."""

import keras
import numpy as np
from keras import ops

# float64 is off on JAX
POLICIES = ["mixed_bfloat16", "mixed_float16"] + ["float64"] * (keras.backend.backend() != "jax")


def array(x):
    return np.asarray(ops.convert_to_numpy(x)).astype("float64")


def singular_values(w):
    return np.linalg.svd(array(w), compute_uv=False)


def polar(w):
    u, _, vt = np.linalg.svd(np.asarray(w, "float64"), full_matrices=False)
    return u @ vt


def _columns(y, f, w):
    y, f = (np.asarray(a, "float64").reshape(len(a), -1) for a in (y, f))
    return np.broadcast_to(y, f.shape), f, np.ones(len(f)) if w is None else np.asarray(w)


def kr(y, f, w=None):
    """E[f | +] - E[f | -], averaged over the columns; a missing class contributes 0."""
    y, f, w = _columns(y, f, w)

    def mean(column, chosen):
        return np.average(column[chosen], weights=w[chosen]) if chosen.any() else 0

    pairs = zip(f.T, y.T, strict=True)
    return np.mean([mean(c, labels > 0) - mean(c, labels <= 0) for c, labels in pairs])


def hinge(y, f, margin, w=None):
    """Sum of the weighted values over their number."""
    y, f, w = _columns(y, f, w)
    return np.mean(w[:, None] * np.maximum(0, margin - np.where(y > 0, 1, -1) * f))


def group_sort(x, n):
    return np.sort(x.reshape(*x.shape[:-1], -1, n), axis=-1).reshape(x.shape)

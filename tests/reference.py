"""Independent truths in NumPy float64, written from the papers."""

import numpy as np
from keras import ops


def array(x):
    return np.asarray(ops.convert_to_numpy(x)).astype("float64")


def singular_values(w):
    return np.linalg.svd(array(w), compute_uv=False)


def polar(w):
    u, _, vt = np.linalg.svd(np.asarray(w, "float64"), full_matrices=False)
    return u @ vt


def kr(y, f):
    """E[f | +] - E[f | -], averaged over the columns; a missing class contributes 0."""
    y, f = (np.asarray(a, "float64").reshape(len(a), -1) for a in (y, f))
    values = []
    for column, labels in zip(f.T, np.broadcast_to(y, f.shape).T, strict=True):
        up, down = column[labels > 0], column[labels <= 0]
        values.append((up.mean() if up.size else 0) - (down.mean() if down.size else 0))
    return np.mean(values)


def hinge(y, f, margin):
    y, f = (np.asarray(a, "float64").reshape(len(a), -1) for a in (y, f))
    return np.mean(np.maximum(0, margin - np.where(y > 0, 1, -1) * f))


def group_sort(x, n):
    return np.sort(x.reshape(*x.shape[:-1], -1, n), axis=-1).reshape(x.shape)

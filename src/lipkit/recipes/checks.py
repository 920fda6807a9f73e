"""Checks of the data: what is wrong, where, and the way out."""

import numpy as np

LARGEST = float(np.finfo("float32").max)


def samples(x):
    """The samples (n, ...) as finite float64 that float32 can hold."""
    x = np.asarray(x)
    if x.dtype.kind not in "fiub":
        raise ValueError(f"`x` must hold real numbers. Received: dtype {x.dtype}")
    if x.ndim < 2 or not all(x.shape):
        raise ValueError(
            f"`x` must have shape (n, ...) with no axis of length 0. Received: shape {x.shape}"
        )
    x = x.astype("float64")
    bad = ~(np.abs(x) <= LARGEST)
    if bad.any():
        where = tuple(map(int, np.argwhere(bad)[0]))
        raise ValueError(
            f"`x` must be finite, within float32: {bad.sum()} values are not, the first at "
            f"{where}: {x[where]}. Remove these samples or fill the values in."
        )
    return x


def classes(y, n):
    """The labels as (n,) integers, and the number of classes."""
    y = np.asarray(y)
    if y.shape != (n,):
        raise ValueError(f"`y` must have one label for each of {n} samples. Received: {y.shape}")
    values = np.unique(y)
    if y.dtype.kind not in "iub" or not np.array_equal(values, np.arange(len(values))):
        raise ValueError(
            "`y` must hold the integers 0 ... k - 1, each of them at least once: use "
            f"np.unique(y, return_inverse=True)[1]. Received: {values[:8].tolist()}"
        )
    if len(values) < 2:
        raise ValueError("`y` must have at least 2 classes. Received: one.")
    return y.astype("int64"), len(values)


def weights(value, shape):
    """Positive weights as float64 that broadcast to a sample, or None."""
    if value is None:
        return None
    array = np.asarray(value, "float64")
    if array.shape != shape or not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(
            f"`feature_weights` must be positive and finite, of shape {shape}. Received: shape "
            f"{array.shape}, least {array.min(initial=np.inf)}"
        )
    return array

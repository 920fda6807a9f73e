"""Checks of arguments: one rule and one message each, for Python's and NumPy's numbers."""

import numbers

import numpy as np
from keras import ops


def _is(value, kind):
    return isinstance(value, kind) and not isinstance(value, bool)


def integer(name, value, low=1):
    """The value as an int, if it is an integer of at least `low`."""
    if not _is(value, numbers.Integral) or value < low:
        raise ValueError(f"`{name}` must be an integer >= {low}. Received: {name}={value!r}")
    return int(value)


def integers(name, value, count):
    """A tuple of `count` positive integers, from as many, or from one for all."""
    if not isinstance(value, (list, tuple)):
        return (integer(name, value),) * count
    if len(value) != count:
        raise ValueError(
            f"`{name}` must be one integer, or {count} of them. Received: {name}={value!r}"
        )
    return tuple(integer(name, n) for n in value)


def real(name, value, interval):
    """The value as a float, if it lies in the interval, written as in "(0, 0.5]"."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    if not _is(value, numbers.Real) or not (
        low < value < high
        or (value == low and interval[0] == "[")
        or (value == high and interval[-1] == "]")
    ):
        expected = {"(0, inf)": "> 0", "[0, inf)": ">= 0"}.get(interval, f"in {interval}")
        raise ValueError(f"`{name}` must be a number {expected}. Received: {name}={value!r}")
    return float(value)


def check_constant(k_coef_lip):
    """The target constant as a float, or `ValueError`."""
    return real("k_coef_lip", k_coef_lip, "(0, inf)")


def samples(name, value):
    """The value as an array (n, ...) of n samples, if it holds finite real numbers."""
    array = ops.convert_to_numpy(value) if ops.is_tensor(value) else np.asarray(value)
    if array.dtype.kind not in "fiub" or not array.ndim or not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be an array (n, ...) of finite real numbers: drop or impute missing "
            f"values, encode text. Received: shape {array.shape}, dtype {array.dtype}"
            + _first_bad(array)
        )
    return array


def _first_bad(array):
    if array.dtype.kind != "f" or not array.ndim:
        return ""
    rows = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    return f", {len(rows)} rows with NaN or infinity, the first is row {rows[0]}"

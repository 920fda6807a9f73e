"""Labels, predictions and weights of the losses: one convention, checked in one place.

A label is positive iff it is above one half, so {0, 1} and {-1, 1} mean the same. Shapes are
checked always; values where the labels are a NumPy array, as in a direct call, but not in `fit`.
"""

import keras
import numpy as np
from keras import ops

from lipkit import _backend as backend

# integers up to here are exact in the floats that Keras makes of labels
_EXACT = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24}


def _column(x):
    """(B,) -> (B, 1); anything else as it is."""
    return ops.expand_dims(x, -1) if len(x.shape) == 1 else x


def floats(y_pred):
    """Predictions as floats of at least 32 bits: sums over a batch need them."""
    y_pred = ops.convert_to_tensor(y_pred)
    return ops.cast(y_pred, keras.backend.result_type(y_pred.dtype, "float32"))


def number(value, like):
    """A parameter of a loss, Python's or a tensor, in the dtype of `like`."""
    return ops.cast(value, like.dtype)


def _fits(shape, other):
    """Whether sizes are equal, as far as both are known."""
    return all(m == n or None in (m, n) for m, n in zip(shape, other, strict=False))


def weights(sample_weight, y_pred):
    """The weights as (B, 1), or (B, C), or 1."""
    if sample_weight is None:
        return 1.0
    weight = _column(number(sample_weight, y_pred))
    sizes = zip(weight.shape, y_pred.shape, strict=False)
    if len(weight.shape) not in (0, 2) or not all(m == 1 or _fits([m], [n]) for m, n in sizes):
        raise ValueError(
            "`sample_weight` must have the shape (B,) or (B, 1). Received: sample_weight as "
            f"{tuple(weight.shape)} for predictions {tuple(y_pred.shape)}"
        )
    return weight


def mean(x, weight):
    """The weighted mean of all entries, those of all replicas: a scalar, 0 without any weight."""
    total, weights = (backend.over_replicas(ops.sum(part)) for part in (weight * x, weight))
    return ops.divide_no_nan(total, weights)


def aligned(y_true, y_pred, soft=False):
    """Labels and predictions of (B,) or (B, C), as (B, C) both.

    With `soft`, labels may be probabilities.
    """
    given = y_true
    y_pred, y_true = _column(floats(y_pred)), _column(ops.convert_to_tensor(y_true))
    if not len(y_true.shape) == len(y_pred.shape) == 2 or not _fits(y_true.shape, y_pred.shape):
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape, (B,) or (B, C). Received: "
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    check_values(given, soft)
    return y_true, y_pred


def positives(y_true, y_pred):
    """Which labels are positive, and the predictions: (B, C) both."""
    y_true, y_pred = aligned(y_true, y_pred)
    return ops.greater(y_true, 0.5), y_pred


def targets(y_true, y_pred, soft=False):
    """Labels of one class each, made one-hot where they are integers, and predictions: (B, C) both.

    With `soft`, labels may be probabilities.
    """
    given, y_pred, y_true = y_true, floats(y_pred), ops.convert_to_tensor(y_true)
    classes = y_pred.shape[-1] if len(y_pred.shape) == 2 else None
    shape = tuple(y_true.shape)
    if classes is None or classes < 2:
        raise ValueError(
            "Exclusive classes need logits of shape (B, C) with a known C >= 2. Received: "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )
    fits = _fits(shape[:1], y_pred.shape)
    if fits and len(shape) == 2 and shape[-1] == classes:
        check_values(given, soft, one_hot=True)
        return y_true, y_pred
    if not fits or (len(shape) != 1 and shape[1:] != (1,)):
        raise ValueError(
            "Labels must be one-hot (B, C), or integers (B,) or (B, 1). Received: "
            f"y_true.shape={shape} for y_pred.shape={tuple(y_pred.shape)}"
        )
    dtype = keras.backend.standardize_dtype(y_true.dtype)
    if classes > _EXACT.get(dtype, classes):
        raise ValueError(
            f"Integer labels of {classes} classes are not exact in {dtype}. Use one-hot labels, or "
            "give the loss dtype='float32'."
        )
    check_values(given, classes=classes)
    index = ops.cast(ops.reshape(y_true, (-1,)), "int32")
    return ops.one_hot(index, classes, dtype=y_pred.dtype), y_pred


def own_class(y_true, y_pred):
    """Which entry is the true class, and the predictions: (B, C) both."""
    y_true, y_pred = targets(y_true, y_pred)
    return ops.greater(y_true, 0.5), y_pred


def check_values(y_true, soft=False, one_hot=False, classes=None):
    """Raise `ValueError` for values that are not labels, if `y_true` is a NumPy array."""
    if not isinstance(y_true, np.ndarray) or y_true.size == 0:
        return
    y_true = y_true.astype("float64")
    values = np.unique(y_true)
    if classes is not None:
        right = np.isin(values, np.arange(classes)).all()
        expected = f"integers from 0 to {classes - 1}"
    else:
        right = np.isin(values, (0, 1)).all() or np.isin(values, (-1, 1)).all()
        right = right or (soft and values[0] >= 0 and values[-1] <= 1)
        expected = "all in {0, 1}, or all in {-1, 1}" + (", or probabilities" if soft else "")
        if one_hot:
            right = right and np.allclose(np.maximum(y_true, 0).sum(-1), 1, atol=1e-3)
            expected += ", with one class in each row" + (" or a sum of 1" if soft else "")
    if not right:
        shown = ", ".join(f"{v:g}" for v in values[:6]) + (", ..." if values.size > 6 else "")
        raise ValueError(f"Labels must be {expected}. Received: y_true with the values {shown}.")

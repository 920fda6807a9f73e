"""Constants among the arguments of layers and operations."""

import keras
import numpy as np
from keras import ops as kops

from lipkit.certifier.reader.refusals import refusal


def is_tensor(value):
    """Whether it is a tensor of the graph."""
    return isinstance(value, keras.KerasTensor)


def numbers(operation, value):
    """A constant as a float64 array, with the values that its own dtype gives it."""
    try:
        array = np.asarray(kops.convert_to_numpy(value)) if hasattr(value, "dtype") else value
        array = np.asarray(array).astype("float64")
    except (TypeError, ValueError):
        array = np.full(1, np.nan)
    if not np.isfinite(array).all():
        raise refusal(operation, f"its constants must be finite numbers. Received: {value!r}")
    return array


def sample_constant(operation, value, rank, batched=False, dtype=None):
    """A constant as a float64 array that broadcasts against samples of this rank.

    Args:
        operation: whose argument it is.
        value: number, array, tensor or variable.
        rank: of a sample, without the batch axis.
        batched: its first axis is the batch's, whatever its rank.
        dtype: of the tensor that a number of Python's is combined with.
    """
    array = numbers(operation, value)
    if dtype is not None and not hasattr(value, "dtype") and keras.backend.is_float_dtype(dtype):
        array = array.astype(dtype).astype("float64")
    if (array.ndim == rank + 1 or (batched and array.ndim)) and len(array) == 1:
        return array[0]
    if array.ndim > rank or batched:
        raise refusal(
            operation,
            f"its constant of shape {array.shape} differs between the samples of a batch. "
            "Give it a first axis of size 1.",
        )
    return array

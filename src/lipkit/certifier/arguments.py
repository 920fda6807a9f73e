"""Checks of what is certified: inputs, their labels and the scale that they were given."""

import math

import numpy as np
from keras import ops

from lipkit.certifier.status import Status
from lipkit.losses.functional.labels import check_values


def arrays(x, graph):
    """Float64 arrays, one for each input, or why not: status and what does not fit."""
    several = len(graph.inputs) > 1
    if several and (not isinstance(x, (list, tuple)) or len(x) != len(graph.inputs)):
        raise ValueError(f"`x` must be a list of {len(graph.inputs)} arrays, one for each input.")
    found, misfit = [], None
    for value, index in zip(x if several else [x], graph.inputs, strict=True):
        array = value if isinstance(value, np.ndarray) else _to_numpy(value)
        if array.ndim == 0:
            raise ValueError("`x` must be a batch of inputs. Received a scalar.")
        shape = graph.nodes[index].shape
        real_numbers = array.dtype.kind in "fiub" or array.dtype.name == "bfloat16"
        if not real_numbers or array.dtype.itemsize > 8:
            expected = "real numbers of at most 64 bits"
            misfit = Status.WRONG_DTYPE, f"expected {expected}, got {array.dtype}"
        elif array.shape[1:] != shape:
            misfit = Status.WRONG_SHAPE, f"expected {('batch', *shape)}, got {array.shape}"
        elif array.dtype.kind in "iu" and array.size and _magnitude(array) > 2**53:
            detail = f"{array.dtype} values above 2**53 are not exact in float64"
            misfit = Status.WRONG_DTYPE, detail
        found.append(array)
    if len({len(array) for array in found}) > 1:
        raise ValueError(f"Inputs have different lengths: {[len(a) for a in found]}")
    return ([a.astype("float64") for a in found] if misfit is None else found), misfit


def _magnitude(array):
    return max(abs(int(array.max())), abs(int(array.min())))


def _to_numpy(value):
    if isinstance(value, (list, tuple, int, float)):
        return np.asarray(value)
    return np.asarray(ops.convert_to_numpy(value))


def _floats(value):
    """An array as float64, None where it does not hold numbers."""
    try:
        return None if value.dtype.kind in "SUc" else value.astype("float64")
    except (TypeError, ValueError):
        return None


def labels(y, task, shape):
    """True labels in the form of `Certificates.label`, for logits of this shape (n, outputs)."""
    if y is None:
        return None
    y = _to_numpy(y)
    n, classes = shape[0], 2 if task == "binary" else shape[1]
    shapes = [(n, classes)] if task == "multilabel" else [(n,), (n, 1), (n, classes)]
    if y.shape not in shapes:
        *others, last = map(str, shapes)
        expected = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(
            f"`y` must have shape {expected} for these {n} inputs. Received: shape {y.shape}"
        )
    if _floats(y) is None:
        expected = "0 and 1" if task == "multilabel" else f"class indices 0 ... {classes - 1}"
        raise ValueError(
            f"`y` must hold numbers: {expected}. Received: dtype {y.dtype}. Encode names first, "
            "e.g. by np.unique(y, return_inverse=True)[1]."
        )
    if y.shape == (n, classes) and task != "multilabel":
        check_values(y, soft=True, one_hot=True)
        return np.argmax(y, axis=1)
    check_values(y, classes=classes if task == "multiclass" else None)
    y = y if task == "multilabel" else y.reshape(n)
    return y.astype(int) if task == "multiclass" else (y > 0).astype(int)


def scale(given, shapes):
    """The largest factor of a `preprocessing_scale`, for inputs of these shapes."""
    factors = _floats(_to_numpy(given))
    largest = 0.0 if factors is None else float(np.max(np.abs(factors), initial=0.0))
    if factors is None or not 0 < largest < math.inf:
        raise ValueError(
            "`preprocessing_scale` must hold finite numbers, not all 0. "
            f"Received: preprocessing_scale={given!r}"
        )
    for shape in shapes:
        if not _broadcasts(factors.shape, shape):
            raise ValueError(
                "`preprocessing_scale` must be a number, or an array that broadcasts to one input, "
                f"of shape {shape}. Received: shape {factors.shape}"
            )
    return largest


def _broadcasts(shape, to):
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False

"""Checks of the data: what is wrong, where, and the way out."""

import numpy as np

from lipkit._checks import integer, real

LARGEST = float(np.finfo("float32").max)
FEWEST = 8  # numbers of float32 within a standard deviation


def _numbers(name, values):
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"`{name}` must hold real numbers. Received: dtype {array.dtype}")
    array = array.astype("float64", copy=False)
    bad = np.argwhere(~(np.abs(array) <= LARGEST))
    if len(bad):
        where = tuple(map(int, bad[0]))
        raise ValueError(
            f"`{name}` must be finite, in float32 too: {len(bad)} values are not, such as "
            f"{array[where]} at {list(where)}. Leave these samples out, or fill the values in."
        )
    return array


def samples(x, shape=None):
    """The samples (n, ...) as finite float64 that float32 can hold; at least 2, or of a shape."""
    x = _numbers("x", x)
    if shape is not None and (x.shape[1:] != tuple(shape) or not len(x)):
        raise ValueError(f"`x` must have shape {('n', *shape)}, n >= 1. Received: shape {x.shape}")
    if x.ndim < 2 or not all(x.shape) or len(x) < 2 - (shape is not None):
        raise ValueError(
            "`x` must have shape (n, ...), with at least 2 samples and no axis of length 0. "
            f"Received: shape {x.shape}"
        )
    return x


def _one_each(y, n, one_hot=""):
    shape = np.shape(y)
    if shape != (n,):
        hint = one_hot if len(shape) == 2 and shape[1] > 1 else ""
        raise ValueError(
            f"`y` must have one entry for each of {n} samples, shape ({n},){hint}. Received: "
            f"shape {shape}"
        )
    return np.asarray(y)


def classes(y, n, count=None):
    """The labels as (n,) integers, and the number of classes, if it is not given."""
    y = _one_each(y, n, ": for one-hot labels use y.argmax(axis=1)")
    found = np.unique(y)
    if count is not None:
        count = integer("classes", count, 2)
        if y.dtype.kind not in "iub" or found[0] < 0 or found[-1] >= count:
            raise ValueError(
                f"`y` must hold integers from 0 to {count - 1}, the classes. Received: {y.dtype} "
                f"values from {found[0]} to {found[-1]}"
            )
        return y.astype("int64"), count
    if y.dtype.kind not in "iub" or not np.array_equal(found, np.arange(len(found))):
        hint = ", or task='regression' for a continuous target" if y.dtype.kind == "f" else ""
        raise ValueError(
            "`y` must hold the integers 0 ... k - 1, each at least once: use "
            f"np.unique(y, return_inverse=True)[1]{hint}. Received: {y.dtype} values "
            f"{found[:8].tolist()}"
        )
    if len(found) < 2:
        raise ValueError("`y` must hold at least 2 classes. Received: 1 class")
    return y.astype("int64"), len(found)


def targets(y, n):
    """The targets (n,) as finite float64."""
    return _numbers("y", _one_each(y, n))


def weights(n, sample_weight, class_weight=None, y=None, count=0):
    """The weights of the samples (n,), with mean 1; None if all are 1.

    Args:
        n: number of samples.
        sample_weight: (n,) numbers >= 0, or None.
        class_weight: `"balanced"`, for the same weight of all classes together; a dictionary
            {class: number > 0}, 1 for those that it leaves out; or None.
        y, count: (n,) classes, and how many there are.
    """
    if sample_weight is None and class_weight is None:
        return None
    found = np.ones(n)
    if sample_weight is not None:
        found = _numbers("sample_weight", sample_weight)
        if found.shape != (n,) or (found < 0).any() or not found.any():
            raise ValueError(
                f"`sample_weight` must be {n} numbers >= 0, and not only zero weights. Received: "
                f"shape {found.shape}, from {found.min():g} to {found.max():g}"
            )
    if isinstance(class_weight, str) and class_weight == "balanced":
        total = np.bincount(np.asarray(y), found, minlength=count)
        found = found / np.where(total > 0, total, 1.0)[y]
    elif isinstance(class_weight, dict):
        by_class = np.ones(count)
        for name, weight in class_weight.items():
            if name not in range(count):
                raise ValueError(
                    f"`class_weight` must be a dictionary of classes 0 ... {count - 1}. Received: "
                    f"class {name!r}"
                )
            by_class[int(name)] = real(f"class_weight[{name}]", weight, "(0, inf)")
        found = found * by_class[y]
    elif class_weight is not None:
        raise ValueError(
            "`class_weight` must be 'balanced', a dictionary of classes and numbers, or None. "
            f"Received: class_weight={class_weight!r}"
        )
    return found / found.mean()


def visible(name, std, largest, varies):
    """Raise unless float32 can tell apart what varies: standard deviations beside |values|."""
    coarse = varies & (std < FEWEST * np.finfo("float32").eps * largest)
    extreme = varies & ~((std > 1e-30) & (std < 1e30))
    if np.any(coarse | extreme):
        index = int(np.argmax(coarse | extreme))
        raise ValueError(
            f"The standard deviations of {name} must be from 1e-30 to 1e30, and above 1e-6 of the "
            f"values, for float32: use another unit, or subtract an offset. Received: "
            f"{np.ravel(std)[index]:.3g} in column {index}, with values up to "
            f"{np.ravel(largest)[index]:.3g}"
        )

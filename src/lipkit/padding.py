"""Paddings that Keras's convolutions do not have: "constant", "circular", "symmetric", ...

Layers, their factors, the export and the certifier all read this one definition.
"""

import functools

import numpy as np
from keras import KerasTensor, ops

# along one axis: the samples shown before and after it, negative ones counted from its end
BORDERS = {
    "circular": lambda low, high: (range(-low, 0), range(high)),
    "symmetric": lambda low, high: (range(low - 1, -1, -1), range(-1, -high - 1, -1)),
    "reflect": lambda low, high: (range(low, 0, -1), range(-2, -high - 2, -1)),
    "replicate": lambda low, high: (low * [0], high * [-1]),
}
MODES = ("constant", *BORDERS)


def same_width(reach):
    """The padding that keeps the size at stride 1.

    Args:
        reach: samples that a window spans, >= 1.

    Returns:
        (low, high).

    Example:
    >>> lipkit.padding.same_width(4)
    (1, 2)
    """
    return (reach - 1) // 2, reach // 2


def smallest_size(mode, low, high):
    """The least size of an axis that a padding is defined for.

    Args:
        mode: one of `lipkit.padding.MODES`; anything else is padding with zeros.
        low, high: samples before and after the axis.

    Returns:
        An integer.

    Example:
    >>> lipkit.padding.smallest_size("reflect", 2, 1)
    3
    """
    borders = BORDERS[mode](low, high) if mode in BORDERS else ()
    return max((i + 1 if i >= 0 else -i for border in borders for i in border), default=1)


def pad(x, mode, widths, axis):
    """Pad consecutive axes.

    Args:
        x: tensor.
        mode: one of `MODES`, with the meanings of `numpy.pad` ("circular" is its "wrap" and
            "replicate" its "edge").
        widths: (low, high) for each axis.
        axis: the first of these axes.

    Returns:
        A tensor.

    Raises:
        ValueError: if an axis is known to be too short to be repeated.

    Example:
    >>> x = ops.convert_to_tensor([[1.0, 2.0, 3.0]])
    >>> ops.convert_to_numpy(lipkit.padding.pad(x, "circular", [(1, 1)], axis=1)).tolist()
    [[3.0, 1.0, 2.0, 3.0, 1.0]]
    """
    if mode == "constant":
        rest = len(x.shape) - axis - len(widths)
        return ops.pad(x, [(0, 0)] * axis + list(widths) + [(0, 0)] * rest)
    for i, (low, high) in enumerate(widths, axis):
        need, size = smallest_size(mode, low, high), x.shape[i]
        if size is not None and size < need:
            raise ValueError(
                f"padding={mode!r} by {(low, high)} needs at least {need} samples along axis {i}. "
                f"Received: inputs of shape {tuple(x.shape)}"
            )
        # keras.ops.pad has no mode that all backends agree on
        parts = [_taken(x, list(b), i) if len(b) else None for b in BORDERS[mode](low, high)]
        parts = [part for part in (parts[0], x, parts[1]) if part is not None]
        x = ops.concatenate(parts, axis=i) if len(parts) > 1 else x
    return x


def _taken(x, indices, axis):
    """These samples along an axis; an error where there are fewer."""
    if x.shape[axis] is None and not isinstance(x, KerasTensor):
        # in a graph of unknown sizes: `take` would repeat the last sample when compiled by XLA
        return ops.stack([x[(slice(None),) * axis + (i,)] for i in indices], axis=axis)
    return ops.take(x, indices, axis=axis)


def shown(mode, size, low, high):
    """The sample at each position of a padded axis.

    Args:
        mode: one of `lipkit.padding.MODES`; anything else is padding with zeros.
        size: of the axis.
        low, high: samples before and after it.

    Returns:
        (low + size + high,) integers; -1 for a zero.

    Example:
    >>> lipkit.padding.shown("symmetric", 3, 1, 1).tolist()
    [0, 0, 1, 2, 2]
    >>> lipkit.padding.shown("constant", 3, 1, 1).tolist()
    [-1, 0, 1, 2, -1]
    """
    if mode not in BORDERS:
        return np.pad(np.arange(size), (low, high), constant_values=-1)
    before, after = (np.array(list(b), int) for b in BORDERS[mode](low, high))
    return np.concatenate([before, np.arange(size), after]) % size


def padding_matrix(mode, size, low, high):
    """The padding of one axis as a matrix of zeros and ones.

    Args:
        mode, size, low, high: as in `lipkit.padding.shown`.

    Returns:
        (low + size + high, size) float64.

    Example:
    >>> lipkit.padding.padding_matrix("replicate", 2, 1, 0).tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    return (shown(mode, size, low, high)[:, None] == np.arange(size)).astype("float64")


def _most(samples):
    """How often the most frequent sample occurs."""
    return int(np.bincount(samples[samples >= 0]).max(initial=0))


@functools.cache
def copies(mode, kernel_size, dilation):
    """How often a padded axis shows one sample, at most, over all sizes.

    Args:
        mode: one of `lipkit.padding.MODES`; anything else is padding with zeros.
        kernel_size, dilation: of the window, >= 1, whose size the padding keeps.

    Returns:
        An integer.

    Example:
    >>> lipkit.padding.copies("replicate", 3, 1)
    3
    """
    low, high = same_width(dilation * (kernel_size - 1) + 1)
    sizes = range(smallest_size(mode, low, high), 2 * (low + high) + 2)
    return max(_most(shown(mode, size, low, high)) for size in sizes)


@functools.cache
def reads(mode, kernel_size, stride, dilation):
    """How often one sample of an axis is read, at most: pairs (window, tap), over all sizes.

    Exact. With zeros around, a sample is read by taps t with t * dilation in one residue class
    modulo the stride. With repeated samples, the pairs are counted for every size up to the one
    from where on the two ends do not see each other: a further `stride` samples in the middle
    then change no count.

    Args:
        mode: one of `lipkit.padding.MODES`; anything else is padding with zeros.
        kernel_size, stride, dilation: of the windows, >= 1.

    Returns:
        An integer.

    Example:
    >>> lipkit.padding.reads("constant", 5, 1, 1), lipkit.padding.reads("replicate", 5, 1, 1)
    (5, 6)
    """
    taps = dilation * np.arange(kernel_size)
    if mode not in BORDERS:
        return _most(taps % stride)
    reach = int(taps[-1]) + 1
    low, high = same_width(reach)

    def at(size):
        windows = stride * np.arange(-(-size // stride))[:, None] + taps
        return _most(shown(mode, size, low, high)[windows])

    return max(map(at, range(smallest_size(mode, low, high), 4 * reach + 2 * stride)))

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
    """(low, high) that keep the size at stride 1, for windows that span `reach` samples."""
    return (reach - 1) // 2, reach // 2


def smallest_size(mode, low, high):
    """The least size of an axis that this padding is defined for."""
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

    Raises:
        ValueError: if an axis is known to be too short to be repeated.
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
    """The sample at each position of the padded axis; -1 for a zero."""
    if mode not in BORDERS:
        return np.pad(np.arange(size), (low, high), constant_values=-1)
    before, after = (np.array(list(b), int) for b in BORDERS[mode](low, high))
    return np.concatenate([before, np.arange(size), after]) % size


def padding_matrix(mode, size, low, high):
    """The padding of one axis as a matrix of zeros and ones (size + low + high, size)."""
    return (shown(mode, size, low, high)[:, None] == np.arange(size)).astype("float64")


def _most(samples):
    """How often the most frequent sample occurs."""
    return int(np.bincount(samples[samples >= 0]).max(initial=0))


@functools.cache
def copies(mode, kernel_size, dilation):
    """How often a padded axis shows one sample, at most, over all sizes."""
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

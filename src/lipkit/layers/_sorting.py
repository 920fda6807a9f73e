"""Sorting of channel groups, with a gradient that only routes.

XLA's generic sort takes 6 ms forward for 256 x 256 values on a CPU core where a network of
compare-exchange steps takes 0.3; the other backends' own sorts are fast.
"""

import keras
import numpy as np
from keras import ops

from lipkit import _backend as backend

LARGEST_NETWORK = 4096  # the network costs log2(n)^2 / 2 passes and as many traced operations


def _ordered(low, high):
    """Whether pairs are in ascending order, NaN above all.

    `ops.minimum` would split gradients at ties, slowly, and make two NaN out of one.
    """
    return ops.logical_or(ops.less_equal(low, high), ops.isnan(high))


def _network(x):
    """Values sorted along axis 0, of a length that is a power of two, and where they come from.

    Bitonic sort (Batcher, 1968): runs of `size` are merged, every other one downwards, by exchanges
    of entries `distance` apart.
    """
    n = x.shape[0]
    rows = ops.broadcast_to(ops.arange(n, dtype="int32")[:, None], x.shape)

    def pairs(v):
        return ops.reshape(v, (n // (2 * distance), 2, distance, -1))

    size = 2
    while size <= n:
        distance = size // 2
        while distance:
            starts = np.arange(0, n, 2 * distance)[:, None, None]
            ordered = _ordered(pairs(x)[:, 0], pairs(x)[:, 1])
            keep = ops.equal(ordered, starts // size % 2 == 0)
            exchanged = backend.exchange(keep, axis=1)
            x, rows = (ops.reshape(exchanged(pairs(v)), (n, -1)) for v in (x, rows))
            distance //= 2
        size *= 2
    return x, rows


def _sorted_pairs(x):
    """Sort along the last axis, of length 2: (r, 2) -> (r, 2)."""

    def forward(x):
        ordered = _ordered(*ops.unstack(x, 2, -1))
        return backend.exchange(ordered)(x), ordered

    def backward(inputs, outputs, delta):
        return (backend.exchange(outputs[1])(delta),)

    return backend.with_gradient(forward, backward, x)


def _sorted_columns(x):
    """Sort along axis 0: (n, r) -> (n, r). The gradient goes back by one scatter."""

    def backward(inputs, outputs, delta):
        (n, r), (_, rows) = delta.shape, outputs
        places = ops.reshape(rows * r + ops.arange(r, dtype="int32"), (-1, 1))
        return (ops.reshape(ops.scatter(places, ops.reshape(delta, (-1,)), (n * r,)), (n, r)),)

    return backend.with_gradient(_network, backward, x)


@backend.compiled
def _sorted_rows(x):
    """Sort along the last axis, padded to a power of two: (r, n) -> (r, n)."""
    n = x.shape[-1]
    padding = 2 ** (n - 1).bit_length() - n
    # NaN sorts last: what is cut off below is either the padding or its equal
    columns = ops.pad(ops.transpose(x), ((0, padding), (0, 0)), constant_values=float("nan"))
    return ops.transpose(_sorted_columns(columns)[:n])


def sort_groups(groups):
    """Sort ascending along the last axis, the fastest way of this backend: (r, n) -> (r, n)."""
    n = groups.shape[-1]
    if n == 2:
        return _sorted_pairs(ops.convert_to_tensor(groups))
    if keras.backend.backend() != "jax" or n > LARGEST_NETWORK:
        return ops.sort(groups, axis=-1)
    return _sorted_rows(groups)

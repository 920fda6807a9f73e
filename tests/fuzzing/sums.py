"""Inputs whose partial sums are all rounded to the same side."""

import functools
import itertools

import numpy as np


@functools.cache
def one_sided(n, dtype, size=1.0, down=True, tie=True):
    """N values near `size` (float64, exact in `dtype`) with the largest errors of a running sum.

    Each is chosen so that all sums are rounded to the same side, and the error grows with n: they
    lie in the middle of two numbers, of which the even one is chosen; or for products, which have
    errors of their own, a little beside the middle.
    """
    kind = np.dtype(dtype).type
    values, total = np.full(n, size), float(kind(size))
    for i in range(1, n):
        unit = float(np.spacing(kind(total + size)))
        places = np.floor((total + size) / unit)
        part = 0.5
        if tie:
            places -= (places % 2 == 1) == down  # down to an even one, or up from an odd one
        else:
            beside = max(float(np.spacing(kind(size))) / unit, 1 / 64)
            part += -beside if down else beside
        values[i] = kind((places * unit - total) + part * unit)
        total = float(kind(kind(total) + kind(values[i])))
    values.flags.writeable = False
    return values


def orders(shape):
    """Index arrays: the order in which a program may sum the values of one sample."""
    places = np.arange(int(np.prod(shape))).reshape(shape)
    seen = set()
    for axes in itertools.islice(itertools.permutations(range(len(shape))), 6):
        order = places.transpose(axes).reshape(-1)
        if order.tobytes() not in seen:
            seen.add(order.tobytes())
            yield order


def adversarial(shape, dtype, rng, weights=None, count=8):
    """Samples (count, *shape), summed one after another or in lanes, each channel alone or all.

    Args:
        shape: of a sample.
        dtype: the program's format.
        rng: random numbers.
        weights: factors of the values in the sum, which the terms are divided by.
        count: number of samples.
    """
    n = int(np.prod(shape))
    lanes = [k for k in dict.fromkeys((1, shape[-1], 4, 8, 16, 32)) if n % k == 0 and k < n]
    choices = list(itertools.product(orders(shape), lanes or [1], (True, False), (True, False)))
    samples = np.empty((count, n))
    for row, k in zip(samples, rng.permutation(max(count, len(choices))), strict=False):
        order, width, down, tie = choices[k % len(choices)]
        size = float(rng.choice([1.0, 1.0, 1.0, 0.01, 3.0, 100.0]))
        terms = one_sided(n // width, dtype, size, down, tie) * rng.choice([1, 1, -1])
        row[order] = np.repeat(terms, width)
    if weights is not None:
        weights = weights.reshape(-1)
        scale = np.abs(weights).max()
        usable = np.abs(weights) > 1e-4 * scale
        samples = np.where(usable, samples / np.where(usable, weights / scale, 1.0), 0.0)
    return samples.reshape(count, *shape)

"""Batches of one size, because a step is compiled for each."""

import numpy as np

from lipkit.data.epochs import ByEpoch


class Order:
    """Some rows in a new order at each epoch, every stratum spread evenly over the batches.

    The last batch overlaps the one before, where the rows do not fill it. The order of an epoch
    depends on the seed and the number of the epoch alone.

    Args:
        rows: (n,) indices.
        batch_size: rows in a batch, at most n.
        seed: numbers >= 0, a sequence.
        strata: what is to be spread, such as classes, by index; None for one stratum.
    """

    def __init__(self, rows, batch_size, seed, strata=None):
        strata = np.zeros(len(rows)) if strata is None else strata[rows]
        self._members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
        self._rows, self._size, self._seed = rows, batch_size, seed
        self._epoch, self._order = None, rows

    def __len__(self):
        return -(-len(self._rows) // self._size)

    def batch(self, epoch, index):
        """The rows of a batch; those after the last one begin again."""
        if self._epoch != epoch:
            self._epoch, self._order = epoch, self._rows[self._drawn(epoch)]
        start = min(index % len(self) * self._size, len(self._rows) - self._size)
        return self._order[start : start + self._size]

    def _drawn(self, epoch):
        """Places of the rows: the members of a stratum at equal distances from a random start."""
        rng = np.random.default_rng((*self._seed, epoch))
        place = np.empty(len(self._rows))
        for rows in self._members:
            steps = np.arange(len(rows)) + rng.uniform()
            place[rng.permutation(rows)] = steps / len(rows)
        return np.argsort(place, kind="stable")


class Shuffled(ByEpoch):
    """All samples in a new order at each epoch, see `Order`.

    Args:
        arrays: x, y and perhaps weights, of n samples each.
        batch_size: samples in a batch, at most n.
        seed: of the orders, a number >= 0 or a sequence of them.
        strata: (n,) what is to be spread, such as classes; None for one stratum.
        parts: list of the rows of each part of the data, which are an axis of the batches behind
            the first: (batch, parts, ...); None for no such axis.
        most: batches of an epoch, if there are more; None for all.
    """

    def __init__(self, arrays, batch_size, seed, strata=None, parts=None, most=None):
        super().__init__()
        self._most = most
        self._arrays = tuple(array.astype("float32", copy=False) for array in arrays)
        self._squeeze = parts is None
        parts = [np.arange(len(arrays[0]))] if parts is None else parts
        self._orders = [
            Order(rows, batch_size, (*np.atleast_1d(seed).tolist(), part), strata)
            for part, rows in enumerate(parts)
        ]

    def __len__(self):
        count = max(map(len, self._orders))
        return count if self._most is None else min(count, self._most)

    def __getitem__(self, index):
        rows = np.stack([order.batch(self.epoch, index) for order in self._orders], axis=1)
        rows = rows[:, 0] if self._squeeze else rows
        return tuple(array[rows] for array in self._arrays)

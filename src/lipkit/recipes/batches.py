"""Batches of one size, because a step is compiled for each."""

import numpy as np

from lipkit.data.epochs import ByEpoch


class Shuffled(ByEpoch):
    """All samples in a new order at each epoch, every stratum spread evenly over the batches.

    The last batch overlaps the one before, where the samples do not fill it.

    Args:
        x, y: arrays of n samples.
        batch_size: samples in a batch, at most n.
        seed: seed of the orders.
        strata: (n,) what is to be spread, such as classes; None for one stratum.
    """

    def __init__(self, x, y, batch_size, seed, strata=None):
        super().__init__()
        self._x, self._y, self._size = x.astype("float32"), y.astype("float32"), batch_size
        strata = np.zeros(len(x)) if strata is None else strata
        self._members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
        self._seed = int(np.random.default_rng(seed).integers(2**32))
        self._order = (None, np.empty(0))  # of which epoch, and the rows

    def __len__(self):
        return -(-len(self._x) // self._size)

    def __getitem__(self, index):
        start = min(index * self._size, len(self._x) - self._size)
        rows = self._rows()[start : start + self._size]
        return self._x[rows], self._y[rows]

    def _rows(self):
        """The order: the members of a stratum at equal distances from a random start."""
        if self._order[0] != self.epoch:
            self._order = (self.epoch, self._drawn(self.epoch))
        return self._order[1]

    def _drawn(self, epoch):
        rng, place = np.random.default_rng((self._seed, epoch)), np.empty(len(self._x))
        for rows in self._members:
            steps = np.arange(len(rows)) + rng.uniform()
            place[rng.permutation(rows)] = steps / len(rows)
        return np.argsort(place, kind="stable")

"""Batches of one size, because a step is compiled for each."""

import keras
import numpy as np


class Shuffled(keras.utils.PyDataset):
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
        self._rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self._x) // self._size)

    def __getitem__(self, index):
        start = min(index * self._size, len(self._x) - self._size)
        rows = self._order[start : start + self._size]
        return self._x[rows], self._y[rows]

    def on_epoch_end(self):
        """Draw another order: the members of a stratum at equal distances from a random start."""
        place = np.empty(len(self._x))
        for rows in self._members:
            steps = np.arange(len(rows)) + self._rng.uniform()
            place[self._rng.permutation(rows)] = steps / len(rows)
        self._order = np.argsort(place, kind="stable")

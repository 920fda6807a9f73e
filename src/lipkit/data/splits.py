"""Parts of a data set."""

import numpy as np


def stratified(y, share, seed=0, most=None, names=None) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the rows to train on and of those held out, in random order.

    Every class gives the held-out rows its share of them, at least one and not all.

    Args:
        y: (n,) integer classes, each of at least 2 rows.
        share: share of the rows to hold out, in (0, 1).
        seed: seed of the draw.
        most: about the largest number of rows to hold out.
        names: names of the classes, for errors.

    Raises:
        ValueError: a class has one row.
    """
    rng = np.random.default_rng(seed)
    if most is not None:
        share = min(share, most / len(y))
    held = []
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        if len(rows) < 2:
            name = names[label] if names else label
            raise ValueError(f"Class {name!r} has one row; at least 2 are needed to hold one out.")
        held.append(rows[: min(max(round(share * len(rows)), 1), len(rows) - 1)])
    held = rng.permutation(np.concatenate(held))
    return rng.permutation(np.setdiff1d(np.arange(len(y)), held)), held


def random(n, share, seed=0, most=None) -> tuple[np.ndarray, np.ndarray]:
    """The same of n rows without classes: at least one is held out, and not all.

    Args:
        n: number of rows, at least 2.
        share, seed, most: as in `stratified`.
    """
    order = np.random.default_rng(seed).permutation(n)
    share = share if most is None else min(share, most / n)
    held = min(max(round(share * n), 1), n - 1)
    return order[held:], order[:held]

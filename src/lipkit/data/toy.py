"""The two toy problems of the published notebook, and batches with both classes in each."""

import numpy as np

from lipkit._checks import integer, real
from lipkit.data.epochs import ByEpoch


def _two_curves(first, second, noise, rng):
    """Stack the curves, add noise and label them +1 and -1, in random order."""
    x = np.concatenate([first, second])
    y = np.repeat([1.0, -1.0], [len(first), len(second)])
    x = x + rng.normal(scale=noise, size=x.shape)
    order = rng.permutation(len(x))
    return x[order].astype("float32"), y[order].astype("float32")


def _check(n_samples, noise):
    integer("n_samples", n_samples, 2)
    real("noise", noise, "[0, inf)")


def moons(n_samples=5000, noise=0.05, seed=None):
    """Two interleaved half circles.

    Args:
        n_samples: points in all, at least 2; the first class gets half, rounded down.
        noise: standard deviation of the Gaussian noise, >= 0.
        seed: anything that `numpy.random.default_rng` takes; None for another draw each time.

    Returns:
        x (n_samples, 2) and labels y (n_samples,), +1 and -1, both float32.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> x, y = lipkit.data.moons(100, seed=0)
        >>> x.shape, np.unique(y).tolist()
        ((100, 2), [-1.0, 1.0])
    """
    _check(n_samples, noise)
    upper, lower = (np.linspace(0, np.pi, n) for n in (n_samples // 2, -(-n_samples // 2)))
    return _two_curves(
        np.stack([np.cos(upper), np.sin(upper)], 1),
        np.stack([1 - np.cos(lower), 0.5 - np.sin(lower)], 1),
        noise,
        np.random.default_rng(seed),
    )


def circles(n_samples=5000, noise=0.05, factor=0.4, seed=None):
    """A circle of radius `factor` (label -1) inside one of radius 1 (label +1).

    Args:
        n_samples, noise, seed: as in `moons`.
        factor: radius of the inner circle, in (0, 1).

    Returns:
        x (n_samples, 2) and labels y (n_samples,), +1 and -1, both float32.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> x, y = lipkit.data.circles(100, noise=0, factor=0.5)
        >>> np.round(np.linalg.norm(x[y < 0], axis=1), 5).max()
        np.float32(0.5)
    """
    _check(n_samples, noise)
    real("factor", factor, "(0, 1)")
    outer, inner = (
        np.linspace(0, 2 * np.pi, n, endpoint=False) for n in (n_samples // 2, -(-n_samples // 2))
    )
    return _two_curves(
        np.stack([np.cos(outer), np.sin(outer)], 1),
        factor * np.stack([np.cos(inner), np.sin(inner)], 1),
        noise,
        np.random.default_rng(seed),
    )


class BalancedBatches(ByEpoch):
    """Batches drawn with replacement, half from each class, so that the KR term sees both.

    The draws depend on the seed and on `epoch` alone. `fit` of `lipkit.Model` and
    `lipkit.Sequential` sets it, so that a run which is resumed, by `initial_epoch` or
    `keras.callbacks.BackupAndRestore`, draws what it would have drawn. Keras does not tell data
    sets the number of the epoch, and shuffles: give `fit` of other models
    `callbacks=[batches.follow()], shuffle=False`.

    Args:
        x, y: arrays (n, ...) of samples and (n,) or (n, 1) of labels {0, 1} or {-1, 1}, positive
            if above 0.
        batch_size: even number of samples in a batch.
        steps: batches in an epoch; None for about n / batch_size.
        seed: seed of the draws, which differ in every epoch; None for another one each time.

    Attributes:
        epoch: number of the epoch that is drawn: from 1 in `fit`, where the last one was 0 or is
            counted on by `on_epoch_end`.

    Raises:
        ValueError: a class is missing or an argument is out of range.

    Example:
        >>> batches = lipkit.data.BalancedBatches(x, y, batch_size=64, seed=0)
        >>> points, labels = batches[0]
        >>> len(batches), points.shape, int((labels > 0).sum())
        (4, (64, 2), 32)
    """

    def __init__(self, x, y, batch_size=256, steps=None, seed=None):
        super().__init__()
        self._x, self._y = np.asarray(x), np.asarray(y)
        if len(self._x) != len(self._y) or self._y.ndim not in (1, 2) or self._y[:1].size > 1:
            raise ValueError(
                "`x` and `y` must have one row and one label per sample. Received: "
                f"x.shape={self._x.shape}, y.shape={self._y.shape}"
            )
        batch_size = integer("batch_size", batch_size, 2)
        if batch_size % 2:
            raise ValueError(f"`batch_size` must be even. Received: batch_size={batch_size!r}")
        if steps is not None:
            steps = integer("steps", steps)
        positive = self._y.reshape(len(self._y)) > 0
        self._classes = np.flatnonzero(positive), np.flatnonzero(~positive)
        if not all(map(len, self._classes)):
            raise ValueError(
                "Both classes are needed. Received: labels "
                f"{np.unique(self._y)[:5].tolist()} (positive if above 0)"
            )
        self._half = batch_size // 2
        self._steps = steps or -(-len(self._y) // batch_size)
        self._seed = int(np.random.default_rng(seed).integers(2**32))

    def __len__(self):
        return self._steps

    def __getitem__(self, index):
        # a generator of its own for each batch: TensorFlow draws ahead
        rng = np.random.default_rng((self._seed, self.epoch, index))
        rows = np.concatenate(
            [members[rng.integers(len(members), size=self._half)] for members in self._classes]
        )
        return self._x[rows], self._y[rows]

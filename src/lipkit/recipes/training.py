"""`train`: from arrays to a model whose first layer is the scaler."""

import math
from dataclasses import dataclass

import keras
import numpy as np

from lipkit._checks import integer, real
from lipkit.losses import HKR, MulticlassHKR
from lipkit.metrics import HKRBinaryAccuracy
from lipkit.models import Sequential
from lipkit.recipes import checks, networks, scaling

STEPS = 1500  # of training, where neither epochs nor batches are given


@dataclass(frozen=True)
class Trained:
    """What `train` returns.

    Attributes:
        model: lipkit model of raw inputs; its first layer is the scaler.
        history: a list of floats, one an epoch, for each metric.
        settings: all that was used, defaults resolved, ready for JSON.
    """

    model: keras.Model
    history: dict[str, list[float]]
    settings: dict


class Shuffled(keras.utils.PyDataset):
    """Batches of one size in a new order at each epoch, each class spread evenly over them.

    One size, because each shape is compiled; the last batch overlaps the one before.
    """

    def __init__(self, x, y, batch_size, seed, strata=None, **kwargs):
        super().__init__(**kwargs)
        self._x, self._y, self._size = x, y, batch_size
        self._strata = np.zeros(len(x), int) if strata is None else strata
        self._rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self._x) // self._size)

    def __getitem__(self, index):
        start = min(index * self._size, len(self._x) - self._size)
        rows = self._order[start : start + self._size]
        return self._x[rows], self._y[rows]

    def on_epoch_end(self):
        """Draw another order."""
        place = np.empty(len(self._x))
        for stratum in np.unique(self._strata):
            rows = np.flatnonzero(self._strata == stratum)
            place[self._rng.permutation(rows)] = (np.arange(len(rows)) + self._rng.uniform()) / len(
                rows
            )
        self._order = np.argsort(place, kind="stable")


def train(
    x,
    y,
    *,
    recipe="auto",
    eps=None,
    epochs=None,
    batch_size=None,
    learning_rate=None,
    seed=0,
    feature_weights=None,
    callbacks=None,
    verbose=0,
) -> Trained:
    """Train a classifier for raw data.

    Args:
        x: (n, ...) samples in units of the data.
        y: (n,) integer classes 0 ... k - 1, each of which occurs.
        recipe: a name in `RECIPES`.
        eps: radius to be certified, in units of the data; None for a guess from the data.
        epochs, batch_size, learning_rate: None for a choice by the size of the data.
        seed: of the initial values and the batches.
        feature_weights: w, (features,) positive: distances are |w (x' - x)|. None for 1.
        callbacks, verbose: as in Keras's `fit`.

    Returns:
        `Trained` with model, history and settings.

    Raises:
        ValueError: bad data or arguments.

    Example:
    >>> trained = lipkit.recipes.train(x, y, eps=0.1)
    >>> lipkit.certify(trained.model, x_test, y_test).certified_accuracy(0.1)
    """
    x, y, classes = checks.samples(x), *checks.classes(y, len(x))
    weights = checks.weights(feature_weights, x.shape[1:])
    eps = None if eps is None else real("eps", eps, "]0, inf[")
    recipe = networks.resolved(recipe, x.shape[1:])
    scaler = scaling.fit(x, weights, eps)
    margin = 0.3 if eps is None else eps * scaler.stretch
    rng = np.random.default_rng(seed)
    seeds = iter(rng.integers(2**31, size=16).tolist())
    outputs = 1 if classes == 2 else classes
    model = Sequential(
        [
            keras.Input(x.shape[1:]),
            scaler.layer(),
            *networks.hidden(recipe, seeds),
            networks.head(outputs, seeds),
        ]
    )
    batch_size = min(len(x), 128 if batch_size is None else integer("batch_size", batch_size))
    steps = -(-len(x) // batch_size)
    epochs = max(10, math.ceil(STEPS / steps)) if epochs is None else integer("epochs", epochs)
    rate = 0.01 if learning_rate is None else real("learning_rate", learning_rate, "]0, inf[")
    alpha = 10.0
    loss = (HKR if classes == 2 else MulticlassHKR)(alpha=alpha, min_margin=margin)
    accuracy = HKRBinaryAccuracy() if classes == 2 else "sparse_categorical_accuracy"
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, epochs * steps)),
        loss,
        metrics=[accuracy],
        run_eagerly=epochs * steps <= 20,
    )
    batches = Shuffled(x.astype("float32"), y.astype("float32"), batch_size, seed, strata=y)
    history = model.fit(batches, epochs=epochs, callbacks=callbacks, verbose=verbose).history
    settings = {
        "recipe": recipe,
        "classes": classes,
        "eps": margin / scaler.stretch,
        "margin": margin,
        "alpha": alpha,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": rate,
        "seed": seed,
        "feature_weights": None if weights is None else weights.tolist(),
        "input_shape": list(x.shape[1:]),
    }
    return Trained(model, {k: [float(v) for v in vs] for k, vs in history.items()}, settings)

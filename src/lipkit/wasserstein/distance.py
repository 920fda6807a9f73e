"""`wasserstein_distance`: train critics, and say what their values prove."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import ArrayLike

from lipkit._checks import integer, real, samples
from lipkit.losses import NegKR
from lipkit.optimizers import StiefelMuon
from lipkit.wasserstein import critics
from lipkit.wasserstein.result import WassersteinDistance
from lipkit.wasserstein.statements import combined, statements


def wasserstein_distance(
    x: ArrayLike,
    y: ArrayLike,
    *,
    critic: keras.Model | None = None,
    epochs: int = 10,
    steps: int = 100,
    batch_size: int = 256,
    learning_rate: float = 0.01,
    folds: int = 2,
    confidence: float = 0.95,
    seed: int = 0,
    verbose: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
) -> WassersteinDistance:
    """Wasserstein-1 distance, with Euclidean cost, of what two samples were drawn from.

    A network f is trained to maximise mean f(x) - mean f(y). By Kantorovich-Rubinstein duality

        W1(P, Q) = sup over f of (E_P f - E_Q f) / Lip(f),

    so every f gives a lower bound, once it is divided by a *proven* Lipschitz bound. Each fold of
    the samples is held out from the training of a critic of its own, which is therefore independent
    of it: the means on what was held out make the estimate and its confidence bounds. What is
    proven, and of what, is said at `WassersteinDistance`.

    Args:
        x, y: (n, ...) and (m, ...): samples of the two distributions, finite real numbers.
        critic: Keras model of inputs (...) and one output that `lipkit.lipschitz_bound` can read; a
            copy is trained from its weights on. It must not have seen these samples before. None:
            dense layers on the flattened inputs, standardised by one factor for all features,
            which keeps the geometry.
        epochs: number of training epochs of each critic, >= 0; with 0, the critic as it is.
        steps: number of steps in an epoch, >= 1.
        batch_size: samples in a batch, even; half from each of `x` and `y`.
        learning_rate: initial rate, > 0, of `lipkit.optimizers.StiefelMuon`; it falls to 0 as a
            cosine.
        folds: number of parts that the samples are split into, >= 2; as many critics are trained,
            each on all parts but one. More of them for small samples.
        confidence: confidence level of `lower_bound` and of `interval`, in (0, 1).
        seed: seed of the folds, the first weights and the batches, >= 0.
        verbose, callbacks: as in `keras.Model.fit`.

    Returns:
        A `WassersteinDistance`, a float with `lower_bound`, `interval`, `critic` and others.

    Raises:
        ValueError: bad arguments, or a training that diverged.
        NotCertifiable: a critic with a layer without a rule.

    Example:
    >>> distance = lipkit.wasserstein_distance(x, x + [3.0, 4.0], epochs=1, steps=20)
    >>> bool(distance.empirical_lower_bound <= 5)  # the distance of a shift is its length
    True

    Reference: Anil, Lucas and Grosse, "Sorting out Lipschitz function approximation", ICML 2019,
    arXiv:1811.05381, for the critic.
    """
    epochs, steps = integer("epochs", epochs, 0), integer("steps", steps)
    error = (1 - real("confidence", confidence, "(0, 1)")) / integer("folds", folds, 2)
    rate = real("learning_rate", learning_rate, "(0, inf)")
    x, y = _pair(x, y, flat=critic is None)
    rng = np.random.default_rng(integer("seed", seed, 0))
    x_parts, y_parts = _parts("x", x, folds, rng), _parts("y", y, folds, rng)
    found = []
    for held in range(folds):
        x_fold, y_fold = _apart(x_parts, held), _apart(y_parts, held)
        center, spread = critics.standard(np.concatenate([x_fold[0], y_fold[0]]))
        if critic is None:
            model = critics.network(center, spread, rng)
        else:
            model = critics.copy(critic, x.shape[1:])
        schedule = keras.optimizers.schedules.CosineDecay(rate, max(epochs * steps, 1))
        model.compile(StiefelMuon(schedule), NegKR())
        batches = critics.batches(x_fold[0], y_fold[0], batch_size, steps, rng)
        # not shuffled: the batches are drawn at random by themselves
        fitted = model.fit(
            batches, epochs=epochs, shuffle=False, verbose=verbose, callbacks=callbacks
        )
        found.append(statements(model, fitted.history, x_fold, y_fold, error))
    return combined(found, float(confidence))


def _pair(x, y, flat):
    """The samples in float64."""
    x, y = samples("x", x), samples("y", y)
    if x.shape[1:] != y.shape[1:] or not math.prod(x.shape[1:]):
        raise ValueError(
            "`x` and `y` must have the same features, at least one. Received: "
            f"x.shape={x.shape}, y.shape={y.shape}"
        )
    if flat:
        x, y = (a.reshape(len(a), math.prod(a.shape[1:])) for a in (x, y))
    return x.astype("float64"), y.astype("float64")


def _parts(name, values, folds, rng):
    """The samples in random order, in equal parts of at least 2."""
    if len(values) < 2 * folds:
        raise ValueError(
            f"`{name}` must have at least {2 * folds} samples, 2 for each of {folds} folds. "
            f"Received: {len(values)} samples"
        )
    return np.array_split(rng.permutation(values), folds)


def _apart(parts, held):
    """All other parts as one, and the one that is held out."""
    return np.concatenate(parts[:held] + parts[held + 1 :]), parts[held]

"""`train_further`: from a trained model and samples to one that is trained on these as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import keras
from keras import ops
from numpy.typing import ArrayLike

from lipkit._checks import integer
from lipkit._choices import PATIENCE
from lipkit.models import Sequential
from lipkit.recipes import checks, searched
from lipkit.recipes.stages import Stages
from lipkit.recipes.supervised import TASKS, Procedure
from lipkit.recipes.training import RATE, Plan, Trained

SLOWER = 0.1  # of the rate of a training from the start


def train_further(
    trained: Trained,
    x: ArrayLike,
    y: ArrayLike,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    validation_fraction: float | None = None,
    seed: int = 0,
    sample_weight: ArrayLike | None = None,
    class_weight: dict | Literal["balanced"] | None = None,
    early_stopping: bool = False,
    patience: int = PATIENCE,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    verbose: int = 0,
) -> Trained:
    """Go on with a training, on the same samples or on others.

    The scaler, the feature weights, the radius and the loss stay those that were found; nothing is
    searched for. The given model is left as it is.

    Args:
        trained: what `train` returned, or this function.
        x: (n, ...) samples of the same shape, n >= 1.
        y: (n,) classes from 0 to k - 1, not all of which need to occur; or targets.
        epochs: None for as many as at first.
        batch_size: None for a choice by the number of samples.
        learning_rate: of Adam at the start, from which it falls to 0; None for 0.001.
        validation_fraction, early_stopping, patience: as in `train`.
        seed, sample_weight, class_weight, callbacks, verbose: the same.

    Returns:
        A new `Trained`, whose history has the new epochs behind the others.

    Raises:
        ValueError: the data or the arguments do not fit; the message says which.

    Example:
        >>> labels = (y > 0).astype("int64")
        >>> trained = lipkit.recipes.train(x, labels, recipe="linear", epochs=2)
        >>> more = lipkit.recipes.train_further(trained, x[:50], labels[:50], epochs=1)
        >>> len(trained.history["loss"]), len(more.history["loss"])
        (2, 3)
    """
    settings = trained.settings
    if (task := settings["task"]) not in TASKS:
        raise ValueError(f"`trained` must be of a task of {TASKS}. Received: task={task!r}")
    x = checks.samples(x, settings["input_shape"])
    model = type(trained.model).from_config(trained.model.get_config())
    model.set_weights(trained.model.get_weights())
    layers, strata, count = model.layers, None, 0
    if task == "regression":
        *layers, units = layers
        y = (checks.targets(y, len(x)) - units.offset) / units.scale
        loss = searched.squares
    else:
        y, count = checks.classes(y, len(x), settings["classes"])
        strata, loss = y, _loss_of(settings)
    weights = checks.weights(len(x), sample_weight, class_weight, y, count)
    plan = Plan.of(
        len(x),
        settings["epochs"] if epochs is None else epochs,
        batch_size,
        SLOWER * RATE if learning_rate is None else learning_rate,
        integer("patience", patience) if early_stopping else None,
    )
    options = {"shuffle": False, "callbacks": callbacks, "verbose": verbose}
    fit = Procedure(plan, [plan], validation_fraction, options, Stages())
    core = Sequential([keras.Input(x.shape[1:]), *layers])
    found = fit.alone(core, x, y, weights, strata, integer("seed", seed, 0), _flat(loss))
    names = {**trained.history, **found}
    history = {n: [*trained.history.get(n, ()), *found.get(n, ())] for n in names}
    return replace(trained, model=model, history=history)


def _loss_of(settings):
    """The loss of classes and outputs with the constant 1, by row."""
    alpha, margin = settings["alpha"], settings["min_margin"]
    _, loss, _, _ = searched.loss_of_classes(settings["classes"], alpha, margin)
    constant = settings["constant"] if margin is None else 1 / margin
    return lambda y, f: loss(y, constant * f)


def _flat(loss):
    """The loss as Keras calls it: with (n,) or (n, 1) classes or targets, and (n, outputs)."""

    def of_batch(y, f):
        return loss(ops.reshape(y, (-1,)), ops.reshape(f, (-1,)) if f.shape[-1] == 1 else f)

    return of_batch

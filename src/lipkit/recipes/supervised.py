"""`train`: from samples and labels, or targets, to a model of raw inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import keras
import numpy as np
from numpy.typing import ArrayLike

from lipkit._checks import integer, real
from lipkit._choices import PATIENCE, TASKS
from lipkit.losses import HKR, LseHKR
from lipkit.metrics import HKRBinaryAccuracy
from lipkit.recipes import checks, search, searched
from lipkit.recipes.batches import Shuffled
from lipkit.recipes.stages import Stages
from lipkit.recipes.stopping import TOLERANCE
from lipkit.recipes.training import BUDGET, Plan, Setup, Trained

MARGIN = 2.0  # that the hinge asks for, in units of the radius, where none is given
ROUNDING = 1 - 1e-5  # of a constant asked for, which float32 kernels exceed by less


def train(
    x: ArrayLike,
    y: ArrayLike,
    *,
    recipe: str = "auto",
    eps: float | None = None,
    alpha: float | None = None,
    min_margin: float | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    budget: float = BUDGET,
    validation_fraction: float | None = None,
    seed: int = 0,
    feature_weights: ArrayLike | Literal["auto", "spread", "std", "none"] | None = "auto",
    sample_weight: ArrayLike | None = None,
    class_weight: dict | Literal["balanced"] | None = None,
    task: Literal["classification", "regression"] = "classification",
    lipschitz: float | None = None,
    classes: int | None = None,
    early_stopping: bool = False,
    patience: int = PATIENCE,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    verbose: int = 0,
    stages: Stages | None = None,
) -> Trained:
    """Train a Lipschitz network on raw data.

    Two classes get one logit, more get one each, 1-Lipschitz in the scaled inputs; targets get one
    output. Vectors are standardised feature by feature, other samples as a whole: with weights w of
    the features, s = w / max(w std, 5 eps) and w / std, where `eps` that is not given counts as 0.3
    times the median of w std.

    With the recipes `"mlp"` and `"linear"` a small search decides how large the logits are that the
    cross-entropy sees, or how large the constant of a regression is: candidates are trained side by
    side on parts of the samples and judged on the rest. If `eps` is not given, those count whose
    accuracy there is at most 0.01 below the best one's; the one is kept that certifies the largest
    radius to all but 0.03 of its accuracy, and `eps` is that radius. If it is given, the candidate
    is kept with the highest certified accuracy at `eps`. What was found is in `settings["trade"]`.

    With `"cnn"` the loss is HKR (`LseHKR` for several classes), and asks for twice the margin that
    certifies `eps`: min_margin = 2 eps max(s / w).

    Args:
        x: (n, ...) samples, finite numbers in any units.
        y: (n,) classes 0 ... k - 1, each of which occurs (but see `classes`); or targets, finite
            numbers.
        recipe: `"auto"`, `"mlp"`, `"cnn"` or `"linear"`, as described in `RECIPES`.
        eps: radius to be certified, between 1e-30 and 1e30, in units of the feature weights; None
            or `"auto"`, which mean the same, for that of the search.
        alpha: weight of the hinge, >= 0: trains with HKR instead of the cross-entropy.
        min_margin: margin that the hinge asks for, > 0, in scaled inputs: the same.
        epochs, batch_size, learning_rate: None for a choice by the size of the data. The rate is
            Adam's at the start, and falls to 0.
        budget: of the search, to which the number of its steps is proportional, > 0: about the
            seconds of CPU time that it takes with 1,000 samples.
        validation_fraction: share of the samples on which the search judges, in (0, 1). None for
            three parts that leave out a third each, from 2,000 samples on for 0.2, of at most
            20,000. Where there are at most 20,000 samples, one more part has all of them. What is
            kept is the mean of the networks of all parts, where that is such a network.
        seed: seed of the initial values and the batches, >= 0.
        feature_weights: w, so that distances are sqrt(sum (w_i dx_i)^2): positive numbers, one for
            each feature; `"spread"` for 1 / a robust standard deviation, the distance of its values
            for a feature that has two; `"std"` for 1 / std; `"none"` or None for 1; `"auto"` for
            `"spread"` of vectors and `"none"` of other samples.
        sample_weight: (n,) weights of the samples in the loss and in the judgement, >= 0.
        class_weight: the same for classes: a dictionary {class: weight}, or `"balanced"` for equal
            weights of all classes, with which accuracies of the search are balanced ones.
        task: `"classification"` or `"regression"`.
        lipschitz: for regression, the largest Lipschitz constant of the model, in units of the
            target per unit of distance; None for a search.
        classes: number of classes k, where not all of them occur in `y`.
        early_stopping: whether to end before `epochs` when the loss on rows left out is no better
            for `patience` epochs, and to take the weights of the best epoch. In a search that is
            the best of each candidate, and training goes on while one improves; other networks
            leave out the share `validation_fraction`, 0.2 if it is None.
        patience: number of epochs, >= 1.
        callbacks, verbose: as in Keras's `fit`, whose model trains all candidates.
        stages: `Stages`, by which the training can be interrupted and resumed.

    Returns:
        `Trained` with the model, history and settings. The history's loss is the mean of all
        candidates', for targets that of standardised ones.

    Raises:
        ValueError: the data or the arguments do not fit; the message says which.

    The constant is enforced up to float32 rounding; what is proven is in `Trained.certify`.

    Example:
        >>> labels = (y > 0).astype("int64")
        >>> trained = lipkit.recipes.train(x, labels, recipe="linear", eps=0.1, epochs=2)
        >>> 0 <= trained.certify(x, labels).certified_accuracy(0.1) <= 1
        True

    Reference: Serrurier et al., CVPR 2021, arXiv:2006.06520 (HKR); Béthune et al., "Pay attention
    to your loss", NeurIPS 2022, arXiv:2104.05097 (the temperature of the cross-entropy).
    """
    if task not in TASKS:
        raise ValueError(f"`task` must be one of {TASKS}. Received: task={task!r}")
    of_classes = {"alpha": alpha, "min_margin": min_margin, "class_weight": class_weight}
    _check_task(task, lipschitz, **of_classes, classes=classes)
    setup = Setup(x, recipe=recipe, eps=eps, seed=seed, feature_weights=feature_weights)
    budget = real("budget", budget, "(0, inf)")
    alpha = None if alpha is None else real("alpha", alpha, "[0, inf)")
    min_margin = None if min_margin is None else real("min_margin", min_margin, "(0, inf)")
    if validation_fraction is not None:
        validation_fraction = real("validation_fraction", validation_fraction, "(0, 1)")
    patience = integer("patience", patience)
    plan = Plan.of(
        len(setup.x), epochs, batch_size, learning_rate, patience if early_stopping else None
    )
    options = {"shuffle": False, "callbacks": callbacks, "verbose": verbose}
    plans = setup.plans(plan, epochs, budget)
    fit = Procedure(plan, plans, validation_fraction, options, stages or Stages())
    if task == "regression":
        return _targets(setup, y, sample_weight, lipschitz, fit)
    y, count = checks.classes(y, len(setup.x), classes)
    weights = checks.weights(len(y), sample_weight, class_weight, y, count)
    train_classes = _classes if setup.searches else _single
    trained = train_classes(setup, y, count, weights, alpha, min_margin, fit)
    about = {"task": task, "classes": count, "class_weight": class_weight}
    return replace(trained, settings={**trained.settings, **about})


def _check_task(task, lipschitz, **of_classes):
    """Refuse arguments that mean nothing for the task."""
    if task == "classification" and lipschitz is not None:
        raise ValueError(
            "`lipschitz` applies only to task='regression': scaling a classifier's logits does not "
            f"change its decisions. Received: lipschitz={lipschitz!r}"
        )
    for name, value in of_classes.items():
        if task == "regression" and value is not None:
            raise ValueError(
                f"`{name}` applies only to task='classification'. Received: {name}={value!r}"
            )


@dataclass(frozen=True)
class Procedure:
    """How to train: with a plan, or with those of a search."""

    plan: Plan
    plans: list[Plan]
    fraction: float | None
    options: dict
    stages: Stages

    def alone(self, model, x, y, weights, strata, seed, *compiled):
        """The history of one model, compiled with a loss and perhaps metrics."""
        arrays = (x, y) if weights is None else (x, y, weights)
        strata, options = np.zeros(len(y)) if strata is None else strata, self.options
        if self.plan.patience is not None:
            parts = search.Parts.of(strata, self.fraction or search.FRACTION, seed)
            rows, (_, held) = parts.rows()[0], parts.left_out()[0]
            options = {**options, **self._watched([array[held] for array in arrays])}
            arrays, strata = tuple(array[rows] for array in arrays), strata[rows]
        size = min(self.plan.batch_size, len(strata))
        batches = Shuffled(arrays, size, seed, strata=strata)
        self.plan.compile(model, len(batches), *compiled)
        return self.stages.fit(model, batches, epochs=self.plan.epochs, **options)

    def _watched(self, held):
        """Options of a fit that ends when the loss of samples held out is no better."""
        if not len(held[0]):
            raise ValueError(
                "early_stopping=True needs samples to leave out: 2 of a class at least."
            )
        options = {"patience": self.plan.patience, "min_delta": TOLERANCE}
        stop = keras.callbacks.EarlyStopping("val_loss", restore_best_weights=True, **options)
        return {
            "validation_data": tuple(array.astype("float32") for array in held),
            "validation_batch_size": self.plan.batch_size,
            "callbacks": [stop, *(self.options["callbacks"] or ())],
        }


def _single(setup, y, count, weights, alpha, min_margin, fit):
    """Train one classifier with HKR."""
    alpha = searched.hinge_weight(count) if alpha is None else alpha
    margin = MARGIN * setup.scaler.eps * setup.scaler.stretch if min_margin is None else min_margin
    if count == 2:
        loss, accuracy = HKR(alpha, margin), HKRBinaryAccuracy()
    else:
        loss = LseHKR(alpha, margin)
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    model = setup.model(*setup.core(1 if count == 2 else count))
    history = fit.alone(model, setup.x, y, weights, y, setup.seed, loss, [accuracy])
    chosen = {"loss": loss.name, "alpha": loss.alpha, "min_margin": margin}
    return Trained(model, history, setup.settings(fit.plan, **chosen))


def _classes(setup, y, count, weights, alpha, min_margin, fit):
    """Search for a classifier."""
    eps = setup.scaler.eps if setup.eps_source == "given" else None
    found = searched.classes(setup, y, count, weights, alpha, min_margin, eps, fit)
    return Trained(setup.model(*found.layers), found.history, found.settings)


def _targets(setup, y, sample_weight, lipschitz, fit):
    """Train on standardised targets."""
    y = checks.targets(y, len(setup.x))
    weights = checks.weights(len(y), sample_weight)
    mean, std = float(y.mean()), float(y.std()) if np.ptp(y) else 1.0
    checks.visible("targets", std, np.abs(y).max(), True)
    constant = lipschitz
    if lipschitz is not None:
        lipschitz = real("lipschitz", lipschitz, "(0, inf)")
        constant = lipschitz / (setup.scaler.stretch * std) * ROUNDING
    z = (y - mean) / std
    if setup.searches:
        found = searched.targets(setup, z, weights, constant, fit)
        layers, history, settings = found.layers, found.history, found.settings
    else:
        layers = setup.core(1, constant)
        model = setup.model(*layers)
        history = fit.alone(model, setup.x, z, weights, None, setup.seed, "mean_squared_error")
        settings = setup.settings(fit.plan, loss="mean_squared_error")
    model = setup.model(*layers, keras.layers.Rescaling(std, mean, name="units"))
    settings |= {"task": "regression", "lipschitz": lipschitz}
    return Trained(model, history, settings)

"""`train`: from samples and labels, or targets, to a model of raw inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
from numpy.typing import ArrayLike

from lipkit._checks import real
from lipkit.losses import HKR, LseHKR
from lipkit.metrics import HKRBinaryAccuracy
from lipkit.recipes import checks
from lipkit.recipes.batches import Shuffled
from lipkit.recipes.stages import Stages
from lipkit.recipes.training import Plan, Setup, Trained

TASKS = ("classification", "regression")
MARGIN = 2.0  # that the hinge asks for, in units of the radius
ALPHA_BINARY, ALPHA_SEVERAL = 100.0, 10.0  # weights of the hinge
ROUNDING = 1 - 1e-5  # of a constant asked for, which float32 kernels exceed by less


def train(
    x: ArrayLike,
    y: ArrayLike,
    *,
    recipe: str = "auto",
    eps: float | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    feature_weights: ArrayLike | Literal["std"] | None = None,
    task: Literal["classification", "regression"] = "classification",
    lipschitz: float | None = None,
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    verbose: int = 0,
    stages: Stages | None = None,
) -> Trained:
    """Train a Lipschitz network on raw data.

    Two classes get one logit (HKR loss), more get one each (`LseHKR`), 1-Lipschitz in the scaled
    inputs; targets get one output and a squared error. With features scaled by s and weighted by w,
    the hinge asks for twice the margin that certifies `eps`: min_margin = 2 eps max(s / w).

    Vectors are standardised feature by feature, other samples as a whole: s = w / max(w std, 5 eps)
    and w / std. So a feature counts less if it varies by less than 5 `eps`, in whose units all
    distances are. Where features have different units, give `feature_weights`.

    The hinge counts samples, not classes: repeat the samples of rare classes to weigh them more.

    Args:
        x: (n, ...) samples, finite numbers in any units.
        y: (n,) classes 0 ... k - 1, each of which occurs; or targets, finite numbers.
        recipe: `"auto"`, `"mlp"`, `"cnn"` or `"linear"`, as described in `RECIPES`.
        eps: radius to be certified, between 1e-30 and 1e30, in units of the data, or of
            |w (x' - x)|; None for 0.3 times the median of the features' standard deviations.
        epochs, batch_size, learning_rate: None for a choice by the size of the data. The rate is
            Adam's at the start, and falls to 0.
        seed: seed of the initial values and the batches, >= 0.
        feature_weights: w, so that distances are sqrt(sum (w_i dx_i)^2): positive numbers, one for
            each feature; or `"std"` for 1 / std, which counts standard deviations; None for 1.
        task: `"classification"` or `"regression"`.
        lipschitz: for regression, the largest Lipschitz constant of the model, in units of the
            target per unit of distance; None for a penalty on it.
        callbacks, verbose: as in Keras's `fit`.
        stages: `Stages`, by which the training can be interrupted and resumed.

    Returns:
        `Trained` with the model, history and settings. The history's loss is that of standardised
        targets.

    Raises:
        ValueError: the data or the arguments do not fit; the message says which.

    The constant is enforced up to float32 rounding; what is proven is in `Trained.certify`.

    Example:
        >>> labels = (y > 0).astype("int64")
        >>> trained = lipkit.recipes.train(x, labels, recipe="linear", eps=0.1, epochs=2)
        >>> 0 <= trained.certify(x, labels).certified_accuracy(0.1) <= 1
        True

    Reference: Serrurier et al., CVPR 2021, arXiv:2006.06520 (HKR).
    """
    if task not in TASKS:
        raise ValueError(f"`task` must be one of {TASKS}. Received: task={task!r}")
    if task == "classification" and lipschitz is not None:
        raise ValueError(
            "`lipschitz` applies only to task='regression': scaling a classifier's logits does not "
            f"change its decisions. Received: lipschitz={lipschitz!r}"
        )
    setup = Setup(x, recipe=recipe, eps=eps, seed=seed, feature_weights=feature_weights)
    plan = Plan.of(len(setup.x), epochs, batch_size, learning_rate)
    options = {"shuffle": False, "callbacks": callbacks, "verbose": verbose}
    fit = (stages or Stages()).fit
    if task == "classification":
        return _classes(setup, y, plan, fit, options)
    return _targets(setup, y, plan, lipschitz, fit, options)


def _classes(setup, y, plan, fit, options):
    y, count = checks.classes(y, len(setup.x))
    margin = MARGIN * setup.scaler.eps * setup.scaler.stretch
    if count == 2:
        loss, accuracy = HKR(ALPHA_BINARY, margin), HKRBinaryAccuracy()
    else:
        loss = LseHKR(ALPHA_SEVERAL, margin)
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    model = setup.model(*setup.core(1 if count == 2 else count))
    plan.compile(model, len(y), loss, [accuracy])
    batches = Shuffled(setup.x, y, plan.batch_size, setup.seed, strata=y)
    history = fit(model, batches, epochs=plan.epochs, **options)
    chosen = {"task": "classification", "classes": count, "loss": loss.name}
    chosen |= {"alpha": loss.alpha, "min_margin": margin}
    return Trained(model, history, setup.settings(plan, **chosen))


def _targets(setup, y, plan, lipschitz, fit, options):
    y = checks.targets(y, len(setup.x))
    mean, std = float(y.mean()), float(y.std()) if np.ptp(y) else 1.0
    checks.visible("targets", std, np.abs(y).max(), True)
    constant = lipschitz
    if lipschitz is not None:
        lipschitz = real("lipschitz", lipschitz, "(0, inf)")
        constant = lipschitz / (setup.scaler.stretch * std) * ROUNDING
    layers = setup.core(1, constant)
    model = setup.model(*layers)
    plan.compile(model, len(y), "mean_squared_error")
    batches = Shuffled(setup.x, (y - mean) / std, plan.batch_size, setup.seed)
    history = fit(model, batches, epochs=plan.epochs, **options)
    model = setup.model(*layers, keras.layers.Rescaling(std, mean, name="units"))
    chosen = {"task": "regression", "lipschitz": lipschitz, "loss": "mean_squared_error"}
    return Trained(model, history, setup.settings(plan, **chosen))

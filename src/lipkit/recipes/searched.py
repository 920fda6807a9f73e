"""The recipe of vectors: candidates trained side by side, and the one that is kept."""

import functools
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from lipkit.losses import functional
from lipkit.recipes import networks, search
from lipkit.recipes.batches import Shuffled
from lipkit.recipes.stack import Stack


def hinge_weight(count):
    """The default `alpha` of HKR for two classes, and of `LseHKR` for more."""
    return 100.0 if count == 2 else 10.0


def _binary(y, f):
    return keras.losses.binary_crossentropy(y[:, None], f[:, None], from_logits=True)


def _several(y, f):
    return keras.losses.sparse_categorical_crossentropy(y, f, from_logits=True)


def _squares(y, f):
    return ops.square(f - y)


def loss_of_classes(count, alpha=None, min_margin=None):
    """A loss (name, function of y and logits by row, alpha), and the constants of candidates.

    The cross-entropy, or HKR where its parameters are given. A network with a constant c whose
    hinge asks for the margin 1 is one with the constant 1 and the margin 1 / c.
    """
    if alpha is None and min_margin is None:
        return "crossentropy", (_binary if count == 2 else _several), None, search.LADDER
    alpha = hinge_weight(count) if alpha is None else alpha
    name, function = ("hkr", functional.hkr) if count == 2 else ("lse_hkr", functional.lse_hkr)
    ladder = search.LADDER if min_margin is None else (1 / min_margin,)
    return name, functools.partial(function, alpha=alpha, min_margin=1.0), alpha, ladder


@dataclass(frozen=True)
class Sides:
    """What is trained side by side.

    Args:
        setup: `Setup` of the samples.
        plan: `Plan` of the steps.
        y: (n,) classes or standardised targets.
        weights: (n,) of the samples, with mean 1; None for 1.
        strata: (n,) classes, to be spread over parts and batches.
    """

    setup: object
    plan: object
    y: np.ndarray
    weights: np.ndarray | None
    strata: np.ndarray

    def fit(self, outputs, ladder, loss, parts, fit, options):
        """The trained stack and its history."""
        setup, plan = self.setup, self.plan
        z = setup.scaler.scaled(setup.x)
        widths = networks.WIDTHS[setup.recipe]
        rows = parts.rows()
        stack = Stack(widths, outputs, ladder, len(rows), setup.seeds, loss)
        stack.build((None, len(rows), z.shape[1]))
        size = min(plan.batch_size, *map(len, rows))
        steps = max(-(-len(part) // size) for part in rows)
        plan.compile(stack, steps)
        arrays = (z, self.y) if self.weights is None else (z, self.y, self.weights)
        batches = Shuffled(arrays, size, setup.seed, strata=self.strata, parts=rows)
        options = {**options, "callbacks": [batches.follow(), *(options["callbacks"] or ())]}
        return stack, z, fit(stack, batches, epochs=plan.epochs, **options)

    def kept(self, stack, candidate, parts, constant=1.0):
        """The layers behind the scaler: the mean of the networks of all parts, if it is one."""
        widths = networks.WIDTHS[self.setup.recipe]
        numbers = range(len(parts.rows()))
        if not widths or stack.features > widths[0]:
            numbers = numbers[-1:]  # of the part with all rows, if there is one
        layers = self.setup.core(stack.outputs, constant, len(numbers))
        self.setup.model(*layers)  # which builds them
        dense = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
        for layer, (kernel, bias) in zip(dense, stack.mean(candidate, numbers), strict=True):
            layer.set_weights([kernel, bias * (constant if layer is dense[-1] else 1)])
        return layers

    def margins(self, stack, z, parts):
        """Radii of the rows left out (candidates, rows), and these rows; see `search.margins`."""
        found = [
            search.margins(stack.values(z[rows], part), self.y[rows], stack.head(part))
            for part, rows in parts.left_out()
        ]
        return np.concatenate(found, axis=1), np.concatenate([r for _, r in parts.left_out()])


def classes(setup, y, count, plan, weights, eps, alpha, min_margin, fraction, fit, options):
    """Train a classifier: the layers behind the scaler, the history and what was chosen."""
    name, loss, alpha, ladder = loss_of_classes(count, alpha, min_margin)
    fraction = 0 if len(ladder) == 1 and eps is not None else fraction
    parts = search.Parts.of(y, fraction, setup.seed)
    sides = Sides(setup, plan, y, weights, y)
    stack, z, history = sides.fit(1 if count == 2 else count, ladder, loss, parts, fit, options)
    stretch, chosen, trade = setup.scaler.stretch, 0, None
    if parts.count:
        margin, rows = sides.margins(stack, z, parts)
        w = np.ones(len(rows)) if weights is None else weights[rows]
        chosen, eps, trade = search.choose_classes(margin / stretch, w, ladder, eps)
    settings = {
        "loss": name,
        "constant": float(ladder[chosen]),
        "alpha": alpha,
        "min_margin": None if alpha is None else 1 / ladder[chosen],
        "trade": trade,
    }
    return sides.kept(stack, chosen, parts), history, eps, settings


def targets(setup, y, plan, weights, constant, fraction, fit, options):
    """Train on standardised targets: the layers, the history and what was chosen.

    `constant` is that of the network in units of scaled inputs; None for a search.
    """
    ladder = search.TARGETS_LADDER if constant is None else (constant,)
    strata = np.zeros(len(y), int)
    parts = search.Parts.of(strata, fraction if constant is None else 0, setup.seed)
    sides = Sides(setup, plan, y, weights, strata)
    stack, z, history = sides.fit(1, ladder, _squares, parts, fit, options)
    chosen, trade = 0, None
    if parts.count:
        error = [
            (stack.values(z[rows], part)[..., 0] * np.array(ladder)[:, None] - y[rows]) ** 2
            for part, rows in parts.left_out()
        ]
        chosen, trade = search.choose_targets(
            np.concatenate(error, axis=1).mean(axis=1), y.var(), ladder
        )
    settings = {"loss": "mean_squared_error", "constant": float(ladder[chosen]), "trade": trade}
    return sides.kept(stack, chosen, parts, ladder[chosen]), history, settings

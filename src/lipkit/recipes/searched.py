"""The recipe of vectors: candidates trained side by side, and the one that is kept."""

import functools
import itertools
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from lipkit.losses import functional
from lipkit.recipes import networks, search
from lipkit.recipes.batches import Shuffled
from lipkit.recipes.stack import ROWS, Stack
from lipkit.recipes.stopping import BestOfEach


def hinge_weight(count):
    """The default `alpha` of HKR for two classes, and of `LseHKR` for more."""
    return 100.0 if count == 2 else 10.0


def _binary(y, f):
    return keras.losses.binary_crossentropy(y[:, None], f[:, None], from_logits=True)


def _several(y, f):
    return keras.losses.sparse_categorical_crossentropy(y, f, from_logits=True)


def squares(y, f):
    """The loss of a regression, by row."""
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


class Search:
    """Candidates of all recipes, plans and constants, trained side by side on parts of the rows.

    Args:
        setup: `Setup` of the samples.
        y: (n,) classes or standardised targets.
        weights: (n,) of the samples, with mean 1; None for 1.
        strata: (n,) classes, to be spread over parts and batches.
        ladder: constants of the candidates.
        settled: whether nothing is to be found if there is one candidate.
        fit: as in `supervised.Procedure`.
    """

    def __init__(self, setup, y, weights, strata, ladder, settled, fit):
        self.setup, self.y, self.weights = setup, y, weights
        self.strata, self.ladder, self._fit = strata, ladder, fit
        plans = [(recipe, plan) for recipe in setup.recipes for plan in fit.plans]
        self._plans = [(r, p) for r, p in plans if r != "linear" or p is fit.plans[-1]]
        alone = len(self._plans) == len(ladder) == 1 and settled and fit.plan.patience is None
        self.parts = search.Parts.of(strata, 0 if alone else fit.fraction, setup.seed)
        self.left_out = self.parts.left_out()
        starts = range(0, len(y), ROWS)
        parts = [self.scaled(slice(i, i + ROWS)).astype("float32") for i in starts]
        self.z = np.concatenate(parts)

    def scaled(self, rows):
        """Samples (rows, features) in float64, of which `z` has roundings to train on."""
        return self.setup.scaler.scaled(self.setup.x[rows])

    def train(self, outputs, loss):
        """Train all; the stacks, one for each recipe and plan."""
        rows = self.parts.rows()
        arrays = (self.z, self.y) if self.weights is None else (self.z, self.y, self.weights)
        self.stacks, self._histories = [], []
        for number, (recipe, plan) in enumerate(self._plans, 1):
            seeds = iter(self.setup.seeds_from_start())
            stack = Stack(networks.WIDTHS[recipe], outputs, self.ladder, len(rows), seeds, loss)
            stack.build((None, len(rows), self.z.shape[1]))
            if len(self._plans) > 1:
                stack.title = f"search {number} of {len(self._plans)}, {recipe}"
            size = min(plan.batch_size, *map(len, rows))
            options = {"strata": self.strata, "parts": rows, "most": plan.steps_per_epoch}
            batches = Shuffled(arrays, size, self.setup.seed, **options)
            plan.compile(stack, len(batches))
            callbacks = [batches.follow(), *(self._fit.options["callbacks"] or ())]
            if plan.patience is not None:
                judged = functools.partial(self._losses, stack)
                callbacks = [BestOfEach(plan.patience, judged), *callbacks]
            options = {**self._fit.options, "callbacks": callbacks, "epochs": plan.epochs}
            self._histories.append(self._fit.stages.fit(stack, batches, **options))
            self.stacks.append(stack)
            if self._fit.stages.interrupted:
                break
        self._plans = self._plans[: len(self.stacks)]
        return self.stacks

    def _losses(self, stack):
        """The mean loss of each candidate on rows left out: (candidates,)."""

        def of_part(part, rows):
            return stack.loss_of_rows(self.scaled(rows), self.y[rows], part)

        weights = self.weights
        of_rows = None if weights is None else self.on_left_out(lambda _, rows: weights[rows])
        return np.average(self.on_left_out(of_part), axis=-1, weights=of_rows)

    def on_left_out(self, values):
        """values(part, rows) of the rows that parts leave out, side by side: (..., n)."""
        return np.concatenate([values(*out) for out in self.left_out], axis=-1)

    def found(self, place, trade, scaled=False, **settings):
        """What is kept of a place (stack, candidate), the mean of the networks of all parts.

        `scaled`: whether the model has the constant of the candidate; otherwise it has 1.
        """
        (recipe, plan), stack = self._plans[place[0]], self.stacks[place[0]]
        self.setup.recipe, constant = recipe, float(self.ladder[place[1]])
        names = [(r, p.epochs, c) for (r, p), c in itertools.product(self._plans, self.ladder)]
        settings |= {"constant": constant, "trade": None}
        if trade is not None:
            settings["trade"] = [
                {**entry, "recipe": r, "epochs": epochs, "constant": float(c)}
                for entry, (r, epochs, c) in zip(trade, names, strict=True)
            ]
        layers = self._mean(stack, place[1], constant if scaled else 1.0)
        return Found(layers, self._histories[place[0]], self.setup.settings(plan, **settings))

    def _mean(self, stack, candidate, constant):
        """The layers behind the scaler."""
        widths = networks.WIDTHS[self.setup.recipe]
        numbers = range(stack.parts)
        if not widths or self.z.shape[1] > widths[0]:
            numbers = numbers[-1:]  # only of the part with all rows: the mean is no such network
        layers = self.setup.core(stack.outputs, constant, len(numbers))
        self.setup.model(*layers)  # which builds them
        dense = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
        for layer, (kernel, bias) in zip(dense, stack.mean(candidate, numbers), strict=True):
            layer.set_weights([kernel, bias * (constant if layer is dense[-1] else 1)])
        return layers


@dataclass(frozen=True)
class Found:
    """What a search found: the layers behind the scaler, their history and the settings."""

    layers: list
    history: dict
    settings: dict


def classes(setup, y, count, weights, alpha, min_margin, eps, fit) -> Found:
    """Search for a classifier whose radius is `eps`, or for that as well."""
    name, loss, alpha, ladder = loss_of_classes(count, alpha, min_margin)
    search_ = Search(setup, y, weights, y, ladder, eps is not None, fit)
    source = "searched" if eps is None else "given"
    stacks, place, trade = search_.train(1 if count == 2 else count, loss), (0, 0), None
    if search_.left_out:

        def radii(stack):
            def of_part(part, rows):
                values = stack.values(search_.scaled(rows), part)
                return search.margins(values, y[rows], stack.head(part))

            return search_.on_left_out(of_part) / setup.scaler.stretch

        ones = np.ones(len(y)) if weights is None else weights
        of_rows = search_.on_left_out(lambda _, rows: ones[rows])
        place, eps, trade = search.choose_classes(np.stack([*map(radii, stacks)]), of_rows, eps)
    chosen = {"eps": eps, "eps_source": source, "loss": name, "alpha": alpha}
    chosen["min_margin"] = None if alpha is None else 1 / ladder[place[1]]
    return search_.found(place, trade, **chosen)


def targets(setup, y, weights, constant, fit) -> Found:
    """Search for a regression on standardised targets.

    `constant` is that of the network in units of scaled inputs; None for a search.
    """
    ladder = search.TARGETS_LADDER if constant is None else (constant,)
    search_ = Search(setup, y, weights, np.zeros(len(y)), ladder, True, fit)
    stacks, place, trade = search_.train(1, squares), (0, 0), None
    if search_.left_out:
        scales = np.array(ladder)[:, None]

        def score(stack):
            def of_part(part, rows):
                return stack.values(search_.scaled(rows), part)[..., 0] * scales - y[rows]

            errors = search_.on_left_out(of_part)
            return 1 - np.square(errors).mean(axis=-1) / y.var()

        place, trade = search.choose_targets(np.stack([*map(score, stacks)]))
    return search_.found(place, trade, scaled=True, loss="mean_squared_error")

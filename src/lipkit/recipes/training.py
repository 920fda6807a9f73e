"""What all recipes share: the model around its scaler, the plan of the steps, and the result."""

import math
from dataclasses import dataclass, replace

import keras
import numpy as np

from lipkit._checks import integer, real
from lipkit.certifier import certify, reweighted
from lipkit.models import Sequential
from lipkit.recipes import checks, networks, scaling

RATE = 0.01  # of Adam, where none is given
STEPS, EPOCHS = 1000, 10  # at least, where no number of epochs is given, of a single network
BUDGET = 30.0  # seconds of CPU time that the steps of a search are meant to take, at 1,000 rows
FEWEST, MOST = 800, 2000  # steps of a search with that budget: one for each row, within these
SHORT = 1 / 6  # of these steps, for candidates that follow the data less closely


@dataclass(frozen=True)
class Trained:
    """What training returns.

    Attributes:
        model: lipkit model of raw inputs; its first layer is the scaler.
        history: {name: a float for each epoch} of the loss and each metric.
        settings: all that was used, defaults resolved, ready for JSON.

    Example:
        >>> labels = (y > 0).astype("int64")
        >>> trained = lipkit.recipes.train(x, labels, recipe="linear", epochs=1)
        >>> trained.settings["recipe"], len(trained.history["loss"])
        ('linear', 1)
    """

    model: keras.Model
    history: dict[str, list[float]]
    settings: dict

    def certify(self, x, y=None, *, task=None, batch_size=256, progress=None):
        """Certify decisions, with radii in units of the feature weights that were trained for.

        Args:
            x: (n, ...) inputs.
            y: (n,) true labels, for certified accuracies.
            task, batch_size, progress: as in `lipkit.certify`, whose proofs these are, in real
                arithmetic.

        Returns:
            `lipkit.certifier.Certificates`.
        """
        options = {"task": task, "batch_size": batch_size, "progress": progress}
        certificates = certify(self.model, x, y, **options)
        return reweighted(certificates, self.model, self.settings["feature_weights"])


class Setup:
    """Checked data, the scaler for it, and the layers to be trained.

    Args:
        x, recipe, eps, seed, feature_weights: as in `train`.
    """

    def __init__(self, x, *, recipe, eps, seed, feature_weights):
        self.x = checks.samples(x)
        self.shape = self.x.shape[1:]
        self.recipes = networks.resolved(recipe, self.shape)
        self.recipe = self.recipes[-1]  # until a search has chosen
        eps = None if isinstance(eps, str) and eps == "auto" else eps
        self.eps_source = "spread" if eps is None else "given"
        eps = None if eps is None else real("eps", eps, "[1e-30, 1e30]")
        self.scaler = scaling.fit(self.x, feature_weights, eps)
        self.scaler.layer()  # which may be refused: before the training
        self.seed = integer("seed", seed, 0)
        self.seeds = iter(self.seeds_from_start())

    def seeds_from_start(self):
        """The seeds of the layers of a network."""
        return np.random.default_rng(self.seed).integers(2**31, size=16).tolist()

    @property
    def searches(self):
        """Whether the network is one that a search finds."""
        return self.recipe in networks.WIDTHS

    def plans(self, plan, epochs, budget):
        """The plans of a search: a short one and a long one, where no epochs are given."""
        if epochs is not None:
            return [plan]
        n = len(self.x)
        steps = min(max(n, FEWEST), MOST) * budget / BUDGET
        whole, short = -(-n // plan.batch_size), math.ceil(SHORT * steps)
        if short < whole:
            plan, whole = replace(plan, steps_per_epoch=short), short
        counts = {max(round(part * steps / whole), 1) for part in (SHORT, 1)}
        return [replace(plan, epochs=count) for count in sorted(counts)]

    def core(self, outputs, constant=1.0, times=1):
        """The layers behind the scaler; see `networks`."""
        layers = networks.hidden(self.recipe, self.seeds, times)
        return [*layers, networks.head(outputs, self.seeds, constant)]

    def model(self, *layers):
        """A model of raw inputs: the scaler, then these layers."""
        return Sequential([keras.Input(self.shape), self.scaler.layer(), *layers])

    def settings(self, plan, **more):
        """What was used, for `Trained.settings`."""
        weights = self.scaler.weights
        return {
            "recipe": self.recipe,
            "eps": self.scaler.eps,
            "eps_source": self.eps_source,
            "feature_weights": None if weights is None else weights.tolist(),
            "feature_weights_source": self.scaler.source,
            "input_shape": list(self.shape),
            "seed": self.seed,
            **vars(plan),
            **more,
        }


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    Attributes:
        epochs, batch_size, learning_rate: as in `train`.
        patience: epochs without an improvement after which training ends; None for no such end.
        steps_per_epoch: batches of an epoch; None for all rows in each.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int | None = None
    steps_per_epoch: int | None = None

    @classmethod
    def of(cls, n, epochs, batch_size, learning_rate, patience=None):
        """Check the values given for n samples, and choose those that are None."""
        default = min(max(128, n // 200), 1024)
        size = min(n, default if batch_size is None else integer("batch_size", batch_size))
        enough = max(EPOCHS, -(-STEPS // -(-n // size)))
        return cls(
            enough if epochs is None else integer("epochs", epochs),
            size,
            RATE if learning_rate is None else real("learning_rate", learning_rate, "(0, inf)"),
            None if patience is None else integer("patience", patience),
        )

    def compile(self, model, steps, loss=None, metrics=()):
        """Adam whose rate falls to 0 along a half cosine, over all epochs of so many steps."""
        rate = keras.optimizers.schedules.CosineDecay(self.learning_rate, self.epochs * steps)
        model.compile(keras.optimizers.Adam(rate), loss, metrics=list(metrics))


def as_floats(history):
    """The history of a fit, ready for JSON."""
    return {name: [float(value) for value in values] for name, values in history.items()}

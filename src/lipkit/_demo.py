"""The published toy experiment: an HKR classifier of two moons or circles in the plane."""

from dataclasses import dataclass

import keras

from lipkit import data
from lipkit.layers import FrobeniusDense, FullSort, SpectralDense
from lipkit.losses import HKR, KR, HingeMargin
from lipkit.metrics import HKRBinaryAccuracy
from lipkit.models import Sequential
from lipkit.optimizers import StiefelMuon

DATA_SETS = {"moons": data.moons, "circles": data.circles}
OPTIMIZERS = {"adam": keras.optimizers.Adam, "stiefel_muon": StiefelMuon}


@dataclass(frozen=True)
class Settings:
    """The published notebook's settings."""

    data_set: str = "moons"
    samples: int = 5000
    noise: float = 0.05
    epochs: int = 10
    steps: int = 158
    batch_size: int = 256
    alpha: float = 10.0
    min_margin: float = 0.29
    learning_rate: float = 0.01
    cosine: bool = False
    optimizer: str = "adam"
    seed: int = 0
    parametrization: str = "polar"


def network(parametrization="polar"):
    """2-256-128-64-1 with FullSort: 41,985 parameters."""
    hidden = [
        layer
        for units in (256, 128, 64)
        for layer in (SpectralDense(units, parametrization=parametrization), FullSort())
    ]
    return Sequential([keras.Input((2,)), *hidden, FrobeniusDense(1)], name="hkr_classifier")


def train(settings: Settings, callbacks=None, verbose=0):
    """Train a network as the settings say.

    Returns:
        The model, its data (x, y) and the history: a dict of lists, one value an epoch, each the
        running average over the epoch's batches.
    """
    s = settings
    keras.utils.set_random_seed(s.seed)
    x, y = DATA_SETS[s.data_set](s.samples, noise=s.noise, seed=s.seed)
    model = network(s.parametrization)
    rate = s.learning_rate
    if s.cosine:
        rate = keras.optimizers.schedules.CosineDecay(rate, s.epochs * s.steps)
    model.compile(
        optimizer=OPTIMIZERS[s.optimizer](rate),
        loss=HKR(alpha=s.alpha, min_margin=s.min_margin),
        metrics=[KR(), HingeMargin(s.min_margin), HKRBinaryAccuracy()],
    )
    batches = data.BalancedBatches(x, y, s.batch_size, steps=s.steps, seed=s.seed)
    history = model.fit(batches, epochs=s.epochs, callbacks=callbacks, verbose=verbose)
    return model, (x, y), {k: [float(v) for v in vs] for k, vs in history.history.items()}

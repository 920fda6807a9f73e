"""The published toy experiment: an HKR classifier of two moons or circles in the plane."""

import keras

from lipkit import data
from lipkit._choices import TOYS
from lipkit._choices import DemoSettings as Settings
from lipkit.layers import FrobeniusDense, FullSort, SpectralDense
from lipkit.losses import HKR, KR, HingeMargin
from lipkit.metrics import HKRBinaryAccuracy
from lipkit.models import Sequential
from lipkit.optimizers import StiefelMuon

DATA_SETS = {name: getattr(data, name) for name in TOYS}
OPTIMIZERS = {"adam": keras.optimizers.Adam, "stiefel_muon": StiefelMuon}


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

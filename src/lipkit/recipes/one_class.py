"""`train_one_class`: a signed distance to where the data lie, from samples of one class."""

import keras
import numpy as np
from keras import ops

from lipkit._backend import value_and_input_gradient
from lipkit.losses import HKR
from lipkit.models import Sequential
from lipkit.recipes.batches import Shuffled
from lipkit.recipes.training import Plan, Setup, Trained, as_floats

ALPHA = 100.0
MARGIN = 1.0  # that the hinge asks for, in units of the radius
BATCHES = 10  # for which negatives are mined at a time; an epoch has that many or a multiple
STEPS = 4  # of the search for negatives
WIDER = 2  # than a network of a search
BOX = 1.0  # of the range of the data, added on each side


def _output(core, z):
    return ops.reshape(core(z, training=False), (-1,))


def mined(gradient, low, high, level, n, rng):
    """Negatives: random points of a box, moved up to the level set f = -level where f is below.

    z <- z - t min(f(z) + level, 0) g / |g|^2 is a step of Newton's along the gradient g. Each point
    goes a share of its way that is uniform in [0, 1]: negatives lie everywhere outside. Points
    where f is above stay: they find the holes in the data, and where there are data, these are
    denser.

    Args:
        gradient: maps points (n, ...) to f (n,) and its gradient, as NumPy arrays.
        low, high: corners of the box.
        level: distance from f = 0 that is aimed at.
        n: number of points.
        rng: NumPy's generator.

    Returns:
        (n, ...) float32.
    """
    z = rng.uniform(low, high, (n, *low.shape)).astype("float32")
    axes = (n, *(1,) * low.ndim)
    share = 1 - (1 - rng.uniform(size=axes)) ** (1 / STEPS)
    for _ in range(STEPS):
        value, g = gradient(z)
        squares = np.sum(np.square(g), axis=tuple(range(1, z.ndim)), keepdims=True)
        step = share * np.minimum(value.reshape(axes) + level, 0) * g / np.maximum(squares, 1e-6)
        z = np.clip(z - step, low, high).astype("float32")
    return z


def train_one_class(
    x,
    *,
    recipe="auto",
    eps=None,
    epochs=None,
    batch_size=None,
    learning_rate=None,
    seed=0,
    feature_weights="auto",
    callbacks=None,
    verbose=0,
) -> Trained:
    """Train a 1-Lipschitz f that is positive where the data lie and negative elsewhere.

    HKR loss between the data and negatives that are mined in a box around them, in scaled inputs,
    with min_margin = eps max(s / w): see `lipkit.recipes.train`. Near the data f estimates the
    signed distance to the boundary of their support; what is proven is that f changes by no more
    than its constant times the distance.

    Args:
        x: (n, ...) samples of the one class, finite numbers.
        eps: half the width of the zone between data and negatives, in units of the data, between
            1e-30 and 1e30; None or `"auto"` for 0.3 times the median of w std.
        recipe, epochs, batch_size, learning_rate, seed, feature_weights: as in
            `lipkit.recipes.train`.
        callbacks, verbose: as in Keras's `fit`, which runs once for each epoch.

    Returns:
        `Trained` with one output: f(x) > 0 for the class.

    Raises:
        ValueError: the samples or the arguments do not fit; the message says which.

    Example:
        >>> trained = lipkit.recipes.train_one_class(x, recipe="linear", epochs=1)
        >>> trained.model.output_shape, trained.settings["task"]
        ((None, 1), 'one-class')

    Reference: Béthune et al., "Robust one-class classification with signed distance function using
    1-Lipschitz neural networks", ICML 2023, arXiv:2303.01978.
    """
    setup = Setup(x, recipe=recipe, eps=eps, seed=seed, feature_weights=feature_weights)
    scaler, rng = setup.scaler, np.random.default_rng(setup.seed)
    plan = Plan.of(max(len(setup.x), BATCHES * 128), epochs, batch_size, learning_rate)
    chunk = BATCHES * plan.batch_size
    chunks = -(-len(setup.x) // chunk)
    n = chunks * chunk
    margin = MARGIN * scaler.eps * scaler.stretch
    layers = setup.core(1, times=WIDER)
    core = Sequential([keras.Input(setup.shape), *layers])
    loss = HKR(ALPHA, margin)
    plan.compile(core, -(-n // plan.batch_size), loss)
    gradient = value_and_input_gradient(lambda z: _output(core, z), core.variables)
    z = scaler.scale * (setup.x - scaler.mean)
    room = BOX * np.ptp(z, axis=0)
    low, high = z.min(axis=0) - room, z.max(axis=0) + room
    labels = np.repeat([1.0, -1.0], n)
    history = {}
    for epoch in range(plan.epochs):
        positives = z[np.resize(rng.permutation(len(z)), n)]
        negatives = [mined(gradient, low, high, margin, chunk, rng) for _ in range(chunks)]
        both = np.concatenate([positives, *negatives])
        batches = Shuffled((both, labels), 2 * plan.batch_size, [setup.seed, epoch], strata=labels)
        fitted = core.fit(
            batches,
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            callbacks=callbacks,
            verbose=verbose,
        )
        for name, values in fitted.history.items():
            history.setdefault(name, []).extend(values)
    chosen = {"task": "one-class", "loss": loss.name, "alpha": loss.alpha, "min_margin": margin}
    return Trained(setup.model(*layers), as_floats(history), setup.settings(plan, **chosen))

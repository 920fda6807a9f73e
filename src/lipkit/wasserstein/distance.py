"""`wasserstein_distance`: train a critic, and say what its values prove."""

import math

import keras
import numpy as np

from lipkit._checks import integer, real, samples
from lipkit.attacks.ratio import proven_values
from lipkit.certify import lipschitz_bound
from lipkit.certify.reader import read
from lipkit.data import BalancedBatches
from lipkit.export import vanilla_model
from lipkit.layers import FrobeniusDense, GroupSort2, SpectralDense
from lipkit.losses import NegKR
from lipkit.models import Sequential
from lipkit.optimizers import StiefelMuon
from lipkit.wasserstein.betting import lower_mean
from lipkit.wasserstein.result import WassersteinDistance

WIDTHS = (128, 128, 128)
ROUNDING = 2.0**-48  # of sums and quotients of critic values, relative to the largest


def wasserstein_distance(
    x,
    y,
    *,
    critic=None,
    epochs=10,
    steps=100,
    batch_size=256,
    learning_rate=0.01,
    validation=0.3,
    confidence=0.95,
    seed=0,
    verbose=0,
    callbacks=None,
) -> WassersteinDistance:
    """Wasserstein-1 distance, with Euclidean cost, of what two samples were drawn from.

    A network f is trained to maximise mean f(x) - mean f(y). By Kantorovich-Rubinstein duality

        W1(P, Q) = sup over f of (E_P f - E_Q f) / Lip(f),

    so every f gives a lower bound, once it is divided by a *proven* Lipschitz bound. Parts of the
    samples are held out: the critic is independent of them, and their means make the estimate and
    its confidence bounds. What is proven, and of what, is said at `WassersteinDistance`.

    Args:
        x, y: (n, ...) and (m, ...): samples of the two distributions, finite real numbers.
        critic: Keras model of inputs (...) and one output that `lipkit.lipschitz_bound` can read; a
            copy is trained from its weights on. It must not have seen these samples before. None:
            dense layers on the flattened inputs, standardised by one factor for all features,
            which keeps the geometry.
        epochs, steps: the training: epochs of so many steps. 0 epochs: the critic as it is.
        batch_size: even; half of each sample.
        learning_rate: at the start, of `lipkit.optimizers.StiefelMuon`; it falls to 0 as a cosine.
        validation: share of each sample that is held out, in ]0, 1[.
        confidence: of `lower_bound` and of `interval`, in ]0, 1[.
        seed: of the split, the first weights and the batches.
        verbose, callbacks: as in `keras.Model.fit`.

    Returns:
        A `WassersteinDistance`, a float with `lower_bound`, `interval`, `critic` and others.

    Raises:
        ValueError: bad arguments, or a training that diverged.
        NotCertifiable: a critic with a layer without a rule.

    Example:
    >>> distance = lipkit.wasserstein_distance(x, y)
    >>> float(distance), distance.lower_bound

    Reference: Anil, Lucas and Grosse, "Sorting out Lipschitz function approximation", ICML 2019,
    arXiv:1811.05381, for the critic.
    """
    epochs, steps = integer("epochs", epochs, 0), integer("steps", steps)
    error = 1 - real("confidence", confidence, "]0, 1[")
    rate = real("learning_rate", learning_rate, "]0, inf[")
    x, y = _pair(x, y, flat=critic is None)
    rng = np.random.default_rng(integer("seed", seed, 0))
    x, y = rng.permutation(x), rng.permutation(y)
    share = real("validation", validation, "]0, 1[")
    (x_train, x_held), (y_train, y_held) = _split("x", x, share), _split("y", y, share)
    train = np.concatenate([x_train, y_train])
    labels = np.repeat([1.0, -1.0], [len(x_train), len(y_train)])
    center, spread = _standard(train)
    model = _network(center, spread, rng) if critic is None else _copy(critic, x.shape[1:])
    schedule = keras.optimizers.schedules.CosineDecay(rate, max(epochs * steps, 1))
    model.compile(StiefelMuon(schedule), NegKR())
    batches = BalancedBatches(train.astype("float32"), labels, batch_size, steps, seed)
    # the batches are drawn at random by themselves
    fitted = model.fit(batches, epochs=epochs, shuffle=False, verbose=verbose, callbacks=callbacks)
    proven = vanilla_model(model)  # in which no kernel is computed at each call
    history = {name: [float(v) for v in values] for name, values in fitted.history.items()}
    return WassersteinDistance(
        **_statements(proven, (x_train, x_held), (y_train, y_held), error),
        confidence=float(confidence),
        critic=proven,
        history=history,
    )


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


def _split(name, values, share):
    """The training part and the held-out part: two samples in each at least."""
    held = round(share * len(values))
    if min(held, len(values) - held) < 2:
        raise ValueError(
            f"`{name}` must have at least 2 samples to train on and 2 to hold out. Received: "
            f"{len(values)} samples, validation={share!r}"
        )
    return values[held:], values[:held]


def _standard(train):
    """The mean of the samples, and the root mean square of how far their features are from it."""
    with np.errstate(over="ignore", invalid="ignore"):
        center = train.mean(axis=0)
        spread = float(np.sqrt(np.mean((train - center) ** 2)))
        largest = float(np.max(np.abs(train)))
    if spread and not (1e-30 < spread < 1e30 and spread > 1e-4 * largest):
        raise ValueError(
            "`x` and `y` do not fit float32, in which the critic is trained: subtract a common "
            "point from both, which leaves the distance as it is, or change their unit. Received: "
            f"values up to {largest:.3g} that differ by {spread:.3g}"
        )
    return center, spread or 1.0  # all points are equal


def _network(center, spread, rng):
    """A critic of flat inputs; one factor for all features keeps the Euclidean geometry."""

    def start():
        return keras.initializers.Orthogonal(seed=int(rng.integers(2**31)))

    hidden = [
        layer
        for units in WIDTHS
        for layer in (
            SpectralDense(units, kernel_initializer=start(), parametrization="stiefel"),
            GroupSort2(),
        )
    ]
    scaler = keras.layers.Rescaling(1 / spread, offset=(-center / spread).tolist())
    head = FrobeniusDense(1, kernel_initializer=start())
    return Sequential([keras.Input(center.shape), scaler, *hidden, head], name="critic")


def _copy(critic, shape):
    reads = [tensor.shape[1:] for tensor in getattr(critic, "inputs", None) or [shape]]
    if reads != [shape]:
        raise ValueError(f"`critic` must read inputs of shape {shape}. Received: one of {reads}")
    lipschitz_bound(critic)  # a critic that proves nothing is refused before the training
    sizes = [math.prod(tensor.shape[1:]) for tensor in critic.outputs]
    if sizes != [1]:
        raise ValueError(f"`critic` must have one number as output. Received: outputs of {sizes}")
    model = keras.models.clone_model(critic)
    model.set_weights(critic.get_weights())
    return model


def _statements(model, x, y, error):
    """The numbers of the result, from the parts (train, held) of both samples."""
    bound = lipschitz_bound(model)
    evaluate = proven_values(read(model).graph)
    (x_values, x_blur), (y_values, y_blur) = (_values(evaluate, parts) for parts in (x, y))
    blur = x_blur + y_blur  # of a difference of means
    if not math.isfinite(bound) or not math.isfinite(blur):
        raise ValueError(
            "The critic has no finite values: use a smaller `learning_rate`, or another `critic`. "
            f"Received: its Lipschitz bound {float(bound)}, errors of its values {blur}"
        )
    seen = np.concatenate([x_values[0], y_values[0]])
    low, high = float(seen.min()), float(seen.max())
    blur += ROUNDING * max(abs(low), abs(high))
    # cut off, f keeps its constant and is bounded whatever the distributions are
    cut_x, cut_y = ([np.clip(v, low, high) for v in values] for values in (x_values, y_values))
    n = min(len(cut_x[1]), len(cut_y[1]))
    pairs = _blocks(cut_x[1], n) - _blocks(cut_y[1], n)
    unit = 1 / bound if bound else 0.0  # a constant critic proves nothing

    def lower(sign, error):
        return (lower_mean(sign * pairs, high - low, error) - blur) * unit

    empirical = _mean(np.concatenate(cut_x)) - _mean(np.concatenate(cut_y)) - blur
    return {
        "estimate": (_mean(cut_x[1]) - _mean(cut_y[1])) * unit,
        "lower_bound": max(lower(1, error), 0.0),
        "interval": (lower(1, error / 2), -lower(-1, error / 2)),
        "empirical_lower_bound": max(empirical * unit, 0.0),
        "lipschitz_bound": float(bound),
    }


def _values(evaluate, parts):
    """Float64 values of f on each part, and a bound of their errors."""
    values, errors = zip(*(evaluate(part) for part in parts), strict=True)
    return [v[:, 0] for v in values], max(float(e.max()) for e in errors)


def _mean(values):
    return math.fsum(values) / len(values)


def _blocks(values, n):
    """Means of n blocks: independent, and of the same expectation, also if not of one size."""
    return np.array([block.mean() for block in np.array_split(values, n)])

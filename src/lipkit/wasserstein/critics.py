"""Critics: the networks whose mean values are compared."""

import math

import keras
import numpy as np

from lipkit.certifier import lipschitz_bound
from lipkit.data import BalancedBatches
from lipkit.layers import FrobeniusDense, GroupSort2, SpectralDense
from lipkit.models import Sequential

WIDTHS = (128, 128, 128)


def standard(train):
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


def network(center, spread, rng):
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


def copy(critic, shape):
    """A model of the same layers and weights, if it maps inputs of this shape to one number."""
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


def batches(x, y, batch_size, steps, rng):
    """Random batches, half of each sample."""
    labels = np.repeat([1.0, -1.0], [len(x), len(y)])
    points = np.concatenate([x, y]).astype("float32")
    return BalancedBatches(points, labels, batch_size, steps, seed=int(rng.integers(2**31)))

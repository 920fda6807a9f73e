"""The networks that a recipe's name stands for: from scaled inputs to features, and the head."""

import keras

from lipkit._choices import RECIPES
from lipkit.initializers import DeltaOrthogonal
from lipkit.layers import FrobeniusDense, GroupSort2, SpectralConv2D, SpectralDense

RANK = {"mlp": 1, "cnn": 3}
HIDDEN = 128
FILTERS = (16, 32)
PENALTY = 0.02  # of the square of a free head's constant


def resolved(recipe, shape):
    """The name of the network for samples of this shape.

    Raises:
        ValueError: if the name is unknown or the network does not take such samples.
    """
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise ValueError(f"`recipe` must be one of {list(RECIPES)}. Received: recipe={recipe!r}")
    if recipe == "auto":
        recipe = next((name for name, rank in RANK.items() if rank == len(shape)), "linear")
    if len(shape) != RANK.get(recipe, len(shape)):
        raise ValueError(
            f"recipe={recipe!r} does not accept samples of shape {tuple(shape)}. Use "
            f"{RECIPES['auto']}, or linear for any shape."
        )
    smallest = 2 ** len(FILTERS)
    if recipe == "cnn" and min(shape[:2]) < smallest:
        raise ValueError(
            f"recipe='cnn' needs images of at least {smallest} x {smallest}. Received: samples of "
            f"shape {tuple(shape)}"
        )
    return recipe


def hidden(recipe, seeds):
    """The layers before the head, each with a seed of its own from the iterator."""

    def dense():
        start = keras.initializers.Orthogonal(seed=next(seeds))
        return [SpectralDense(HIDDEN, kernel_initializer=start), GroupSort2()]

    if recipe == "linear":
        return [keras.layers.Flatten()]
    if recipe == "mlp":
        return [*dense(), *dense()]
    blocks = []
    for filters in FILTERS:
        start = DeltaOrthogonal(strides=2, seed=next(seeds))
        blocks += [
            SpectralConv2D(
                filters,
                3,
                strides=2,  # keeps what pooling loses: certified accuracy is higher
                padding="same",
                data_format="channels_last",  # what GroupSort2 sorts
                kernel_initializer=start,
            ),
            GroupSort2(),
        ]
    return [*blocks, keras.layers.Flatten(), *dense()]


def head(units, seeds, constant=1.0):
    """The last layer: each output alone has the Lipschitz constant; None for a penalty on it."""
    start = keras.initializers.Orthogonal(seed=next(seeds))
    if constant is None:
        price = keras.regularizers.L2(PENALTY)
        return keras.layers.Dense(units, kernel_initializer=start, kernel_regularizer=price)
    return FrobeniusDense(units, kernel_initializer=start, k_coef_lip=constant)

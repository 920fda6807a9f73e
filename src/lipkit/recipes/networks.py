"""The networks that a recipe's name stands for: from scaled inputs to logits."""

import keras

from lipkit.initializers import DeltaOrthogonal
from lipkit.layers import (
    FrobeniusDense,
    GroupSort2,
    ScaledL2NormPooling2D,
    SpectralConv2D,
    SpectralDense,
)

RECIPES = {
    "auto": "mlp for vectors (n, features), cnn for images (n, height, width, channels)",
    "mlp": "two hidden layers: SpectralDense and GroupSort2",
    "cnn": "two blocks of SpectralConv2D, GroupSort2 and ScaledL2NormPooling2D, then a dense one",
    "linear": "one layer, of flattened inputs",
}
HIDDEN = 128
FILTERS = (16, 32)


def resolved(recipe, shape):
    """The name of a network for samples of this shape.

    Raises:
        ValueError: if the name is unknown or the network does not take such samples.
    """
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise ValueError(f"`recipe` must be one of {list(RECIPES)}. Received: recipe={recipe!r}")
    rank = {"mlp": 1, "cnn": 3}
    if recipe == "auto":
        recipe = next((name for name, r in rank.items() if r == len(shape)), "linear")
    if len(shape) != rank.get(recipe, len(shape)):
        raise ValueError(
            f"recipe={recipe!r} needs `x` with {rank[recipe] + 1} axes: {RECIPES['auto']}. "
            f"Received: samples of shape {tuple(shape)}. recipe='linear' takes every shape."
        )
    return recipe


def hidden(recipe, seeds):
    """The layers before the head, each starting from a seed of its own.

    Args:
        recipe: resolved name.
        seeds: iterator of integers.
    """

    def dense(units):
        start = keras.initializers.Orthogonal(seed=next(seeds))
        return [SpectralDense(units, kernel_initializer=start), GroupSort2()]

    if recipe == "linear":
        return [keras.layers.Flatten()]
    if recipe == "mlp":
        return [*dense(HIDDEN), *dense(HIDDEN)]
    blocks = []
    for filters in FILTERS:
        start = DeltaOrthogonal(seed=next(seeds))
        last: dict = {"data_format": "channels_last"}  # what GroupSort2 sorts
        convolution = SpectralConv2D(filters, 3, padding="same", kernel_initializer=start, **last)
        blocks += [convolution, GroupSort2(), ScaledL2NormPooling2D(2, **last)]
    return [*blocks, keras.layers.Flatten(), *dense(HIDDEN)]


def head(units, seeds, constant=1.0):
    """The last layer: each output alone has the Lipschitz constant given."""
    start = keras.initializers.Orthogonal(seed=next(seeds))
    return FrobeniusDense(units, kernel_initializer=start, k_coef_lip=constant)

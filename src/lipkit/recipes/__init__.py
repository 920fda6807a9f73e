"""Training in one call: `lipkit.recipes.train(x, y)`, for raw data and without choices to make."""

from lipkit.recipes.networks import RECIPES
from lipkit.recipes.training import Trained, train

__all__ = ["RECIPES", "Trained", "train"]

"""Training in one call: `lipkit.recipes.train(x, y)`, for raw data and without choices to make."""

from lipkit.recipes.further import train_further
from lipkit.recipes.networks import RECIPES
from lipkit.recipes.one_class import train_one_class
from lipkit.recipes.stages import Stages
from lipkit.recipes.supervised import train
from lipkit.recipes.training import BUDGET, Trained

__all__ = ["BUDGET", "RECIPES", "Stages", "Trained", "train", "train_further", "train_one_class"]

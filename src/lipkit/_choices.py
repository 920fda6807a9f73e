"""The names and defaults that options of the command have, which it shows before Keras is imported.

This module imports nothing of lipkit, so that `lipkit_command` can read it without the package.
"""

from dataclasses import dataclass

BACKENDS = ("tensorflow", "jax", "torch")  # Keras's own default first
RECIPES = {
    "auto": "mlp for vectors (n, features), cnn for images (n, height, width, channels)",
    "mlp": "two sorted dense layers, of 64 units for each network of a search",
    "cnn": "two sorted convolutions of stride 2, 16 and 32 filters, and a sorted dense layer",
    "linear": "one layer, for samples of any shape",
}
TASKS = ("classification", "regression")
DECIMALS = (".", ",")  # marks before decimals
WEIGHTS = ("spread", "std", "none")  # of features, where they are not numbers
IMPUTATIONS = ("median", "mean")
FORMATS = ("float32", "float64")  # of floating-point numbers
TOYS = ("moons", "circles")
PATIENCE = 10  # epochs without an improvement, after which early stopping ends a training


@dataclass(frozen=True)
class DemoSettings:
    """Those of the published notebook."""

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

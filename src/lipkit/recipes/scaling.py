"""The scaler: the first layer of a trained model, and what it does to distances.

With weights w, distances are |w (x' - x)|. The scaler multiplies feature i by s_i, so that a ball
of radius r becomes one of at most r * max(s_i / w_i): `stretch`.
"""

from dataclasses import dataclass

import keras
import numpy as np


@dataclass(frozen=True)
class Scaler:
    """z = scale * (x - mean), with `scale` as the float32 that the model holds.

    Attributes:
        scale, mean: arrays that broadcast to a sample.
        stretch: the largest factor between distances in units of the data and those of z.
    """

    scale: np.ndarray
    mean: np.ndarray
    stretch: float

    def layer(self):
        """The Keras layer."""
        offset = -self.scale.astype("float64") * self.mean
        return keras.layers.Rescaling(self.scale.tolist(), offset.tolist(), name="scaler")


def fit(x, weights, eps) -> Scaler:
    """Standardise vectors feature by feature, and other samples as a whole.

    A feature that varies by less than `eps` tells nothing that holds within `eps`. So its scale is
    w / eps, not the larger 1 / std, which would stretch all distances. Constant features get 0.

    Args:
        x: (n, ...) finite float64.
        weights: array that broadcasts to a sample, or None for 1.
        eps: radius that matters, or None.
    """
    weights = np.ones(()) if weights is None else weights
    axes = 0 if x.ndim == 2 else None
    mean, std = x.mean(axis=axes), np.std(weights * x, axis=axes)
    constant = np.ptp(x, axis=axes) == 0
    with np.errstate(divide="ignore"):
        scale = np.where(constant, 0.0, weights / np.maximum(std, eps or 0.0))
    scale = scale.astype("float32")
    factors = np.divide(scale, weights, out=np.zeros_like(scale, "float64"), where=weights > 0)
    return Scaler(scale, mean, float(np.max(factors)))

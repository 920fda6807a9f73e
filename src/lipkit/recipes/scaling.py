"""The scaler, the first layer of a trained model, and what it does to distances.

Distances are |w (x' - x)|, with a weight for each feature. The scaler multiplies feature i by s_i;
so it turns a ball of radius r into one of radius `stretch` r at most, stretch = max(s_i / w_i).
"""

from dataclasses import dataclass

import keras
import numpy as np

from lipkit.certifier.weights import checked
from lipkit.recipes import checks

FLOOR = 5.0  # of a feature's standard deviation, in units of the radius
GRID = 2.0**-16  # of scaled inputs
TAILS = 0.025  # share of the lowest and of the highest values that do not widen a spread
NO_RADIUS = 0.3  # the radius where none is given, in units of the median standard deviation


@dataclass(frozen=True)
class Scaler:
    """z = scale (x - mean), for a radius.

    Attributes:
        scale, mean: numbers, or arrays of a sample's shape.
        weights: the feature weights, resolved to numbers; None for 1.
        source: where they come from: `"spread"`, `"std"`, `"given"` or `"none"`.
        eps: the radius, resolved.
        stretch: the largest factor between distances of x and of z.
    """

    scale: np.ndarray
    mean: np.ndarray
    weights: np.ndarray | None
    source: str
    eps: float
    stretch: float

    def layer(self):
        """The Keras layer."""
        if self.scale.ndim and keras.config.image_data_format() == "channels_first":
            raise ValueError(
                "Features are scaled along the last axis. Use "
                "keras.config.set_image_data_format('channels_last')."
            )
        scale = self.scale.astype("float32")  # the model's
        offset = -scale.astype("float64") * self.mean
        return keras.layers.Rescaling(scale.tolist(), offset.tolist(), name="scaler")

    def scaled(self, x):
        """Samples as vectors z (n, features), on a grid so fine that it changes nothing.

        Where another unit of a feature changes the last bits of its numbers, z stays the same, and
        so does all that is learned from it.
        """
        z = (self.scale * (x - self.mean)).reshape(len(x), -1)
        return np.round(z / GRID) * GRID


def weights_of(settings):
    """The weights of the features in `Trained.settings`, as an array; None for 1."""
    weights = settings.get("feature_weights")
    return None if weights is None else np.asarray(weights, "float64")


def weighted_space(model, x, weights):
    """(g, z) with z = w x and g(w x) = f(x): distances |w (x' - x)| are Euclidean ones of z.

    z is rounded, so what is certified at x is not what is certified at z.

    Args:
        model: f, a trained model or its export, which begins with the scaler.
        x: (n, ...) inputs.
        weights: w, positive numbers, one for each feature; None for f and x themselves.
    """
    if weights is None:
        return model, x
    if x.shape[1:] != weights.shape:
        raise ValueError(
            f"`x` must have one value for each feature weight: shape {('n', *weights.shape)}. "
            f"Received: shape {x.shape}"
        )
    weights = checked(weights, weights.shape, "feature_weights")
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    scaler = copy.get_layer("scaler")
    scaler.scale = (np.asarray(scaler.scale) / weights).tolist()
    return copy, (weights * x).astype(x.dtype)


def _std(x, axis: int | None = 0):
    """`x.std(axis)`, to the last bit, without a copy: x is overwritten."""
    x -= x.mean(axis=axis)
    return np.sqrt(np.square(x, out=x).mean(axis=axis))


def spreads(x) -> np.ndarray:
    """A robust standard deviation of each feature of vectors (n, features).

    That of the values after the lowest and highest 2.5 % are set to the quantiles; the standard
    deviation itself where nothing varies between these. Of a feature with two values their
    distance: a change of a boolean counts 1, that of a category sqrt(2).
    """
    low, high = np.quantile(x, [TAILS, 1 - TAILS], axis=0)
    spread = np.where(high > low, _std(np.clip(x, low, high)), x.std(axis=0))
    smallest, largest = x.min(axis=0), x.max(axis=0)
    two = ((x == smallest) | (x == largest)).all(axis=0)
    return np.where(two, largest - smallest, spread)


def fit(x, weights, eps) -> Scaler:
    """Standardise vectors feature by feature, and other samples as a whole.

    A feature that varies by little more than `eps` tells little that holds within `eps`, but with
    the scale 1 / std it would stretch all distances. So w std counts as FLOOR eps at least.
    Constant features get the scale 0: the model does not read them.

    Args:
        x: (n, ...) finite float64.
        weights: weights of the features; `"spread"` or `"std"` for 1 / what is called so; None or
            `"none"` for 1; `"auto"` for `"spread"` of vectors and `"none"` of other samples.
        eps: radius that matters; None for 0.3 times the median of w std.

    Raises:
        ValueError: bad weights; no feature varies, or one by less than float32 can tell.
    """
    axes = 0 if x.ndim == 2 else None
    mean, largest = x.mean(axis=axes), np.abs(x).max(axis=axes)
    varies = np.ptp(x, axis=axes) > 16 * 2.0**-53 * largest
    std = np.where(varies, x.std(axis=axes), 0.0)
    if not np.any(varies):
        raise ValueError("`x` must have a feature that varies. Received: constant features only")
    checks.visible("features", std, largest, varies)
    weights, source = _resolved(weights, x, std, varies)
    if weights is not None:
        std = np.where(varies, _std(weights * x, axes), 0.0)
    eps = NO_RADIUS * float(np.median(std[varies])) if eps is None else eps
    w = np.ones(()) if weights is None else weights
    floor = FLOOR * eps if x.ndim == 2 else 0.0
    scale = varies * w / np.where(varies, np.maximum(std, floor), 1.0)
    return Scaler(scale, mean, weights, source, eps, float(np.max(scale / w)))


def _resolved(weights, x, std, varies):
    """The weights as numbers, or None, and where they come from."""
    name = "none" if weights is None else weights if isinstance(weights, str) else "given"
    if name == "auto":
        name = "spread" if x.ndim == 2 else "none"
    if name == "none":
        return None, name
    if name in ("std", "spread"):
        if name == "spread" and x.ndim != 2:
            raise ValueError(
                "feature_weights='spread' is for vectors (n, features): use 'std', 'none' or "
                f"numbers. Received: samples of shape {x.shape[1:]}"
            )
        unit = std if name == "std" else spreads(x)
        weights = 1 / np.where(varies, unit, 1.0)
    return checked(weights, x.shape[1:], "feature_weights"), name

"""Residual blocks: an inner model and a merge with its input that keeps a constant."""

import math

import keras
from keras import ops

from lipkit._checks import real
from lipkit._registry import register
from lipkit.layers.base import LipschitzLayer, place_axis
from lipkit.linalg.norms import euclidean_norm

__all__ = [
    "ConcatResidual",
    "L2NormResidual",
    "LipResidual",
    "PrescaledAdditiveResidual",
    "ScaledResidual",
]


class Residual(LipschitzLayer, keras.layers.Layer):
    """Base of the blocks: k * merge(x, f(x)), shapes unchanged.

    A block states the constant of its merge only: it is `k_coef_lip`-Lipschitz where the inner
    function f is 1-Lipschitz, and the certifier reads f.

    Args:
        inner: the function f: a layer, a list of layers, or a Keras model. Layers become a
            `keras.Sequential`. Its outputs must have the shape of its inputs.
        k_coef_lip: factor of the output.

    Subclasses give `_merge(x, y, plain)` and, where f does not see x itself, `_split`. With `plain`
    they use only what an export may hold: Keras operations and numbers.
    """

    def __init__(self, inner, k_coef_lip=1.0, **kwargs):
        super().__init__(k_coef_lip=k_coef_lip, **kwargs)
        if not isinstance(inner, keras.Model):
            layers = list(inner) if isinstance(inner, (list, tuple)) else [inner]
            if not layers or not all(isinstance(x, keras.layers.Layer) for x in layers):
                raise ValueError(
                    "`inner` must be a Keras layer, a list of layers or a Keras model. "
                    f"Received: inner={inner!r}"
                )
            inner = keras.Sequential(layers, name=f"{self.name}_inner")
        self.inner = inner
        self.supports_masking = True

    def build(self, input_shape):
        """Build the inner model and check that it keeps shapes."""
        shape = self._inner_shape((None, *input_shape[1:]))
        if not self.inner.built:
            self.inner.build(shape)
        self._check_shapes(shape, self.inner.compute_output_shape(shape))

    def _inner_shape(self, input_shape):
        return input_shape

    def _check_shapes(self, expected, received):
        if tuple(expected[1:]) != tuple(received[1:]):
            raise ValueError(
                f"{type(self).__name__} {self.name!r} needs an `inner` whose outputs have the "
                f"shape of its inputs. Received: outputs of shape {tuple(received)} for inputs of "
                f"shape {tuple(expected)}"
            )

    def call(self, inputs):
        return self._apply(inputs, self.inner, plain=False)

    @property
    def vanilla_inner(self):
        """The inner model."""
        return self.inner

    def to_vanilla(self, inputs, inner):
        """The block in plain Keras operations, around `inner` in place of its inner model."""
        return self._apply(inputs, inner, plain=True)

    def _apply(self, x, inner, plain):
        x, seen = self._split(x, plain)
        y = inner(seen)
        self._check_shapes(seen.shape, y.shape)  # of these inputs, where `build` saw others
        if None in seen.shape[1:] and not plain:
            y = ops.reshape(y, ops.shape(seen))  # fails where y would be broadcast
        return self._scaled(self._merge(x, y, plain))

    def _split(self, x, plain):
        """What is merged with f, and what f sees."""
        return x, x

    def _value(self, tensor, plain):
        """A scalar for use with tensors of the layer's dtype."""
        if plain:
            return float(ops.convert_to_numpy(tensor))
        return ops.cast(tensor, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Unchanged."""
        return input_shape

    def get_config(self):
        """Keras configuration, with the inner model."""
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Inverse of `get_config`."""
        inner = keras.saving.deserialize_keras_object(config["inner"], custom_objects)
        return cls(**{**config, "inner": inner})


class _TrainedResidual(Residual):
    """A block with one trained number."""

    def __init__(self, inner, init_val, k_coef_lip, **kwargs):
        super().__init__(inner, k_coef_lip=k_coef_lip, **kwargs)
        self.init_val = real("init_val", init_val, "(-inf, inf)")

    def build(self, input_shape):
        """Create the number, and build the inner model."""
        initializer = keras.initializers.Constant(self.init_val)
        self.alpha = self.add_weight(
            name="alpha", shape=(), initializer=initializer, autocast=False
        )
        super().build(input_shape)

    def get_config(self):
        """Keras configuration, with the initial value."""
        return {**super().get_config(), "init_val": self.init_val}


@register
class LipResidual(_TrainedResidual):
    """k (s x + (1 - s) f(x)) with s = sigmoid(alpha) trained.

    Args:
        init_val: initial alpha; 0 gives the mean of x and f(x).
        k_coef_lip: Lipschitz constant where f is 1-Lipschitz; in general it is
            k (s + (1 - s) L_f), by the triangle inequality.

    Example:
    >>> block = lipkit.layers.LipResidual(lipkit.layers.SpectralDense(2))
    >>> tuple(block(np.ones((3, 2))).shape)
    (3, 2)
    """

    def __init__(self, inner, init_val=0.0, k_coef_lip=1.0, **kwargs):
        super().__init__(inner, init_val, k_coef_lip, **kwargs)

    def _merge(self, x, y, plain):
        s = ops.sigmoid(ops.convert_to_tensor(self.alpha))
        return x * self._value(s, plain) + y * self._value(1 - s, plain)


@register
class PrescaledAdditiveResidual(_TrainedResidual):
    """k (x + f(alpha x)) / (1 + |alpha|) with alpha trained.

    Args:
        init_val: initial alpha.
        k_coef_lip: Lipschitz constant where f is 1-Lipschitz; in general it is
            k (1 + |alpha| L_f) / (1 + |alpha|).

    Example:
    >>> block = lipkit.layers.PrescaledAdditiveResidual(lipkit.layers.SpectralDense(2))
    >>> tuple(block(np.ones((3, 2))).shape)
    (3, 2)
    """

    def __init__(self, inner, init_val=1.0, k_coef_lip=1.0, **kwargs):
        super().__init__(inner, init_val, k_coef_lip, **kwargs)

    def _split(self, x, plain):
        return x, x * self._value(ops.convert_to_tensor(self.alpha), plain)

    def _merge(self, x, y, plain):
        size = 1 + ops.abs(ops.convert_to_tensor(self.alpha))
        return (x + y) * self._value(1 / size, plain)


@register
class ScaledResidual(Residual):
    """k (alpha x + (1 - alpha) f(x)) with alpha fixed; `alpha=0.5` is the mean of x and f(x).

    Args:
        alpha: weight of x, in [0, 1].
        k_coef_lip: Lipschitz constant where f is 1-Lipschitz; in general it is
            k (alpha + (1 - alpha) L_f).

    Example:
    >>> block = lipkit.layers.ScaledResidual(lipkit.layers.SpectralDense(2))
    >>> tuple(block(np.ones((3, 2))).shape)
    (3, 2)
    """

    def __init__(self, inner, alpha=0.5, k_coef_lip=1.0, **kwargs):
        super().__init__(inner, k_coef_lip=k_coef_lip, **kwargs)
        self.alpha = real("alpha", alpha, "[0, 1]")

    def _merge(self, x, y, plain):
        return x * self.alpha + y * (1 - self.alpha)

    def get_config(self):
        """Keras configuration, with `alpha`."""
        return {**super().get_config(), "alpha": self.alpha}


@register
class L2NormResidual(Residual):
    """k sqrt((x^2 + f(x)^2) / 2), entry by entry.

    The 2-norm of each pair, so k sqrt((1 + L_f^2) / 2)-Lipschitz: k where f is 1-Lipschitz. Its
    gradient at a pair of zeros is 0, and squares neither overflow nor vanish.

    Args:
        k_coef_lip: Lipschitz constant where f is 1-Lipschitz.

    Example:
    >>> block = lipkit.layers.L2NormResidual(lipkit.layers.SpectralDense(2))
    >>> tuple(block(np.ones((3, 2))).shape)
    (3, 2)
    """

    def _merge(self, x, y, plain):
        # `hypot` has no finite gradient at (0, 0) on all backends
        pairs = ops.hypot(x, y) if plain else euclidean_norm(ops.stack([x, y], axis=1), (1,))
        return pairs * math.sqrt(0.5)


@register
class ConcatResidual(Residual):
    """k concat(x_1, f(x_2)) for the two halves of the channels: max(1, L_f) k-Lipschitz.

    The squares of the changes of the halves add up to that of x, so no factor is lost.

    Args:
        inner: layer, list of layers, or model, of half the channels.
        axis: axis of the channels, of even size.
        k_coef_lip: Lipschitz constant where f is 1-Lipschitz.

    Example:
    >>> block = lipkit.layers.ConcatResidual(lipkit.layers.SpectralDense(1))
    >>> tuple(block(np.ones((3, 2))).shape)
    (3, 2)
    """

    def __init__(self, inner, axis=-1, k_coef_lip=1.0, **kwargs):
        super().__init__(inner, k_coef_lip=k_coef_lip, **kwargs)
        self.axis = axis

    def _place(self, shape):
        """The axis counted from 0, and half its size."""
        axis = place_axis(self, self.axis, len(shape))
        size = shape[axis]
        if size is None or size % 2:
            raise ValueError(
                f"ConcatResidual {self.name!r} needs an even, known number of channels on axis "
                f"{self.axis}. Received: inputs of shape {tuple(shape)}"
            )
        return axis, size // 2

    def _inner_shape(self, input_shape):
        axis, half = self._place(input_shape)
        return (*input_shape[:axis], half, *input_shape[axis + 1 :])

    def _split(self, x, plain):
        axis, half = self._place(x.shape)
        before = (slice(None),) * axis
        return x[(*before, slice(0, half))], x[(*before, slice(half, 2 * half))]

    def _merge(self, x, y, plain):
        return ops.concatenate([x, y], axis=self.axis)

    def get_config(self):
        """Keras configuration, with `axis`."""
        return {**super().get_config(), "axis": self.axis}

"""Activations with parameters of their own: one for each channel, or pair of channels."""

import math

import keras
import numpy as np
from keras import ops

from lipkit._registry import register
from lipkit.layers.activations import Activation
from lipkit.layers.base import at_least_float32, known_channels

__all__ = ["Householder", "PReLUlip"]


class _Trained(Activation):
    """Base: one parameter vector. Functions are computed in float32 at least."""

    def _vector(self, name, size, initializer):
        return self.add_weight(name=name, shape=(size,), initializer=initializer, autocast=False)

    def call(self, inputs):
        wide = at_least_float32(self.compute_dtype)
        return ops.cast(self._activate(ops.cast(inputs, wide)), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Unchanged."""
        return input_shape


@register
class Householder(_Trained):
    """k times the reflection of (z1, z2), the halves of the channels, where s > 0; else k z.

    s = z1 sin(theta / 2) - z2 cos(theta / 2), with one trained angle theta for each pair. The
    reflection leaves the line s = 0 in its place, so the activation is continuous, and it keeps
    norms. At theta = pi / 2, the start, it is (minimum, maximum).

    Args:
        data_format: only `"channels_last"`.
        theta_initializer: initializer of theta (channels / 2,); None: pi / 2.

    Example:
    >>> x = np.array([[4.0, 1.0, 3.0, 2.0]])
    >>> print(ops.convert_to_numpy(lipkit.layers.Householder()(x)).round(4))
    [[3. 1. 4. 2.]]

    Reference: Singla, Singla and Feizi, "Improved deterministic l2 robustness on CIFAR-10 and
    CIFAR-100", ICLR 2022, arXiv:2108.04062.
    """

    formats = ("channels_last",)

    def __init__(
        self, data_format="channels_last", k_coef_lip=1.0, theta_initializer=None, **kwargs
    ):
        super().__init__(data_format=data_format, k_coef_lip=k_coef_lip, **kwargs)
        if theta_initializer is None:
            theta_initializer = keras.initializers.Constant(math.pi / 2)
        self.theta_initializer = keras.initializers.get(theta_initializer)

    def build(self, input_shape):
        """Create the angles."""
        channels = known_channels(self, input_shape)
        if channels % 2:
            raise ValueError(
                f"Householder {self.name!r} needs an even number of channels. Received: inputs of "
                f"shape {tuple(input_shape)}"
            )
        self.theta = self._vector("theta", channels // 2, self.theta_initializer)

    def _cosine_sine(self):
        half = ops.convert_to_tensor(self.theta) / 2
        return ops.cos(half), ops.sin(half)

    def _activate(self, z):
        cosine, sine = (ops.cast(value, z.dtype) for value in self._cosine_sine())
        z1, z2 = ops.split(z, 2, axis=-1)
        twice = 2 * ops.relu(z1 * sine - z2 * cosine)
        return self._scaled(ops.concatenate([z1 - twice * sine, z2 + twice * cosine], axis=-1))

    def to_vanilla(self, inputs):
        """Turn to the axes along and across the line, take -|.| across it, turn back."""
        cosine, sine = (np.diag(ops.convert_to_numpy(value)) for value in self._cosine_sine())
        sign = np.repeat(np.array([1, -1], cosine.dtype), len(cosine))
        z = self._product(inputs, [[cosine, sine], [sine, -cosine]])
        return self._scaled(
            self._product(ops.maximum(z, z * sign), [[cosine, sine], [-sine, cosine]])
        )

    def _product(self, x, blocks):
        matrix = np.block(blocks)
        dense = keras.layers.Dense(len(matrix), use_bias=False, dtype=self.dtype_policy)
        dense.build(x.shape)
        dense.set_weights([matrix])
        return dense(x)

    def get_config(self):
        """Keras configuration."""
        initializer = keras.initializers.serialize(self.theta_initializer)
        return {**super().get_config(), "theta_initializer": initializer}


@register
class PReLUlip(_Trained):
    """k max(x, a x) with a trained slope a in [-1, 1] for each channel: k-Lipschitz.

    A slope that training takes out of [-1, 1] acts as the nearest end.

    Args:
        k_coef_lip: Lipschitz constant, which is also the slope of the positive side.
        alpha_initializer: initializer of the slopes (channels,), at first those of ReLU.

    Example:
    >>> layer = lipkit.layers.PReLUlip(alpha_initializer="ones")
    >>> print(ops.convert_to_numpy(layer(np.array([[2.0, -3.0]]))))
    [[ 2. -3.]]
    """

    def __init__(
        self, k_coef_lip=1.0, data_format="channels_last", alpha_initializer="zeros", **kwargs
    ):
        super().__init__(data_format=data_format, k_coef_lip=k_coef_lip, **kwargs)
        self.alpha_initializer = keras.initializers.get(alpha_initializer)

    def build(self, input_shape):
        """Create the slopes."""
        channels = known_channels(self, input_shape, self._channel_axis())
        self.alpha = self._vector("alpha", channels, self.alpha_initializer)

    def _slopes(self, x):
        alpha = ops.convert_to_tensor(self.alpha)
        # alpha - alpha is 0: the gradient passes the clipping, so that alpha can come back
        slopes = ops.stop_gradient(ops.clip(alpha, -1.0, 1.0)) + (alpha - ops.stop_gradient(alpha))
        last = self.data_format == "channels_last"
        return slopes if last else ops.reshape(slopes, (-1, *(1,) * (len(x.shape) - 2)))

    def _activate(self, x):
        # `maximum` would tie where a = 1, and some backends give such an a no gradient
        return self._scaled(ops.relu(x) - ops.cast(self._slopes(x), x.dtype) * ops.relu(-x))

    def to_vanilla(self, inputs):
        """The same with constant slopes."""
        return self._scaled(
            ops.maximum(inputs, inputs * ops.convert_to_numpy(self._slopes(inputs)))
        )

    def get_config(self):
        """Keras configuration."""
        initializer = keras.initializers.serialize(self.alpha_initializer)
        return {**super().get_config(), "alpha_initializer": initializer}

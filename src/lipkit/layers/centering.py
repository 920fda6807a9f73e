"""Normalisation with a constant: means are subtracted, one tracked scale serves all channels."""

import keras
from keras import ops

from lipkit._checks import real
from lipkit._registry import register
from lipkit.layers.base import LipschitzLayer, at_least_float32, known_channels, place_axis

__all__ = ["BatchCentering", "BatchLipNorm", "LayerCentering"]


class _Centering(LipschitzLayer, keras.layers.Layer):
    """factor * (x - mean) + bias, in float32 at least; a subclass gives mean and factor.

    Args:
        channel_axis: axis of the channels, along which the bias differs.
        use_bias: whether a trained bias is added, one for each channel.
        bias_initializer: initializer of the bias (channels,).
        k_coef_lip: Lipschitz constant.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, channel_axis, use_bias, bias_initializer, k_coef_lip, **kwargs):
        super().__init__(k_coef_lip=k_coef_lip, **kwargs)
        self.channel_axis = channel_axis
        self.use_bias = bool(use_bias)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.bias = None

    def build(self, input_shape):
        """Create the bias, and what the subclass tracks."""
        axis = place_axis(self, self.channel_axis, len(input_shape))
        channels = known_channels(self, input_shape, axis)
        if self.use_bias:
            self.bias = self._vector("bias", channels, self.bias_initializer, trainable=True)
        self._track(channels)

    def _track(self, channels):
        pass

    def _vector(self, name, channels, initializer, trainable=False):
        return self.add_weight(
            name=name,
            shape=(channels,),
            initializer=initializer,
            trainable=trainable,
            autocast=False,
        )

    def _along_channels(self, vector, rank):
        shape = [1] * rank
        shape[self.channel_axis] = -1
        return ops.reshape(ops.convert_to_tensor(vector), shape)

    def _all_but_channels(self, rank):
        channel = place_axis(self, self.channel_axis, rank)
        return tuple(axis for axis in range(rank) if axis != channel)

    def call(self, inputs, training=None):
        return self._apply(inputs, bool(training and self.trainable), lambda value: value)

    def to_vanilla(self, inputs):
        """The function at inference, with all variables as constants."""
        return self._apply(inputs, False, ops.convert_to_numpy)

    def _apply(self, x, training, read):
        wide = at_least_float32(self.compute_dtype)
        x = x if wide == self.compute_dtype else ops.cast(x, wide)
        mean, factor = self._statistics(x, training, read)
        y = x - mean
        y = self._scaled(y) if factor is None else y * factor
        if self.bias is not None:
            y = y + read(self._along_channels(self.bias, len(x.shape)))
        return y if wide == self.compute_dtype else ops.cast(y, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Unchanged."""
        return input_shape

    def get_config(self):
        """Keras configuration."""
        return {
            **super().get_config(),
            "use_bias": self.use_bias,
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


@register
class LayerCentering(_Centering):
    """k (x - mean(x)) + bias, the mean over some axes of each sample: an orthogonal projection.

    Args:
        axis: axis or axes to average over; None: all but the batch's and `channel_axis`.

    The projection is 1-Lipschitz, proven.

    Example:
    >>> layer = lipkit.layers.LayerCentering(axis=1)
    >>> print(ops.convert_to_numpy(layer(np.array([[1.0, 2.0, 6.0]]))))
    [[-2. -1.  3.]]
    """

    def __init__(
        self,
        axis=None,
        channel_axis=-1,
        use_bias=True,
        bias_initializer="zeros",
        k_coef_lip=1.0,
        **kwargs,
    ):
        super().__init__(channel_axis, use_bias, bias_initializer, k_coef_lip, **kwargs)
        self.axis = list(axis) if isinstance(axis, (list, tuple)) else axis

    def _axes(self, rank):
        if self.axis is None:
            axes = self._all_but_channels(rank)[1:]
        else:
            given = self.axis if isinstance(self.axis, list) else [self.axis]
            axes = tuple(sorted({place_axis(self, axis, rank) for axis in given}))
        if not axes:
            raise ValueError(
                f"LayerCentering {self.name!r} has no axis to average over: inputs of rank {rank} "
                f"have only batch and channels. Give `axis`. Received: axis={self.axis!r}"
            )
        return axes

    def _statistics(self, x, training, read):
        return ops.mean(x, axis=self._axes(len(x.shape)), keepdims=True), None

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "axis": self.axis, "channel_axis": self.channel_axis}


class _BatchStatistics(_Centering):
    """Means of the batch in training, moving means at inference.

    Args:
        axis: axis of the channels.
        momentum: of the moving statistics, in [0, 1]: the share that stays in a step.
    """

    def __init__(
        self,
        axis=-1,
        momentum=0.99,
        use_bias=True,
        bias_initializer="zeros",
        k_coef_lip=1.0,
        **kwargs,
    ):
        super().__init__(axis, use_bias, bias_initializer, k_coef_lip, **kwargs)
        self.axis = axis
        self.momentum = real("momentum", momentum, "[0, 1]")

    def _track(self, channels):
        self.moving_mean = self._vector("moving_mean", channels, "zeros")

    def _statistics(self, x, training, read):
        rank = len(x.shape)
        factor = self._factor(read)
        if not training:
            return read(self._along_channels(self.moving_mean, rank)), factor
        mean = ops.mean(x, axis=self._all_but_channels(rank), keepdims=True)
        self._move(self.moving_mean, mean)
        self._observe(x - mean)
        return mean, factor

    def _factor(self, read):
        """The factor at inference and in training, or None for k."""

    def _observe(self, centered):
        """Update what else is tracked."""

    def _move(self, variable, value):
        value = ops.cast(ops.reshape(ops.stop_gradient(value), (-1,)), variable.dtype)
        variable.assign(self.momentum * variable + (1 - self.momentum) * value)

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "axis": self.axis, "momentum": self.momentum}


@register
class BatchCentering(_BatchStatistics):
    """k (x - mean) + bias: the batch's mean of each channel in training, a moving mean otherwise.

    `keras.layers.BatchNormalization` without its division, which has no bounded slope. With
    `trainable=False` it is in inference mode, as in Keras.

    At inference it is a translation times k; in training, a projection of the whole batch.

    Example:
    >>> layer = lipkit.layers.BatchCentering()
    >>> print(ops.convert_to_numpy(layer(np.array([[1.0], [3.0]]), training=True)))
    [[-1.]
     [ 1.]]
    """


@register
class BatchLipNorm(_BatchStatistics):
    """k s (x - mean) + bias with one tracked scale s = min(max_scale, 1 / sqrt(max_c var_c)).

    The means are those of `BatchCentering`. The scale is the same for all channels and follows the
    moving variances of the channels. It is that of the earlier steps in training too, so that it
    is a constant of the batch it is applied to: dividing by the batch's own variance would not be a
    Lipschitz map. Batches with one value a channel leave the variances as they are.

    Args:
        epsilon: smallest variance that is divided by.
        max_scale: largest scale, so that the layer is `k_coef_lip * max_scale`-Lipschitz. None: no
            such limit; then the constant is `k_coef_lip * scale`, however large, and it is the
            certifier that accounts for it.
        k_coef_lip: Lipschitz constant for `max_scale=1`.

    The certifier reads the actual scale; `max_scale` is not believed.

    Example:
    >>> layer = lipkit.layers.BatchLipNorm()
    >>> print(ops.convert_to_numpy(layer(np.array([[1.0], [3.0]]), training=True)))
    [[-1.]
     [ 1.]]
    """

    def __init__(
        self,
        axis=-1,
        momentum=0.99,
        epsilon=1e-5,
        max_scale=1.0,
        use_bias=True,
        bias_initializer="zeros",
        k_coef_lip=1.0,
        **kwargs,
    ):
        super().__init__(axis, momentum, use_bias, bias_initializer, k_coef_lip, **kwargs)
        self.epsilon = real("epsilon", epsilon, "(0, inf)")
        self.max_scale = None if max_scale is None else real("max_scale", max_scale, "(0, inf)")

    def _track(self, channels):
        super()._track(channels)
        self.moving_variance = self._vector("moving_variance", channels, "ones")

    @property
    def scale(self):
        """The scale s, a scalar tensor."""
        floor = self.epsilon
        if self.max_scale is not None:
            floor = max(floor, self.max_scale**-2)
        variance = ops.max(ops.convert_to_tensor(self.moving_variance))
        return 1 / ops.sqrt(ops.maximum(variance, floor))

    def _factor(self, read):
        return read(self.k_coef_lip * self.scale)

    def _observe(self, centered):
        axes = self._all_but_channels(len(centered.shape))
        squares = ops.sum(ops.square(centered), axis=axes)
        count = ops.cast(ops.size(centered), squares.dtype) / squares.shape[0]
        variance = squares / ops.maximum(count - 1, 1)
        known = ops.cast(ops.convert_to_tensor(self.moving_variance), variance.dtype)
        self._move(self.moving_variance, ops.where(count > 1, variance, known))

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "epsilon": self.epsilon, "max_scale": self.max_scale}

"""Activations that keep the gradient's norm: sorting within groups of channels."""

import keras
from keras import ops

from lipkit._checks import integer
from lipkit._registry import register
from lipkit.layers._sorting import sort_groups
from lipkit.layers.base import LipschitzLayer, known_channels

__all__ = ["FullSort", "GroupSort", "GroupSort2", "MaxMin"]


class Activation(LipschitzLayer, keras.layers.Layer):
    """Base of the activations, which are exported as operations.

    Args:
        data_format: `"channels_last"` or `"channels_first"`.
        k_coef_lip: Lipschitz constant, > 0; the outputs are multiplied by it.
        **kwargs: of `keras.layers.Layer`.
    """

    formats = ("channels_last", "channels_first")

    def __init__(self, data_format="channels_last", k_coef_lip=1.0, **kwargs):
        super().__init__(k_coef_lip=k_coef_lip, **kwargs)
        if data_format not in self.formats:
            raise ValueError(
                f"`data_format` of {type(self).__name__} must be one of {self.formats}. "
                f"Received: data_format={data_format!r}"
            )
        self.data_format = data_format
        self.supports_masking = True

    def _channel_axis(self):
        return -1 if self.data_format == "channels_last" else 1

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "data_format": self.data_format}


@register
class MaxMin(Activation):
    """k * concat(relu(x), relu(-x)) on the channel axis: (..., c) -> (..., 2 c).

    It keeps norms. This is deel-lip's definition, also known as CReLU; pairwise maximum and minimum
    is `GroupSort2`.

    Example:
    >>> print(ops.convert_to_numpy(lipkit.layers.MaxMin()(np.array([[2.0, -3.0]]))))
    [[2. 0. 0. 3.]]
    """

    def call(self, inputs):
        axis = self._channel_axis()
        return self._scaled(ops.concatenate([ops.relu(inputs), ops.relu(-inputs)], axis=axis))

    to_vanilla = call

    def compute_output_shape(self, input_shape):
        """Twice the channels."""
        axis = self._channel_axis()
        shape = list(input_shape)
        shape[axis] = None if shape[axis] is None else 2 * shape[axis]
        return tuple(shape)


@register
class GroupSort(Activation):
    """Sort ascending in contiguous groups of `n` channels of the last axis, times k.

    Args:
        n: size of the groups; it must divide the number of channels. None, or any n above the
            number of channels: all channels in one group.
        data_format: only `"channels_last"`.

    Example:
    >>> x = np.array([[4.0, 1.0, 3.0, 0.0]])
    >>> print(ops.convert_to_numpy(lipkit.layers.GroupSort(2)(x)))
    [[1. 4. 0. 3.]]

    Reference: Anil, Lucas and Grosse, ICML 2019, arXiv:1811.05381.
    """

    formats = ("channels_last",)

    def __init__(self, n=None, data_format="channels_last", k_coef_lip=1.0, **kwargs):
        super().__init__(data_format=data_format, k_coef_lip=k_coef_lip, **kwargs)
        self.n = None if n is None else integer("n", n)

    def build(self, input_shape):
        """Check that the groups divide the channels."""
        self.group_size(known_channels(self, input_shape))
        super().build(input_shape)

    def group_size(self, channels):
        """The size of the groups for this many channels."""
        n = channels if self.n is None else min(self.n, channels)
        if channels % n:
            raise self._misfit(n, channels)
        return n

    def _misfit(self, n, channels):
        return ValueError(
            f"{type(self).__name__} {self.name!r}: `n` must divide the number of channels. "
            f"Received: n={n} for {channels} channels"
        )

    def call(self, inputs):
        n = self.group_size(inputs.shape[-1])
        if n == 1:
            return self._scaled(inputs)
        if tuple(inputs.shape[1:]) == (n,):
            return self._scaled(sort_groups(inputs))
        groups = sort_groups(ops.reshape(inputs, (-1, n)))
        return self._scaled(ops.reshape(groups, ops.shape(inputs)))

    def to_vanilla(self, inputs):
        """The same function in Keras's own operations, with all arguments known beforehand."""
        _, *known, channels = inputs.shape
        n = self.group_size(channels)
        if n == 1:
            return self._scaled(inputs)
        if n == channels:
            return self._scaled(ops.sort(inputs, axis=-1))
        count = channels // n
        if None not in known:
            groups = ops.reshape(inputs, (-1, *known, count, n))
            return self._scaled(ops.reshape(ops.sort(groups, axis=-1), (-1, *known, channels)))
        groups = ops.stack(ops.split(inputs, count, axis=-1), axis=-2)
        groups = ops.unstack(ops.sort(groups, axis=-1), num=count, axis=-2)
        return self._scaled(ops.concatenate(groups, axis=-1))

    def compute_output_shape(self, input_shape):
        """Unchanged."""
        return input_shape

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "n": self.n}


class _FixedGroupSort(GroupSort):
    _n: int | None = None
    fixed_arguments = ("n",)

    def __init__(self, data_format="channels_last", k_coef_lip=1.0, **kwargs):
        super().__init__(n=self._n, data_format=data_format, k_coef_lip=k_coef_lip, **kwargs)

    def get_config(self):
        """Keras configuration; the class fixes `n`."""
        config = super().get_config()
        del config["n"]
        return config


@register
class GroupSort2(_FixedGroupSort):
    """Sort each consecutive pair of channels in ascending order: `GroupSort(2)`.

    Inputs and outputs have the shape (batch, ..., channels), with an even number of channels.

    Raises:
        ValueError: when built, the number of channels is odd or unknown.

    Example:
    >>> x = np.array([[4.0, 1.0, 3.0, 0.0]])
    >>> print(ops.convert_to_numpy(lipkit.layers.GroupSort2()(x)))
    [[1. 4. 0. 3.]]
    """

    _n = 2

    def _misfit(self, n, channels):
        return ValueError(
            f"{type(self).__name__} {self.name!r} needs an even number of channels. Received: "
            f"{channels} channels. Change the `units` or `filters` of the layer before it, or use "
            "FullSort."
        )


@register
class FullSort(_FixedGroupSort):
    """Sort all channels: `GroupSort(None)`.

    Example:
    >>> x = np.array([[4.0, 1.0, 3.0, 0.0]])
    >>> print(ops.convert_to_numpy(lipkit.layers.FullSort()(x)))
    [[0. 1. 3. 4.]]
    """

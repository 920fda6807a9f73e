"""What layers share: a target constant, and checks of shapes."""

import keras

from lipkit._checks import check_constant
from lipkit.layers.exported import Exported

__all__ = ["LipschitzLayer"]


def check_data_format(data_format):
    """The data format, or `ValueError`."""
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            "`data_format` must be 'channels_last' or 'channels_first'. "
            f"Received: data_format={data_format!r}"
        )
    return data_format


def batch_size(shape):
    """The first size, for a reshape that keeps it: -1 would take up what the others leave over."""
    return -1 if shape[0] is None else shape[0]


def known_channels(layer, shape, axis=-1):
    """The number of channels of inputs of this shape, or `ValueError`."""
    if shape[axis] is None:
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} needs a known number of channels. Received: "
            f"inputs of shape {tuple(shape)}, channels on axis {axis}"
        )
    return shape[axis]


def place_axis(layer, axis, rank):
    """An axis of inputs of this rank counted from 0, or `ValueError`: not the batch's."""
    if isinstance(axis, (bool, float)) or axis not in (*range(1, rank), *range(1 - rank, 0)):
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r}: `axis` must be an axis other than the batch's "
            f"of inputs of rank {rank}. Received: axis={axis!r}"
        )
    return axis % rank


def at_least_float32(dtype):
    """A dtype, or float32 for those of 16 bits."""
    dtype = keras.backend.standardize_dtype(dtype)
    return "float32" if dtype in ("bfloat16", "float16") else dtype


class LipschitzLayer(Exported):
    """Mixin put before a Keras layer: it adds a target constant.

    The layer multiplies by it where it computes: `_scaled(x)` does.

    Args:
        *args, **kwargs: of the Keras layer behind it.
        k_coef_lip: target Lipschitz constant, > 0; fixed at construction.

    Example:
    >>> class Minus(lipkit.layers.LipschitzLayer, keras.layers.Layer):
    ...     def call(self, inputs):
    ...         return -self.k_coef_lip * inputs
    >>> Minus(k_coef_lip=2).k_coef_lip
    2.0
    """

    def __init__(self, *args, k_coef_lip=1.0, **kwargs):
        k_coef_lip = check_constant(k_coef_lip)
        super().__init__(*args, **kwargs)
        self._k_coef_lip = k_coef_lip

    @property
    def k_coef_lip(self):
        """The target constant."""
        return self._k_coef_lip

    @k_coef_lip.setter
    def k_coef_lip(self, value):
        raise AttributeError(
            f"`k_coef_lip` of {self.name!r} is fixed at construction: graphs that were traced "
            f"with it would keep the old value. Create a new layer with `k_coef_lip={value!r}` and "
            "copy the weights with `set_weights`."
        )

    def set_klip_factor(self, klip_factor):
        """deel-lip's way to give the constant: until it is built; then it is an error."""
        if getattr(self, "built", False):
            self.k_coef_lip = klip_factor  # raises: it is fixed
        self._k_coef_lip = check_constant(klip_factor)

    def _scaled(self, x):
        return x if self.k_coef_lip == 1.0 else self.k_coef_lip * x

    def get_config(self):
        """Keras configuration, with `k_coef_lip`."""
        return {**super().get_config(), "k_coef_lip": self.k_coef_lip}


class ActivationLast(Exported):
    """Mixin put before a Keras layer: the activation may be a layer that changes the shape.

    Keras does not ask the activation, and would build what follows `MaxMin` for half its channels.
    """

    def compute_output_shape(self, input_shape):
        """Shape of the outputs."""
        shape = super().compute_output_shape(input_shape)
        change = getattr(self.activation, "compute_output_shape", None)
        return change(shape) if change else shape

"""What a layer is in plain Keras, said by the layer: the export, the certifier and others ask."""

from typing import Any

import keras

__all__ = ["Exported"]


class Exported:
    """Mixin of layers that say what they are in plain Keras, in one of two ways.

    - *As operations*: the layer overrides `to_vanilla`, the function at inference in operations of
      Keras. A block around a model gives that one as `vanilla_inner`; `to_vanilla` then gets what
      stands for it as a second argument.
    - *As a layer*: the layer has a `vanilla_class`, of which `vanilla_config` and `vanilla_weights`
      make a copy. A layer that pads its inputs first says so by `pad_mode` and `pad_widths`.

    The export puts what is said in the layer's place. The certifier reads it too: a class that
    defines `to_vanilla` itself needs no rule, see `lipkit.certifier.as_exported`.

    Example:
    >>> class Double(lipkit.layers.Exported, keras.layers.Layer):
    ...     def call(self, inputs):
    ...         return 2.0 * inputs
    ...     to_vanilla = call
    >>> double = keras.Sequential([keras.Input((3,)), Double()])
    >>> print(round(float(lipkit.lipschitz_bound(double)), 6))
    2.0
    """

    to_vanilla: Any = None  # a method of the inputs, and in a block of the inner model
    vanilla_class: type[keras.layers.Layer] | None = None
    pad_mode: str | None = None

    @property
    def vanilla_inner(self) -> keras.Model | None:
        """The model in a block that says what it is as operations around it."""
        return None

    def vanilla_config(self):
        """The configuration of a `vanilla_class`."""
        return self.get_config()

    def vanilla_weights(self):
        """The weights of a `vanilla_class`, as NumPy arrays."""
        return self.get_weights()

    def pad_widths(self):
        """(low, high) for each spatial axis: samples that `pad_mode` adds before the layer."""
        return []

    def vanilla_inputs(self, inputs):
        """What a `vanilla_class` is given, in operations of Keras: other inputs if it pads."""
        return inputs

    def vanilla_input_shape(self, input_shape):
        """The shape of `vanilla_inputs`."""
        return tuple(self.vanilla_inputs(keras.KerasTensor(input_shape, self.compute_dtype)).shape)


def as_operations(layer_class) -> bool:
    """Whether layers of a class say what they are as operations."""
    return issubclass(layer_class, Exported) and layer_class.to_vanilla is not None


def as_layer(layer) -> bool:
    """Whether a layer says what it is as a plain layer."""
    return isinstance(layer, Exported) and layer.vanilla_class is not None


def is_own(layer_class) -> bool:
    """Whether lipkit itself defines a class, and so answers for what it says."""
    return layer_class.__module__.partition(".")[0] == "lipkit"

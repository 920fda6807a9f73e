"""Convolutions with paddings that Keras lacks."""

import keras

from lipkit._registry import register
from lipkit.layers.base import ActivationLast
from lipkit.padding import MODES, pad, same_width
from lipkit.views import ConvView, KernelView

__all__ = ["PadConv1D", "PadConv2D"]


class PaddedConv(ActivationLast):
    """Mixin put before a Keras convolution: paddings that Keras lacks, done before its `call`.

    They are as wide as "same" at stride 1: `dilation_rate * (kernel_size - 1)` samples, the odd one
    at the end. So the output has `ceil(size / strides)` samples, as that of "same".

    Args:
        padding: `"same"`, `"valid"`, or a mode that pads by as many samples as `"same"`:
            `"constant"` (zeros), `"circular"`, `"symmetric"`, `"reflect"` or `"replicate"`; in one
            dimension also `"causal"`. Layers default to `"same"`, Keras's to `"valid"`.
        **kwargs: of the convolution.
    """

    paddings = ("valid", "same", *MODES)

    def __init__(self, *, padding, **kwargs):
        mode = padding.lower() if isinstance(padding, str) else padding
        if mode not in self.paddings:
            raise ValueError(
                f"`padding` of {type(self).__name__} must be one of {self.paddings}. "
                f"Received: padding={padding!r}"
            )
        super().__init__(padding="valid" if mode in MODES else mode, **kwargs)
        self.pad_mode = mode if mode in MODES else None

    def pad_widths(self):
        """(low, high) for each axis."""
        axes = zip(self.kernel_size, self.dilation_rate, strict=True)
        return [same_width(d * (k - 1) + 1) for k, d in axes]

    def vanilla_inputs(self, inputs):
        """What the plain Keras layer is given, in Keras's own operations."""
        if self.pad_mode is None:
            return inputs
        axis = 1 if self.data_format == "channels_last" else 2
        return pad(inputs, self.pad_mode, self.pad_widths(), axis)

    def call(self, inputs):
        return super().call(self.vanilla_inputs(inputs))

    def compute_output_shape(self, input_shape):
        """Shape of the outputs."""
        return super().compute_output_shape(self.vanilla_input_shape(input_shape))

    def get_config(self):
        """Keras configuration, with the padding that was asked for."""
        return {**super().get_config(), "padding": self.pad_mode or self.padding}

    @property
    def view(self) -> KernelView:
        """The kernel unfolded, one matrix for each group."""
        mode, groups = self.pad_mode or self.padding, getattr(self, "groups", 1)
        return ConvView(self.kernel_size, self.strides, self.dilation_rate, mode, groups)


class Filters(PaddedConv):
    """The positional arguments of a convolution."""

    def __init__(self, filters, kernel_size, strides=1, padding="same", **kwargs):
        kwargs.update(filters=filters, kernel_size=kernel_size, strides=strides, padding=padding)
        super().__init__(**kwargs)


class _Plain(Filters):
    def vanilla_config(self):
        """Configuration of the plain Keras layer, which gets its inputs padded."""
        return {**self.get_config(), "padding": self.padding}


@register
class PadConv1D(_Plain, keras.layers.Conv1D):
    """`keras.layers.Conv1D`, not constrained, with the paddings of `SpectralConv1D`.

    Example:
    >>> layer = lipkit.layers.PadConv1D(16, 4, padding="circular")
    >>> tuple(layer(np.ones((2, 8, 4))).shape)
    (2, 8, 16)
    """

    vanilla_class = keras.layers.Conv1D
    paddings = (*PaddedConv.paddings, "causal")


@register
class PadConv2D(_Plain, keras.layers.Conv2D):
    """`keras.layers.Conv2D`, not constrained, with the paddings of `SpectralConv2D`.

    Example:
    >>> layer = lipkit.layers.PadConv2D(16, 4, padding="reflect")
    >>> tuple(layer(np.ones((2, 8, 8, 4))).shape)
    (2, 8, 8, 16)
    """

    vanilla_class = keras.layers.Conv2D

"""Convolutions with a Lipschitz constant, and plain ones with more paddings than Keras has."""

import keras

from lipkit.layers.base import FixedKernel, SpectralKernel
from lipkit.padding import MODES, pad, same_width
from lipkit.views import ConvView, KernelView

_register = keras.saving.register_keras_serializable("lipkit")


class PaddedConv:
    """Mixin put before a Keras convolution: paddings that Keras has not, done before its `call`.

    They are as wide as "same" at stride 1: `dilation_rate * (kernel_size - 1)` samples, the odd one
    at the end. So the output has `ceil(size / strides)` samples, as that of "same".
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

    def vanilla_input_shape(self, input_shape):
        """The shape of `vanilla_inputs`."""
        return tuple(self.vanilla_inputs(keras.KerasTensor(input_shape, self.compute_dtype)).shape)

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


class _Filters(PaddedConv):
    """The positional arguments of a convolution."""

    def __init__(self, filters, kernel_size, strides=1, padding="same", **kwargs):
        kwargs.update(filters=filters, kernel_size=kernel_size, strides=strides, padding=padding)
        super().__init__(**kwargs)


class _SpectralConv(_Filters, SpectralKernel):
    pass


class _SpectralConvTranspose(_SpectralConv):
    paddings = ("valid", "same")


@_register
class SpectralConv1D(_SpectralConv, keras.layers.Conv1D):
    """`keras.layers.Conv1D` with Lipschitz constant at most `k_coef_lip`: see `SpectralConv2D`.

    `padding` may also be `"causal"`.
    """

    vanilla_class = keras.layers.Conv1D
    paddings = (*PaddedConv.paddings, "causal")


@_register
class SpectralConv2D(_SpectralConv, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with Lipschitz constant at most `k_coef_lip` on inputs of any size.

    The kernel, unfolded to a matrix for each group, is made orthogonal (or what `parametrization`
    says) and divided by the root of how often the windows read one sample, at most; see
    `lipkit.views.ConvView`.

    Shapes are those of `Conv2D`: (batch, height, width, channels) -> (batch, new_height,
    new_width, filters), or with the channels first.

    Args:
        filters, kernel_size, strides: as in `keras.layers.Conv2D`.
        padding: `"same"`, `"valid"`, or one of `lipkit.padding.MODES`: `"circular"`, `"symmetric"`,
            `"reflect"`, `"replicate"` (repeated samples) and `"constant"` (zeros).
        parametrization: kernel rule, see `lipkit.layers.SpectralDense`.
        k_coef_lip: target Lipschitz constant of the linear map.
        eps_spectral, eps_bjorck, beta_bjorck, maxiter_spectral, maxiter_bjorck: deel-lip's
            keywords, see `lipkit.layers.base.from_deel_lip`.
        data_format, dilation_rate, groups, activation, use_bias, ...: as in Keras.

    Raises:
        ValueError: at construction for an unknown `padding`; when called on inputs too small to be
            padded by repeating samples.

    Example:
    >>> layer = SpectralConv2D(16, 3, padding="circular")
    >>> layer(keras.ops.ones((2, 8, 8, 4))).shape
    (2, 8, 8, 16)

    Reference: Li et al., "Preventing Gradient Attenuation in Lipschitz Constrained Convolutional
    Networks", NeurIPS 2019, arXiv:1911.00937, for the unfolded kernel. The bound is proven; it is
    enforced to float32 rounding.
    """

    vanilla_class = keras.layers.Conv2D


@_register
class SpectralConv3D(_SpectralConv, keras.layers.Conv3D):
    """`keras.layers.Conv3D` with Lipschitz constant at most `k_coef_lip`: see `SpectralConv2D`."""

    vanilla_class = keras.layers.Conv3D


@_register
class SpectralConv1DTranspose(_SpectralConvTranspose, keras.layers.Conv1DTranspose):
    """`keras.layers.Conv1DTranspose`, constrained: see `SpectralConv2DTranspose`."""

    vanilla_class = keras.layers.Conv1DTranspose


@_register
class SpectralConv2DTranspose(_SpectralConvTranspose, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` with Lipschitz constant at most `k_coef_lip` at any size.

    It is the adjoint of a strided convolution from its outputs to its inputs, so it has the same
    norm: the kernel is unfolded as that one's, to (taps * filters, channels), and divided likewise.

    Args:
        filters, kernel_size, strides, output_padding, ...: as in `keras.layers.Conv2DTranspose`.
        padding: `"same"` or `"valid"`.
        parametrization, k_coef_lip, eps_spectral, ...: as in `SpectralConv2D`.
    """

    vanilla_class = keras.layers.Conv2DTranspose


@_register
class SpectralConv3DTranspose(_SpectralConvTranspose, keras.layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose`, constrained: see `SpectralConv2DTranspose`."""

    vanilla_class = keras.layers.Conv3DTranspose


class _SpectralDepthwise(PaddedConv, SpectralKernel):
    kernel_role = "depthwise"
    groups = None  # one for each channel

    def __init__(self, kernel_size, strides=1, padding="same", depth_multiplier=1, **kwargs):
        kwargs.update(kernel_size=kernel_size, strides=strides, depth_multiplier=depth_multiplier)
        super().__init__(padding=padding, **kwargs)


@_register
class SpectralDepthwiseConv1D(_SpectralDepthwise, keras.layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D`, constrained: see `SpectralDepthwiseConv2D`."""

    vanilla_class = keras.layers.DepthwiseConv1D


@_register
class SpectralDepthwiseConv2D(_SpectralDepthwise, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with Lipschitz constant at most `k_coef_lip` at any size.

    A convolution with one group for each channel.

    Args:
        kernel_size, strides, depth_multiplier, depthwise_initializer, ...: as in
            `keras.layers.DepthwiseConv2D`.
        padding, parametrization, k_coef_lip, eps_spectral, ...: as in `SpectralConv2D`.
    """

    vanilla_class = keras.layers.DepthwiseConv2D


@_register
class FrobeniusConv2D(_Filters, FixedKernel, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a kernel divided by its Frobenius norm: for a single filter.

    With more filters the Lipschitz constant of the whole map is at most `k_coef_lip` too, but they
    share it. The factor for the overlap of windows is that of `SpectralConv2D`.

    Args:
        filters, kernel_size, padding, k_coef_lip, ...: as in `SpectralConv2D`.
    """

    vanilla_class = keras.layers.Conv2D

    def __init__(self, *args, **kwargs):
        super().__init__(*args, rule="frobenius", **kwargs)


class _Plain(_Filters):
    def vanilla_config(self):
        """Configuration of the plain Keras layer, which gets its inputs padded."""
        return {**self.get_config(), "padding": self.padding}


@_register
class PadConv1D(_Plain, keras.layers.Conv1D):
    """`keras.layers.Conv1D`, not constrained, with the paddings of `SpectralConv1D`."""

    vanilla_class = keras.layers.Conv1D
    paddings = SpectralConv1D.paddings


@_register
class PadConv2D(_Plain, keras.layers.Conv2D):
    """`keras.layers.Conv2D`, not constrained, with the paddings of `SpectralConv2D`.

    Example:
    >>> PadConv2D(16, 4, padding="reflect")(keras.ops.ones((2, 8, 8, 4))).shape
    (2, 8, 8, 16)
    """

    vanilla_class = keras.layers.Conv2D

"""Convolutions with a Lipschitz constant."""

import keras

from lipkit._registry import register
from lipkit.initializers.delta import DeltaOrthogonal
from lipkit.layers.kernels import FixedKernel, SpectralKernel
from lipkit.layers.padded import Filters, PaddedConv
from lipkit.parametrizations import AOL

__all__ = [
    "FrobeniusConv2D",
    "SpectralConv1D",
    "SpectralConv1DTranspose",
    "SpectralConv2D",
    "SpectralConv2DTranspose",
    "SpectralConv3D",
    "SpectralConv3DTranspose",
    "SpectralDepthwiseConv1D",
    "SpectralDepthwiseConv2D",
]


class _AlmostOrthogonal(SpectralKernel):
    """What is rescaled channel by channel starts at an orthogonal convolution.

    Args:
        kernel_initializer, depthwise_initializer: initializer of the free kernel, by default an
            orthogonal convolution for `"aol"`, orthogonal matrices for other rules.
    """

    default_rule = "aol"

    def starting_point(self, rule, arguments):
        if not isinstance(rule, AOL):
            return super().starting_point(rule, arguments)
        groups = arguments.get("groups", getattr(type(self), "groups", 1))
        return DeltaOrthogonal(strides=arguments["strides"], groups=groups)


class _SpectralConv(Filters, _AlmostOrthogonal):
    pass


class _SpectralConvTranspose(_SpectralConv):
    """The transposed ones, of a filter's channels first.

    Args:
        padding: `"same"` or `"valid"`.
        output_padding: samples added at the end of each axis, an integer or one for each; None: as
            many as `strides` ask for.
    """

    paddings = ("valid", "same")


@register
class SpectralConv1D(_SpectralConv, keras.layers.Conv1D):
    """`keras.layers.Conv1D` with Lipschitz constant at most `k_coef_lip`: see `SpectralConv2D`.

    `padding` may also be `"causal"`.

    Example:
    >>> layer = lipkit.layers.SpectralConv1D(16, 3)
    >>> tuple(layer(np.ones((2, 8, 4))).shape)
    (2, 8, 16)
    """

    vanilla_class = keras.layers.Conv1D
    paddings = (*PaddedConv.paddings, "causal")


@register
class SpectralConv2D(_SpectralConv, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with Lipschitz constant at most `k_coef_lip` on inputs of any size.

    By default, the kernel's channels are rescaled such that the constant is at most `k_coef_lip`
    (`lipkit.linalg.conv_aol`). With zero or circular padding, the layer starts at an orthogonal
    convolution; paddings that repeat samples divide the kernel by their norm too, so that a new 3x3
    layer may have a gain of about 1/3.

    Other rules, `"polar"` or those of deel-lip's keywords, constrain the unfolded kernel (one
    matrix per group) and divide it by the square root of the largest number of windows that contain
    one sample (`lipkit.views.ConvView`): by 3 for a 3x3 kernel. This is safe but often pessimistic.

    Shapes are those of `Conv2D`: (batch, height, width, channels) -> (batch, new_height,
    new_width, filters), or with the channels first.

    Raises:
        ValueError: at construction for an unknown `padding`; when called on inputs too small to be
            padded by repeating samples.

    Example:
    >>> layer = lipkit.layers.SpectralConv2D(16, 3, padding="circular")
    >>> tuple(layer(np.ones((2, 8, 8, 4))).shape)
    (2, 8, 8, 16)

    Reference: Prach and Lampert, ECCV 2022, arXiv:2208.03160, for the default; Li et al., NeurIPS
    2019, arXiv:1911.00937, for unfolded kernels. Both bounds are proven for inputs of every size,
    and enforced to float32 rounding.
    """

    vanilla_class = keras.layers.Conv2D


@register
class SpectralConv3D(_SpectralConv, keras.layers.Conv3D):
    """`keras.layers.Conv3D` with Lipschitz constant at most `k_coef_lip`: see `SpectralConv2D`.

    Example:
    >>> layer = lipkit.layers.SpectralConv3D(16, 3)
    >>> tuple(layer(np.ones((2, 4, 4, 4, 4))).shape)
    (2, 4, 4, 4, 16)
    """

    vanilla_class = keras.layers.Conv3D


@register
class SpectralConv1DTranspose(_SpectralConvTranspose, keras.layers.Conv1DTranspose):
    """`keras.layers.Conv1DTranspose`, constrained: see `SpectralConv2DTranspose`.

    Example:
    >>> layer = lipkit.layers.SpectralConv1DTranspose(3, 2, strides=2)
    >>> tuple(layer(np.ones((2, 8, 4))).shape)
    (2, 16, 3)
    """

    vanilla_class = keras.layers.Conv1DTranspose


@register
class SpectralConv2DTranspose(_SpectralConvTranspose, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` with Lipschitz constant at most `k_coef_lip` at any size.

    It is the adjoint of a strided convolution from its outputs to its inputs, so it has the same
    norm: the kernel is unfolded as that one's, to (taps * filters, channels), and divided likewise.

    Example:
    >>> layer = lipkit.layers.SpectralConv2DTranspose(3, 2, strides=2)
    >>> tuple(layer(np.ones((2, 8, 8, 4))).shape)
    (2, 16, 16, 3)
    """

    vanilla_class = keras.layers.Conv2DTranspose


@register
class SpectralConv3DTranspose(_SpectralConvTranspose, keras.layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose`, constrained: see `SpectralConv2DTranspose`.

    Example:
    >>> layer = lipkit.layers.SpectralConv3DTranspose(3, 2, strides=2)
    >>> tuple(layer(np.ones((2, 4, 4, 4, 4))).shape)
    (2, 8, 8, 8, 3)
    """

    vanilla_class = keras.layers.Conv3DTranspose


class _SpectralDepthwise(PaddedConv, _AlmostOrthogonal):
    kernel_role = "depthwise"
    groups = None  # one for each channel

    def __init__(self, kernel_size, strides=1, padding="same", depth_multiplier=1, **kwargs):
        kwargs.update(kernel_size=kernel_size, strides=strides, depth_multiplier=depth_multiplier)
        super().__init__(padding=padding, **kwargs)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            # Keras documents it; TensorFlow reads foreign memory for inputs smaller than a window
            raise ValueError(
                f"`strides` and `dilation_rate` of {type(self).__name__} cannot both be above 1. "
                f"Received: strides={self.strides}, dilation_rate={self.dilation_rate}"
            )


@register
class SpectralDepthwiseConv1D(_SpectralDepthwise, keras.layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D`, constrained: see `SpectralDepthwiseConv2D`.

    Example:
    >>> layer = lipkit.layers.SpectralDepthwiseConv1D(3)
    >>> tuple(layer(np.ones((2, 8, 4))).shape)
    (2, 8, 4)
    """

    vanilla_class = keras.layers.DepthwiseConv1D


@register
class SpectralDepthwiseConv2D(_SpectralDepthwise, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with Lipschitz constant at most `k_coef_lip` at any size.

    A convolution with one group for each channel.

    Example:
    >>> layer = lipkit.layers.SpectralDepthwiseConv2D(3, depth_multiplier=2)
    >>> tuple(layer(np.ones((2, 8, 8, 4))).shape)
    (2, 8, 8, 8)
    """

    vanilla_class = keras.layers.DepthwiseConv2D


@register
class FrobeniusConv2D(Filters, FixedKernel, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a kernel divided by its Frobenius norm: for a single filter.

    With more filters the Lipschitz constant of the whole map is at most `k_coef_lip` too, but they
    share it. The factor for the overlap of windows is that of `SpectralConv2D`.

    Example:
    >>> layer = lipkit.layers.FrobeniusConv2D(1, 3)
    >>> tuple(layer(np.ones((2, 8, 8, 4))).shape)
    (2, 8, 8, 1)
    """

    vanilla_class = keras.layers.Conv2D

    def __init__(self, *args, **kwargs):
        super().__init__(*args, parametrization="frobenius", **kwargs)

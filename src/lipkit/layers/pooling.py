"""Pooling that loses nothing to its factor: averages and 2-norms of windows that do not overlap."""

from lipkit._registry import register
from lipkit.layers._pooling import Average, Global, L2Norm, Windows

__all__ = [
    "ScaledAveragePooling1D",
    "ScaledAveragePooling2D",
    "ScaledAveragePooling3D",
    "ScaledGlobalAveragePooling1D",
    "ScaledGlobalAveragePooling2D",
    "ScaledGlobalAveragePooling3D",
    "ScaledGlobalL2NormPooling1D",
    "ScaledGlobalL2NormPooling2D",
    "ScaledGlobalL2NormPooling3D",
    "ScaledL2NormPooling1D",
    "ScaledL2NormPooling2D",
    "ScaledL2NormPooling3D",
]


@register
class ScaledAveragePooling1D(Average, Windows):
    """`ScaledAveragePooling2D` of sequences."""

    rank = 1


@register
class ScaledAveragePooling2D(Average, Windows):
    """Average pooling times k sqrt(window size): a linear map of norm exactly k.

    The windows do not overlap, so the sum over a window of n entries has norm sqrt(n).

    Shapes: (batch, height, width, channels) -> (batch, height // p, width // q, channels), or with
    the channels first.

    Args:
        pool_size: size of the windows, an integer or one for each axis.
        strides: None, or the same as `pool_size`.
        padding: `"valid"`, any spelling.
        data_format: `"channels_last"` or `"channels_first"`; None: Keras's setting.
        k_coef_lip: Lipschitz constant.

    Raises:
        ValueError: for other strides or paddings, and for inputs smaller than a window.
    """

    rank = 2


@register
class ScaledAveragePooling3D(Average, Windows):
    """`ScaledAveragePooling2D` of volumes."""

    rank = 3


@register
class ScaledL2NormPooling1D(L2Norm, Windows):
    """`ScaledL2NormPooling2D` of sequences."""

    rank = 1


@register
class ScaledL2NormPooling2D(L2Norm, Windows):
    """k times the 2-norm of each window: k-Lipschitz, and it keeps the norm of its input.

    Neither large nor small entries over- or underflow; the gradient at a window of zeros is 0.

    Args:
        pool_size, strides, padding, data_format, k_coef_lip: as in `ScaledAveragePooling2D`.
        eps_grad_sqrt: accepted for deel-lip's sake, without effect.

    Reference: Boureau, Ponce and LeCun, "A theoretical analysis of feature pooling in visual
    recognition", ICML 2010.
    """

    rank = 2


@register
class ScaledL2NormPooling3D(L2Norm, Windows):
    """`ScaledL2NormPooling2D` of volumes."""

    rank = 3


@register
class ScaledGlobalAveragePooling1D(Average, Global):
    """`ScaledGlobalAveragePooling2D` of sequences."""

    rank = 1


@register
class ScaledGlobalAveragePooling2D(Average, Global):
    """k sqrt(n) times the mean over all n positions: a linear map of norm exactly k at any size.

    Shapes: (batch, height, width, channels) -> (batch, channels), or with the channels first.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; None: Keras's setting.
        k_coef_lip: Lipschitz constant.
        keepdims: keep the spatial axes, with size 1.
    """

    rank = 2


@register
class ScaledGlobalAveragePooling3D(Average, Global):
    """`ScaledGlobalAveragePooling2D` of volumes."""

    rank = 3


@register
class ScaledGlobalL2NormPooling1D(L2Norm, Global):
    """`ScaledGlobalL2NormPooling2D` of sequences."""

    rank = 1


@register
class ScaledGlobalL2NormPooling2D(L2Norm, Global):
    """k times the 2-norm of each channel over all positions: k-Lipschitz.

    Args:
        data_format, k_coef_lip, keepdims: as in `ScaledGlobalAveragePooling2D`.
        eps_grad_sqrt: accepted for deel-lip's sake, without effect.
    """

    rank = 2


@register
class ScaledGlobalL2NormPooling3D(L2Norm, Global):
    """`ScaledGlobalL2NormPooling2D` of volumes."""

    rank = 3

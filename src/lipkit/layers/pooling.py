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
    """`ScaledAveragePooling2D` of sequences.

    Example:
    >>> layer = lipkit.layers.ScaledAveragePooling1D()
    >>> tuple(layer(np.ones((2, 4, 3))).shape)
    (2, 2, 3)
    """

    rank = 1


@register
class ScaledAveragePooling2D(Average, Windows):
    """Average pooling times k sqrt(window size): a linear map of norm exactly k.

    The windows do not overlap, so the sum over a window of n entries has norm sqrt(n).

    Shapes: (batch, height, width, channels) -> (batch, height // p, width // q, channels), or with
    the channels first.

    Raises:
        ValueError: for other strides or paddings, and for inputs smaller than a window.

    Example:
    >>> layer = lipkit.layers.ScaledAveragePooling2D()
    >>> tuple(layer(np.ones((2, 4, 4, 3))).shape)
    (2, 2, 2, 3)
    """

    rank = 2


@register
class ScaledAveragePooling3D(Average, Windows):
    """`ScaledAveragePooling2D` of volumes.

    Example:
    >>> layer = lipkit.layers.ScaledAveragePooling3D()
    >>> tuple(layer(np.ones((2, 4, 4, 4, 3))).shape)
    (2, 2, 2, 2, 3)
    """

    rank = 3


@register
class ScaledL2NormPooling1D(L2Norm, Windows):
    """`ScaledL2NormPooling2D` of sequences.

    Example:
    >>> layer = lipkit.layers.ScaledL2NormPooling1D()
    >>> tuple(layer(np.ones((2, 4, 3))).shape)
    (2, 2, 3)
    """

    rank = 1


@register
class ScaledL2NormPooling2D(L2Norm, Windows):
    """k times the 2-norm of each window: k-Lipschitz, and it keeps the norm of its input.

    Neither large nor small entries over- or underflow; the gradient at a window of zeros is 0.

    Example:
    >>> layer = lipkit.layers.ScaledL2NormPooling2D()
    >>> tuple(layer(np.ones((2, 4, 4, 3))).shape)
    (2, 2, 2, 3)

    Reference: Boureau, Ponce and LeCun, "A theoretical analysis of feature pooling in visual
    recognition", ICML 2010.
    """

    rank = 2


@register
class ScaledL2NormPooling3D(L2Norm, Windows):
    """`ScaledL2NormPooling2D` of volumes.

    Example:
    >>> layer = lipkit.layers.ScaledL2NormPooling3D()
    >>> tuple(layer(np.ones((2, 4, 4, 4, 3))).shape)
    (2, 2, 2, 2, 3)
    """

    rank = 3


@register
class ScaledGlobalAveragePooling1D(Average, Global):
    """`ScaledGlobalAveragePooling2D` of sequences.

    Example:
    >>> layer = lipkit.layers.ScaledGlobalAveragePooling1D()
    >>> tuple(layer(np.ones((2, 4, 3))).shape)
    (2, 3)
    """

    rank = 1


@register
class ScaledGlobalAveragePooling2D(Average, Global):
    """k sqrt(n) times the mean over all n positions: a linear map of norm exactly k at any size.

    Shapes: (batch, height, width, channels) -> (batch, channels), or with the channels first.

    Example:
    >>> layer = lipkit.layers.ScaledGlobalAveragePooling2D()
    >>> tuple(layer(np.ones((2, 4, 4, 3))).shape)
    (2, 3)
    """

    rank = 2


@register
class ScaledGlobalAveragePooling3D(Average, Global):
    """`ScaledGlobalAveragePooling2D` of volumes.

    Example:
    >>> layer = lipkit.layers.ScaledGlobalAveragePooling3D()
    >>> tuple(layer(np.ones((2, 4, 4, 4, 3))).shape)
    (2, 3)
    """

    rank = 3


@register
class ScaledGlobalL2NormPooling1D(L2Norm, Global):
    """`ScaledGlobalL2NormPooling2D` of sequences.

    Example:
    >>> layer = lipkit.layers.ScaledGlobalL2NormPooling1D()
    >>> tuple(layer(np.ones((2, 4, 3))).shape)
    (2, 3)
    """

    rank = 1


@register
class ScaledGlobalL2NormPooling2D(L2Norm, Global):
    """k times the 2-norm of each channel over all positions: k-Lipschitz.

    Example:
    >>> layer = lipkit.layers.ScaledGlobalL2NormPooling2D()
    >>> tuple(layer(np.ones((2, 4, 4, 3))).shape)
    (2, 3)
    """

    rank = 2


@register
class ScaledGlobalL2NormPooling3D(L2Norm, Global):
    """`ScaledGlobalL2NormPooling2D` of volumes.

    Example:
    >>> layer = lipkit.layers.ScaledGlobalL2NormPooling3D()
    >>> tuple(layer(np.ones((2, 4, 4, 4, 3))).shape)
    (2, 3)
    """

    rank = 3

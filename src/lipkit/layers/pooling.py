"""Pooling that loses nothing to its factor: averages and 2-norms of windows that do not overlap."""

import math

import keras
from keras import ops

from lipkit._checks import real
from lipkit.layers.base import LipschitzLayer, check_data_format
from lipkit.linalg.norms import euclidean_norm

_register = keras.saving.register_keras_serializable("lipkit")


class _Pooling(LipschitzLayer, keras.layers.Layer):
    """Base of all: `_reduce` over the axes of the windows, in either data format."""

    rank: int

    def __init__(self, data_format=None, k_coef_lip=1.0, **kwargs):
        super().__init__(k_coef_lip=k_coef_lip, **kwargs)
        self.data_format = check_data_format(data_format or keras.config.image_data_format())

    @property
    def _first(self):
        """The first spatial axis."""
        return 1 if self.data_format == "channels_last" else 2

    def build(self, input_shape):
        """Check the rank and the sizes that are known."""
        if len(input_shape) != self.rank + 2:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} needs inputs of rank {self.rank + 2}. "
                f"Received: inputs of shape {tuple(input_shape)}"
            )
        self.compute_output_shape(input_shape)

    def call(self, inputs):
        return self._pool(inputs, plain=False)

    def to_vanilla(self, inputs):
        """The same in plain Keras operations; sizes must be known where windows are cut."""
        return self._pool(inputs, plain=True)

    def _known_shape(self, x, plain):
        """Sizes as integers, or as tensors where a graph leaves them open."""
        shape = tuple(ops.shape(x))
        if plain and None in shape[1:]:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} can be exported for inputs of known sizes "
                f"only. Received: inputs of shape {shape}"
            )
        return shape

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "data_format": self.data_format}


class _Windows(_Pooling):
    """Pooling of windows that tile the input; what is left at its ends is dropped."""

    def __init__(
        self,
        pool_size=2,
        strides=None,
        padding="valid",
        data_format=None,
        k_coef_lip=1.0,
        **kwargs,
    ):
        super().__init__(data_format=data_format, k_coef_lip=k_coef_lip, **kwargs)
        self.pool_size = self._per_axis("pool_size", pool_size)
        name = type(self).__name__
        if strides is not None and self._per_axis("strides", strides) != self.pool_size:
            raise ValueError(
                f"`strides` of {name} must be None or equal to `pool_size`: windows that overlap "
                f"would have a larger constant. Received: strides={strides!r}, "
                f"pool_size={pool_size!r}"
            )
        if not isinstance(padding, str) or padding.lower() != "valid":
            raise ValueError(f"`padding` of {name} must be 'valid'. Received: padding={padding!r}")

    def _per_axis(self, name, value):
        sizes = tuple(value) if isinstance(value, (list, tuple)) else (value,) * self.rank
        if len(sizes) != self.rank or any(type(n) is not int or n < 1 for n in sizes):
            raise ValueError(
                f"`{name}` of {type(self).__name__} must be a positive integer or {self.rank} of "
                f"them. Received: {name}={value!r}"
            )
        return sizes

    def compute_output_shape(self, input_shape):
        """The number of whole windows along each spatial axis."""
        spatial = slice(self._first, self._first + self.rank)
        pairs = list(zip(input_shape[spatial], self.pool_size, strict=True))
        if any(n is not None and n < p for n, p in pairs):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: no window of pool_size={self.pool_size} "
                f"fits into inputs of shape {tuple(input_shape)}"
            )
        shape = list(input_shape)
        shape[spatial] = [None if n is None else n // p for n, p in pairs]
        return tuple(shape)

    def _pool(self, x, plain):
        """Cut into windows: (..., n, ...) -> (..., n // p, p, ...) for each spatial axis."""
        start, end = self._first, self._first + self.rank
        shape = self._known_shape(x, plain)
        sizes = shape[start:end]
        counts = [n // p for n, p in zip(sizes, self.pool_size, strict=True)]
        covered = [c * p for c, p in zip(counts, self.pool_size, strict=True)]
        if not all(isinstance(n, int) and n == c for n, c in zip(sizes, covered, strict=True)):
            x = x[(*(slice(None),) * start, *(slice(0, c) for c in covered))]
        tiles = [n for tile in zip(counts, self.pool_size, strict=True) for n in tile]
        windows = ops.reshape(x, (-1, *shape[1:start], *tiles, *shape[end:]))
        axes = tuple(range(start + 1, start + 2 * self.rank, 2))
        return self._scaled(self._reduce(windows, axes, math.prod(self.pool_size), plain))

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "pool_size": self.pool_size}


class _Global(_Pooling):
    """Pooling over all positions, of inputs of any size."""

    def __init__(self, data_format=None, k_coef_lip=1.0, *, keepdims=False, **kwargs):
        super().__init__(data_format=data_format, k_coef_lip=k_coef_lip, **kwargs)
        self.keepdims = bool(keepdims)

    def compute_output_shape(self, input_shape):
        """(batch, channels), with `keepdims` and sizes of 1 between or behind them."""
        kept = (1,) * self.rank if self.keepdims else ()
        end = self._first + self.rank
        return (*input_shape[: self._first], *kept, *input_shape[end:])

    def _pool(self, x, plain):
        axes = tuple(range(self._first, self._first + self.rank))
        sizes = [self._known_shape(x, plain)[axis] for axis in axes]
        count = math.prod(sizes) if all(isinstance(n, int) for n in sizes) else ops.prod(sizes)
        y = self._scaled(self._reduce(x, axes, count, plain))
        for axis in axes if self.keepdims else ():
            y = ops.expand_dims(y, axis)
        return y

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "keepdims": self.keepdims}


class _Average:
    """The mean over n entries times sqrt(n): a map of norm 1, read off the sizes at each call."""

    def _reduce(self, x, axes, count, plain):
        mean = ops.mean(x, axis=axes)
        if isinstance(count, int):
            return mean * math.sqrt(count)
        return mean * ops.sqrt(ops.cast(count, mean.dtype))


def _halved(x, axis):
    """The 2-norm along an axis, kept with size 1, by `hypot` of halves: it cannot overflow.

    And `keras.ops.norm` along axes cannot be reloaded on JAX.
    """
    before = (slice(None),) * axis
    while (n := x.shape[axis]) > 1:
        half = n // 2
        y = ops.hypot(x[(*before, slice(0, half))], x[(*before, slice(half, 2 * half))])
        x = ops.concatenate([y, x[(*before, slice(2 * half, n))]], axis=axis) if n % 2 else y
    return x


class _L2Norm:
    """The 2-norm over the entries: 1-Lipschitz, 0 at 0 with gradient 0 there.

    `eps_grad_sqrt` is deel-lip's, where it kept gradients finite: checked, stored, not needed.
    """

    def __init__(self, *args, eps_grad_sqrt=1e-6, **kwargs):
        super().__init__(*args, **kwargs)
        self.eps_grad_sqrt = real("eps_grad_sqrt", eps_grad_sqrt, "[0, inf[")

    def _reduce(self, x, axes, count, plain):
        if not plain:
            return euclidean_norm(x, axes)
        for axis in axes:
            x = _halved(ops.abs(x) if count == 1 else x, axis)
        return ops.reshape(x, (-1, *(n for i, n in enumerate(x.shape) if i and i not in axes)))

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "eps_grad_sqrt": self.eps_grad_sqrt}


@_register
class ScaledAveragePooling1D(_Average, _Windows):
    """`ScaledAveragePooling2D` of sequences."""

    rank = 1


@_register
class ScaledAveragePooling2D(_Average, _Windows):
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


@_register
class ScaledAveragePooling3D(_Average, _Windows):
    """`ScaledAveragePooling2D` of volumes."""

    rank = 3


@_register
class ScaledL2NormPooling1D(_L2Norm, _Windows):
    """`ScaledL2NormPooling2D` of sequences."""

    rank = 1


@_register
class ScaledL2NormPooling2D(_L2Norm, _Windows):
    """k times the 2-norm of each window: k-Lipschitz, and it keeps the norm of its input.

    Neither large nor small entries over- or underflow; the gradient at a window of zeros is 0.

    Args:
        pool_size, strides, padding, data_format, k_coef_lip: as in `ScaledAveragePooling2D`.
        eps_grad_sqrt: accepted for deel-lip's sake, without effect.

    Reference: Boureau, Ponce and LeCun, "A theoretical analysis of feature pooling in visual
    recognition", ICML 2010.
    """

    rank = 2


@_register
class ScaledL2NormPooling3D(_L2Norm, _Windows):
    """`ScaledL2NormPooling2D` of volumes."""

    rank = 3


@_register
class ScaledGlobalAveragePooling1D(_Average, _Global):
    """`ScaledGlobalAveragePooling2D` of sequences."""

    rank = 1


@_register
class ScaledGlobalAveragePooling2D(_Average, _Global):
    """k sqrt(n) times the mean over all n positions: a linear map of norm exactly k at any size.

    Shapes: (batch, height, width, channels) -> (batch, channels), or with the channels first.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; None: Keras's setting.
        k_coef_lip: Lipschitz constant.
        keepdims: keep the spatial axes, with size 1.
    """

    rank = 2


@_register
class ScaledGlobalAveragePooling3D(_Average, _Global):
    """`ScaledGlobalAveragePooling2D` of volumes."""

    rank = 3


@_register
class ScaledGlobalL2NormPooling1D(_L2Norm, _Global):
    """`ScaledGlobalL2NormPooling2D` of sequences."""

    rank = 1


@_register
class ScaledGlobalL2NormPooling2D(_L2Norm, _Global):
    """k times the 2-norm of each channel over all positions: k-Lipschitz.

    Args:
        data_format, k_coef_lip, keepdims: as in `ScaledGlobalAveragePooling2D`.
        eps_grad_sqrt: accepted for deel-lip's sake, without effect.
    """

    rank = 2


@_register
class ScaledGlobalL2NormPooling3D(_L2Norm, _Global):
    """`ScaledGlobalL2NormPooling2D` of volumes."""

    rank = 3

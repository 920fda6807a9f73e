"""What pools (windows, or all) and how (average, or 2-norm): the layers combine one of each."""

import functools
import math

import keras
from keras import ops

from lipkit._checks import integers, real
from lipkit.layers.base import LipschitzLayer, at_least_float32, batch_size, check_data_format
from lipkit.linalg.norms import euclidean_norm, plain_norm


class Pooling(LipschitzLayer, keras.layers.Layer):
    """Base of all: `_reduce` over the axes of the windows, in either data format.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; None: Keras's setting.
        k_coef_lip: Lipschitz constant, > 0; the outputs are multiplied by it.
        **kwargs: of `keras.layers.Layer`.
    """

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
        wide = at_least_float32(self.compute_dtype)  # sums over an image overflow float16
        return ops.cast(self._pool(ops.cast(inputs, wide), plain=False), self.compute_dtype)

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


class Windows(Pooling):
    """Pooling of windows that tile the input; what is left at its ends is dropped.

    Args:
        pool_size: size of the windows, an integer or one for each spatial axis.
        strides: None, or the same as `pool_size`.
        padding: `"valid"`, any spelling.
    """

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
        self.pool_size = integers("pool_size", pool_size, self.rank)
        name = type(self).__name__
        if strides is not None and integers("strides", strides, self.rank) != self.pool_size:
            raise ValueError(
                f"`strides` of {name} must be None or equal to `pool_size`: windows that overlap "
                f"would have a larger constant. Received: strides={strides!r}, "
                f"pool_size={pool_size!r}"
            )
        if not isinstance(padding, str) or padding.lower() != "valid":
            raise ValueError(f"`padding` of {name} must be 'valid'. Received: padding={padding!r}")

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
        self.compute_output_shape(x.shape)  # not only that of `build`
        start, end = self._first, self._first + self.rank
        shape = self._known_shape(x, plain)
        sizes = shape[start:end]
        counts = [_at_least_one(n // p) for n, p in zip(sizes, self.pool_size, strict=True)]
        covered = [c * p for c, p in zip(counts, self.pool_size, strict=True)]
        if not all(isinstance(n, int) and n == c for n, c in zip(sizes, covered, strict=True)):
            x = x[(*(slice(None),) * start, *(slice(0, c) for c in covered))]
        tiles = [n for tile in zip(counts, self.pool_size, strict=True) for n in tile]
        windows = ops.reshape(x, (batch_size(shape), *shape[1:start], *tiles, *shape[end:]))
        axes = tuple(range(start + 1, start + 2 * self.rank, 2))
        return self._scaled(self._reduce(windows, axes, math.prod(self.pool_size), plain))

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "pool_size": self.pool_size}


def _at_least_one(count):
    """So that a graph cannot reshape inputs that are smaller than a window."""
    return count if isinstance(count, int) else ops.maximum(count, 1)


class Global(Pooling):
    """Pooling over all positions, of inputs of any size.

    Args:
        keepdims: whether the spatial axes are kept, with sizes of 1.
    """

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


def _one_by_one(reduce, x, axes):
    """Reduce over the axes: TensorFlow cannot broadcast over every other of eight axes at once."""
    return functools.reduce(reduce, reversed(axes), x)


class Average:
    """The mean over n entries times sqrt(n): a map of norm 1, read off the sizes at each call."""

    def _reduce(self, x, axes, count, plain):
        mean = _one_by_one(ops.mean, x, axes)
        if isinstance(count, int):
            return mean * math.sqrt(count)
        return mean * ops.sqrt(ops.cast(count, mean.dtype))


class L2Norm:
    """The 2-norm over the entries: 1-Lipschitz, 0 at 0 with gradient 0 there.

    Args:
        eps_grad_sqrt: deel-lip's, where it kept gradients finite: checked and stored, not needed.
    """

    def __init__(self, *args, eps_grad_sqrt=1e-6, **kwargs):
        super().__init__(*args, **kwargs)
        self.eps_grad_sqrt = real("eps_grad_sqrt", eps_grad_sqrt, "[0, inf)")

    def _reduce(self, x, axes, count, plain):
        if plain:
            kept = (n for i, n in enumerate(x.shape) if i and i not in axes)
            return ops.reshape(plain_norm(x, axes), (-1, *kept))
        for some in filter(None, (axes[2:], axes[:2])):  # see `_one_by_one`
            x = euclidean_norm(x, some)
        return x

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "eps_grad_sqrt": self.eps_grad_sqrt}

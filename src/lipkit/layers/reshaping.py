"""Layers that move values between space and channels: exact isometries, each other's inverse."""

import keras
from keras import ops

from lipkit._checks import integers
from lipkit._registry import register
from lipkit.layers.base import batch_size, check_data_format, known_channels
from lipkit.layers.exported import Exported

__all__ = ["InvertibleDownSampling", "InvertibleUpSampling"]


class _Shuffle(Exported, keras.layers.Layer):
    """Base: the factors along height and width, and the data format.

    Subclasses give `_divisions(h, w, c)`, what must divide what, `_output(h, w, c)` and
    `_steps(h, w, c)`, the shape to split into and the order of its axes, for channels last.

    Args:
        data_format: `"channels_last"` or `"channels_first"`.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, pool_size, data_format="channels_last", **kwargs):
        super().__init__(**kwargs)
        self.pool_size = integers("pool_size", pool_size, 2)
        self.data_format = check_data_format(data_format)

    def _sizes(self, shape):
        """(h, w, c), if the factors divide what is known of them."""
        if len(shape) != 4:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} needs inputs of rank 4. "
                f"Received: inputs of shape {tuple(shape)}"
            )
        first = self.data_format == "channels_first"
        c = known_channels(self, shape, 1 if first else -1)
        h, w = shape[2:] if first else shape[1:3]
        if any(n is not None and n % factor for n, factor in self._divisions(h, w, c)):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: pool_size={self.pool_size} must divide "
                f"{self.divided} of the inputs. Received: inputs of shape {tuple(shape)}"
            )
        return h, w, c

    def build(self, input_shape):
        """Check that the factors divide the sizes."""
        self._sizes(input_shape)

    def compute_output_shape(self, input_shape):
        """Shape with space and channels exchanged."""
        h, w, c = self._output(*self._sizes(input_shape))
        first = self.data_format == "channels_first"
        return (input_shape[0], c, h, w) if first else (input_shape[0], h, w, c)

    def call(self, inputs):
        sizes = self._sizes(inputs.shape)  # not only those of `build`
        first = self.data_format == "channels_first"
        x = ops.transpose(inputs, (0, 2, 3, 1)) if first else inputs
        if None in sizes:
            sizes = (*ops.shape(x)[1:3], sizes[2])
        if None in sizes:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} can be exported for inputs of known sizes "
                f"only. Received: inputs of shape {tuple(inputs.shape)}"
            )
        batch = batch_size(ops.shape(x))
        split, axes = self._steps(*sizes)
        x = ops.transpose(ops.reshape(x, (batch, *split)), axes)
        x = ops.reshape(x, (batch, *self._output(*sizes)))
        return ops.transpose(x, (0, 3, 1, 2)) if first else x

    to_vanilla = call

    def get_config(self):
        """Keras configuration."""
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "data_format": self.data_format,
        }


def _over(n, factor):
    return None if n is None else n // factor


def _times(n, factor):
    return None if n is None else n * factor


@register
class InvertibleDownSampling(_Shuffle):
    """Space to channels: (batch, h, w, c) -> (batch, h / p, w / q, c p q).

    Output channel (c, i, j), that is c p q + i q + j, holds the entry (i, j) of each window of
    channel c: the order of PyTorch's `PixelUnshuffle`. The inverse is `InvertibleUpSampling`.

    Args:
        pool_size: the factor, or (p, q) along height and width; they must divide these.

    Example:
    >>> layer = lipkit.layers.InvertibleDownSampling(2)
    >>> tuple(layer(np.ones((2, 8, 8, 3))).shape)
    (2, 4, 4, 12)
    """

    divided = "height and width"

    def _divisions(self, h, w, c):
        return zip((h, w), self.pool_size, strict=True)

    def _output(self, h, w, c):
        p, q = self.pool_size
        return _over(h, p), _over(w, q), c * p * q

    def _steps(self, h, w, c):
        p, q = self.pool_size
        return (h // p, p, w // q, q, c), (0, 1, 3, 5, 2, 4)


@register
class InvertibleUpSampling(_Shuffle):
    """Channels to space, the inverse of `InvertibleDownSampling`.

    Shapes: (batch, h, w, c p q) -> (batch, h p, w q, c), or with the channels first.

    Args:
        pool_size: the factor, or (p, q) along height and width; p q must divide the channels.

    Example:
    >>> layer = lipkit.layers.InvertibleUpSampling(2)
    >>> tuple(layer(np.ones((2, 4, 4, 12))).shape)
    (2, 8, 8, 3)
    """

    divided = "the channels"

    def _divisions(self, h, w, c):
        p, q = self.pool_size
        return [(c, p * q)]

    def _output(self, h, w, c):
        p, q = self.pool_size
        return _times(h, p), _times(w, q), c // (p * q)

    def _steps(self, h, w, c):
        p, q = self.pool_size
        return (h, w, c // (p * q), p, q), (0, 1, 4, 2, 5, 3)

"""Penalties of the distance from orthogonality."""

import warnings

import keras
import numpy as np
from keras import ops

from lipkit._checks import integer, real
from lipkit._registry import explains, register
from lipkit.linalg.norms import gram


@explains
class Lorth2D:
    """The distance of a 2-D convolution from orthogonality, up to padding.

    L(K) = |conv(K, K, padding P, stride s) - I|_F² - max(0, M - s² C), P = floor((R - 1) / s) s,
    for a kernel K (R, R, C, M). It is never negative, and 0 if and only if the convolution is
    orthogonal with circular padding (on images that are large enough).

    A kernel (R, R, c_out, c_in) of a transposed convolution is that of the adjoint from C = c_out
    to M = c_in channels, which is orthogonal with it: the same L.

    Args:
        kernel_shape: (R, R, C, M), or None to read it from the kernel.
        stride: of the convolution, the same for both axes.
        conv_transpose: whether the kernel is that of a `Conv2DTranspose`.

    Raises:
        ValueError: if R is even, the kernel is not square, or no orthogonal convolution of this
            shape exists.

    Example:
    >>> kernel = lipkit.initializers.DeltaOrthogonal()((3, 3, 4, 8))
    >>> abs(float(lipkit.regularizers.Lorth2D().compute_lorth(kernel))) < 1e-4
    True

    Reference: Achour, Malgouyres and Mamalet, "Existence, Stability and Scalability of Orthogonal
    Convolutional Neural Networks", JMLR 2022, arXiv:2108.05623.
    """

    def __init__(self, kernel_shape=None, stride=1, conv_transpose=False):
        self.stride = integer("stride", stride)
        self.conv_transpose = bool(conv_transpose)
        self.kernel_shape = None
        if kernel_shape is not None:
            self.set_kernel_shape(kernel_shape)

    def set_kernel_shape(self, shape):
        """Fix the shape of the kernels, which need not be given."""
        self.kernel_shape = self._checked(shape)

    @property
    def padding(self):
        """P, or None as long as the shape is not known."""
        return self.kernel_shape and self._padding(self.kernel_shape)

    @property
    def delta(self):
        """The part of the distance that no kernel avoids, or None."""
        return self.kernel_shape and self._delta(self.kernel_shape)

    def compute_lorth(self, w):
        """L(w), a scalar; differentiable on all backends."""
        shape = self._checked(w.shape)
        if self.kernel_shape not in (None, shape):
            raise ValueError(f"The kernel must be of shape {self.kernel_shape}. Received: {shape}")
        p = self._padding(shape)
        images = ops.pad(ops.transpose(w, (3, 0, 1, 2)), [(0, 0), (p, p), (p, p), (0, 0)])
        product = ops.conv(
            images, w, strides=self.stride, padding="valid", data_format="channels_last"
        )  # (M, S, S, M)
        target = np.zeros(tuple(product.shape), "float32")
        target[:, p // self.stride, p // self.stride] = np.eye(shape[-1])
        return ops.sum((product - ops.cast(target, product.dtype)) ** 2) - self._delta(shape)

    def _padding(self, shape):
        return (shape[0] - 1) // self.stride * self.stride

    def _delta(self, shape):
        return max(0, shape[3] - self.stride**2 * shape[2])

    def _checked(self, shape):
        shape = tuple(shape)
        if len(shape) != 4 or shape[0] != shape[1] or shape[0] % 2 == 0:
            raise ValueError(
                "`kernel_shape` must be (R, R, C, M), or (R, R, c_out, c_in) of a transposed "
                f"convolution, with an odd R. Received: kernel_shape={shape}"
            )
        size, _, c, m = shape
        layer = "Conv2DTranspose" if self.conv_transpose else "Conv2D"
        channels = f"{m} to {c}" if self.conv_transpose else f"{c} to {m}"
        given = f"{layer} from {channels} channels, kernel size {size}, stride {self.stride}"
        rows = self.stride**2 * c >= m
        if (rows and m > c * size**2) or (not rows and self.stride > size):
            raise ValueError(
                f"No orthogonal convolution exists for {given}: the kernel has too few entries. "
                "Use a larger kernel or other channels."
            )
        if self.stride**2 * c == m and self.kernel_shape != shape:  # not at every call
            warnings.warn(f"A square orthogonal map is hard to train: {given}.", stacklevel=3)
        return shape


@register
class LorthRegularizer(keras.regularizers.Regularizer):
    """lambda_lorth * L(K), the distance of a convolution from orthogonality; see `Lorth2D`.

    Args:
        lambda_lorth: weight of the penalty, >= 0.
        dim: 2; only 2-D convolutions are covered.
        kernel_shape: (R, R, C, M), or None to read it from the kernel.
        stride: of the convolution, the same for both axes.
        conv_transpose: whether the kernel is that of a `Conv2DTranspose`.

    Example:
    >>> kernel = 2 * lipkit.initializers.DeltaOrthogonal()((3, 3, 4, 8))
    >>> round(float(lipkit.regularizers.LorthRegularizer(lambda_lorth=0.1)(kernel)), 2) > 0
    True
    """

    def __init__(self, kernel_shape=None, stride=1, lambda_lorth=1.0, dim=2, conv_transpose=False):
        if dim != 2:
            raise ValueError(
                f"`dim` must be 2: only 2-D convolutions are covered. Received: {dim!r}"
            )
        self.lambda_lorth = real("lambda_lorth", lambda_lorth, "[0, inf)")
        self.lorth = Lorth2D(kernel_shape, stride, conv_transpose)

    def set_kernel_shape(self, shape):
        """Fix the shape of the kernels, which need not be given."""
        self.lorth.set_kernel_shape(shape)

    def __call__(self, x):
        return self.lambda_lorth * self.lorth.compute_lorth(x)

    def get_config(self):
        """The constructor's arguments."""
        return {**vars(self.lorth), "lambda_lorth": self.lambda_lorth, "dim": 2}


@register
class OrthDenseRegularizer(keras.regularizers.Regularizer):
    """lambda_orth * |G - I|_F², G the smaller one of WWᵀ and WᵀW.

    Args:
        lambda_orth: weight of the penalty, >= 0.

    Example:
    >>> penalty = lipkit.regularizers.OrthDenseRegularizer(0.1)
    >>> round(float(penalty(2 * np.eye(3, 2, dtype="float32"))), 4)  # 0.1 * 2 * 3²
    1.8
    """

    def __init__(self, lambda_orth=1.0):
        self.lambda_orth = real("lambda_orth", lambda_orth, "[0, inf)")

    def __call__(self, x):
        if len(x.shape) != 2:
            raise ValueError(
                f"The kernel must be a matrix (m, n). Received: shape {tuple(x.shape)}"
            )
        g = gram(x)
        return self.lambda_orth * ops.sum((g - ops.eye(g.shape[-1], dtype=g.dtype)) ** 2)

    def get_config(self):
        """The constructor's arguments."""
        return {"lambda_orth": self.lambda_orth}

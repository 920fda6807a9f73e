"""A 2-D convolution and its adjoint, on arrays (b, h, w, c)."""

import numpy as np
from keras import ops

from lipkit._checks import integer


def transposed(kernel, groups=1):
    """Exchange inputs and outputs: (taps..., m, groups * n) -> (taps..., n, groups * m)."""
    *taps, m, _ = kernel.shape
    blocks = ops.reshape(kernel, (*taps, m, groups, -1))
    return ops.reshape(ops.swapaxes(blocks, -3, -1), (*taps, -1, groups * m))


def get_conv_operators(kernel, u_shape, stride=1.0, conv_first=True, pad_func=None):
    """A 2-D convolution and its adjoint as functions, for power iteration.

    Args:
        kernel: (k_h, k_w, c_in, c_out).
        u_shape: (1, h, w, c) of the tensors that `linear_op` takes.
        stride: of the convolution.
        conv_first: if False the two are swapped: `linear_op` is the adjoint, from the outputs to
            inputs of `stride` times their size.
        pad_func: linear padding of the spatial axes of (b, h, w, c), the same for all channels,
            before a "valid" convolution; its adjoint takes a matrix of (h w)² entries. None: zero
            padding of type "same".

    Returns:
        (linear_op, adjoint_op), with <linear_op(x), y> = <x, adjoint_op(y)>.
    """
    stride = integer("stride", int(stride) if stride == int(stride) else stride)
    taps, scale = kernel.shape[:2], 1 if conv_first else stride
    sizes = tuple(scale * n for n in u_shape[1:3])
    pad, unpad = (
        _zero_padding(sizes, taps, stride) if pad_func is None else _padding(pad_func, sizes)
    )
    flipped = ops.transpose(ops.flip(kernel, axis=(0, 1)), (0, 1, 3, 2))

    def convolve(x, w, strides=1):
        return ops.conv(x, w, strides=strides, padding="valid", data_format="channels_last")

    def linear(x):
        return convolve(pad(x), kernel, stride)

    def adjoint(y):
        spread = _zeros_between(y, stride)
        full = convolve(ops.pad(spread, [(0, 0), *((k - 1, k - 1) for k in taps), (0, 0)]), flipped)
        return unpad(full)

    return (linear, adjoint) if conv_first else (adjoint, linear)


def _zeros_between(y, stride):
    """Zeros after all entries but the last of both spatial axes: n -> (n - 1) stride + 1."""
    b, h, w, c = y.shape
    y = ops.pad(ops.reshape(y, (b, h, 1, w, 1, c)), _ends(2, stride - 1, 4, stride - 1, rank=6))
    y = ops.reshape(y, (b, h * stride, w * stride, c))
    return y[:, : (h - 1) * stride + 1, : (w - 1) * stride + 1]


def _ends(first, n, second, m, rank=4):
    """Widths for `pad`: n and m zeros at the end of two axes."""
    widths = [(0, 0)] * rank
    widths[first], widths[second] = (0, n), (0, m)
    return widths


def _fitted(x, sizes):
    """Rows and columns that no window reached, as zeros."""
    return ops.pad(x, _ends(1, sizes[0] - x.shape[1], 2, sizes[1] - x.shape[2]))


def _zero_padding(sizes, taps, stride):
    """Padding of type "same" and its adjoint, a crop."""
    totals = [
        max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(sizes, taps, strict=True)
    ]
    lows = [total // 2 for total in totals]
    padded = [n + total for n, total in zip(sizes, totals, strict=True)]
    widths = [(low, total - low) for low, total in zip(lows, totals, strict=True)]
    places = tuple(slice(low, low + n) for low, n in zip(lows, sizes, strict=True))
    return (
        lambda x: ops.pad(x, [(0, 0), *widths, (0, 0)]),
        lambda y: _fitted(y, padded)[:, places[0], places[1]],
    )


def _padding(pad_func, sizes):
    """A padding and its adjoint, from its values on all unit images."""
    eye = np.eye(sizes[0] * sizes[1], dtype="float32").reshape(-1, *sizes, 1)
    matrix = ops.convert_to_tensor(pad_func(ops.convert_to_tensor(eye)))[..., 0]  # (h w, H, W)

    def adjoint(y):
        y = ops.einsum("bijc,pij->bpc", _fitted(y, matrix.shape[1:]), matrix)
        return ops.reshape(y, (y.shape[0], *sizes, y.shape[-1]))

    return pad_func, adjoint

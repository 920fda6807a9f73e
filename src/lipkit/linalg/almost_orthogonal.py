"""Almost orthogonal rescaling: bounds the norm of matrices and convolutions in closed form."""

import functools
import math

import numpy as np
from keras import ops

from lipkit._backend import compiled
from lipkit.linalg.adjoint import transposed
from lipkit.linalg.norms import divisor, largest_entry, transpose


def _divided(w, overlaps):
    return w * ops.rsqrt(divisor(overlaps))


@compiled
def aol(w):
    """W D with D = diag(sum_i |WᵀW|_ij)^(-1/2), of norm at most 1.

    D WᵀW D <= 1 by diagonal dominance: x_i x_j |G_ij| <= (x_i² + x_j²) |G_ij| / 2. A wide matrix is
    treated through its transpose, where D is smaller. Orthogonal columns become unit vectors.

    Args:
        w: (..., m, n) matrices.

    Returns:
        (..., m, n) matrices.

    Example:
    >>> w = ops.convert_to_tensor([[2.0, 0.0], [0.0, 3.0]])
    >>> ops.convert_to_numpy(lipkit.linalg.aol(w)).round(4).tolist()
    [[1.0, 0.0], [0.0, 1.0]]

    Reference: Prach and Lampert, "Almost-Orthogonal Layers for Efficient General-Purpose Lipschitz
    Networks", ECCV 2022, arXiv:2208.03160. Proven in exact arithmetic.
    """
    if w.shape[-2] < w.shape[-1]:
        return transpose(aol(transpose(w)))
    w = w / largest_entry(w)
    return _divided(w, ops.sum(ops.abs(transpose(w) @ w), axis=-2, keepdims=True))


@compiled
def conv_aol(kernel, groups=1):
    """`lipkit.linalg.aol` for a convolution of stride 1 with zeros around, at any size.

    Its matrix WᵀW has the entries (K * K)(shift), the correlation of the kernel with itself; so D
    is a factor for each channel: of the outputs, or of the inputs where they are fewer.

    Args:
        kernel: (t_1, ..., t_n, inputs / groups, outputs), the outputs of each group in a block.
        groups: number of groups, >= 1.

    Returns:
        A kernel of the same shape, of a convolution of norm at most 1.

    Example:
    >>> kernel = ops.ones((3, 3, 1, 1))
    >>> bool(ops.sum(lipkit.linalg.conv_aol(kernel)) <= 1)
    True
    """
    *_, inputs, outputs = kernel.shape
    if inputs < outputs // groups:
        return transposed(conv_aol(transposed(kernel, groups), groups), groups)
    kernel = kernel / largest_entry(ops.reshape(kernel, (1, -1)))
    return _divided(kernel, _overlaps(kernel, groups))


@functools.cache
def _same_shift(taps):
    """Which pairs of two taps are at each shift s of one from the other: (shifts, pairs) of 0, 1.

    Of s and -s one is enough; s = 0, which is both, counts one half.
    """
    place = np.indices(taps).reshape(len(taps), -1).T
    shift = (place[:, None] - place).reshape(len(place) ** 2, -1)
    shifts, which = np.unique(shift, axis=0, return_inverse=True)
    same = np.eye(len(shifts), dtype="float32")[which.ravel()].T
    middle = len(shifts) // 2  # they are sorted
    same[middle] /= 2
    return same[middle:]


def _overlaps(kernel, groups):
    """Per output channel, the sum of |(K * K)(shift)| over shifts and other channels of its group.

    All products of two taps, then sums of those at the same shift: matrix products only, because
    convolutions of kernels are slow on some backends, and in TF32 on others. It takes
    (taps * channels)² numbers for each group.
    """
    *taps, inputs, outputs = kernel.shape
    count, channels = math.prod(taps), outputs // groups
    w = ops.reshape(kernel, (count, inputs, groups, channels))
    w = ops.reshape(ops.transpose(w, (2, 1, 0, 3)), (groups, inputs, count * channels))
    pairs = ops.reshape(transpose(w) @ w, (groups, count, channels, count, channels))
    pairs = ops.reshape(ops.transpose(pairs, (1, 3, 0, 2, 4)), (count**2, -1))
    sums = ops.abs(ops.cast(_same_shift(tuple(taps)), pairs.dtype) @ pairs)
    sums = ops.reshape(ops.sum(sums, axis=0), (groups, channels, channels))
    # the sums at -s are the transposes of those at s
    return ops.reshape(ops.sum(sums, axis=1) + ops.sum(sums, axis=2), (-1,))

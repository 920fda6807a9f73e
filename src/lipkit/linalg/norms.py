"""Norms that bound from above. Power iteration bounds from below, so it is not here."""

import functools
from typing import Any

import keras
from keras import ops

from lipkit._backend import compiled, makes_a_graph, with_gradient

TINY = 1e-30  # floor of divisors of order 1
SMALLEST = 1e-37  # floor of the largest entry: just above float32's subnormal numbers


def transpose(w):
    """Swap the last two axes: (..., m, n) -> (..., n, m)."""
    return ops.swapaxes(w, -1, -2)


def gram(w):
    """The smaller of WᵀW and WWᵀ: (..., m, n) -> (..., r, r) with r = min(m, n)."""
    wt = transpose(w)
    return wt @ w if w.shape[-2] >= w.shape[-1] else w @ wt


def divisor(x, floor=TINY):
    """Values x >= 0 as divisors: at least `floor`, and 1 where x is 0.

    So a zero kernel stays zero, and its gradient has the size of the others'.

    Args:
        x: tensor of values >= 0.
        floor: a number > 0.

    Returns:
        A tensor of the same shape.

    Example:
    >>> x = ops.convert_to_tensor([0.0, 0.25, 3.0])
    >>> ops.convert_to_numpy(lipkit.linalg.divisor(x, floor=0.5)).tolist()
    [1.0, 0.5, 3.0]
    """
    # no `ops.maximum`: on PyTorch Keras makes float32 of float64 there
    return ops.where(x > floor, x, ops.where(x > 0, floor, 1.0))


def largest_entry(w):
    """Largest absolute entry as a divisor: (..., m, n) -> (..., 1, 1).

    Dividing by it first keeps squares from over- and underflowing. Not differentiated.
    """
    top = ops.max(ops.abs(w), axis=(-2, -1), keepdims=True)
    return ops.stop_gradient(divisor(top, SMALLEST))


def symmetric_norm_bound(g):
    """Upper bound on the spectral norm of a symmetric matrix: (..., n, n) -> (..., 1, 1).

    The smaller of the Frobenius norm (tight at rank one) and the largest absolute row sum (tight
    at multiples of the identity).
    """
    # the root of `divisor`, because that of 0 has no gradient; the rows give 0 at a zero matrix
    frobenius = ops.sqrt(divisor(ops.sum(g * g, axis=(-2, -1), keepdims=True)))
    rows = ops.max(ops.sum(ops.abs(g), axis=-1, keepdims=True), axis=-2, keepdims=True)
    return ops.minimum(frobenius, rows)


@compiled
def spectral_norm_bound(w, iterations):
    """Upper bound on the spectral norm by Gram iteration.

    sigma_1(W) <= |G^(2^k)|^(1 / 2^(k+1)) with G = WᵀW and k = `iterations` squarings. The bound
    is at most r^(1 / 2^(k+2)) too large, r = min(m, n): 0.5 % at r = 4096 and k = 9. True in
    exact arithmetic; in float32 it may fall short by some 1e-7, so it constrains but proves
    nothing.

    Args:
        w: (..., m, n) matrices.
        iterations: squarings k, >= 0.

    Returns:
        (..., 1, 1) bounds; 0 for a zero matrix.

    Example:
    >>> w = ops.convert_to_tensor([[3.0, 0.0], [0.0, 1.0]])
    >>> round(float(lipkit.linalg.spectral_norm_bound(w, 6)[0, 0]), 4)
    3.0

    Reference: Delattre et al., "Efficient Bound of Lipschitz Constant for Convolutional Layers
    by Gram Iteration", ICML 2023, arXiv:2305.16173.
    """
    top = largest_entry(w)
    zero = ops.all(ops.equal(w, 0), axis=(-2, -1), keepdims=True)
    return ops.where(zero, 0.0, top * norm_divisor(w / top, iterations))


@compiled
def spectral_normalize(w, iterations):
    """W divided by its `spectral_norm_bound`, safe at any scale.

    Args:
        w: (..., m, n) matrices.
        iterations: as in `lipkit.linalg.spectral_norm_bound`.

    Returns:
        (..., m, n) matrices of norm at most 1.

    Example:
    >>> w = ops.convert_to_tensor([[4.0, 0.0], [0.0, 1.0]])
    >>> ops.convert_to_numpy(lipkit.linalg.spectral_normalize(w, 6)).round(4).tolist()
    [[1.0, 0.0], [0.0, 0.25]]
    """
    w = w / largest_entry(w)
    return w / norm_divisor(w, iterations)


def norm_divisor(w, iterations):
    """`spectral_norm_bound`, as a divisor, of a matrix whose largest entry is 1 (or 0)."""
    g = gram(w)
    log_norm = 0.0
    weight = 0.5
    for _ in range(iterations):
        size = largest_entry(g)
        g = g / size
        log_norm = log_norm + weight * ops.log(size)
        g = g @ g
        weight /= 2
    return ops.exp(log_norm + weight * ops.log(divisor(symmetric_norm_bound(g))))


@compiled
def frobenius_normalize(w, axis=(-2, -1)):
    """Divide by the 2-norm over some axes; a zero kernel stays zero.

    Args:
        w: (..., m, n) matrices.
        axis: over which the norm is taken: both of the matrix, or one for rows or columns alone.

    Returns:
        (..., m, n) matrices.

    Example:
    >>> w = ops.convert_to_tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> round(float(ops.norm(lipkit.linalg.frobenius_normalize(w))), 4)
    1.0
    """
    w = w / largest_entry(w)
    return w / ops.sqrt(divisor(ops.sum(w * w, axis=axis, keepdims=True)))


def _halved(x, axis):
    """The 2-norm along an axis, kept with size 1: `hypot` of halves neither over- nor underflows.

    Of an axis of size 1, x itself.
    """
    before = (slice(None),) * axis
    while (n := x.shape[axis]) > 1:
        if n % 2:
            rest = len(x.shape) - axis - 1
            x, n = ops.pad(x, [(0, 0)] * axis + [(0, 1)] + [(0, 0)] * rest), n + 1
        halves = slice(0, n // 2), slice(n // 2, n)
        x = ops.hypot(*(x[(*before, half)] for half in halves))
    return x


def plain_norm(x, axes) -> Any:
    """2-norm over `axes` >= 0 of known sizes, which stay with size 1, in a few Keras operations.

    Their gradient at 0 is not finite on all backends; and `keras.ops.norm` along axes cannot be
    reloaded on JAX.
    """
    norm = functools.reduce(_halved, axes, x)
    return ops.abs(x) if norm is x else norm


def _scaled_norm(x, axes):
    """The same, of sizes that a graph leaves open."""
    top = ops.max(ops.abs(x), axis=axes, keepdims=True)
    unit = x / divisor(top, SMALLEST)
    return top * ops.sqrt(ops.sum(ops.square(unit), axis=axes, keepdims=True))


def euclidean_norm(x, axes) -> Any:
    """2-norm over `axes` >= 0, which vanish: no over- or underflow, and gradient 0 at 0."""

    def forward(x):
        halve = all(isinstance(x.shape[axis], int) for axis in axes)
        halve = halve and not makes_a_graph()  # ONNX has no `hypot`
        if keras.backend.standardize_dtype(x.dtype) == "float64":
            halve = False  # `hypot` would make float32 of it on PyTorch
        value = (plain_norm if halve else _scaled_norm)(x, axes)
        return (ops.squeeze(value, axis=axes),)

    def backward(inputs, outputs, delta):
        (x,), value = inputs, ops.expand_dims(outputs[0], axes)
        # 1 where all is 0: nothing is divided by 0; NaN stays
        zero = ops.cast(ops.less_equal(value, SMALLEST), x.dtype)
        return ((x / (value + zero)) * ops.expand_dims(delta, axes),)

    return with_gradient(forward, backward, ops.convert_to_tensor(x))

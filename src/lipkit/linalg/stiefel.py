"""Kernels that stay near the Stiefel manifold: cheap gradients along it, and the way back to it.

Matrices here have almost orthonormal columns, or rows where they are wide.
"""

import functools

import numpy as np
from keras import ops

from lipkit._backend import compiled, full_precision, with_gradient
from lipkit.linalg.norms import gram
from lipkit.linalg.norms import transpose as t
from lipkit.linalg.orthogonal import (
    ITERATIONS,
    cubic_step,
    on_tall,
    polar,
    tangent_projection,
    with_tangent_gradient,
)

EXACT = 128  # columns up to which `drift` is exact
PROBES = 3  # as rows: from 4 on XLA packs them for a general product, at 8 times the time
NEAR = 0.2  # drift from where one cubic step leads back: to about 0.75 drift²


@functools.cache
def _probes(n):
    """Vectors of mean square 1, as rows: all directions, or a few random ones."""
    if n <= EXACT:
        return np.sqrt(n) * np.eye(n)
    return np.random.default_rng(0).standard_normal((PROBES, n))


def drift(w):
    """Root mean square of sigma² - 1 over the singular values of W.

    Of large matrices an estimate, by the action of WᵀW - I on a few fixed random vectors: it costs
    2 `PROBES` products of W with a vector, not a Gram matrix. Of the worst of several matrices.

    Args:
        w: (..., m, n) matrices.

    Returns:
        A scalar tensor.

    Example:
    >>> float(lipkit.linalg.drift(ops.eye(3)))
    0.0
    """
    w = ops.stop_gradient(w if w.shape[-2] >= w.shape[-1] else t(w))
    probes = ops.cast(_probes(w.shape[-1]), w.dtype)
    rest = probes @ t(w) @ w - probes
    return ops.sqrt(ops.max(ops.mean(ops.square(rest), axis=(-2, -1))))


@full_precision()
@compiled
@on_tall
def retract(w, tolerance):
    """W itself where its `drift` is at most `tolerance`, otherwise its polar factor.

    That is one cubic step of W where it is near. Not differentiated.

    Args:
        w: (..., m, n) matrices.
        tolerance: a number >= 0.

    Returns:
        (..., m, n) matrices.

    Example:
    >>> w = ops.convert_to_tensor([[1.1, 0.0], [0.0, 0.9]])
    >>> near = lipkit.linalg.retract(w, 0.01)
    >>> bool(lipkit.linalg.drift(near) < 0.2 * lipkit.linalg.drift(w))
    True
    """
    w = ops.stop_gradient(w)
    size = drift(w)

    def back():
        return ops.cond(size <= NEAR, lambda: cubic_step(w), lambda: polar(w, ITERATIONS))

    return ops.cond(size <= tolerance, lambda: w, back)


def tangent(w, x):
    """Orthogonal projection on the tangent space of the Stiefel manifold.

    Args:
        w: (..., m, n) matrices with orthonormal columns, or rows where they are wide.
        x: (..., m, n) matrices.

    Returns:
        (..., m, n) matrices.

    Example:
    >>> x = ops.convert_to_tensor([[1.0, 2.0], [0.0, 3.0]])
    >>> moved = lipkit.linalg.tangent(ops.eye(2), x)
    >>> ops.convert_to_numpy(moved).tolist()  # skew
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    if w.shape[-2] >= w.shape[-1]:
        return tangent_projection(w, x)
    return t(tangent_projection(t(w), t(x)))


@compiled
@on_tall
def near_polar(w):
    """The polar factor, at most 1-Lipschitz for any W: by three cubic steps where W is near.

    Nearness is proven here, by the Gram matrix: a cubic step would expand what is above 2. The
    gradient is projected on the tangent space.

    Args:
        w: (..., m, n) matrices.

    Returns:
        (..., m, n) matrices of norm at most 1.

    Example:
    >>> q = lipkit.linalg.near_polar(ops.convert_to_tensor([[1.1, 0.0], [0.0, 0.9]]))
    >>> bool(np.allclose(ops.convert_to_numpy(q), np.eye(2), atol=1e-4))
    True
    """
    w = ops.convert_to_tensor(w)  # custom gradients do not see through variables
    held = ops.stop_gradient(w)
    rest = gram(held) - ops.eye(w.shape[-1], dtype=w.dtype)
    distance = ops.sqrt(ops.max(ops.sum(ops.square(rest), axis=(-2, -1))))
    q = ops.cond(
        distance <= 0.5,
        lambda: cubic_step(cubic_step(cubic_step(held))),
        lambda: polar(held, ITERATIONS),
    )
    return with_tangent_gradient(q, w)


def tangent_matmul(x, w, tolerance):
    """The product x Q, Q = W up to `retract`, with a gradient in W tangent to the manifold at Q.

    In the precision of x. Backpropagation has most of that gradient: with G = xᵀδ it is
    G - Q sym(QᵀG), where QᵀG = yᵀδ and Q δᵀ = dxᵀ. That takes one product of the size of the
    layer's own for a square Q and two for others; where two of the size of Q and its Gram matrix
    are fewer, it takes those.

    Args:
        x: (b, m) inputs.
        w: (m, n) matrix near the manifold.
        tolerance: as in `lipkit.linalg.retract`.

    Returns:
        (b, n) products.

    Example:
    >>> tuple(lipkit.linalg.tangent_matmul(ops.ones((4, 2)), ops.eye(2, 3), 0.01).shape)
    (4, 3)
    """

    def forward(x, w):
        q = ops.cast(retract(w, tolerance), x.dtype)
        return x @ q, q

    def backward(inputs, outputs, delta):
        (x, w), (y, q) = inputs, outputs
        dx = delta @ t(q)
        return dx, ops.cast(_tangent_gradient(x, q, y, delta, dx), w.dtype)

    return with_gradient(forward, backward, ops.convert_to_tensor(x), ops.convert_to_tensor(w))


def _tangent_gradient(*factors):
    x, q, *_ = factors
    m, n = q.shape
    by_samples = ops.shape(x)[0] * (1 if m == n else 2) <= 2 * min(m, n)
    if isinstance(by_samples, bool):
        return (_by_samples if by_samples else _by_matrices)(*factors)
    # TensorFlow does not know the batch before it runs
    return ops.cond(by_samples, lambda: _by_samples(*factors), lambda: _by_matrices(*factors))


def _by_matrices(x, q, y, delta, dx):
    return tangent(q, t(x) @ delta)


def _by_samples(x, q, y, delta, dx):
    m, n = q.shape
    y = 0.5 * y  # factors go to the samples: a pass over q costs more
    if m > n:
        x = x - y @ t(q)
    elif m < n:
        delta = delta - 0.5 * (dx @ q)
    else:
        x = 0.5 * x
    return t(x) @ delta - t(dx) @ y

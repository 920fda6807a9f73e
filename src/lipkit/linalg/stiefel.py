"""Kernels that stay near the Stiefel manifold: cheap gradients along it, and the way back to it.

Matrices here have almost orthonormal columns, or rows where they are wide.
"""

import numpy as np
from keras import ops

from lipkit.linalg.norms import gram
from lipkit.linalg.norms import transpose as t
from lipkit.linalg.orthogonal import (
    cubic_step,
    on_tall,
    polar,
    tangent_projection,
    with_gradient,
)

PROBES = 16
NEAR = 0.2  # drift from where one cubic step leads back: to about 0.75 drift²
ITERATIONS = 7  # of `polar`


def drift(w):
    """Root mean square of sigma² - 1 over the singular values of W: (..., m, n) -> ().

    An estimate, some 20 % off, by the action of WᵀW - I on a few fixed random vectors: it costs
    2 `PROBES` products of W with a vector, not a Gram matrix. The worst of several matrices.
    """
    w = ops.stop_gradient(w if w.shape[-2] >= w.shape[-1] else t(w))
    probes = np.random.default_rng(0).standard_normal((w.shape[-1], PROBES))
    probes = ops.cast(probes, w.dtype)
    rest = ops.matmul(t(w), ops.matmul(w, probes)) - probes
    return ops.sqrt(ops.max(ops.mean(ops.square(rest), axis=(-2, -1))))


@on_tall
def retract(w, tolerance):
    """W itself where its `drift` is at most `tolerance`, otherwise its polar factor.

    That is one cubic step of W where it is near. Not differentiated.
    """
    w = ops.stop_gradient(w)
    size = drift(w)

    def back():
        return ops.cond(size <= NEAR, lambda: cubic_step(w), lambda: polar(w, ITERATIONS))

    return ops.cond(size <= tolerance, lambda: w, back)


def tangent(w, x):
    """Orthogonal projection of x on the tangent space at w: (..., m, n) twice -> (..., m, n)."""
    if w.shape[-2] >= w.shape[-1]:
        return tangent_projection(w, x)
    return t(tangent_projection(t(w), t(x)))


def straight_through(value, w):
    """The value of one tensor with the gradient of another."""
    return with_gradient(value, w, lambda _, delta: delta)


@on_tall
def near_polar(w):
    """The polar factor, at most 1-Lipschitz for any W: by three cubic steps where W is near.

    Nearness is proven here, by the Gram matrix: a cubic step would expand what is above 2. The
    gradient is projected on the tangent space.
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
    return with_gradient(q, w, tangent_projection)


def tangent_matmul(x, w):
    """The product x W, with a gradient in W that is tangent to the manifold at W.

    (b, m), (m, n) -> (b, n).

    Backpropagation has most of it: with G = xᵀδ it is G - W sym(WᵀG), where WᵀG = yᵀδ and
    W δᵀ = dxᵀ. That takes one product of the size of the layer's own for a square W and two for
    others; where two of the size of W and its Gram matrix are fewer, it takes those.
    """
    x, w = ops.convert_to_tensor(x), ops.convert_to_tensor(w)
    square = w.shape[0] == w.shape[1]
    by_samples = (x.shape[0] or 0) * (1 if square else 2) <= 2 * min(w.shape)
    return (_by_samples if by_samples else _by_matrices)(x, w)


def _by_matrices(x, w):
    return ops.matmul(x, on_tall(lambda v: with_gradient(v, v, tangent_projection))(w))


@ops.custom_gradient
def _by_samples(x, w):
    y = ops.matmul(x, w)
    held = ops.stop_gradient(y)  # on PyTorch y itself would keep its own graph alive

    def gradient(*args, upstream=None):
        (delta,) = args if upstream is None else (upstream,)
        m, n = w.shape
        dx = ops.matmul(delta, t(w))
        left, right = x, delta
        if m > n:
            left = x - 0.5 * ops.matmul(held, t(w))
        if m < n:
            right = delta - 0.5 * ops.matmul(dx, w)
        own = ops.matmul(t(left), right)
        return dx, (0.5 * own if m == n else own) - 0.5 * ops.matmul(t(dx), held)

    return y, gradient

"""Maps from any matrix to one of spectral norm at most 1, orthogonal where it can be.

Each works on (..., m, n) and treats a wide matrix through its transpose. "Orthogonal" means that
the min(m, n) singular values are all 1.
"""

import functools
import math

import numpy as np
from keras import ops

from lipkit._backend import compiled, with_gradient
from lipkit.linalg.norms import divisor, largest_entry, norm_divisor, symmetric_norm_bound
from lipkit.linalg.norms import transpose as t

FLOAT32_UNIT = 2.0**-24
ITERATIONS = 4  # of `polar`, for the rules that use it
SMALLEST = 1 / 48  # singular value that `polar` maps to 1, in units of a bound on the largest
SQUARINGS = 6  # for the bound that scales W before Björck's iteration


def on_tall(function):
    """Apply `function` to the transpose of a wide matrix, and transpose back."""

    @functools.wraps(function)
    def apply(w, *args, **kwargs):
        if w.shape[-2] >= w.shape[-1]:
            return function(w, *args, **kwargs)
        return t(function(t(w), *args, **kwargs))

    return apply


def cubic_step(x, beta=0.5):
    """X -> (1 + beta) X - beta X XᵀX. With beta = 1/2, singular values in [0, 2] go to [0, 1]."""
    return (1 + beta) * x - beta * (x @ (t(x) @ x))


def tangent_projection(q, x):
    """Orthogonal projection of x on the tangent space of the Stiefel manifold at q (tall)."""
    product = t(q) @ x
    return x - q @ (0.5 * (product + t(product)))


def with_tangent_gradient(q, x):
    """The tensor q, whose upstream gradient reaches x by `tangent_projection` at q."""

    def forward(q, x):
        return (ops.multiply(q, 1),)

    def backward(inputs, outputs, delta):
        return ops.zeros_like(delta), tangent_projection(inputs[0], delta)

    return with_gradient(forward, backward, ops.stop_gradient(q), x)


def _quintic(smallest):
    """The odd map x (a + b x² + c x⁴) that lifts [smallest, 1] best, and the least value there.

    It takes the ends of its image [., 1] by turns at four points, which Remez's exchange finds.
    """
    x = smallest + (1 - smallest) * np.array([0, 0.25, 0.75, 1])
    a = b = c = error = 0.0
    for _ in range(10):
        equations = np.stack([x, x**3, x**5, [1, -1, 1, -1]], axis=1)
        a, b, c, error = map(float, np.linalg.solve(equations, np.ones(4)))
        x[1:3] = np.sqrt(np.sort(np.roots([5 * c, 3 * b, a]).real))
    top = 1 + error
    return (a / top, b / top, c / top), (1 - error) / top


def _quintics(smallest):
    """The maps that lift [smallest, 1] best. Nothing ever exceeds 1, where all of them are 1.

    They end where they have arrived: more would lift nothing but the rounding errors of eigenvalues
    near 0.
    """
    maps = []
    while smallest < 1 - 1e-6:
        quintic, smallest = _quintic(min(smallest, 0.99))  # the equations of a point are singular
        maps.append(quintic)
    return tuple(maps)


QUINTICS = _quintics(SMALLEST)  # 5, once: PyTorch's compiler cannot see through a cache


def _inverse_root(g, square, iterations):
    """Z and a factor, factor Z ~ G^(-1/2), for a positive G of norm at most 1 and its square G².

    Coupled iterations. Singular values of factor W Z lie in [0, 1] for any W with G = WᵀW; those of
    W above `SMALLEST` are lifted to 1. Only (n, n) products, whatever the height of W.
    """
    eye = ops.eye(g.shape[-1], dtype=g.dtype)
    y = z = None
    factor = 1.0  # left out of z and g: each would be a pass over a matrix
    for _, (a, b, c) in zip(range(iterations), QUINTICS, strict=False):
        if z is not None:
            g = y @ g @ y
            square = g @ g
        y = eye + (b / a * factor**2) * g + (c / a * factor**4) * square
        z = y if z is None else z @ y
        factor *= a
    return z, factor


@compiled
@on_tall
def polar(w, iterations):
    """Polar factor Q = W (WᵀW)^(-1/2), with a gradient that costs a handful of products.

    Singular values of W down to `SMALLEST` times a bound on the largest are mapped to 1, by 4
    iterations to 1e-6 and by 5, the most that are used, to rounding; smaller ones below 1, none
    above. The backward pass is that of W -> polar(W Z) with Z = (WᵀW)^(-1/2) held: the upstream
    gradient is projected on the tangent space at Q and multiplied by Z. So no iteration is
    differentiated; docs/decisions.md has the evidence.

    Args:
        w: (..., m, n) matrices.
        iterations: >= 1.

    Returns:
        (..., m, n) matrices of norm at most 1.

    Example:
    >>> w = ops.convert_to_tensor([[2.0, 0.0], [0.0, 0.5]])
    >>> q = ops.convert_to_numpy(lipkit.linalg.polar(w, 4))
    >>> bool(np.allclose(q, np.eye(2), atol=1e-5))
    True

    References: Higham, "Functions of Matrices", SIAM 2008, chapter 8, for the coupled iteration;
    Amsel et al., "The Polar Express: Optimal Matrix Sign Methods and Their Application to the Muon
    Algorithm", arXiv:2505.16932, for its best maps.
    """
    w = w / largest_entry(w)
    held = ops.stop_gradient(w)
    g = t(held) @ held
    square = g @ g
    bound = divisor(symmetric_norm_bound(square))
    norm = ops.sqrt(bound)
    z, factor = _inverse_root(g / norm, square / bound, iterations)
    z = ops.stop_gradient(z * (factor / ops.sqrt(norm)))
    x = w @ z
    return with_tangent_gradient(cubic_step(x), x)


@compiled
@on_tall
def bjorck(w, iterations, beta):
    """Björck orthogonalisation, differentiated through its `iterations` steps.

    W is first divided by an upper bound on its norm, whose gradient is dropped: the converged
    iteration does not depend on the scale.

    Args:
        w: (..., m, n) matrices.
        iterations: steps, >= 0.
        beta: step size in (0, 0.5].

    Returns:
        (..., m, n) matrices of norm at most 1.

    Example:
    >>> w = ops.convert_to_tensor([[2.0, 0.0], [0.0, 0.5]])
    >>> q = ops.convert_to_numpy(lipkit.linalg.bjorck(w, 15, 0.5))
    >>> bool(np.allclose(q, np.eye(2), atol=1e-5))
    True

    Reference: Björck and Bowie, "An Iterative Algorithm for Computing the Best Estimate of an
    Orthogonal Matrix", SIAM J. Numer. Anal. 8, 1971; Anil et al., arXiv:1811.05381.
    """
    w = w / largest_entry(w)
    x = w / ops.stop_gradient(norm_divisor(w, SQUARINGS))
    for _ in range(iterations):
        x = cubic_step(x, beta)
    return x


@on_tall
def cholesky(w):
    """Q = W L⁻ᵀ with LLᵀ = WᵀW + shift I, then one cubic step.

    The shift, 4 sqrt(n) trace(WᵀW) rounding units, is what keeps the factorisation of a float32
    Gram matrix defined for any W. It lowers singular values only.

    Args:
        w: (..., m, n) matrices.

    Returns:
        (..., m, n) matrices of norm at most 1.

    Example:
    >>> w = ops.convert_to_tensor([[2.0, 0.0], [0.0, 0.5]])
    >>> q = ops.convert_to_numpy(lipkit.linalg.cholesky(w))
    >>> bool(np.allclose(q, np.eye(2), atol=1e-4))
    True

    Reference: Hu et al., "A Recipe for Improved Certifiable Robustness", ICLR 2024,
    arXiv:2310.02513.
    """
    w = w / largest_entry(w)
    g = t(w) @ w
    n = g.shape[-1]
    trace = ops.stop_gradient(divisor(ops.sum(w * w, axis=(-2, -1), keepdims=True)))
    shift = 4 * math.sqrt(n) * FLOAT32_UNIT * trace
    lower = ops.cholesky(g + shift * ops.eye(n, dtype=g.dtype))
    return cubic_step(t(ops.solve_triangular(lower, t(w), lower=True)))

"""Maps from any matrix to one of spectral norm at most 1, orthogonal where it can be.

Each works on (..., m, n) and treats a wide matrix through its transpose. "Orthogonal" means that
the min(m, n) singular values are all 1.
"""

import functools
import math

from keras import ops

from lipkit.backend import compiled
from lipkit.linalg.norms import divisor, largest_entry, norm_divisor, symmetric_norm_bound
from lipkit.linalg.norms import transpose as t

FLOAT32_UNIT = 2.0**-24
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


def with_gradient(value, x, back):
    """The tensor `value`, whose upstream gradient delta reaches x as back(value, delta)."""

    @ops.custom_gradient
    def apply(value, x):
        def gradient(*args, upstream=None):
            (delta,) = args if upstream is None else (upstream,)
            return ops.zeros_like(delta), back(value, delta)

        return ops.multiply(value, 1), gradient

    return apply(ops.stop_gradient(value), x)


def _step_sizes(smallest: float, iterations: int) -> tuple[float, ...]:
    """Scales alpha of the cubic x -> alpha x (1.5 - 0.5 alpha² x²) that lift [smallest, 1] best.

    The optimal scale makes both ends of the interval equal; the image is [p(smallest), 1], so
    the interval stays below 1 at every step.
    """
    sizes = []
    for _ in range(iterations):
        alpha = math.sqrt(3 / (1 + smallest + smallest**2))
        sizes.append(alpha)
        smallest = min(1.0, 0.5 * alpha * smallest * (3 - (alpha * smallest) ** 2))
    return tuple(sizes)


def _inverse_root(g, iterations, smallest):
    """Z and c, c Z ~ G^(-1/2) for a symmetric positive G of norm at most 1: coupled iterations.

    Singular values of c W Z lie in [0, 1] for any W with G = WᵀW; those of W above `smallest` are
    lifted to 1. Only (n, n) products, whatever the height of W.
    """
    eye = ops.eye(g.shape[-1], dtype=g.dtype)
    z = None
    factor, square = 1.0, 1.0  # left out of z and g: each would be a pass over a matrix
    for left, alpha in zip(range(iterations)[::-1], _step_sizes(smallest, iterations), strict=True):
        y = eye - (square * alpha**2 / 3) * g  # times 1.5 alpha
        factor *= 1.5 * alpha
        z = y if z is None else z @ y
        if left:
            g = y @ g @ y
            square *= (1.5 * alpha) ** 2
    return z, factor


@compiled
@on_tall
def polar(w, iterations, smallest=1 / 64):
    """Polar factor Q = W (WᵀW)^(-1/2), with a gradient that costs a handful of products.

    Singular values of W within a factor of about 1 / `smallest` of the largest are mapped to 1,
    smaller ones below 1, none above. The backward pass is that of W -> polar(W Z) with
    Z = (WᵀW)^(-1/2) held: the upstream gradient is projected on the tangent space at Q and
    multiplied by Z. So no iteration is differentiated; docs/architecture.md has the evidence.

    Reference: Higham, "Functions of Matrices", SIAM 2008, chapter 8; the scaling is that of
    Chen and Chow, "A Stable Scaling of Newton-Schulz for Improving the Sign Function
    Computation of a Hermitian Matrix", 2014.
    """
    w = w / largest_entry(w)
    held = ops.stop_gradient(w)
    g = t(held) @ held
    norm = ops.sqrt(divisor(symmetric_norm_bound(g @ g)))
    z, factor = _inverse_root(g / norm, iterations, smallest)
    z = ops.stop_gradient(z * (factor / ops.sqrt(norm)))
    x = w @ z
    return with_gradient(cubic_step(x), x, tangent_projection)


@compiled
@on_tall
def bjorck(w, iterations, beta):
    """Björck orthogonalisation, differentiated through its `iterations` steps.

    W is first divided by an upper bound of its norm, whose gradient is dropped: the converged
    iteration does not depend on the scale.

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

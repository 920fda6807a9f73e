"""Rules that make all singular values 1."""

from lipkit import linalg
from lipkit._checks import integer, real
from lipkit.parametrizations.base import Parametrization, register

__all__ = ["Bjorck", "Cholesky", "Polar", "Stiefel"]


@register
class Polar(Parametrization):
    """The default: polar factor with a projected gradient, see `lipkit.linalg.polar`.

    Args:
        iterations: coupled iterations of degree 5. 4 make a free kernel orthogonal to 1e-6 if its
            condition number is at most 48 / n^(1/8), n = min(its sizes), 5 to rounding; more change
            nothing. Of others some singular values stay below 1.

    Example:
    >>> w = lipkit.parametrizations.Polar()(np.diag([2.0, 1.0]).astype("float32"))
    >>> print(ops.convert_to_numpy(w).round(2))
    [[1. 0.]
     [0. 1.]]
    """

    name = "polar"

    def __init__(self, *, iterations=linalg.orthogonal.ITERATIONS):
        self.iterations = integer("iterations", iterations)

    def __call__(self, w):
        return linalg.polar(w, self.iterations)


@register
class Bjorck(Parametrization):
    """deel-lip's rule: Björck iterations, differentiated, see `lipkit.linalg.bjorck`.

    Args:
        iterations: fixed number of steps.
        beta: step size in (0, 0.5].

    Example:
    >>> w = lipkit.parametrizations.Bjorck()(np.diag([2.0, 1.0]).astype("float32"))
    >>> print(ops.convert_to_numpy(w).round(2))
    [[1. 0.]
     [0. 1.]]

    Reference: Björck and Bowie, "An iterative algorithm for computing the best estimate of an
    orthogonal matrix", SIAM J. Numer. Anal. 1971; Anil, Lucas and Grosse, ICML 2019.
    """

    name = "bjorck"

    def __init__(self, *, iterations=15, beta=0.5):
        self.iterations = integer("iterations", iterations)
        self.beta = real("beta", beta, "(0, 0.5]")

    def __call__(self, w):
        return linalg.bjorck(w, self.iterations, self.beta)


@register
class Cholesky(Parametrization):
    """Orthogonalisation by a Cholesky factorisation, see `lipkit.linalg.cholesky`.

    Example:
    >>> w = lipkit.parametrizations.Cholesky()(np.diag([2.0, 1.0]).astype("float32"))
    >>> print(ops.convert_to_numpy(w).round(2))
    [[1. 0.]
     [0. 1.]]
    """

    name = "cholesky"

    def __call__(self, w):
        return linalg.cholesky(w)


@register
class Stiefel(Parametrization):
    """The free kernel itself is kept near the orthogonal ones: the fastest rule for wide layers.

    Gradients are tangent to the Stiefel manifold, and Keras's optimizers lead the kernel back to it
    as soon as it drifts by `tolerance`. Training steps of dense layers use the kernel as it is,
    where it is that near; everything else uses its polar factor. So the function that is evaluated
    and exported has the constant that was asked for, and the one in training differs by the drift.
    It wants a learning rate that decays: at a constant one, `"polar"` reaches a better loss.

    Args:
        tolerance: root mean square of sigma² - 1 over the singular values, above which the
            kernel is retracted; 0 retracts after every step.

    Example:
    >>> w = lipkit.parametrizations.Stiefel()(np.diag([2.0, 1.0]).astype("float32"))
    >>> print(ops.convert_to_numpy(w).round(2))
    [[1. 0.]
     [0. 1.]]

    Reference: Absil, Mahony and Sepulchre, "Optimization Algorithms on Matrix Manifolds",
    Princeton 2008, chapters 3 and 4.
    """

    name = "stiefel"

    def __init__(self, *, tolerance=0.01):
        self.tolerance = real("tolerance", tolerance, "[0, 0.1]")

    def __call__(self, w):
        return linalg.near_polar(w)

    def retract(self, w):
        """The kernel after an update."""
        return linalg.retract(w, self.tolerance)

    def training_matmul(self, x, w):
        """The product x W of a training step: (b, m), (m, n) -> (b, n)."""
        return linalg.tangent_matmul(x, w, max(2 * self.tolerance, 1e-3))

"""Rules that make all singular values 1."""

from lipkit import linalg
from lipkit._checks import integer, real
from lipkit.parametrizations.base import Parametrization, register


@register
class Polar(Parametrization):
    """The default: polar factor with a projected gradient, see `lipkit.linalg.polar`.

    Args:
        iterations: coupled iterations; a free kernel whose condition number is at most about
            50 is made orthogonal by 7. Larger ones stay below 1.
    """

    name = "polar"

    def __init__(self, *, iterations=7):
        self.iterations = integer("iterations", iterations)

    def __call__(self, w):
        return linalg.polar(w, self.iterations)


@register
class Bjorck(Parametrization):
    """deel-lip's rule: Björck iterations, differentiated, see `lipkit.linalg.bjorck`.

    Args:
        iterations: fixed number of steps.
        beta: step size in ]0, 0.5].
    """

    name = "bjorck"

    def __init__(self, *, iterations=15, beta=0.5):
        self.iterations = integer("iterations", iterations)
        self.beta = real("beta", beta, "]0, 0.5]")

    def __call__(self, w):
        return linalg.bjorck(w, self.iterations, self.beta)


@register
class Cholesky(Parametrization):
    """Orthogonalisation by a Cholesky factorisation, see `lipkit.linalg.cholesky`."""

    name = "cholesky"

    def __call__(self, w):
        return linalg.cholesky(w)

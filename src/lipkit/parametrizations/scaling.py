"""Rules that divide the kernel by a norm."""

from keras import ops

from lipkit import linalg
from lipkit._checks import integer
from lipkit.parametrizations.base import Parametrization, register

__all__ = ["AOL", "Frobenius", "Spectral", "UnitColumns"]


@register
class Spectral(Parametrization):
    """W divided by an upper bound of its spectral norm: at most 1-Lipschitz, not orthogonal.

    Args:
        iterations: number of squarings of the Gram matrix; see `lipkit.linalg.spectral_norm_bound`.

    Example:
    >>> w = lipkit.parametrizations.Spectral()(np.diag([2.0, 1.0]).astype("float32"))
    >>> print(ops.convert_to_numpy(w).round(2))
    [[1.  0. ]
     [0.  0.5]]
    """

    name = "spectral"

    def __init__(self, *, iterations=8):
        self.iterations = integer("iterations", iterations)

    def __call__(self, w):
        return linalg.spectral_normalize(w, self.iterations)


@register
class AOL(Parametrization):
    """Almost orthogonal rescaling of the channels, see `lipkit.linalg.aol` and `conv_aol`.

    For convolutions it bounds the operator itself, not the unfolded kernel: so a convolution may
    become orthogonal, and an identity kernel stays one.

    Args:
        iterations: squarings of the Gram matrix for the norm of the unfolded kernel, which is
            needed for padding that repeats samples.

    Example:
    >>> w = lipkit.parametrizations.AOL()(np.diag([2.0, 1.0]).astype("float32"))
    >>> print(ops.convert_to_numpy(w).round(2))
    [[1. 0.]
     [0. 1.]]

    Reference: Prach and Lampert, ECCV 2022, arXiv:2208.03160.
    """

    name = "aol"

    def __init__(self, *, iterations=6):
        self.iterations = integer("iterations", iterations)

    def __call__(self, w):
        return linalg.aol(w)

    def constrain(self, kernel, view):
        """Rescale the channels of a convolution; padding that repeats samples costs its norm.

        Or less: the bound by the unfolded kernel, if that is the lesser. Without such padding that
        choice would keep random kernels from becoming orthogonal ones: it rewards staying random.
        """
        if (taps := view.taps(kernel)) is None:
            return self(kernel)
        taps = linalg.conv_aol(taps, view.blocks(kernel.shape))
        kernel = view.from_taps(taps, kernel.shape)
        if view.pad_norm == 1:
            return kernel
        matrix_norm = ops.max(linalg.spectral_norm_bound(view.matrix(kernel), self.iterations))
        bound = ops.minimum(view.pad_norm, view.unfold_norm * matrix_norm)
        return kernel / linalg.divisor(bound)


@register
class Frobenius(Parametrization):
    """W divided by its Frobenius norm: the whole map is 1-Lipschitz.

    Example:
    >>> w = lipkit.parametrizations.Frobenius()(np.diag([2.0, 1.0]).astype("float32"))
    >>> print(ops.convert_to_numpy(w).round(2))
    [[0.89 0.  ]
     [0.   0.45]]
    """

    name = "frobenius"

    def __call__(self, w):
        return linalg.frobenius_normalize(w)


@register
class UnitColumns(Parametrization):
    """Every column divided by its norm: each output is 1-Lipschitz, the map sqrt(n)-Lipschitz.

    The exception to the contract of `Parametrization`: for the last layer of a classifier whose
    outputs are read one by one. It has no name, so that no layer takes it by mistake.

    Example:
    >>> w = lipkit.parametrizations.UnitColumns()(np.diag([2.0, 1.0]).astype("float32"))
    >>> print(ops.convert_to_numpy(w).round(2))
    [[1. 0.]
     [0. 1.]]
    """

    def __call__(self, w):
        return linalg.frobenius_normalize(w, axis=-2)

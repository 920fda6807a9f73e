"""deel-lip's functional API of kernel rules, thin over `lipkit.linalg`.

Iteration counts are fixed, so the tolerances `eps*` are checked and otherwise without effect,
unless said otherwise. All functions are pure and jittable.
"""

import warnings

import keras
from keras import ops

from lipkit import linalg, parametrizations
from lipkit._backend import full_precision
from lipkit._checks import check_constant, integer, real
from lipkit.linalg.adjoint import get_conv_operators
from lipkit.parametrizations.deel_lip import from_deel_lip

__all__ = [
    "bjorck_normalization",
    "reshaped_kernel_orthogonalization",
    "set_stop_grad_spectral",
    "set_swap_memory",
    "spectral_normalization",
    "spectral_normalization_conv",
]

DEFAULT_EPS_SPECTRAL = 1e-3
DEFAULT_EPS_BJORCK = 1e-3
DEFAULT_BETA_BJORCK = 0.5
DEFAULT_MAXITER_SPECTRAL = 10
DEFAULT_MAXITER_BJORCK = 15


@full_precision()
def on_matrix(function, kernel):
    """Apply a map of matrices to a kernel (..., n) as one matrix (prod, n), in float32 at least."""
    kernel = ops.convert_to_tensor(kernel)
    dtype = keras.backend.standardize_dtype(kernel.dtype)
    w = ops.cast(kernel, keras.backend.result_type(dtype, "float32"))
    return ops.cast(ops.reshape(function(_matrix(w)), kernel.shape), dtype)


def _matrix(w):
    return ops.reshape(w, (-1, w.shape[-1]))


class MatrixRule:
    """Mixin: k times a constrained kernel, configured by a parametrization or deel-lip's keywords.

    The configuration stores the parametrization that the keywords mean.

    Args:
        k_coef_lip: norm of the result, > 0.
        eps_spectral, eps_bjorck, beta_bjorck: deel-lip's keywords, see
            `lipkit.parametrizations.deel_lip`; `eps_bjorck=None` divides by the norm only.
        parametrization: rule instead of the keywords, as in `lipkit.layers.SpectralDense`.
    """

    def _configure(self, k_coef_lip, parametrization, **keywords):
        self.k_coef_lip = check_constant(k_coef_lip)
        rule = from_deel_lip(parametrization, "polar", **keywords)
        self.parametrization = parametrizations.get(rule)

    def _apply(self, kernel):
        return on_matrix(lambda w: self.k_coef_lip * self.parametrization(w), kernel)

    def get_config(self):
        """The constructor's arguments."""
        rule = parametrizations.serialize(self.parametrization)
        return {"k_coef_lip": self.k_coef_lip, "parametrization": rule}


def reshaped_kernel_orthogonalization(
    kernel,
    u,
    adjustment_coef,
    eps_spectral=DEFAULT_EPS_SPECTRAL,
    eps_bjorck=DEFAULT_EPS_BJORCK,
    beta=DEFAULT_BETA_BJORCK,
    maxiter_spectral=DEFAULT_MAXITER_SPECTRAL,
    maxiter_bjorck=DEFAULT_MAXITER_BJORCK,
):
    """A kernel as a matrix (prod, n) with singular values of 1, times `adjustment_coef`.

    Args:
        kernel: (..., n).
        u: (1, n) start of the power iteration, or None; see `spectral_normalization`.
        adjustment_coef: factor of the result.
        eps_bjorck, beta: with None for one of them, singular values of at most 1.
        maxiter_spectral, maxiter_bjorck: numbers of iterations.
        eps_spectral: deel-lip's tolerance, > 0: checked, without effect.

    Returns:
        (Wbar of the kernel's shape, u (1, n), sigma (1, 1)).

    Example:
    >>> w, u, sigma = lipkit.normalizers.reshaped_kernel_orthogonalization(np.eye(3, 2), None, 2.0)
    >>> print(np.linalg.svd(ops.convert_to_numpy(w), compute_uv=False).round(3))
    [2. 2.]
    """
    rule = from_deel_lip(
        None,
        "polar",
        eps_spectral=eps_spectral,
        eps_bjorck=eps_bjorck,
        beta_bjorck=beta,
        maxiter_bjorck=maxiter_bjorck,
    )
    wbar = on_matrix(parametrizations.get(rule), kernel)
    _, u, sigma = spectral_normalization(_matrix(kernel), u, eps_spectral, maxiter_spectral)
    return adjustment_coef * wbar, u, sigma


def bjorck_normalization(
    w, eps=DEFAULT_EPS_BJORCK, beta=DEFAULT_BETA_BJORCK, maxiter=DEFAULT_MAXITER_BJORCK
):
    """Björck orthogonalisation of a matrix of any norm; see `lipkit.linalg.bjorck`.

    Args:
        w: matrix (..., m, n).
        eps: deel-lip's tolerance, > 0: checked, without effect; None: singular values of at most 1.
        beta: step size in (0, 0.5]; None as for `eps`.
        maxiter: number of steps.

    Returns:
        The orthogonal matrix (..., m, n).

    Example:
    >>> w = lipkit.normalizers.bjorck_normalization(np.diag([1.0, 0.5]))
    >>> print(ops.convert_to_numpy(w).round(3))
    [[1. 0.]
     [0. 1.]]
    """
    return parametrizations.get(
        from_deel_lip(None, "polar", eps_bjorck=eps, beta_bjorck=beta, maxiter_bjorck=maxiter)
    )(ops.convert_to_tensor(w))


def spectral_normalization(kernel, u, eps=DEFAULT_EPS_SPECTRAL, maxiter=DEFAULT_MAXITER_SPECTRAL):
    """W divided by an upper bound of its spectral norm.

    Args:
        kernel: (m, n).
        u: (1, n) start of the power iteration, or None for a vector of ones.
        maxiter: number of power iterations for u.
        eps: deel-lip's tolerance, > 0: checked, without effect.

    Returns:
        (W / sigma, u, sigma): the bound sigma (1, 1) of `lipkit.linalg.spectral_norm_bound` and
        an estimate u (1, n) of the leading right singular vector. Unlike in deel-lip, sigma is
        not that estimate's, which is too small: W / sigma never exceeds norm 1.

    Example:
    >>> w, u, sigma = lipkit.normalizers.spectral_normalization(np.diag([4.0, 1.0]), None)
    >>> print(ops.convert_to_numpy(w).round(3))
    [[1.   0.  ]
     [0.   0.25]]
    """
    real("eps", eps, "(0, inf)")
    kernel = ops.convert_to_tensor(kernel)
    squarings = parametrizations.Spectral().iterations
    sigma = linalg.spectral_norm_bound(kernel, squarings)
    u = ops.ones((1, kernel.shape[-1]), kernel.dtype) if u is None else u
    w = ops.stop_gradient(kernel)
    transposed = ops.transpose(w)
    for _ in range(integer("maxiter", maxiter)):
        u = _unit(ops.matmul(ops.matmul(u, transposed), w))
    return linalg.spectral_normalize(kernel, squarings), u, sigma


def _unit(x):
    return x * ops.rsqrt(ops.maximum(ops.sum(x * x), 1e-12))


def spectral_normalization_conv(
    kernel,
    u,
    stride=1.0,
    conv_first=True,
    pad_func=None,
    eps=DEFAULT_EPS_SPECTRAL,
    maxiter=DEFAULT_MAXITER_SPECTRAL,
):
    """A kernel divided by an estimate of its convolution's norm, by power iteration.

    The estimate is from below: the result's norm may exceed 1, by little once u has converged.
    `lipkit.lipschitz_bound` bounds norms from above.

    Args:
        kernel, stride, conv_first, pad_func: as in `get_conv_operators`.
        u: start of the iteration, of the shape that `u_shape` stands for there.
        eps: added to the norm; a negative one disables the normalisation.
        maxiter: number of iterations.

    Returns:
        (kernel / (sigma + eps), u, sigma), where sigma is a scalar with a gradient in the kernel.

    Example:
    >>> kernel, u = 2 * np.ones((1, 1, 1, 1), "float32"), np.ones((1, 4, 4, 1), "float32")
    >>> w, u, sigma = lipkit.normalizers.spectral_normalization_conv(kernel, u)
    >>> round(float(sigma), 3)
    2.0
    """
    kernel, u = ops.convert_to_tensor(kernel), ops.convert_to_tensor(u)
    if eps < 0:
        return kernel, u, ops.ones((), kernel.dtype)
    held, _ = get_conv_operators(kernel, u.shape, stride, conv_first, pad_func)
    linear, adjoint = get_conv_operators(
        ops.stop_gradient(kernel), u.shape, stride, conv_first, pad_func
    )
    u = _unit(ops.stop_gradient(u))
    for _ in range(integer("maxiter", maxiter)):
        u = _unit(adjoint(linear(u)))
    sigma = ops.sqrt(ops.sum(held(u) ** 2))
    return kernel / (sigma + eps), u, sigma


def _no_effect(name):
    def switch(value=True):
        warnings.warn(f"`{name}` has no effect: lipkit has no global switches.", stacklevel=2)

    switch.__doc__ = f"""deel-lip's global switch: accepted with a warning, without effect.

    Args:
        value: ignored.

    Example:
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):
    ...     lipkit.normalizers.{name}(True)
    """
    return switch


set_swap_memory = _no_effect("set_swap_memory")
set_stop_grad_spectral = _no_effect("set_stop_grad_spectral")

"""Keras constraints: projections of a weight, run by the optimizer after each update."""

import math

import keras
from keras import ops

from lipkit._checks import real
from lipkit._registry import register
from lipkit.linalg.norms import largest_entry
from lipkit.normalizers import MatrixRule


@register
class WeightClipConstraint(keras.constraints.Constraint):
    """Clip every entry to [-c, c].

    Args:
        c: the largest absolute value, > 0.

    Example:
    >>> w = lipkit.constraints.WeightClipConstraint(1)(np.array([-3.0, 0.5]))
    >>> print(ops.convert_to_numpy(w))
    [-1.   0.5]
    """

    def __init__(self, c=2):
        self.c = real("c", c, "(0, inf)")

    def __call__(self, w):
        return ops.clip(w, -self.c, self.c)

    def get_config(self):
        """The constructor's arguments."""
        return {"c": self.c}


@register
class AutoWeightClipConstraint(keras.constraints.Constraint):
    """Clip every entry to +-1 / (sqrt(size of w) * scale): a 2-norm of at most 1 / scale.

    Args:
        scale: > 0; the larger, the smaller the weights.

    Example:
    >>> w = lipkit.constraints.AutoWeightClipConstraint()(np.ones((2, 2)))
    >>> print(ops.convert_to_numpy(w))
    [[0.5 0.5]
     [0.5 0.5]]
    """

    def __init__(self, scale=1):
        self.scale = real("scale", scale, "(0, inf)")

    def __call__(self, w):
        c = 1 / (math.sqrt(math.prod(w.shape)) * self.scale)
        return ops.clip(w, -c, c)

    def get_config(self):
        """The constructor's arguments."""
        return {"scale": self.scale}


@register
class FrobeniusConstraint(keras.constraints.Constraint):
    """W / (|W|_F + eps); a zero kernel stays zero.

    Args:
        eps: > 0; keeps the divisor from 0.

    Example:
    >>> w = lipkit.constraints.FrobeniusConstraint()(np.array([[3.0, 4.0]]))
    >>> print(ops.convert_to_numpy(w).round(3))
    [[0.6 0.8]]
    """

    def __init__(self, eps=1e-7):
        self.eps = real("eps", eps, "(0, inf)")

    def __call__(self, w):
        top = largest_entry(ops.reshape(w, (1, -1)))  # squares of w itself may overflow
        x = w / ops.reshape(top, ())
        return x / (ops.sqrt(ops.sum(x * x)) + self.eps / ops.reshape(top, ()))

    def get_config(self):
        """The constructor's arguments."""
        return {"eps": self.eps}


@register
class SpectralConstraint(MatrixRule, keras.constraints.Constraint):
    """The kernel as a matrix (prod, n) of norm at most `k_coef_lip`, orthogonal by default.

    For a convolution this is the norm of the matrix, not of the operator, which is larger.

    Args:
        u: deel-lip's start vector: accepted, without effect, not stored.

    Example:
    >>> w = lipkit.constraints.SpectralConstraint(k_coef_lip=2.0)(np.eye(3, 2))
    >>> print(np.linalg.svd(ops.convert_to_numpy(w), compute_uv=False).round(3))
    [2. 2.]
    """

    def __init__(
        self,
        k_coef_lip=1.0,
        eps_spectral=...,
        eps_bjorck=...,
        beta_bjorck=...,
        u=None,
        *,
        parametrization=None,
    ):
        keywords = {"eps_spectral": eps_spectral, "eps_bjorck": eps_bjorck}
        self._configure(k_coef_lip, parametrization, beta_bjorck=beta_bjorck, **keywords)

    def __call__(self, w):
        return self._apply(w)

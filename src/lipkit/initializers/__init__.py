"""Keras initializers whose matrices, or convolutions, are orthogonal."""

import keras

from lipkit._registry import register
from lipkit.initializers.delta import DeltaOrthogonal
from lipkit.normalizers import MatrixRule

__all__ = ["DeltaOrthogonal", "SpectralInitializer"]


@register
class SpectralInitializer(MatrixRule, keras.initializers.Initializer):
    """Draw from `base_initializer`, then constrain the matrix (prod, n) to norm `k_coef_lip`.

    Every call draws anew, also where layers share one instance, unless `base_initializer` was
    given a seed of its own. `keras.utils.set_random_seed` makes the draws reproducible.

    Args:
        base_initializer: a Keras initializer or its name.

    Example:
    >>> w = lipkit.initializers.SpectralInitializer(k_coef_lip=2.0)((3, 2))
    >>> print(np.linalg.svd(ops.convert_to_numpy(w), compute_uv=False).round(3))
    [2. 2.]
    """

    def __init__(
        self,
        eps_spectral=...,
        eps_bjorck=...,
        beta_bjorck=...,
        k_coef_lip=1.0,
        base_initializer="orthogonal",
        *,
        parametrization=None,
    ):
        keywords = {"eps_spectral": eps_spectral, "eps_bjorck": eps_bjorck}
        self._configure(k_coef_lip, parametrization, beta_bjorck=beta_bjorck, **keywords)
        self.base_initializer = keras.initializers.get(base_initializer)

    def __call__(self, shape, dtype=None):
        return self._apply(_fresh(self.base_initializer)(shape, dtype=dtype))

    def get_config(self):
        """The constructor's arguments."""
        base = keras.initializers.serialize(self.base_initializer)
        return {**super().get_config(), "base_initializer": base}


def _fresh(initializer):
    """A copy with a new seed where none was given: Keras draws one at construction only."""
    config = initializer.get_config() if hasattr(initializer, "get_config") else {}
    if config.get("seed", ...) is None:
        return type(initializer).from_config(config)
    return initializer

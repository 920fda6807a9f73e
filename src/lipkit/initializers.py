"""Keras initializers whose matrices, or convolutions, are orthogonal."""

import keras
from keras import ops

from lipkit._checks import integer, real
from lipkit.normalizers import MatrixRule

_register = keras.saving.register_keras_serializable("lipkit")


@_register
class SpectralInitializer(MatrixRule, keras.initializers.Initializer):
    """Draw from `base_initializer`, then constrain the matrix (prod, n) to norm `k_coef_lip`.

    Every call draws anew, also where layers share one instance, unless `base_initializer` was
    given a seed of its own. `keras.utils.set_random_seed` makes the draws reproducible.

    Args:
        eps_spectral, eps_bjorck, beta_bjorck: deel-lip's keywords, see
            `lipkit.layers.base.from_deel_lip`; `eps_bjorck=None` divides by the norm only.
        k_coef_lip: norm of the result.
        base_initializer: a Keras initializer or its name.
        parametrization: rule instead of the keywords, as in `lipkit.layers.SpectralDense`.
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


@_register
class DeltaOrthogonal(keras.initializers.Initializer):
    """Kernels of orthogonal convolutions: an orthogonal matrix in the central taps, 0 elsewhere.

    With stride s the s taps of each axis about the centre hold the matrix (s_1..s_d c_in, c_out):
    windows that do not overlap, so the convolution has the matrix's singular values, all `gain`,
    where s divides the input's sizes (padding "same"). For kernels (k_1..k_d, c_in, c_out), and
    for transposed convolutions' too.

    Args:
        gain: singular values.
        strides: of the convolution; an integer or one for each axis.
        groups: of the convolution.
        seed: integer for the same values at each call; None for fresh ones.

    Reference: Xiao et al., "Dynamical Isometry and a Mean Field Theory of CNNs", ICML 2018,
    arXiv:1806.05393.
    """

    def __init__(self, gain=1.0, *, strides=1, groups=1, seed=None):
        self.gain = real("gain", gain, "]0, inf[")
        several = isinstance(strides, (list, tuple))
        self.strides = (
            tuple(integer("strides", s) for s in strides)
            if several
            else integer("strides", strides)
        )
        self.groups = integer("groups", groups)
        self.seed = seed if seed is None else integer("seed", seed, low=0)

    def __call__(self, shape, dtype=None):
        *taps, inputs, outputs = shape
        axes = (self.strides,) * len(taps) if isinstance(self.strides, int) else self.strides
        if len(axes) != len(taps) or any(s > k for s, k in zip(axes, taps, strict=False)):
            raise ValueError(
                "`strides` must be at most the kernel size on each axis. "
                f"Received: strides={self.strides!r} for a kernel of shape {tuple(shape)}"
            )
        if outputs % self.groups:
            raise ValueError(
                f"`groups` must divide the last axis of {tuple(shape)}. Received: {self.groups}"
            )
        draw = keras.initializers.Orthogonal(self.gain, seed=keras.random.SeedGenerator(self.seed))
        block = (*axes, inputs, outputs // self.groups)
        blocks = [draw(block, dtype=dtype) for _ in range(self.groups)]
        before = [(k - s) // 2 for k, s in zip(taps, axes, strict=True)]
        after = [k - s - low for k, s, low in zip(taps, axes, before, strict=True)]
        widths = [*zip(before, after, strict=True), (0, 0), (0, 0)]
        return ops.pad(ops.concatenate(blocks, axis=-1), widths)

    def get_config(self):
        """The constructor's arguments."""
        return dict(vars(self))

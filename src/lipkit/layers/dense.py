"""Dense layers with a Lipschitz constant."""

import keras
from keras import ops

from lipkit._registry import register
from lipkit.layers.kernels import FixedKernel, SpectralKernel
from lipkit.parametrizations import UnitColumns

__all__ = ["FrobeniusDense", "SpectralDense"]


@register
class SpectralDense(SpectralKernel, keras.layers.Dense):
    """`keras.layers.Dense` with a kernel of spectral norm at most `k_coef_lip`.

    Shapes are those of `Dense`: (..., input_dim) -> (..., units).

    Example:
    >>> layer = lipkit.layers.SpectralDense(64, activation="relu")
    >>> tuple(layer(np.ones((2, 32))).shape)
    (2, 64)
    >>> round(float(np.linalg.norm(ops.convert_to_numpy(layer.kernel), 2)), 4)
    1.0

    Reference: Anil, Lucas and Grosse, "Sorting out Lipschitz function approximation", ICML 2019,
    arXiv:1811.05381. The norm is enforced to float32 rounding, not proven.
    """

    vanilla_class = keras.layers.Dense

    def __init__(
        self, units, activation=None, use_bias=True, kernel_initializer="orthogonal", **kwargs
    ):
        kwargs["kernel_initializer"] = kernel_initializer
        super().__init__(units=units, activation=activation, use_bias=use_bias, **kwargs)

    @property
    def differs_in_training(self):
        """Whether the rule multiplies by the free kernel its own way in training."""
        return self.parametrization.training_matmul is not None

    def call(self, inputs, training=None):
        """The layer's outputs; in training, a rule may multiply by the free kernel its own way."""
        matmul = self.parametrization.training_matmul if training else None
        if matmul is None:
            return super().call(inputs)
        x = matmul(ops.reshape(inputs, (-1, inputs.shape[-1])), self._free_kernel())
        x = self._scaled(ops.reshape(x, (*ops.shape(inputs)[:-1], self.units)))
        x = x if self.bias is None else ops.add(x, self.bias)
        return x if self.activation is None else self.activation(x)


@register
class FrobeniusDense(FixedKernel, keras.layers.Dense):
    """`keras.layers.Dense` with a kernel normalised by its 2-norm: for the last layer.

    Args:
        disjoint_neurons: if True, each column of the kernel has norm `k_coef_lip`: every output
            alone is `k_coef_lip`-Lipschitz, all together `k_coef_lip * sqrt(units)`. If False,
            the whole kernel has Frobenius norm `k_coef_lip`, and so has the whole map. The same
            for `units=1`.

    Example:
    >>> layer = lipkit.layers.FrobeniusDense(1)
    >>> tuple(layer(np.ones((2, 32))).shape)
    (2, 1)
    """

    vanilla_class = keras.layers.Dense

    def __init__(
        self,
        units,
        activation=None,
        use_bias=True,
        kernel_initializer="orthogonal",
        *,
        disjoint_neurons=True,
        **kwargs,
    ):
        super().__init__(
            units=units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            parametrization=UnitColumns() if disjoint_neurons else "frobenius",
            **kwargs,
        )
        self.disjoint_neurons = bool(disjoint_neurons)

    def get_config(self):
        """Keras configuration, with `disjoint_neurons`."""
        return {**super().get_config(), "disjoint_neurons": self.disjoint_neurons}

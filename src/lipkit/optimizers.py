"""Optimizers that know the manifold which a kernel stays on."""

import keras
from keras import ops

from lipkit import linalg
from lipkit._checks import real
from lipkit._registry import register


@register
class StiefelMuon(keras.optimizers.Adam):
    """Steepest descent in the spectral norm for kernels of the rule `"stiefel"`, Adam for the rest.

    The momentum of a kernel W is kept tangent to the manifold; its polar factor, by which all
    singular directions move alike, is the step:

        M <- P_W(momentum M + G),    W <- W - rate polar(M),

    and the kernel's constraint leads W back to the manifold where it has drifted. Each step turns
    W by the angle `learning_rate` at most; so the rate does not depend on the size of the kernel,
    and it should decay to 0, because the steps do not get shorter by themselves.

    Args:
        learning_rate: a number, a schedule or a callable.
        momentum: how much of M is kept, in [0, 1).
        adam_ratio: the rate of Adam over `learning_rate`, > 0.
        beta_1, beta_2, epsilon, amsgrad: of Adam, as in `keras.optimizers.Adam`.
        weight_decay: the same; it does not apply to kernels on the manifold.
        clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum: the same.
        ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name: the same.

    Example:
    >>> dense = lipkit.layers.SpectralDense(8, parametrization="stiefel")
    >>> net = lipkit.Sequential([keras.Input((2,)), dense, lipkit.layers.FrobeniusDense(1)])
    >>> decay = keras.optimizers.schedules.CosineDecay(0.01, decay_steps=100)
    >>> net.compile(lipkit.optimizers.StiefelMuon(decay), lipkit.losses.HKR())
    >>> history = net.fit(x, y, verbose=0)

    References: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024;
    Bernstein, "Modular manifolds", 2025, for the manifold.
    """

    def __init__(self, learning_rate=0.01, momentum=0.9, adam_ratio=1.0, **kwargs):
        kwargs.setdefault("name", "stiefel_muon")
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = real("momentum", momentum, "[0, 1)")
        self.adam_ratio = real("adam_ratio", adam_ratio, "(0, inf)")

    def build(self, variables):
        """Variables of the optimizer; kernels on the manifold keep their size by themselves."""
        if self.built:
            return
        # how each kernel is seen as matrices; None for what is on no manifold
        self._views = [getattr(v.constraint, "view", None) for v in variables]
        kernels = [v for v, view in zip(variables, self._views, strict=True) if view]
        self.exclude_from_weight_decay(kernels)
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        """One update of one variable."""
        rate = ops.cast(learning_rate, variable.dtype)
        index = self._get_variable_index(variable)
        view = self._views[index]
        if view is None:
            super().update_step(gradient, variable, rate * self.adam_ratio)
            return
        m = self._momentums[index]
        w = view.matrix(ops.stop_gradient(variable))
        moved = view.matrix(self.momentum * m + ops.cast(gradient, variable.dtype))
        moved = linalg.tangent(w, moved)
        self.assign(m, view.kernel(moved, variable.shape))
        step = linalg.polar(moved, iterations=3)
        self.assign_sub(variable, rate * view.kernel(step, variable.shape))

    def get_config(self):
        """The constructor's arguments."""
        config = {"momentum": self.momentum, "adam_ratio": self.adam_ratio}
        return {**super().get_config(), **config}

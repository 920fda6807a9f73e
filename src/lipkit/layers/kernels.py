"""The mixins of layers with a kernel that is constrained whenever it is read."""

import keras
from keras import ops

from lipkit import parametrizations
from lipkit._backend import full_precision
from lipkit.layers.base import ActivationLast, LipschitzLayer, at_least_float32
from lipkit.parametrizations.deel_lip import from_deel_lip
from lipkit.views import KernelView

__all__ = ["LipschitzKernel"]


class Retraction(keras.constraints.Constraint):
    """Leads a free kernel back to the manifold on which its rule keeps it."""

    def __init__(self, rule, view):
        self.rule, self.view = rule, view

    def __call__(self, kernel):
        kernel = ops.convert_to_tensor(kernel)
        return self.view.kernel(self.rule.retract(self.view.matrix(kernel)), kernel.shape)


class LipschitzKernel(ActivationLast, LipschitzLayer):
    """Mixin put before a Keras layer that reads `self.kernel` once in `call`.

    `kernel` is the constrained kernel, times `k_coef_lip`; `_kernel` is the free variable. So
    `call`, bounds, plots and the export all see an ordinary layer.

    Args:
        *args, **kwargs: of the Keras layer behind it.
        parametrization: kernel rule: its name, or a `lipkit.parametrizations.Parametrization`.
        lora_rank, lora_alpha, quantization_config: of Keras; not supported, leave them out.
            A `lora_rank` raises `ValueError`.
        kernel_initializer: initializer of the free kernel. `...` (the default) means not given:
            orthogonal, or what suits the rule.
        kernel_constraint: optional constraint on the free kernel. Must be None for rules that set
            their own, such as `"stiefel"`.

    Example:
    >>> class Plain(lipkit.layers.LipschitzKernel, keras.layers.Dense):
    ...     vanilla_class = keras.layers.Dense
    >>> layer = Plain(3, parametrization="spectral")
    >>> layer.build((None, 5))
    >>> round(float(np.linalg.norm(ops.convert_to_numpy(layer.kernel), 2)), 4)
    1.0
    """

    chosen_arguments = ("kernel_initializer", "depthwise_initializer")
    kernel_role = "kernel"  # prefix of Keras's arguments about it

    def __init__(self, *args, parametrization, **kwargs):
        rule = parametrizations.get(parametrization)
        initializer = f"{self.kernel_role}_initializer"
        if kwargs.get(initializer, ...) is ...:
            kwargs[initializer] = self.starting_point(rule, kwargs)
        super().__init__(*args, **kwargs)
        if rank := getattr(self, "lora_rank", None):
            self.enable_lora(rank)
        if self.quantization_mode:
            self._refuse(f"dtype={self.dtype_policy.name!r}")
        self.parametrization = rule

    def starting_point(self, rule, arguments):
        """The default initializer, given the rule and the other arguments."""
        return "orthogonal"

    @property
    def view(self) -> KernelView:
        """How the kernel is seen as matrices, see `lipkit.views`."""
        return KernelView()

    def enable_lora(self, rank, **kwargs):
        """Not supported."""
        self._refuse(f"lora_rank={rank!r}")

    def quantize(self, mode=None, **kwargs):
        """Not supported."""
        self._refuse(f"mode={mode!r}")

    def _refuse(self, received):
        raise ValueError(
            f"{type(self).__name__} supports neither `lora_rank` nor quantization: both change the "
            f"kernel after it was constrained. Export the model first. Received: {received}"
        )

    def add_weight(self, *args, **kwargs):
        """Keep the free kernel out of autocast: constrain in float32, cast last."""
        if kwargs.get("name") == "kernel":
            kwargs["autocast"] = False
            kwargs["constraint"] = self._retraction(kwargs.get("constraint"))
            kwargs["initializer"] = _initial(kwargs["initializer"])
        return super().add_weight(*args, **kwargs)

    def _retraction(self, constraint):
        """What optimizers do with the free kernel after each step: the rule's part, if any."""
        if self.parametrization.retract is None:
            return constraint
        if constraint is not None:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: `{self.kernel_role}_constraint` must be "
                f"None with {self.parametrization}, which sets its own. Received: {constraint}"
            )
        return Retraction(self.parametrization, self.view)

    @property
    def kernel(self):
        """The constrained kernel, as used by `call`."""
        if not self.built:
            raise AttributeError("You must build the layer before accessing `kernel`.")
        kernel = self._constrained(self._free_kernel())
        return ops.cast(self.k_coef_lip * kernel, self.compute_dtype)

    @kernel.setter
    def kernel(self, variable):  # some of Keras's `build` assign it
        self._kernel = variable

    def _free_kernel(self):
        """The free kernel in float32 at least."""
        kernel = ops.convert_to_tensor(self._kernel)
        return ops.cast(kernel, at_least_float32(kernel.dtype))

    @full_precision()
    def _constrained(self, kernel):
        """A free kernel, constrained: before the factor and the cast."""
        return self.parametrization.constrain(kernel, self.view)

    # Dense stores `self.kernel`; what must be saved is the free kernel.
    def save_own_variables(self, store):
        """Store the free kernel and the bias."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        """Load the free kernel and the bias."""
        keras.layers.Layer.load_own_variables(self, store)

    def condense(self):
        """Overwrite the free kernel with the constrained one; the function is unchanged.

        Nothing happens where the rule would change its own result, as some do for kernels that are
        far from full rank.
        """
        kernel = self._constrained(self._free_kernel())
        again = ops.abs(self._constrained(kernel) - kernel)
        if ops.max(again) <= 1e-5 * ops.max(ops.abs(kernel)):
            self._kernel.assign(ops.convert_to_numpy(kernel))

    def get_config(self):
        """Keras configuration, with the parametrization."""
        config = super().get_config()
        config["parametrization"] = parametrizations.serialize(self.parametrization)
        return config

    def vanilla_config(self):
        """Configuration of the plain Keras layer with the same name and shapes."""
        config = super().get_config()
        del config["k_coef_lip"]
        # what only training needs may be lipkit's own, and the export must load without lipkit
        for part in (self.kernel_role, "bias"):
            config.update({f"{part}_constraint": None, f"{part}_regularizer": None})
        return {**config, f"{self.kernel_role}_initializer": "glorot_uniform"}

    def vanilla_weights(self):
        """The weights of the plain layer: the constrained kernel first."""
        kernel = ops.convert_to_numpy(ops.cast(self.kernel, self.variable_dtype))
        return [kernel, *self.get_weights()[1:]]

    def vanilla_export(self):
        """The equivalent plain Keras layer, built and filled."""
        from lipkit.export import vanilla_layer

        return vanilla_layer(self)


def _initial(initializer):
    """An initializer, drawn in float32: backends have no QR decomposition, say, of bfloat16."""

    def draw(shape, dtype):
        value = ops.cast(initializer(shape, dtype=at_least_float32(dtype)), dtype)
        # by rows: PyTorch's QR leaves columns, which optimizers then update 10 times slower
        return ops.reshape(ops.reshape(value, (-1,)), shape)

    return draw


class SpectralKernel(LipschitzKernel):
    """Mixin whose rule is given by `parametrization`, or by deel-lip's keywords.

    Args:
        *args, **kwargs: of the Keras layer behind it.
        parametrization: kernel rule, by name or as a `lipkit.parametrizations.Parametrization`:
            `"aol"` (the default of convolutions) rescales channels; `"polar"` (that of dense
            layers), `"stiefel"` (faster where a layer is wide), `"bjorck"` and `"cholesky"` give
            orthogonal kernels; `"spectral"` and `"frobenius"` divide by a norm.
        eps_spectral, eps_bjorck, beta_bjorck, maxiter_spectral, maxiter_bjorck: keywords of
            deel-lip, instead of `parametrization`; `...` (the default) means not given. See
            `lipkit.parametrizations.deel_lip`.
    """

    default_rule = "polar"

    def __init__(
        self,
        *args,
        parametrization=None,
        eps_spectral=...,
        eps_bjorck=...,
        beta_bjorck=...,
        maxiter_spectral=...,
        maxiter_bjorck=...,
        **kwargs,
    ):
        rule = from_deel_lip(
            *(parametrization, self.default_rule),
            eps_spectral=eps_spectral,
            eps_bjorck=eps_bjorck,
            beta_bjorck=beta_bjorck,
            maxiter_spectral=maxiter_spectral,
            maxiter_bjorck=maxiter_bjorck,
        )
        super().__init__(*args, parametrization=rule, **kwargs)


class FixedKernel(LipschitzKernel):
    """Mixin of layers whose class fixes the rule: no argument, and not in the configuration."""

    fixed_arguments = ("parametrization",)

    def get_config(self):
        """Keras configuration, without the parametrization."""
        config = super().get_config()
        del config["parametrization"]
        return config

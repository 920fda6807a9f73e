"""The mixins: a target constant, and a kernel that is constrained whenever it is read."""

import keras
from keras import ops

from lipkit import parametrizations
from lipkit._backend import full_precision
from lipkit._checks import check_constant
from lipkit.layers.exported import Exported
from lipkit.parametrizations.deel_lip import from_deel_lip
from lipkit.views import KernelView

__all__ = ["LipschitzKernel", "LipschitzLayer"]


def check_data_format(data_format):
    """The data format, or `ValueError`."""
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            "`data_format` must be 'channels_last' or 'channels_first'. "
            f"Received: data_format={data_format!r}"
        )
    return data_format


def batch_size(shape):
    """The first size, for a reshape that keeps it: -1 would take up what the others leave over."""
    return -1 if shape[0] is None else shape[0]


def known_channels(layer, shape, axis=-1):
    """The number of channels of inputs of this shape, or `ValueError`."""
    if shape[axis] is None:
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} needs a known number of channels. Received: "
            f"inputs of shape {tuple(shape)}, channels on axis {axis}"
        )
    return shape[axis]


def place_axis(layer, axis, rank):
    """An axis of inputs of this rank counted from 0, or `ValueError`: not the batch's."""
    if isinstance(axis, (bool, float)) or axis not in (*range(1, rank), *range(1 - rank, 0)):
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r}: `axis` must be an axis other than the batch's "
            f"of inputs of rank {rank}. Received: axis={axis!r}"
        )
    return axis % rank


class LipschitzLayer(Exported):
    """Mixin of all layers with a target constant, fixed at construction."""

    def __init__(self, *args, k_coef_lip=1.0, **kwargs):
        k_coef_lip = check_constant(k_coef_lip)
        super().__init__(*args, **kwargs)
        self._k_coef_lip = k_coef_lip

    @property
    def k_coef_lip(self):
        """The target constant."""
        return self._k_coef_lip

    @k_coef_lip.setter
    def k_coef_lip(self, value):
        raise AttributeError(
            f"`k_coef_lip` of {self.name!r} is fixed at construction: graphs that were traced "
            "with it would keep the old value. Give it to the constructor of a new one, to which "
            f"`set_weights` moves the weights. Received: k_coef_lip={value!r}"
        )

    def set_klip_factor(self, klip_factor):
        """deel-lip's way to give the constant: until it is built; then it is an error."""
        if getattr(self, "built", False):
            self.k_coef_lip = klip_factor  # raises: it is fixed
        self._k_coef_lip = check_constant(klip_factor)

    def _scaled(self, x):
        return x if self.k_coef_lip == 1.0 else self.k_coef_lip * x

    def get_config(self):
        """Keras configuration, with `k_coef_lip`."""
        return {**super().get_config(), "k_coef_lip": self.k_coef_lip}


class ActivationLast(Exported):
    """Mixin put before a Keras layer: the activation may be a layer that changes the shape.

    Keras does not ask the activation, and would build what follows `MaxMin` for half its channels.
    """

    def compute_output_shape(self, input_shape):
        """Shape of the outputs."""
        shape = super().compute_output_shape(input_shape)
        change = getattr(self.activation, "compute_output_shape", None)
        return change(shape) if change else shape


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
    """

    kernel_role = "kernel"  # prefix of Keras's arguments about it

    def __init__(self, *args, parametrization, **kwargs):
        rule = parametrizations.get(parametrization)
        start = self.starting_point(rule, kwargs)
        kwargs.setdefault(f"{self.kernel_role}_initializer", start)
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
        return ops.cast(kernel, _at_least_float32(kernel.dtype))

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
        value = ops.cast(initializer(shape, dtype=_at_least_float32(dtype)), dtype)
        # by rows: PyTorch's QR leaves columns, which optimizers then update 10 times slower
        return ops.reshape(ops.reshape(value, (-1,)), shape)

    return draw


def _at_least_float32(dtype):
    dtype = keras.backend.standardize_dtype(dtype)
    return "float32" if dtype in ("bfloat16", "float16") else dtype


class SpectralKernel(LipschitzKernel):
    """Mixin whose rule is given by `parametrization`, or by deel-lip's keywords.

    `parametrization` is a name (`"polar"`, the default, `"bjorck"`, `"cholesky"`: orthogonal
    matrices; `"spectral"`, `"frobenius"`) or a `lipkit.parametrizations.Parametrization`.
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

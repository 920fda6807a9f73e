"""The names of deel-lip's modules, and what stands for those that lipkit itself lacks."""

import abc
import importlib
import warnings

from lipkit import layers as ll

_LAYERS = {
    "activations": ("FullSort", "GroupSort", "GroupSort2", "Householder", "MaxMin", "PReLUlip"),
    "base_layer": ("Condensable", "LipschitzLayer"),
    "convolutional": ("FrobeniusConv2D", "SpectralConv2D", "SpectralConv2DTranspose"),
    "dense": ("FrobeniusDense", "SpectralDense"),
    "pooling": (
        *("InvertibleDownSampling", "InvertibleUpSampling", "ScaledAveragePooling2D"),
        *("ScaledGlobalAveragePooling2D", "ScaledGlobalL2NormPooling2D", "ScaledL2NormPooling2D"),
    ),
}
_DEFAULTS = tuple(
    f"DEFAULT_{name}"
    for name in ("EPS_SPECTRAL", "EPS_BJORCK", "BETA_BJORCK", "MAXITER_SPECTRAL", "MAXITER_BJORCK")
)
MODULES = {
    "activations": _LAYERS["activations"],
    "callbacks": ("CondenseCallback", "LossParamLog", "LossParamScheduler", "MonitorCallback"),
    "compute_layer_sv": ("compute_layer_sv", "compute_model_sv"),
    "constraints": (
        *("AutoWeightClipConstraint", "FrobeniusConstraint", "SpectralConstraint"),
        "WeightClipConstraint",
    ),
    "initializers": ("SpectralInitializer",),
    "layers": sum(_LAYERS.values(), ()),
    **{f"layers.{name}": names for name, names in _LAYERS.items()},
    "layers.unconstrained": ("PadConv2D",),
    "losses": (
        *("KR", "HKR", "HingeMargin", "MulticlassKR", "MulticlassHinge", "MulticlassHKR"),
        *("MulticlassSoftHKR", "MultiMargin", "CategoricalHinge", "TauCategoricalCrossentropy"),
        *("TauSparseCategoricalCrossentropy", "TauBinaryCrossentropy"),
        *("hinge_margin", "multiclass_hinge"),
    ),
    "metrics": tuple(
        f"{task}Provable{kind}"
        for task in ("Binary", "Categorical")
        for kind in ("RobustAccuracy", "AvgRobustness")
    ),
    "model": ("Model", "Sequential", "vanillaModel"),
    "normalizers": (
        *("bjorck_normalization", "get_conv_operators", "reshaped_kernel_orthogonalization"),
        *("set_stop_grad_spectral", "set_swap_memory", "spectral_normalization"),
        *("spectral_normalization_conv", *_DEFAULTS),
    ),
    "regularizers": ("Lorth", "Lorth2D", "LorthRegularizer", "OrthDenseRegularizer"),
    "utils": ("evaluate_lip_const", "evaluate_lip_const_gen", "process_labels_for_multi_gpu"),
}
_SOURCES = {"activations": "layers", "model": "models"}  # other modules are named as in lipkit


class LipschitzLayer(ll.LipschitzLayer, abc.ABC):
    """deel-lip's base of layers with a constant, for layers that a program defines itself.

    The constant is set once, by `set_klip_factor` in the constructor. All Lipschitz layers of
    lipkit are instances.
    """

    coef_lip = None
    _k_coef_lip = 1.0

    @classmethod
    def __subclasshook__(cls, other):
        return issubclass(other, ll.LipschitzLayer) if cls is LipschitzLayer else NotImplemented

    @abc.abstractmethod
    def _compute_lip_coef(self, input_shape=None):
        """The factor that makes the layer 1-Lipschitz."""

    def _init_lip_coef(self, input_shape):
        self.coef_lip = self._compute_lip_coef(input_shape)

    def _get_coef(self):
        if self.coef_lip is None:
            raise RuntimeError(
                "`_init_lip_coef` must be called, as in `build`, before `_get_coef`."
            )
        return self.coef_lip * self.k_coef_lip


class Condensable(abc.ABC):
    """deel-lip's base: whatever has both `condense` and `vanilla_export` is an instance."""

    @classmethod
    def __subclasshook__(cls, other):
        if cls is not Condensable:
            return NotImplemented
        return hasattr(other, "condense") and hasattr(other, "vanilla_export")

    @abc.abstractmethod
    def condense(self):
        """Overwrite the free kernel with the constrained one."""

    @abc.abstractmethod
    def vanilla_export(self):
        """The equivalent plain Keras layer."""


def process_labels_for_multi_gpu(labels):
    """The labels, unchanged: no loss here needs the batch's class sizes in them."""
    warnings.warn(
        "`process_labels_for_multi_gpu` has no effect: the losses count the classes themselves.",
        stacklevel=2,
    )
    return labels


_OWN = {c.__name__: c for c in (LipschitzLayer, Condensable, process_labels_for_multi_gpu)}
_RENAMED = {"Lorth": "Lorth2D"}  # the base of deel-lip's only such class


def find(path: str, name: str):
    """The object behind a name of the module at this path."""
    if name not in MODULES[path]:
        raise AttributeError(
            f"In deel-lip's module {path!r} lipkit knows no name {name!r}. See docs/migration.md."
        )
    if name in _OWN:
        return _OWN[name]
    module = path.partition(".")[0]
    source = importlib.import_module(f"lipkit.{_SOURCES.get(module, module)}")
    return getattr(source, _RENAMED.get(name, name))

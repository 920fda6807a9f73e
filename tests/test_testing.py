"""The conformance suite: run over every public class, and shown to catch what is wrong."""

import math
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import lipkit
from lipkit import layers, losses, parametrizations
from lipkit.testing import check_lipschitz_layer, check_loss, check_parametrization
from lipkit.testing.layers import LAYER_CHECKS

pytestmark = pytest.mark.compiled  # its checks compare programs

ABSTRACT = {"LipschitzKernel", "LipschitzLayer", "Parametrization"}
IMAGE, SIGNAL, VOLUME = (4, 6, 4), (6, 4), (4, 6, 4, 1)
CONV, DEPTHWISE = {"filters": 3, "kernel_size": 3}, {"kernel_size": 3}
FREE = math.inf  # the layer is not constrained


def inner(channels):
    return lambda: layers.SpectralDense(channels, activation="relu", parametrization="aol")


# name: [(arguments, input shape, constant or None for `k_coef_lip`), ...]
LAYERS = {
    "SpectralDense": [
        ({"units": 4}, (6,), None),
        ({"units": 6, "activation": "relu", "k_coef_lip": 2.0}, (3, 4), None),
        ({"units": 5, "parametrization": "spectral"}, (6,), None),
        ({"units": 4, "parametrization": "stiefel"}, (6,), None),
    ],
    "FrobeniusDense": [
        ({"units": 4}, (6,), 2.0),
        ({"units": 4, "disjoint_neurons": False}, (6,), None),
    ],
    "SpectralConv1D": [({**CONV, "padding": "causal"}, SIGNAL, None)],
    "SpectralConv2D": [
        (CONV, IMAGE, None),
        ({**CONV, "strides": 2, "padding": "reflect", "parametrization": "polar"}, IMAGE, None),
    ],
    "SpectralConv3D": [({**CONV, "kernel_size": 2}, VOLUME, None)],
    "SpectralConv1DTranspose": [({**CONV, "strides": 2}, SIGNAL, None)],
    "SpectralConv2DTranspose": [({**CONV, "strides": 2}, IMAGE, None)],
    "SpectralConv3DTranspose": [({**CONV, "kernel_size": 2}, VOLUME, None)],
    "SpectralDepthwiseConv1D": [({**DEPTHWISE, "depth_multiplier": 2}, SIGNAL, None)],
    "SpectralDepthwiseConv2D": [(DEPTHWISE, IMAGE, None)],
    "FrobeniusConv2D": [(CONV, IMAGE, None)],
    "PadConv1D": [({**CONV, "padding": "replicate"}, SIGNAL, FREE)],
    "PadConv2D": [({**CONV, "padding": "symmetric"}, IMAGE, FREE)],
    "ScaledAveragePooling1D": [({}, SIGNAL, None)],
    "ScaledAveragePooling2D": [({"pool_size": (2, 3)}, IMAGE, None)],
    "ScaledAveragePooling3D": [({}, VOLUME, None)],
    "ScaledL2NormPooling1D": [({}, SIGNAL, None)],
    "ScaledL2NormPooling2D": [({"pool_size": (2, 3)}, IMAGE, None)],
    "ScaledL2NormPooling3D": [({}, VOLUME, None)],
    "ScaledGlobalAveragePooling1D": [({}, SIGNAL, None)],
    "ScaledGlobalAveragePooling2D": [({"keepdims": True}, IMAGE, None)],
    "ScaledGlobalAveragePooling3D": [({}, VOLUME, None)],
    "ScaledGlobalL2NormPooling1D": [({}, SIGNAL, None)],
    "ScaledGlobalL2NormPooling2D": [({"keepdims": True}, IMAGE, None)],
    "ScaledGlobalL2NormPooling3D": [({}, VOLUME, None)],
    "InvertibleDownSampling": [({"pool_size": 2}, IMAGE, None)],
    "InvertibleUpSampling": [({"pool_size": 2}, IMAGE, None)],
    "MaxMin": [({}, (6,), None), ({"data_format": "channels_first"}, (3, 2, 4), None)],
    "GroupSort": [({"n": 3}, (2, 6), None), ({"k_coef_lip": 0.5}, (6,), None)],
    "GroupSort2": [({}, (2, 6), None)],
    "FullSort": [({}, (6,), None)],
    "Householder": [({}, (2, 4), None)],
    "PReLUlip": [({}, (2, 4), None)],
    "LayerCentering": [({}, (2, 4), None), ({"axis": -1}, (4,), None)],
    "BatchCentering": [({}, (2, 4), None)],
    "BatchLipNorm": [({"max_scale": 0.5}, (2, 4), 0.5)],
    "LipResidual": [({"inner": inner(4)}, (4,), None)],
    "PrescaledAdditiveResidual": [({"inner": inner(4)}, (4,), None)],
    "ScaledResidual": [({"inner": inner(4), "alpha": 0.25}, (2, 4), None)],
    "L2NormResidual": [({"inner": inner(4)}, (4,), None)],
    "ConcatResidual": [({"inner": inner(2)}, (2, 4), None)],
}
# name: bound of the norm of an (m, n) matrix
PARAMETRIZATIONS = {
    **dict.fromkeys(("AOL", "Bjorck", "Cholesky", "Frobenius", "Polar", "Spectral", "Stiefel")),
    "UnitColumns": lambda m, n: n**0.5,
}
INFINITE = {"alpha": math.inf}
# name: [(arguments, number of classes or None for a binary loss, checks to skip), ...]
LOSSES = {
    "KR": [({}, None)],
    "NegKR": [({}, None)],
    "HingeMargin": [({"min_margin": 0.5}, None)],
    "HKR": [({}, None), (INFINITE, None), ({"alpha": 0.0}, None)],
    "TauBinaryCrossentropy": [({"tau": 3.0}, None)],
    "MulticlassKR": [({}, 3)],
    "MulticlassNegKR": [({}, 3)],
    "MulticlassHinge": [({"min_margin": 0.5}, 3)],
    "MulticlassHKR": [({}, 3), (INFINITE, 3)],
    "MulticlassSoftHKR": [
        ({}, 3),
        # predictions beyond the margin are scaled by their mean size, whatever their weights
        ({**INFINITE, "min_margin": 0.5}, 3, "sample weights"),
    ],
    "LseHKR": [({}, 3), (INFINITE, 2)],
    "MultiMargin": [({"min_margin": 0.5}, 3)],
    "CategoricalHinge": [({}, 3)],
    "TauCategoricalCrossentropy": [({"tau": 3.0}, 3)],
    "TauSparseCategoricalCrossentropy": [({"tau": 3.0}, 2)],
}


# JAX compiles each operation for each new shape, for seconds; relatives of a layer share its code
NEW_SHAPES = ("batch of 1", "sizes", "data formats", "mixed precision", "shared")
RELATIVES = re.compile("[13]D|Global|Residual|-[12]$")


def rows(table):
    several = [(name, i, row) for name, found in table.items() for i, row in enumerate(found)]
    return [pytest.param(name, row, id=f"{name}-{i}") for name, i, row in several]


def public_classes(module, base):
    named = {name: getattr(module, name) for name in module.__all__}
    return {n for n, c in named.items() if isinstance(c, type) and issubclass(c, base)} - ABSTRACT


@pytest.mark.parametrize(
    ("module", "base", "table"),
    [
        (layers, keras.layers.Layer, LAYERS),
        (losses, keras.losses.Loss, LOSSES),
        (parametrizations, parametrizations.Parametrization, PARAMETRIZATIONS),
    ],
)
def test_every_public_class_is_checked(module, base, table):
    assert public_classes(module, base) == set(table)


@pytest.mark.parametrize(("name", "row"), rows(LAYERS))
def test_layers(name, row, request):
    arguments, shape, k = row
    few = keras.backend.backend() == "jax" and RELATIVES.search(request.node.callspec.id)

    def factory(inner=None, **arguments):
        return getattr(layers, name)(*([inner()] if inner else ()), **arguments)

    skip = NEW_SHAPES if few else ()
    results = check_lipschitz_layer(factory, arguments, shape, k=k, skip=skip)
    assert "<=" in results["norm"] and ">=" in results["certificate"]
    scales = issubclass(getattr(layers, name), layers.LipschitzLayer)
    assert (results["constant"] == "passed") == scales


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_parametrizations(name):
    rule = getattr(parametrizations, name)()
    results = check_parametrization(rule, bound=PARAMETRIZATIONS[name])
    assert "of the bound" in results["norm"]


@pytest.mark.parametrize(("name", "row"), rows(LOSSES))
def test_losses(name, row):
    arguments, classes, *skip = row
    results = check_loss(getattr(losses, name), arguments, classes=classes, skip=skip)
    assert results["gradient"] == "passed"


def register(cls):
    return keras.saving.register_keras_serializable("test_testing")(cls)


def rule(lipschitz):
    return lambda layer, shape: lipkit.certifier.graph.Custom(
        lambda x: float(getattr(layer, "factor", 1.0)) * x, lipschitz, error=lambda unit: (1.0, 0.0)
    )


@register
class Scaled(keras.layers.Layer):
    """factor * x, correct in all but, maybe, the constant."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@register
class LosesAnArgument(Scaled):
    def get_config(self):
        config = super().get_config()
        del config["factor"]
        return config


@register
class LosesItUnnoticed(keras.layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self._f = factor

    def get_config(self):
        return {k: v for k, v in super().get_config().items() if k != "factor"}

    def call(self, inputs):
        return self._f * inputs

    def compute_output_shape(self, input_shape):
        return input_shape


@register
class HoldsAnArray(Scaled):
    def get_config(self):
        return {**super().get_config(), "factor": np.float32(self.factor)}


@register
class WrongShape(Scaled):
    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 7)


@register
class Mutates(Scaled):
    def build(self, input_shape):
        self.count = self.add_weight(shape=(), initializer="ones", trainable=False)

    def call(self, inputs):
        self.count.assign(self.count * 0.5)
        return self.count * inputs


@register
class ForgetsItsWeights(Scaled):
    def build(self, input_shape):
        self.w = self.add_weight(shape=(), initializer=keras.initializers.RandomUniform(0, 1))

    def call(self, inputs):
        return ops.clip(self.w, -1, 1) * inputs

    def save_own_variables(self, store):
        pass

    def load_own_variables(self, store):
        pass


@register
class HoldsADeadWeight(Scaled):
    def build(self, input_shape):
        self.dead = self.add_weight(shape=(), name="dead")

    def call(self, inputs):
        return (1 + 0 * self.dead) * inputs


@register
class NeedsTwoSamples(Scaled):
    def call(self, inputs):
        if inputs.shape[0] == 1:
            raise ValueError("a batch of 1")
        return inputs


@register
class MixesSamples(Scaled):
    def call(self, inputs):
        return inputs - 0.5 * ops.mean(inputs, axis=0, keepdims=True)


@register
class RemembersTheSize(Scaled):
    def build(self, input_shape):
        self.share = 1 / input_shape[1]

    def call(self, inputs):
        return self.share * inputs


@register
class IgnoresDataFormat(Scaled):
    def __init__(self, data_format="channels_last", **kwargs):
        super().__init__(**kwargs)
        self.data_format = data_format

    def call(self, inputs):
        return inputs * ops.arange(inputs.shape[-1], dtype=inputs.dtype) / inputs.shape[-1]

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}


@register
class Float32Only(Scaled):
    def call(self, inputs):
        return ops.cast(inputs, "float32")


@register
class HalfOverflows(Scaled):
    def call(self, inputs):
        return 1e30 * inputs / 1e30


@register
class Bent(Scaled):
    """Nonlinear; its slope at the origin is not finite."""

    def call(self, inputs):
        return ops.sqrt(inputs * inputs)


@register
class SteepSomewhere(Scaled):
    def call(self, inputs):
        return ops.relu(inputs) - 1.05 * ops.relu(-inputs)


@register
class ConstrainedByHope(Scaled):
    def build(self, input_shape):
        self.w = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs):
        return self.w * inputs


@register
class IgnoresItsConstant(layers.LipschitzLayer, Scaled):
    pass


@register
class ExportDiffers(layers.Exported, Scaled):
    def to_vanilla(self, x):
        return 0.99 * x


@register
class TakesAnyArgument(Scaled):
    def __init__(self, factor=1.0, name=None, **others):
        super().__init__(factor=factor, name=name)


CASES = [
    (TakesAnyArgument, {}, (4,), "arguments", "accepted: no_such_argument=0"),
    (Scaled, {"factor": 1.05}, (4,), "norm", "the constant is 1.0499"),
    (SteepSomewhere, {}, (4,), "norm", r"1.0499.*\(Jacobians and secants\)"),
    (Bent, {}, (4,), "norm", "Jacobian is not finite"),
    (WrongShape, {}, (4,), "build", r"says \(4, 7\)"),
    (LosesAnArgument, {"factor": 0.5}, (4,), "config", "no factor"),
    (LosesItUnnoticed, {"factor": 0.5}, (4,), "config", "values differ by 1"),
    (HoldsAnArray, {"factor": 0.5}, (4,), "config", "not JSON serializable"),
    (Mutates, {}, (4,), "second call", "values differ by 0.5"),
    (ForgetsItsWeights, {}, (4,), "reload", "values differ"),
    (NeedsTwoSamples, {}, (4,), "batch of 1", "ValueError: .*a batch of 1"),
    (MixesSamples, {}, (4,), "batch of 1", "values differ"),
    (RemembersTheSize, {}, (4, 3), "sizes", "another size: values differ by 1"),
    (IgnoresDataFormat, {}, (4, 3), "data formats", "'channels_first': values differ"),
    (Float32Only, {}, (4,), "mixed precision", "mixed_bfloat16 gives float32"),
    (HalfOverflows, {}, (4,), "mixed precision", "mixed_float16: not finite"),
    (ConstrainedByHope, {}, (4,), "any weights", "the constant is"),
    (IgnoresItsConstant, {}, (4,), "constant", "the constant is 1, more than 0.1"),
    (HoldsADeadWeight, {}, (4,), "fit", "training does not move '.*dead'"),
    (ExportDiffers, {}, (4,), "export", "exported: values differ by 0.01"),
]


@pytest.mark.parametrize(("cls", "arguments", "shape", "check", "message"), CASES)
def test_wrong_layers_are_caught(cls, arguments, shape, check, message):
    lipkit.certifier.register_rule(cls)(rule(10.0))
    with pytest.raises(
        AssertionError, match=rf"(?s)\({cls.__name__}\): check '{check}'.*{message}"
    ):
        check_lipschitz_layer(cls, arguments, shape)


def test_a_third_partys_layer_passes():
    lipkit.certifier.register_rule(Scaled)(rule(0.5))
    results = check_lipschitz_layer(Scaled, {"factor": 0.5}, (2, 4), k=0.5)
    assert results["norm"] == "0.5 <= 0.5 (singular values of the operator)"
    assert results["certificate"] == "0.5 >= 0.5" and results["sizes"] == "passed"
    assert results["constant"] == "skipped: the layer has no `k_coef_lip`"


def test_bounds_below_the_truth_are_caught():
    for bound, message in ((0.4, "the bound is 0.4.*but 0.5"), (np.inf, "at most inf")):
        lipkit.certifier.register_rule(Scaled)(rule(bound))
        with pytest.raises(AssertionError, match=f"check 'certificate' failed: .*{message}"):
            check_lipschitz_layer(Scaled, {"factor": 0.5}, (4,))


def test_constants_that_training_breaks_are_caught():
    lipkit.certifier.register_rule(ConstrainedByHope)(rule(1e9))
    with pytest.raises(AssertionError, match="check 'fit' failed: the constant is"):
        check_lipschitz_layer(ConstrainedByHope, {}, (4,), skip="any weights")


def test_names_of_checks_are_known():
    with pytest.raises(ValueError, match="`skip` must name checks.*'nrom'"):
        check_lipschitz_layer(Scaled, skip="nrom")
    with pytest.raises(ValueError, match="`input_shape` must have at most 2048.*3000"):
        check_lipschitz_layer(Scaled, {}, (3000,), skip="norm")


def test_layers_of_several_inputs():
    results = check_lipschitz_layer(keras.layers.Average, {}, [(4,), (4,)])
    assert results["norm"].startswith("0.70710678")


class Rule(parametrizations.Parametrization):
    def __call__(self, w):
        w = w / ops.maximum(ops.max(ops.abs(w), axis=(-2, -1), keepdims=True), 1e-30)
        return w / ops.maximum(ops.norm(w, axis=(-2, -1), keepdims=True), 1e-30)


def wrong_rules():
    @parametrizations.register
    class TooLong(Rule):
        def __call__(self, w):
            return 1.05 * parametrizations.Polar()(w)

    @parametrizations.register
    class NaNAtZero(Rule):
        def __call__(self, w):
            return w / ops.norm(w, axis=(-2, -1), keepdims=True)

    @parametrizations.register
    class MixesTheBatch(Rule):
        def __call__(self, w):
            return w / ops.maximum(ops.max(ops.abs(w)) * 10, 1e-30)

    @parametrizations.register
    class Forgets(Rule):
        def __init__(self, *, factor=1.0):
            self._factor = factor

        def get_config(self):
            return {}

        def __call__(self, w):
            return self._factor * parametrizations.Polar()(w)

    @parametrizations.register
    class GradientIsNaN(Rule):
        def __call__(self, w):
            return ops.sqrt(ops.minimum(w * w, 1.0)) * 0.01

    @parametrizations.register
    class TakesAnyArgument(Rule):
        def __init__(self, **others):
            pass

    return [
        (TakesAnyArgument(), "arguments", "accepted: no_such_argument=0"),
        (TooLong(), "norm", "the spectral norm is 1.0[45]"),
        (NaNAtZero(), "finite", r"not finite for \(5, 3\), zero"),
        (MixesTheBatch(), "leading axes", "values differ"),
        (Forgets(factor=0.5), "config", "values differ by 1"),
        (GradientIsNaN(), "gradient", "not finite for .*zero"),
    ]


@pytest.mark.parametrize("index", range(6))
def test_wrong_parametrizations_are_caught(index):
    made, check, message = wrong_rules()[index]
    with pytest.raises(AssertionError, match=f"(?s)check '{check}' failed: .*{message}"):
        check_parametrization(made)


@register
class Hinge(keras.losses.Loss):
    def __init__(self, margin=1.0, reduction="sum_over_batch_size", name="hinge", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.margin = margin

    def sign(self, y):
        return ops.where(y > 0, 1.0, -1.0)

    def call(self, y_true, y_pred):
        y, f = (ops.reshape(a, (-1,)) for a in (y_true, y_pred))
        return ops.relu(self.margin - ops.cast(self.sign(y), f.dtype) * f)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@register
class TakesAnyKeyword(Hinge):
    def __init__(self, margin=1.0, reduction="sum_over_batch_size", dtype=None, **others):
        super().__init__(margin, reduction, dtype=dtype)


@register
class ForgetsMargin(Hinge):
    def get_config(self):
        return keras.losses.Loss.get_config(self)


@register
class PositiveIsOne(Hinge):
    """{-1, 1} labels count as such, {0, 1} lose the negative class."""

    def sign(self, y):
        return y


@register
class Broadcasts(Hinge):
    def call(self, y_true, y_pred):
        return ops.mean(ops.relu(self.margin - self.sign(y_true) * y_pred), axis=-1)


@register
class AlreadyReduced(Hinge):
    def call(self, y_true, y_pred):
        return ops.mean(super().call(y_true, y_pred))


@register
class NaNWithoutNegatives(Hinge):
    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred) + 0 / ops.sum(ops.cast(y_true <= 0, "float32"))


@register
class IgnoresWeights(Hinge):
    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(y_true, y_pred)


@register
class RootAtZero(Hinge):
    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred) + ops.sqrt(ops.sum(y_pred * y_pred, axis=-1))


@pytest.mark.parametrize(
    ("cls", "check", "message"),
    [
        (TakesAnyKeyword, "arguments", "accepted: no_such_argument=0"),
        (ForgetsMargin, "config", "no margin"),
        (PositiveIsOne, "labels", "labels {-1, 1}: values differ"),
        (Broadcasts, "shapes", "values differ"),
        (AlreadyReduced, "reduction", r"gives shape \(\)"),
        (NaNWithoutNegatives, "missing class", "all labels are 1"),
        (IgnoresWeights, "sample weights", "weight 0 changed"),
        (RootAtZero, "gradient", "not finite: logits 0"),
    ],
)
def test_wrong_losses_are_caught(cls, check, message):
    with pytest.raises(
        AssertionError, match=rf"(?s)\({cls.__name__}\): check '{check}'.*{message}"
    ):
        check_loss(cls, {"margin": 0.5}, skip=() if check == "shapes" else "shapes")


def test_a_third_partys_loss_passes():
    assert check_loss(Hinge, {"margin": 0.5})["labels"] == "passed"


def test_code_of_the_page_runs(capsys):
    text = Path(__file__).parents[1].joinpath("docs/testing.md").read_text()
    blocks = re.findall(r"(?ms)^```(\w*)\n(.*?)^```", text)
    code, shown = ([b for kind, b in blocks if kind == k] for k in ("python", ""))
    assert len(code) == 3
    exec("".join(code), {"__name__": "mine"})
    assert [capsys.readouterr().out] == shown
    told = [name for row in re.findall(r"(?m)^\| (\w.*?) \|", text)[1:] for name in row.split(", ")]
    assert sorted(told) == sorted(LAYER_CHECKS)

"""deel-lip's names, arguments and defaults behind `lipkit.compat.deel_lip`."""

import importlib
import inspect
import json

import keras
import numpy as np
import pytest

import lipkit
import lipkit.compat.deel_lip as lip
from lipkit.certifier.reader.layers import diagonal

# in place of a default: there is none; lipkit has its own; the argument is checked, not stored
REQUIRED, OWN, UNSTORED = object(), object(), object()
REGULARIZERS = {
    "kernel_regularizer": (None, "L2"),
    "bias_regularizer": (None, "L2"),
    "activity_regularizer": (None, "L2"),
    "kernel_constraint": (None, "NonNeg"),
    "bias_constraint": (None, "NonNeg"),
}
BIAS = {"use_bias": (True, False), "kernel_initializer": (OWN, "HeNormal")}
BIAS_TAIL = {"bias_initializer": ("Zeros", "Ones"), **REGULARIZERS}
DENSE = {"units": (REQUIRED, 3), "activation": ("linear", "relu"), **BIAS}
CONV = {
    "filters": (REQUIRED, 2),
    "kernel_size": (REQUIRED, (3, 3)),
    "strides": ((1, 1), (2, 2)),
    "padding": ("same", "same"),
}
CONV_TAIL = {
    "data_format": ("channels_last", "channels_first"),
    "dilation_rate": ((1, 1), (1, 1)),
    "activation": ("linear", "relu"),
    **BIAS,
    **BIAS_TAIL,
}
K = {"k_coef_lip": (1.0, 0.5)}
# translated into a parametrization, see `test_kernel_keywords`
RKO = {
    "eps_spectral": (UNSTORED, 1e-2),
    "eps_bjorck": (UNSTORED, 1e-2),
    "beta_bjorck": (UNSTORED, 0.25),
    "maxiter_spectral": (UNSTORED, 3),
    "maxiter_bjorck": (UNSTORED, 4),
}
FORMAT = {"data_format": ("channels_last", "channels_last")}
POOL = {
    "pool_size": ((2, 2), (3, 3)),
    "strides": (UNSTORED, (3, 3)),
    "padding": (UNSTORED, "valid"),
}
IMAGE = {"data_format": ("channels_last", "channels_first"), **K}
EPS = {"eps_grad_sqrt": (1e-6, 1e-3)}
MARGIN = {"min_margin": (1.0, 0.5)}
ALPHA = {"alpha": (10.0, 2.0), **MARGIN}
LOSS = {"reduction": ("sum_over_batch_size", "sum"), "name": (OWN, "named")}
GPU = {"multi_gpu": (UNSTORED, True)}
RADIUS, NEGATIVE = {"epsilon": (36 / 255, 0.5)}, {"negative_robustness": (False, True)}
CONST, DISJOINT = {"lip_const": (1.0, 2.0)}, {"disjoint_neurons": (True, False)}
METRIC = {"reduction": (UNSTORED, "auto"), "name": (OWN, "named")}
WHEN = {"on_epoch": (True, False), "on_batch": (False, True)}

# (name, arguments that are positional in deel-lip's programs, the others): argument -> (default,
# another value)
CLASSES = [
    ("layers.dense.SpectralDense", DENSE, {**BIAS_TAIL, **K, **RKO}),
    ("layers.dense.FrobeniusDense", DENSE, {**BIAS_TAIL, **DISJOINT, **K}),
    ("layers.convolutional.SpectralConv2D", CONV, {**CONV_TAIL, **K, **RKO}),
    (
        "layers.convolutional.SpectralConv2DTranspose",
        CONV,
        {"output_padding": (None, None), **CONV_TAIL, **K, **RKO},
    ),
    (
        "layers.convolutional.FrobeniusConv2D",
        {**CONV, "strides": ((1, 1), (1, 1))},
        {**CONV_TAIL, **K},
    ),
    ("layers.unconstrained.PadConv2D", {**CONV, "padding": ("same", "circular")}, CONV_TAIL),
    ("layers.activations.MaxMin", {**IMAGE}, {}),
    ("layers.activations.GroupSort", {"n": (None, 4), **FORMAT, **K}, {}),
    ("layers.activations.GroupSort2", {}, {**FORMAT, **K}),
    ("layers.activations.FullSort", {}, {**FORMAT, **K}),
    ("layers.activations.Householder", {**FORMAT, **K, "theta_initializer": (OWN, "Ones")}, {}),
    ("layers.pooling.ScaledAveragePooling2D", {**POOL, **IMAGE}, {}),
    ("layers.pooling.ScaledL2NormPooling2D", {**POOL, **IMAGE}, EPS),
    ("layers.pooling.ScaledGlobalAveragePooling2D", IMAGE, {}),
    ("layers.pooling.ScaledGlobalL2NormPooling2D", IMAGE, EPS),
    (
        "layers.pooling.InvertibleDownSampling",
        {"pool_size": (REQUIRED, (2, 3)), "data_format": ("channels_last", "channels_first")},
        {"name": (OWN, "named"), "dtype": (OWN, "float64")},
    ),
    (
        "layers.pooling.InvertibleUpSampling",
        {"pool_size": (REQUIRED, (2, 3)), "data_format": ("channels_last", "channels_first")},
        {"name": (OWN, "named"), "dtype": (OWN, "float64")},
    ),
    ("losses.KR", {}, {**GPU, **LOSS}),
    ("losses.HKR", {"alpha": (REQUIRED, 2.0), **MARGIN}, {**GPU, **LOSS}),
    ("losses.HingeMargin", MARGIN, LOSS),
    ("losses.MulticlassKR", {}, {**GPU, **LOSS}),
    ("losses.MulticlassHinge", MARGIN, LOSS),
    ("losses.MulticlassHKR", ALPHA, {**GPU, **LOSS}),
    (
        "losses.MulticlassSoftHKR",
        {**ALPHA, "alpha_mean": (0.99, 0.9), "temperature": (1.0, 2.0)},
        LOSS,
    ),
    ("losses.MultiMargin", MARGIN, LOSS),
    ("losses.CategoricalHinge", {"min_margin": (REQUIRED, 0.5)}, LOSS),
    ("losses.TauCategoricalCrossentropy", {"tau": (REQUIRED, 2.0)}, LOSS),
    ("losses.TauSparseCategoricalCrossentropy", {"tau": (REQUIRED, 2.0)}, LOSS),
    ("losses.TauBinaryCrossentropy", {"tau": (REQUIRED, 2.0)}, LOSS),
    ("metrics.BinaryProvableRobustAccuracy", {**RADIUS, **CONST}, METRIC),
    ("metrics.CategoricalProvableRobustAccuracy", {**RADIUS, **CONST, **DISJOINT}, METRIC),
    ("metrics.BinaryProvableAvgRobustness", {**CONST, **NEGATIVE}, METRIC),
    ("metrics.CategoricalProvableAvgRobustness", {**CONST, **DISJOINT, **NEGATIVE}, METRIC),
    ("callbacks.CondenseCallback", WHEN, {}),
    (
        "callbacks.MonitorCallback",
        {
            "monitored_layers": (REQUIRED, ["dense"]),
            "logdir": (REQUIRED, "logs"),
            "target": ("kernel", "wbar"),
            "what": ("max", "all"),
            **WHEN,
        },
        {},
    ),
    (
        "callbacks.LossParamScheduler",
        {
            "param_name": (REQUIRED, "alpha"),
            "fp": (REQUIRED, [1.0, 2.0]),
            "xp": (REQUIRED, [0.0, 10.0]),
            "step": (0, 5),
        },
        {},
    ),
    ("callbacks.LossParamLog", {"param_name": (REQUIRED, "alpha"), "rate": (1, 2)}, {}),
    ("constraints.WeightClipConstraint", {"c": (2, 3)}, {}),
    ("constraints.AutoWeightClipConstraint", {"scale": (1, 3)}, {}),
    ("constraints.FrobeniusConstraint", {"eps": (1e-7, 1e-3)}, {}),
    (
        "constraints.SpectralConstraint",
        {**K, **dict(list(RKO.items())[:3]), "u": (UNSTORED, np.ones((1, 3)))},
        {},
    ),
    (
        "initializers.SpectralInitializer",
        {**dict(list(RKO.items())[:3]), **K, "base_initializer": ("Orthogonal", "HeNormal")},
        {},
    ),
    (
        "regularizers.LorthRegularizer",
        {
            "kernel_shape": (None, (3, 3, 2, 9)),
            "stride": (1, 2),
            "lambda_lorth": (1.0, 2.0),
            "dim": (2, 2),
            "conv_transpose": (False, True),
        },
        {},
    ),
    (
        "regularizers.Lorth2D",
        {"kernel_shape": (None, (3, 3, 2, 9)), "stride": (1, 2), "conv_transpose": (False, True)},
        {},
    ),
    ("regularizers.OrthDenseRegularizer", {"lambda_orth": (1.0, 2.0)}, {}),
    (
        "model.Sequential",
        {"layers": (UNSTORED, [lip.layers.SpectralDense(2)]), "name": (OWN, "named")},
        K,
    ),
]

# deel-lip's functions: arguments and defaults
FUNCTIONS = [
    ("layers.PReLUlip", {"k_coef_lip": 1.0}),
    ("losses.hinge_margin", {"y_true": REQUIRED, "y_pred": REQUIRED, "min_margin": OWN}),
    ("losses.multiclass_hinge", {"y_true": REQUIRED, "y_pred": REQUIRED, "min_margin": OWN}),
    ("model.vanillaModel", {"model": REQUIRED}),
    (
        "normalizers.bjorck_normalization",
        {"w": REQUIRED, "eps": 1e-3, "beta": 0.5, "maxiter": 15},
    ),
    (
        "normalizers.spectral_normalization",
        {"kernel": REQUIRED, "u": REQUIRED, "eps": 1e-3, "maxiter": 10},
    ),
    (
        "normalizers.reshaped_kernel_orthogonalization",
        {
            **{"kernel": REQUIRED, "u": REQUIRED, "adjustment_coef": REQUIRED},
            **{"eps_spectral": 1e-3, "eps_bjorck": 1e-3, "beta": 0.5},
            **{"maxiter_spectral": 10, "maxiter_bjorck": 15},
        },
    ),
    (
        "normalizers.get_conv_operators",
        {
            **{"kernel": REQUIRED, "u_shape": REQUIRED, "stride": 1.0, "conv_first": True},
            "pad_func": None,
        },
    ),
    (
        "normalizers.spectral_normalization_conv",
        {
            **{"kernel": REQUIRED, "u": REQUIRED, "stride": 1.0, "conv_first": True},
            **{"pad_func": None, "eps": 1e-3, "maxiter": 10},
        },
    ),
    ("normalizers.set_swap_memory", {"value": OWN}),
    ("normalizers.set_stop_grad_spectral", {"value": OWN}),
    ("compute_layer_sv.compute_layer_sv", {"layer": REQUIRED, "supplementary_type2sv": OWN}),
    ("compute_layer_sv.compute_model_sv", {"model": REQUIRED, "supplementary_type2sv": OWN}),
    ("utils.evaluate_lip_const", {"model": REQUIRED, "x": REQUIRED}),
    ("utils.evaluate_lip_const_gen", {"model": REQUIRED, "generator": REQUIRED}),
    ("utils.process_labels_for_multi_gpu", {"labels": REQUIRED}),
]
OTHERS = [
    *(f"layers.{name}" for name in ("LipschitzLayer", "Condensable")),
    *(f"layers.base_layer.{name}" for name in ("LipschitzLayer", "Condensable")),
    *("regularizers.Lorth", "Sequential", "Model", "vanillaModel", "model.Model"),
    *(f"activations.{name}" for name in ("MaxMin", "GroupSort", "GroupSort2", "FullSort")),
    *(f"activations.{name}" for name in ("Householder", "PReLUlip")),
]
ids = {"ids": lambda value: value if isinstance(value, str) else ""}


def find(path):
    module, _, name = f"{lip.__name__}.{path}".rpartition(".")
    return getattr(importlib.import_module(module), name)


def value_of(thing, name):
    """What the object says about an argument: its configuration, or else its attribute."""
    config = thing.get_config() if hasattr(thing, "get_config") else {}
    value = config[name] if name in config else getattr(thing, name)
    if isinstance(value, dict) and "class_name" in value:
        return value["config"]["name"] if name == "dtype" else value["class_name"]
    return tuple(value) if isinstance(value, list) else value


def arguments(groups, index):
    """Default (0) or other (1) values; required ones are always there."""
    return {
        name: values[1] if values[0] is REQUIRED else values[index]
        for group in groups
        for name, values in group.items()
        if index or values[0] not in (OWN, UNSTORED)
    }


def check_stored(thing, groups, index):
    for name, value in arguments(groups, index).items():
        if not any(group.get(name, (None,))[0] is UNSTORED for group in groups):
            value = tuple(value) if isinstance(value, list) else value
            assert value_of(thing, name) == value, name


@pytest.mark.parametrize(("path", "positional", "others"), CLASSES, **ids)
def test_classes_take_the_arguments_of_deel_lip(path, positional, others):
    cls, groups = find(path), (positional, others)
    required = [n for g in groups for n, v in g.items() if v[0] is REQUIRED]
    values = arguments(groups, 1)
    check_stored(cls(**{name: values[name] for name in required}), groups, 0)
    check_stored(cls(**values), groups, 1)
    by_position = [values[name] for name in positional]
    check_stored(cls(*by_position, **{name: values[name] for name in others}), groups, 1)


@pytest.mark.parametrize(("path", "expected"), FUNCTIONS, **ids)
def test_functions_take_the_arguments_of_deel_lip(path, expected):
    parameters = list(inspect.signature(find(path)).parameters.values())
    assert [p.name for p in parameters][: len(expected)] == list(expected)
    for parameter, default in zip(parameters, expected.values(), strict=False):
        if default is REQUIRED:
            assert parameter.default is inspect.Parameter.empty
        elif default is not OWN:
            assert parameter.default == default
    for more in parameters[len(expected) :]:
        assert more.kind is more.VAR_KEYWORD or more.default is not more.empty


@pytest.mark.parametrize("path", OTHERS)
def test_other_names_of_deel_lip(path):
    assert callable(find(path))


def test_defaults_of_the_normalizers_have_names():
    defaults = {"EPS_SPECTRAL": 1e-3, "EPS_BJORCK": 1e-3, "BETA_BJORCK": 0.5}
    defaults |= {"MAXITER_SPECTRAL": 10, "MAXITER_BJORCK": 15}
    for name, value in defaults.items():
        assert find(f"normalizers.DEFAULT_{name}") == value


def test_every_name_is_in_the_tables():
    listed = {path for path, *_ in [*CLASSES, *FUNCTIONS]} | set(OTHERS)
    flat = {path.rpartition(".")[2] for path in listed}
    for module in lip.__all__:
        for name in getattr(getattr(lip, module), "__all__", []):
            assert name in flat or name.startswith("DEFAULT_"), f"{module}.{name}"
            assert find(f"{module}.{name}") is getattr(getattr(lip, module), name)
    assert set(lip.layers.__all__) >= {p.rpartition(".")[2] for p in listed if "layers." in p} - {
        "PadConv2D"
    }


def test_no_class_is_written_twice():
    for path, *_ in CLASSES:
        assert find(path).__module__.startswith("lipkit.")
        assert "compat" not in find(path).__module__
    assert lip.layers.SpectralDense is lipkit.layers.SpectralDense
    assert lip.Sequential is lipkit.Sequential is lip.model.Sequential


def test_drop_in_names_of_lipkit_itself():
    for module in lip.__all__[4:]:
        assert hasattr(lipkit, module), module
    assert lipkit.model.vanillaModel is lip.vanillaModel
    assert lipkit.activations.MaxMin is lip.activations.MaxMin


def test_unknown_names_say_where_to_look():
    with pytest.raises(AttributeError, match=r"'layers'.*'SpectralConv5D'.*migration"):
        _ = lip.layers.SpectralConv5D
    with pytest.raises(ImportError):
        importlib.import_module(f"{lip.__name__}.layers.blocks")


@pytest.mark.parametrize(
    ("path", "default"), [("layers.SpectralDense", "Polar"), ("layers.SpectralConv2D", "AOL")]
)
def test_kernel_keywords(path, default):
    size = (3,) if path.endswith("Dense") else (2, 3)
    parametrizations = lipkit.parametrizations
    for keywords, rule in (
        ({}, default),
        ({"eps_bjorck": None}, "Spectral"),
        ({"beta_bjorck": None}, "Spectral"),
        ({"beta_bjorck": 0.25, "maxiter_bjorck": 4}, "Bjorck"),
        ({"eps_spectral": 1e-2, "eps_bjorck": 1e-2, "maxiter_spectral": 3}, "Polar"),
    ):
        layer = find(path)(*size, **keywords)
        assert type(layer.parametrization) is getattr(parametrizations, rule)
    assert find(path)(*size, beta_bjorck=0.25, maxiter_bjorck=4).parametrization == (
        parametrizations.Bjorck(iterations=4, beta=0.25)
    )
    for name, value in (("eps_spectral", 0), ("eps_bjorck", -1e-3), ("beta_bjorck", 0.6)):
        with pytest.raises(ValueError, match=f"`{name}`"):
            find(path)(*size, **{name: value})


def test_keras_2_reductions():
    y, f = np.array([[1.0], [-1.0]]), np.array([[2.0], [-1.0]], "float32")
    assert float(lip.losses.KR(reduction="auto")(y, f)) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="reduction.*mean.*'sum'"):
        lip.metrics.BinaryProvableAvgRobustness(reduction="sum")


def test_labels_processed_for_multi_gpu_are_the_labels():
    y = np.array([[1.0], [0.0]])
    with pytest.warns(UserWarning, match="no effect"):
        processed = lip.utils.process_labels_for_multi_gpu(y)
    assert processed is y
    for switch in ("set_swap_memory", "set_stop_grad_spectral"):
        with pytest.warns(UserWarning, match="no effect"):
            getattr(lip.normalizers, switch)(False)


class Doubled(keras.layers.Layer, lip.layers.LipschitzLayer):
    """A layer as programs for deel-lip write their own."""

    def __init__(self, k_coef_lip=1.0, **kwargs):
        super().__init__(**kwargs)
        self.set_klip_factor(k_coef_lip)

    def build(self, input_shape):
        super().build(input_shape)
        self._init_lip_coef(input_shape)

    def _compute_lip_coef(self, input_shape=None):
        return 0.5

    def call(self, x):
        return 2 * x * self._get_coef()

    def get_config(self):
        return {**super().get_config(), "k_coef_lip": self.k_coef_lip}


def test_activations_that_change_the_shape():
    """As in `SpectralDense(8, activation=MaxMin())`, which Keras 2 infers by running it."""
    inputs = keras.Input((4, 4, 2))
    z = lip.layers.unconstrained.PadConv2D(3, 3, activation=lip.layers.MaxMin())(inputs)
    assert z.shape == (None, 4, 4, 6)
    z = lip.layers.SpectralDense(4, lip.layers.MaxMin())(z)
    model = lip.Model(inputs, lip.layers.FrobeniusConv2D(1, 3)(z))
    shapes = [layer.get_weights()[0].shape for layer in model.layers[1:]]
    assert shapes == [(3, 3, 2, 3), (6, 4), (3, 3, 8, 1)]
    x = np.ones((2, 4, 4, 2), "float32")
    plain = model.vanilla_export()
    np.testing.assert_allclose(plain.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)


def test_base_classes():
    dense = lip.layers.SpectralDense(3)
    assert isinstance(dense, lip.layers.LipschitzLayer)
    assert isinstance(dense, lip.layers.Condensable)
    assert isinstance(lip.Sequential(), lip.layers.Condensable)
    assert not isinstance(keras.layers.Dense(3), lip.layers.LipschitzLayer)
    assert not isinstance(keras.layers.Dense(3), lip.layers.Condensable)
    with pytest.raises(RuntimeError, match="_init_lip_coef"):
        Doubled()._get_coef()
    x = np.ones((2, 3), "float32")
    with pytest.raises(ValueError, match="not known to be 1-Lipschitz.*register_rule"):
        lip.Sequential([Doubled(), lip.layers.GroupSort2()], k_coef_lip=9.0)
    lipkit.certifier.register_rule(Doubled)(
        lambda layer, shape: diagonal(2 * layer._compute_lip_coef() * layer.k_coef_lip)
    )
    model = lip.Sequential([Doubled(), lip.layers.GroupSort2()], k_coef_lip=9.0)
    np.testing.assert_allclose(model.predict(x[:, :2], verbose=0), 9 * x[:, :2], rtol=1e-6)
    layer = Doubled()
    layer(x)
    with pytest.raises(AttributeError, match="fixed at construction"):
        layer.set_klip_factor(2.0)


def test_configurations_are_json():
    for path, positional, others in CLASSES:
        thing = find(path)(**arguments((positional, others), 1))
        if hasattr(thing, "get_config"):
            json.dumps(thing.get_config())

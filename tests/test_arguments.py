"""Constructors list all that they take, and refuse what they do not with that list."""

import inspect

import keras
import pytest

import lipkit
from lipkit._docstrings import entries

MODULES = [
    *(lipkit.layers, lipkit.losses, lipkit.metrics, lipkit.constraints, lipkit.initializers),
    *(lipkit.regularizers, lipkit.parametrizations, lipkit.callbacks, lipkit.optimizers),
]
MIXINS = ("LipschitzKernel", "LipschitzLayer")  # of constructors of Keras's
CLASSES = {
    name: value
    for module in MODULES
    for name, value in vars(module).items()
    if inspect.isclass(value) and value.__module__.startswith("lipkit")
    if not name.startswith("_") and name not in MIXINS
}


def signature(name):
    """Each parameter of the constructor by name."""
    return dict(inspect.signature(CLASSES[name]).parameters)


def needed(name):
    """Valid arguments for what has no default."""
    if name == "MonitorCallback":
        return {"monitored_layers": ["dense"], "logdir": "unused"}
    if name.endswith("Residual"):
        return {"inner": keras.layers.Dense(2)}
    return {n: 2 for n, p in signature(name).items() if p.default is p.empty}


@pytest.mark.parametrize("name", CLASSES)
def test_an_unknown_argument_is_refused(name):
    CLASSES[name](**needed(name))
    known = ", ".join(signature(name))
    message = f"takes no argument `unknown_to_all`.* It takes: {known}" if known else "no arguments"
    with pytest.raises(TypeError, match=f"{name}.*{message}"):
        CLASSES[name](**needed(name), unknown_to_all=1)


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_listed_is_taken(name):
    for argument, p in signature(name).items():
        assert p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        if p.default is not p.empty:
            CLASSES[name](**{argument: p.default, **needed(name)})


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("HKR", {"min_margn": 0.3}, "min_margin"),
        ("MulticlassHKR", {"min_margn": 0.3}, "min_margin"),
        ("BinaryProvableRobustAccuracy", {"epsilom": 1}, "epsilon"),
        ("CategoricalProvableRobustAccuracy", {"disjoint_neuron": False}, "disjoint_neurons"),
        ("SpectralDense", {"k_coef_lib": 2}, "k_coef_lip"),
        ("SpectralConv2D", {"dilation_rat": 1}, "dilation_rate"),
        ("SpectralConv2D", {"eps_bjork": 1e-3}, "eps_bjorck"),
        ("GroupSort2", {"data_fromat": "channels_first"}, "data_format"),
        ("CondenseCallback", {"on_bach": True}, "on_batch"),
    ],
)
def test_the_nearest_is_named(name, given, meant):
    with pytest.raises(TypeError, match=f"Did you mean `{meant}`."):
        CLASSES[name](**needed(name), **given)


def test_a_wrong_value_beside_right_names_is_said_as_before():
    with pytest.raises(ValueError, match="`min_margin` must be a number"):
        lipkit.losses.HKR(alpha=1, min_margin=-1)


def test_subclasses_of_others(rng):
    class Mine(lipkit.layers.SpectralDense):
        def __init__(self, units, factor=1.0, **kwargs):
            super().__init__(units, **kwargs)
            self.factor = factor

    assert Mine(3, factor=2.0, k_coef_lip=0.5).k_coef_lip == 0.5
    with pytest.raises(TypeError, match="SpectralDense takes no.*Did you mean `k_coef_lip`"):
        Mine(3, k_coef_lp=0.5)


@pytest.mark.parametrize(
    ("name", "arguments", "argument"),
    [
        ("SpectralConv2D", {"filters": 2, "kernel_size": 3}, "kernel_initializer"),
        ("SpectralDepthwiseConv2D", {"kernel_size": 3}, "depthwise_initializer"),
    ],
)
def test_a_default_of_keras_that_is_not_used_is_not_shown(name, arguments, argument):
    assert signature(name)[argument].default is ...
    made = CLASSES[name](**arguments, **{argument: ...})
    assert isinstance(getattr(made, argument), lipkit.initializers.DeltaOrthogonal)


@pytest.mark.parametrize("name", [n for n, c in CLASSES.items() if issubclass(c, keras.Layer)])
def test_docstring_explains_the_arguments_in_their_order(name):
    explained = [n for entry in entries(inspect.getdoc(CLASSES[name])) for n in entry.names]
    assert explained == [p for p in signature(name) if p in explained]
    assert len(explained) == len(signature(name))


def test_docstring_prefers_the_class_then_its_bases_then_kerass():
    docstring = inspect.getdoc(lipkit.layers.SpectralConv2DTranspose)
    said = {name: entry.text for entry in entries(docstring) for name in entry.names}
    assert said["padding"].strip() == '`"same"` or `"valid"`.'  # not those of all convolutions
    assert "orthogonal convolution" in said["kernel_initializer"]
    assert said["use_bias"].strip() in keras.layers.Conv2DTranspose.__doc__

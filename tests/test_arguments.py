"""An argument that a constructor does not have is never taken: the error says which it has."""

import inspect

import pytest

import lipkit
from lipkit import _registry

MODULES = [
    *(lipkit.layers, lipkit.losses, lipkit.metrics, lipkit.constraints, lipkit.initializers),
    *(lipkit.regularizers, lipkit.parametrizations, lipkit.callbacks, lipkit.optimizers),
]
CLASSES = {
    name: value
    for module in MODULES
    for name, value in vars(module).items()
    if inspect.isclass(value) and value.__module__.startswith("lipkit") and name[0] != "_"
}


def valid(cls):
    """Arguments that the constructor cannot do without."""
    parameters = inspect.signature(cls).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind in _registry._BY_NAME]
    return {p.name: 2 for p in needed}


NEEDED = {
    "MonitorCallback": {"monitored_layers": ["dense"], "logdir": "unused"}
}  # where 2 will not do


@pytest.mark.parametrize("name", CLASSES)
def test_an_unknown_argument_is_refused(name):
    cls = CLASSES[name]
    given = NEEDED.get(name) or valid(cls)
    cls(**given)
    known = _registry.arguments(cls)
    message = (
        f"{name} takes no argument `unknown_to_all`.* It takes: .*{known[-1]}" if known else "no"
    )
    with pytest.raises(TypeError, match=message):
        cls(**given, unknown_to_all=1)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        (lambda: lipkit.losses.HKR(min_margn=0.3), "min_margin"),
        (lambda: lipkit.losses.MulticlassHKR(min_margn=0.3), "min_margin"),
        (lambda: lipkit.metrics.BinaryProvableRobustAccuracy(epsilom=1), "epsilon"),
        (
            lambda: lipkit.metrics.CategoricalProvableRobustAccuracy(disjoint_neuron=False),
            "disjoint_neurons",
        ),
        (lambda: lipkit.layers.SpectralDense(3, k_coef_lib=2), "k_coef_lip"),
        (lambda: lipkit.layers.SpectralConv2D(3, 3, dilation_rat=1), "dilation_rate"),
        (lambda: lipkit.layers.GroupSort2(data_fromat="channels_first"), "data_format"),
    ],
)
def test_the_nearest_is_named(wrong, meant):
    with pytest.raises(TypeError, match=f"Did you mean `{meant}`. It takes: .*{meant}"):
        wrong()


def test_no_other_parameter_of_a_loss():
    with pytest.raises(TypeError, match="KR takes no argument `alpha`. .*reduction, name, dtype"):
        lipkit.losses.KR(alpha=3)

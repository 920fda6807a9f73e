"""What programs for deel-lip do that lipkit does in another way."""

import json
import math

import keras
import numpy as np
import pytest
from reference import array

import lipkit
from lipkit import layers, losses


def test_parameters_of_losses_answer_numpy_and_are_floats():
    """`model.loss.tau.numpy()` of notebooks, where it is a variable."""
    made = (losses.HKR(2.5, 0.3), losses.TauCategoricalCrossentropy(7), losses.MulticlassSoftHKR())
    for loss in (*made, losses.LseHKR(), losses.HKR(math.inf)):
        for name in loss.parameters:
            value = getattr(loss, name)
            assert value.numpy() == value == float(value) and isinstance(value, float)
            assert isinstance(value.numpy(), np.floating) and value.numpy().shape == ()
            assert f"{value:.2f} {value}" == f"{float(value):.2f} {float(value)}"
            assert json.dumps(value) == json.dumps(float(value)) and type(value + 1) is float
            assert type(loss.get_config()[name]) in (float, str)
    assert made[0].alpha.numpy() == 2.5 and f"{made[0].min_margin.numpy():.1f}" == "0.3"
    model = lipkit.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", losses.HKR(2.5, 0.3))
    model.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0)
    assert model.loss.alpha.numpy() == 2.5


def test_klip_factor_of_what_is_not_built_yet():
    x = np.random.default_rng(0).standard_normal((4, 6)).astype("float32")
    for make in (
        lambda **k: layers.SpectralDense(6, kernel_initializer="identity", **k),
        lambda **k: layers.GroupSort2(**k),
    ):
        layer = make()
        layer.set_klip_factor(np.float32(2.5))
        assert type(layer.k_coef_lip) is float and layer.get_config()["k_coef_lip"] == 2.5
        ours, theirs = (array(made(x)) for made in (layer, make(k_coef_lip=2.5)))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
        with pytest.raises(AttributeError, match=f"'{layer.name}' is fixed.*Create a new layer"):
            layer.set_klip_factor(3.0)
        assert layer.k_coef_lip == 2.5
    with pytest.raises(ValueError, match="`k_coef_lip` must be"):
        layers.MaxMin().set_klip_factor(-1)


def test_klip_factor_of_a_sequential_model():
    def hidden():
        return [layers.SpectralDense(4), layers.MaxMin(), keras.layers.Flatten()]

    model = lipkit.Sequential(hidden(), name="m")
    model.set_klip_factor(9.0)
    assert [layer.k_coef_lip for layer in model.layers[:2]] == pytest.approx([3.0, 3.0])
    model.build((None, 4))
    assert model.k_coef_lip == 9 and lipkit.lipschitz_bound(model) == pytest.approx(9, rel=1e-5)
    for late in (model, lipkit.Sequential([keras.Input((4,)), *hidden()], name="m")):
        with pytest.raises(AttributeError, match="'m' is fixed at construction"):
            late.set_klip_factor(2.0)

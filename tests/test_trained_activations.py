"""Householder and PReLUlip against NumPy in float64."""

import keras
import numpy as np
import pytest
from keras import ops

import lipkit
from lipkit.layers import Householder, PReLUlip, SpectralDense


def householder(z, theta):
    """Pair by pair: the identity, or the reflection."""
    y = z.copy()
    half = len(theta)
    for i, angle in enumerate(theta):
        z1, z2 = z[..., i], z[..., half + i]
        over = z1 * np.sin(angle / 2) - z2 * np.cos(angle / 2) > 0
        y[..., i] = np.where(over, z1 * np.cos(angle) + z2 * np.sin(angle), z1)
        y[..., half + i] = np.where(over, z1 * np.sin(angle) - z2 * np.cos(angle), z2)
    return y


def prelu(x, alpha):
    return np.where(x > 0, x, np.clip(alpha, -1, 1) * x)


TRUTHS = {Householder: householder, PReLUlip: prelu}


def model_of(cls, k, shape, rng):
    model = lipkit.Sequential([keras.Input(shape), cls(k_coef_lip=k)])
    (weight,) = model.weights
    weight.assign(rng.uniform(-3, 3, weight.shape))
    return model, ops.convert_to_numpy(weight).astype("float64")


@pytest.mark.parametrize("cls", TRUTHS)
@pytest.mark.parametrize("shape", [(6,), (3, 2, 4)])
@pytest.mark.parametrize("k", [0.1, 1.0, 10.0])
def test_values_export_and_bound(cls, shape, k, rng):
    """Defects elsewhere: k stored and not applied; slope 1 of the positive side for k < 1."""
    model, parameters = model_of(cls, k, shape, rng)
    x = rng.standard_normal((50, *shape)).astype("float32")
    expected = k * TRUTHS[cls](x.astype("float64"), parameters)
    y = model.predict(x, verbose=0)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5 * k)
    export = model.vanilla_export()
    np.testing.assert_allclose(export.predict(x, verbose=0), y, rtol=1e-4, atol=1e-5 * k)
    for certified in (model, export):
        assert k * (1 - 1e-6) <= lipkit.lipschitz_bound(certified) <= k * (1 + 1e-5)


def test_householder_keeps_norms(rng):
    model, _ = model_of(Householder, 2.0, (8,), rng)
    x = rng.standard_normal((200, 8)).astype("float32")
    norms = np.linalg.norm(model.predict(x, verbose=0), axis=1)
    np.testing.assert_allclose(norms, 2 * np.linalg.norm(x, axis=1), rtol=1e-5)
    a, b = x[:100], x[100:]
    change = np.linalg.norm(model.predict(a, verbose=0) - model.predict(b, verbose=0), axis=1)
    assert (change <= 2 * np.linalg.norm(a - b, axis=1) * (1 + 1e-5)).all()


def test_householder_starts_as_minimum_and_maximum(rng):
    x = rng.standard_normal((20, 4)).astype("float32")
    y = ops.convert_to_numpy(Householder()(x))
    expected = [np.minimum(x[:, :2], x[:, 2:]), np.maximum(x[:, :2], x[:, 2:])]
    np.testing.assert_allclose(y, np.concatenate(expected, axis=1), atol=1e-6)


def test_prelu_starts_as_relu_in_both_formats(rng):
    x = rng.standard_normal((2, 3, 4)).astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(PReLUlip()(x)), np.maximum(x, 0))
    last, first = PReLUlip(2.0), PReLUlip(2.0, data_format="channels_first")
    for layer, given in ((last, x), (first, x.transpose(0, 2, 1))):
        layer.build(given.shape)
        layer.alpha.assign([-2.0, -0.5, 0.5, 3.0])
    y = ops.convert_to_numpy(last(x))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(first(x.transpose(0, 2, 1))), y.transpose(0, 2, 1)
    )
    export = lipkit.models.vanillaModel(keras.Sequential([keras.Input((4, 3)), first]))
    np.testing.assert_array_equal(
        export.predict(x.transpose(0, 2, 1), verbose=0), y.transpose(0, 2, 1)
    )
    assert lipkit.lipschitz_bound(export) == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize("cls", TRUTHS)
def test_training_saving_and_configuration(cls, rng, tmp_path):
    initializer = keras.initializers.RandomUniform(-0.5, 0.5, seed=1)
    name = "theta_initializer" if cls is Householder else "alpha_initializer"
    layer = cls(k_coef_lip=3.0, **{name: initializer})
    again = cls.from_config(layer.get_config())
    assert again.get_config() == layer.get_config() and again.k_coef_lip == 3
    model = lipkit.Sequential([keras.Input((6,)), layer])
    before = model.get_weights()[0]
    assert np.abs(before).max() <= 0.5
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = rng.standard_normal((32, 6)).astype("float32")
    model.fit(x, x[:, ::-1], epochs=1, verbose=0)
    assert np.abs(model.get_weights()[0] - before).min() > 0
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("start", [1.5, -1.5, 1e8])
def test_slopes_beyond_one_act_as_one_and_come_back(start):
    layer = PReLUlip(alpha_initializer=keras.initializers.Constant(start))
    model = keras.Sequential([keras.Input((2,)), layer])
    x = -np.ones((8, 2), "float32")
    np.testing.assert_array_equal(model.predict(x, verbose=0), -np.sign(start) * np.ones((8, 2)))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(x, 0 * x, verbose=0)
    moved = np.abs(model.get_weights()[0]) < np.abs(start)
    assert moved.all() or start == 1e8  # where a step of 1 is lost in float32


def test_mixed_precision_keeps_its_parameters_in_float32(rng):
    x = rng.standard_normal((4, 6)).astype("float32")
    for cls in TRUTHS:
        layer = cls(dtype="mixed_bfloat16")
        y = layer(x)
        assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
        truth = ops.convert_to_numpy(cls()(x))
        np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(y, "float32")), truth, atol=0.03)


@pytest.mark.parametrize("called", [False, True])
def test_as_the_activation_of_a_layer_its_parameters_are_exported(called, rng):
    x = rng.standard_normal((4, 6)).astype("float32")
    for cls in TRUTHS:
        for layer in (SpectralDense(6, activation=cls()), keras.layers.Dense(6, activation=cls())):
            model = lipkit.Sequential([keras.Input((6,)), layer])
            if called:
                model(x)
                (trained,) = layer.activation.weights
                trained.assign(rng.uniform(-1, 1, trained.shape))
            y, plain = (ops.convert_to_numpy(m(x)) for m in (model.vanilla_export(), model))
            np.testing.assert_allclose(plain, y, atol=1e-5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="even number of channels"):
        Householder()(np.ones((2, 3)))
    with pytest.raises(ValueError, match="'channels_last'"):
        Householder("channels_first")
    with pytest.raises(ValueError, match="known number of channels"):
        PReLUlip()(keras.Input((4, None)))
    for k in (0, -1, np.inf):
        with pytest.raises(ValueError, match="k_coef_lip"):
            PReLUlip(k)

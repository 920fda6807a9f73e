"""What goes wrong in other libraries and fits no test file of one part; see docs/regressions.md."""

import importlib
import pkgutil
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers as kl

import lipkit
from lipkit import layers as ll

ROUNDING = 1 + 1e-5
INDEX = Path("..", "docs", "regressions.md")


def predict(model, x):
    return model.predict(x, verbose=0)


def norm(kernel):
    return np.linalg.norm(keras.ops.convert_to_numpy(kernel).astype("float64"), 2)


def spatial(k):
    return lipkit.Sequential(
        [
            keras.Input((8, 8, 2)),
            ll.SpectralConv2D(4, 3),
            ll.ScaledAveragePooling2D(2),
            ll.SpectralConv2D(4, 3, strides=2),
            ll.ScaledGlobalAveragePooling2D(),
            ll.SpectralDense(3),
        ],
        k_coef_lip=k,
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore:You are saving")
def test_a_reloaded_sequential_is_the_same_function(suffix, rng, tmp_path):
    """Factors computed again from the model's input shape doubled or quadrupled the outputs."""
    x = rng.standard_normal((4, 8, 8, 2)).astype("float32")
    model = spatial(2.0)
    expected = predict(model, x)
    model.save(tmp_path / f"m{suffix}")
    loaded = keras.models.load_model(tmp_path / f"m{suffix}", compile=False)
    if suffix == ".keras":  # Keras reads any Sequential of an .h5 file as its own
        assert loaded.k_coef_lip == 2.0
    for again in (loaded, model):
        again.build((None, 8, 8, 2))
        np.testing.assert_allclose(predict(again, x), expected, atol=1e-6)
        assert lipkit.lipschitz_bound(again) <= 2.0 * ROUNDING


@pytest.mark.parametrize("k", [0.25, 100.0])
def test_the_constant_does_not_depend_on_when_the_model_is_built(k, rng):
    """A constant set after the layers were traced had no effect: 1 instead of 0.25 or 100."""
    x = rng.standard_normal((2, 4)).astype("float32")
    started = lipkit.Sequential([keras.Input((4,)), ll.SpectralDense(4)], k_coef_lip=k)
    deferred = lipkit.Sequential([ll.SpectralDense(4)], k_coef_lip=k)
    for model in (started, deferred):
        length = np.linalg.norm(predict(model, x), axis=1)
        np.testing.assert_allclose(length, k * np.linalg.norm(x, axis=1), rtol=1e-4)


@pytest.mark.parametrize("rule", ["polar", "bjorck", "cholesky", "spectral", "frobenius"])
def test_no_kernel_hides_from_the_norm(rule, rng):
    """A power iteration's start is blind to what it is orthogonal to, dead after 0, and slow."""
    n, eye = 32, np.eye(32)
    x = rng.standard_normal((8, n)).astype("float32")
    layer = ll.SpectralDense(n, parametrization=rule)
    model = keras.Sequential([keras.Input((n,)), layer])
    model.compile("sgd", "mse")
    layer._kernel.assign(np.zeros((n, n)))
    model.train_on_batch(x, x)
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    spread = basis * np.append(np.ones(n - 1), 100)  # one direction 100 times the others
    ones = np.ones((n, 1)) / n**0.5
    apart = eye[:, :1] - eye[:, 1:2]  # orthogonal to a start of ones
    hidden = [spread, spread[:, ::-1], 1e-3 * spread.T, eye + 50 * apart @ apart.T]
    hidden += [eye + 50 * ones @ ones.T, eye + 0.05 * apart @ apart.T]
    for kernel in (0.05 * eye, *hidden, rng.standard_normal((n, n))):  # the last one is clustered
        layer._kernel.assign(kernel)
        assert norm(layer.kernel) <= ROUNDING
        assert np.linalg.norm(predict(model, x) - predict(model, 0 * x)) <= (
            np.linalg.norm(x) * ROUNDING
        )


def test_the_export_is_the_model_after_the_last_step(rng):
    """A kernel kept from the last forward pass is one optimizer step behind."""
    x = rng.standard_normal((16, 4)).astype("float32")
    model = lipkit.Sequential([keras.Input((4,)), ll.SpectralDense(8), ll.FrobeniusDense(2)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = predict(model, x)
    model.train_on_batch(x, np.ones((16, 2)))
    after = predict(model, x)
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(predict(model.vanilla_export(), x), after, atol=1e-6)
    model.condense()
    np.testing.assert_allclose(predict(model.vanilla_export(), x), after, atol=1e-5)


@pytest.mark.parametrize("training", [None, False, True])
def test_calling_a_layer_changes_none_of_its_weights(training, rng):
    """A plain call in training mode, the default there, rewrote the stored kernel."""
    x = rng.standard_normal((2, 6, 6, 2)).astype("float32")
    for layer in (ll.SpectralConv2D(3, 3), ll.SpectralDense(4), ll.FrobeniusDense(4)):
        first = keras.ops.convert_to_numpy(layer(x, training=training))
        weights = layer.get_weights()
        assert len(weights) == 2  # kernel and bias: no state
        second = keras.ops.convert_to_numpy(layer(x, training=training))
        np.testing.assert_array_equal(first, second)
        for a, b in zip(weights, layer.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_disjoint_neurons_count_with_their_number_inside_a_model():
    """Ten equal neurons have norm sqrt(10), counted as 1 where a constant is typed by hand."""
    inputs = keras.Input((5,))
    head = ll.FrobeniusDense(10, kernel_initializer="ones")
    model = lipkit.Model(inputs, ll.FrobeniusDense(1, kernel_initializer="ones")(head(inputs)))
    assert lipkit.lipschitz_bound(model) == pytest.approx(10**0.5)
    metric = lipkit.metrics.BinaryProvableAvgRobustness(model)
    assert float(metric(np.ones((1, 1)), np.ones((1, 1)))) == pytest.approx(10**-0.5)


@pytest.mark.parametrize(
    ("layer", "shape", "constant"),
    [
        (ll.SpectralDense(4, activation="gelu"), (4,), 1.12),
        (kl.PReLU(keras.initializers.Constant(-2.0)), (4,), 2.0),
        (kl.MaxPooling2D((2, 3), strides=(3, 1)), (7, 7, 1), 3**0.5),
        (kl.MaxPooling2D((2, 8), strides=(3, 2)), (9, 20, 1), 2.0),
        (kl.Lambda(lambda x: 10 * x), (4,), None),
        (ll.SpectralDense(4, activation=lambda x: 10 * x), (4,), None),
        (kl.LayerNormalization(), (4,), None),
    ],
)
def test_the_bound_sees_what_a_list_of_good_layers_misses(layer, shape, constant):
    model = lipkit.Sequential([keras.Input(shape), layer])
    if constant is None:
        with pytest.raises(lipkit.NotCertifiable, match=layer.name):
            lipkit.lipschitz_bound(model)
    else:
        assert lipkit.lipschitz_bound(model) == pytest.approx(constant, rel=1e-2)


def test_a_residual_sum_counts_both_branches():
    inputs = keras.Input((4,))
    branch = ll.SpectralDense(4)(inputs)
    model = lipkit.Model(inputs, kl.Add()([inputs, branch]))
    assert lipkit.lipschitz_bound(model) == pytest.approx(2.0, rel=1e-5)


def test_metrics_are_computed_in_a_compiled_step(rng):
    """Boolean masks cannot be traced."""
    x = rng.standard_normal((12, 4)).astype("float32")
    y = np.eye(3, dtype="float32")[rng.integers(0, 3, 12)]
    model = lipkit.Sequential([keras.Input((4,)), ll.FrobeniusDense(3)])
    metrics = [lipkit.metrics.CategoricalProvableRobustAccuracy(0.1)]
    metrics += [lipkit.metrics.CategoricalProvableAvgRobustness(negative_robustness=True)]
    model.compile("sgd", lipkit.losses.MulticlassHKR(), metrics=metrics)
    values = model.fit(x, y, batch_size=4, verbose=0).history
    assert all(np.isfinite(v[0]) for v in values.values()) and len(values) == 3


@pytest.mark.parametrize("rule", [lipkit.parametrizations.Bjorck, lipkit.parametrizations.Polar])
def test_numbers_of_iterations_are_used(rule, rng):
    """An argument that is accepted, stored and not read."""
    w = keras.ops.convert_to_tensor(rng.standard_normal((6, 6)).astype("float32"))
    spread = [np.ptp(np.linalg.svd(rule(iterations=n)(w), compute_uv=False)) for n in (1, 3, 30)]
    assert spread[0] > 1.01 * spread[1] > 1.02 * spread[2] and spread[2] < 1e-3


def test_all_that_modules_list_exists():
    """`from ... import *` fails where a module lists a name that it has not."""
    for info in pkgutil.walk_packages(lipkit.__path__, "lipkit."):
        if info.name.startswith("lipkit._backend."):
            continue  # of other backends
        module = importlib.import_module(info.name)
        missing = [name for name in getattr(module, "__all__", []) if not hasattr(module, name)]
        assert not missing, info.name


def test_the_index_names_tests_that_exist():
    tests = Path(__file__).parent
    lines = (tests / INDEX).read_text().splitlines()
    rows = [
        line for line in lines if line.startswith("| ") and line[2:] != "what went wrong | test |"
    ]
    for row in rows:
        source, found = "", 0
        for name in re.findall(r"`(test_\w+(?:\.py)?)`", row.rpartition(" | ")[2]):
            if name.endswith(".py"):
                source = (tests / name).read_text()
            else:
                found += 1
                assert f"\ndef {name}(" in source, name
        assert found, row
    assert len(rows) > 50

"""Kernels that stay near the Stiefel manifold, and the optimizer that knows it."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import array, polar, singular_values

import lipkit
from lipkit import linalg, parametrizations
from lipkit.layers import FullSort, SpectralConv2D, SpectralDense
from lipkit.optimizers import StiefelMuon

SHAPES = [(6, 6), (8, 5), (5, 8)]
BATCHES = [3, 40]  # products of the size of the batch are fewer, or those of the kernel


def orthogonal(rng, shape):
    return polar(rng.standard_normal(shape))


def tangent(w, g):
    """G - W sym(WᵀG), or its twin for rows."""
    if w.shape[0] < w.shape[1]:
        return tangent(w.T, g.T).T
    return g - w @ (w.T @ g + g.T @ w) / 2


def one_step(layer, w, x, targets, rate=1.0):
    """(change of the free kernel, loss) of one step of plain SGD for the loss sum(y targets)."""
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    layer._kernel.assign(w)
    layer._kernel.constraint = None
    model.compile(keras.optimizers.SGD(rate), lambda y, f: ops.sum(y * f, axis=-1))
    # `fit`, because TensorFlow does not know the size of its batches beforehand
    history = model.fit(x, targets, batch_size=len(x), verbose=0).history
    return array(layer._kernel) - w, history["loss"][0]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("k", [1.0, 3.0])
def test_the_gradient_of_a_training_step_is_the_riemannian_one(shape, batch, k, rng):
    w = orthogonal(rng, shape).astype("float32")
    x = rng.standard_normal((batch, shape[0])).astype("float32")
    targets = rng.standard_normal((batch, shape[1])).astype("float32")
    layer = SpectralDense(shape[1], parametrization="stiefel", use_bias=False, k_coef_lip=k)
    step, loss = one_step(layer, w, x, targets)
    expected = -k * tangent(w.astype("float64"), x.T.astype("float64") @ targets) / batch
    np.testing.assert_allclose(step, expected, atol=2e-5 * np.abs(expected).max())
    assert loss == pytest.approx(k * np.sum((x @ w) * targets) / batch, rel=1e-4, abs=1e-4)


def test_the_gradient_reaches_the_layers_before(rng):
    """A layer in front of it learns as in front of the same matrix in a plain layer."""
    w = orthogonal(rng, (6, 6)).astype("float32")
    x, y = rng.standard_normal((2, 4, 6)).astype("float32")
    changes = []
    for second in (SpectralDense(6, parametrization="stiefel"), keras.layers.Dense(6)):
        first = keras.layers.Dense(6, kernel_initializer="identity")
        model = keras.Sequential([keras.Input((6,)), first, second])
        second._kernel.assign(w)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.train_on_batch(x, y)
        changes.append(array(first.kernel) - np.eye(6))
    np.testing.assert_allclose(*changes, atol=1e-6)
    assert np.abs(changes[0]).max() > 1e-3


@pytest.mark.parametrize("shape", [(6, 6), (40, 30), (30, 40), (3, 20, 10), (300, 200)])
@pytest.mark.parametrize("size", [0.0, 1e-3, 0.02])
def test_drift_is_exact_or_an_estimate(shape, size, rng):
    w = polar(rng.standard_normal(shape)) + size * rng.standard_normal(shape)
    sigma = np.linalg.svd(w, compute_uv=False)
    truth = np.sqrt(np.mean((sigma**2 - 1) ** 2, axis=-1).max())
    got = float(array(linalg.drift(ops.convert_to_tensor(w.astype("float32")))))
    slack = 1.5 if shape[-1] > linalg.stiefel.EXACT else 1 + 1e-3
    assert truth / slack - 1e-6 <= got <= slack * truth + 1e-6


@pytest.mark.parametrize("shape", [(12, 12), (20, 8), (8, 20), (3, 20, 10)])
def test_retraction_leaves_alone_or_leads_back(shape, rng):
    q = polar(rng.standard_normal(shape)).astype("float32")
    noise = rng.standard_normal(shape).astype("float32")
    within, near, far = q + 1e-4 * noise, q + 0.01 * noise, 3 * q + 0.3 * noise
    rule = parametrizations.get("stiefel")
    np.testing.assert_array_equal(array(rule.retract(ops.convert_to_tensor(within))), within)
    for w, error in ((near, 5e-3), (far, 1e-4)):
        got = array(rule.retract(ops.convert_to_tensor(w)))
        np.testing.assert_allclose(got, polar(w), atol=error)
        assert np.abs(singular_values(got) - 1).max() <= error
    tight = parametrizations.Stiefel(tolerance=0.0)
    assert singular_values(tight.retract(ops.convert_to_tensor(within))).max() <= 1 + 1e-6


def network(tolerance=0.01):
    rule = parametrizations.Stiefel(tolerance=tolerance)
    return lipkit.Sequential(
        [
            keras.Input((6, 6, 1)),
            SpectralConv2D(4, 3, parametrization=rule),
            keras.layers.Flatten(),
            SpectralDense(16, parametrization=rule),
            FullSort(),
            SpectralDense(8, parametrization=rule),
            FullSort(),
            SpectralDense(2, parametrization=rule, k_coef_lip=3.0),
        ]
    )


def data(n=64):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((n, 6, 6, 1)).astype("float32")
    return x, np.stack([x.sum((1, 2, 3)), x[:, 0, 0, 0]], axis=-1)


def free_drifts(model):
    for layer in model.layers:
        if hasattr(layer, "_kernel"):
            w = array(layer.view.matrix(ops.convert_to_tensor(layer._kernel)))
            yield np.sqrt(np.mean((np.linalg.svd(w, compute_uv=False) ** 2 - 1) ** 2))


@pytest.mark.parametrize("optimizer", [keras.optimizers.Adam, StiefelMuon])
def test_kernels_stay_near_during_training_and_are_exact_outside(optimizer):
    x, y = data()
    model = network()
    model.compile(optimizer(0.01), "mse")
    losses = model.fit(x, y, epochs=8, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    drifts = list(free_drifts(model))
    assert len(drifts) == 4 and max(drifts) <= 0.01 * (1 + 1e-3)
    kernels = [layer for layer in model.layers if hasattr(layer, "_kernel")]
    for layer in kernels[1:]:
        sigma = singular_values(layer.kernel) / layer.k_coef_lip
        assert sigma.min() >= 1 - 1e-5 and sigma.max() <= 1 + 1e-6
    bound = float(lipkit.lipschitz_bound(model.vanilla_export()))
    assert bound <= 3 * (1 + 1e-5)


def test_training_and_evaluation_differ_by_the_drift_at_most(rng):
    layer = SpectralDense(12, parametrization="stiefel")
    x = rng.standard_normal((5, 12)).astype("float32")
    layer.build(x.shape)
    layer._kernel.assign(orthogonal(rng, (12, 12)) + 1e-3 * rng.standard_normal((12, 12)))
    trained, evaluated = array(layer(x, training=True)), array(layer(x))
    np.testing.assert_allclose(trained, x @ array(layer._kernel), atol=1e-5)
    difference = np.linalg.norm(trained - evaluated, axis=1) / np.linalg.norm(x, axis=1)
    assert 1e-5 < difference.max() < 0.01


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e-3, 7.0, 1e20])
def test_a_loop_without_constraints_is_still_lipschitz(scale, rng):
    """Kernels that no optimizer led back: training steps too use the polar factor then."""
    layer = SpectralDense(8, parametrization="stiefel", use_bias=False)
    x = np.eye(8, dtype="float32")
    layer.build(x.shape)
    layer._kernel.assign(scale * rng.standard_normal((8, 8)))
    trained, evaluated = array(layer(x, training=True)), array(layer(x))
    assert singular_values(trained).max() <= 1 + 1e-5
    np.testing.assert_allclose(trained, evaluated, atol=1e-5)


def test_inputs_of_any_rank_activations_and_low_precision(rng):
    x = rng.standard_normal((2, 3, 6)).astype("float32")
    layer = SpectralDense(6, parametrization="stiefel", activation="relu", dtype="mixed_bfloat16")
    y = layer(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16" and y.shape == (2, 3, 6)
    expected = np.maximum(x @ array(layer._kernel), 0)
    np.testing.assert_allclose(array(ops.cast(y, "float32")), expected, atol=0.05)


def test_another_constraint_is_refused_and_bad_tolerances_too():
    layer = SpectralDense(3, parametrization="stiefel", kernel_constraint="non_neg", name="mine")
    with pytest.raises(ValueError, match="'mine': `kernel_constraint` must be None"):
        layer.build((None, 3))
    with pytest.raises(ValueError, match=r"`tolerance` must be a number in \[0, 0.1\]"):
        parametrizations.Stiefel(tolerance=1.0)


def test_saved_models_go_on_training_the_same_way(tmp_path):
    x, y = data()
    model = network(0.005)
    model.compile(StiefelMuon(keras.optimizers.schedules.CosineDecay(0.02, 20)), "mse")
    model.fit(x, y, epochs=2, batch_size=32, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    other = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(other.optimizer, StiefelMuon)
    assert other.layers[0].parametrization == parametrizations.Stiefel(tolerance=0.005)
    for m in (model, other):
        m.fit(x, y, epochs=2, batch_size=32, shuffle=False, verbose=0)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    assert max(free_drifts(other)) <= 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_steps_of_the_optimizer(shape, rng):
    """Momentum tangent to the manifold, its polar factor as the step; Adam for what is free."""
    w = orthogonal(rng, shape).astype("float32")
    layer = SpectralDense(shape[1], parametrization="stiefel")
    layer.build((None, shape[0]))
    layer._kernel.assign(w)
    layer._kernel.constraint.rule.tolerance = 0.1  # not in the way of the comparison
    optimizer = StiefelMuon(0.01, momentum=0.5, adam_ratio=2.0)
    adam = keras.optimizers.Adam(0.02)
    twin = keras.Variable(np.zeros(shape[1], "float32"))
    turn = np.kron(np.diag([1.0, 0.8, 0.6]), [[0, 1], [-1, 0]])
    m, expected = np.zeros(shape), w.astype("float64")
    for _ in range(3):
        g = expected @ turn if shape == (6, 6) else rng.standard_normal(shape)
        b = rng.standard_normal(shape[1])
        optimizer.apply(
            [ops.convert_to_tensor(v.astype("float32")) for v in (g, b)], layer.trainable_variables
        )
        adam.apply([ops.convert_to_tensor(b.astype("float32"))], [twin])
        m = tangent(expected, 0.5 * m + g)
        expected = expected - 0.01 * polar(m)
    np.testing.assert_allclose(array(layer._kernel), expected, atol=2e-3)
    assert 0.02 < singular_values(array(layer._kernel) - w).max() <= 0.03 * (1 + 1e-5)
    np.testing.assert_allclose(array(layer.bias), array(twin), atol=1e-7)


def test_options_of_the_optimizer():
    optimizer = StiefelMuon(0.02, momentum=0.8, adam_ratio=0.5, clipnorm=1.0, beta_1=0.7)
    config = StiefelMuon.from_config(optimizer.get_config()).get_config()
    assert config == optimizer.get_config()
    assert (config["momentum"], config["adam_ratio"], config["clipnorm"]) == (0.8, 0.5, 1.0)
    for wrong in ({"momentum": 1.0}, {"adam_ratio": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be a number "):
            StiefelMuon(**wrong)


def test_weight_decay_leaves_the_manifold_alone(rng):
    layer = SpectralDense(4, parametrization="stiefel", bias_initializer="ones")
    layer.build((None, 4))
    before = array(layer._kernel)
    zeros = [ops.zeros(v.shape) for v in layer.trainable_variables]
    StiefelMuon(0.5, weight_decay=0.5).apply(zeros, layer.trainable_variables)
    np.testing.assert_array_equal(array(layer._kernel), before)
    np.testing.assert_allclose(array(layer.bias), 0.75)

"""`lipkit.recipes`: training on raw data, its scaler, units of distance and refusals."""

import json
import random

import keras
import numpy as np
import pytest

import lipkit
from lipkit.certifier.weights import weighted_bound
from lipkit.recipes import RECIPES, scaling, train
from lipkit.recipes.batches import Shuffled

UNITS = np.array([1e-3, 1.0, 50.0])  # of three features


def blobs(n=120, classes=2, seed=0):
    """Blobs with centers 4 standard deviations apart, features in different units: x, y."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centers = 4 * np.eye(3)[:classes]
    return (centers[y] + rng.standard_normal((n, 3))) * UNITS + 10 * UNITS, y


@pytest.fixture(scope="module")
def trained():
    return train(*blobs(), recipe="mlp", feature_weights="std", eps=0.5, epochs=60)


def test_classifier_of_raw_data(trained):
    x, y = blobs(seed=1)
    certificates = trained.certify(x, y)
    assert certificates.certified_accuracy(0) > 0.95
    assert certificates.certified_accuracy(0.5) > 0.85
    assert isinstance(trained.model, lipkit.Sequential)
    assert isinstance(trained.model.layers[0], keras.layers.Rescaling)
    assert {len(values) for values in trained.history.values()} == {60}
    assert set(trained.history) == {"loss"}


def test_settings_are_json_with_nothing_left_open(trained):
    settings = json.loads(json.dumps(trained.settings, allow_nan=False))
    assert settings["recipe"] == "mlp" and settings["classes"] == 2
    np.testing.assert_allclose(settings["feature_weights"], 1 / blobs()[0].std(axis=0))
    again = train(
        *blobs(),
        **{k: settings[k] for k in ("eps", "epochs", "seed", "recipe")},
        feature_weights=settings["feature_weights"],
    )
    for ours, theirs in zip(trained.model.weights, again.model.weights, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (ours, theirs)))


def test_training_leaves_the_random_states_alone():
    before = np.random.get_state()[1].copy(), random.getstate()
    runs = [
        train(*blobs(), recipe="linear", epochs=2, seed=seed).history["loss"] for seed in (0, 1)
    ]
    assert runs[0] != runs[1]
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1]


def test_saved_and_exported_models_are_the_same(trained, tmp_path):
    x, _ = blobs(seed=1)
    trained.model.save(tmp_path / "lipkit.keras")
    loaded = keras.models.load_model(tmp_path / "lipkit.keras")
    expected = trained.certify(x)
    for model in (loaded, trained.model.vanilla_export()):
        radius = lipkit.certifier.reweighted(
            lipkit.certify(model, x), model, trained.settings["feature_weights"]
        ).radius
        np.testing.assert_allclose(radius, expected.radius, rtol=1e-4)


def in_weighted_units(model, weights):
    """The model that reads u = w x, written independently: x = u / w first."""
    first, *rest = model.layers
    scale = np.asarray(first.scale) / weights
    layers = [keras.layers.Rescaling(scale.tolist(), first.offset), *rest]
    inputs = keras.Input(model.input_shape[1:])
    return lipkit.Sequential([inputs, *layers]).vanilla_export()


def test_weighted_radii_are_those_of_a_model_of_weighted_inputs(trained):
    x, y = blobs(seed=1)
    weights = np.asarray(trained.settings["feature_weights"])
    certificates = trained.certify(x, y)
    plain = in_weighted_units(trained.model, weights)
    expected = lipkit.certify(plain, weights * x)
    np.testing.assert_allclose(certificates.radius, expected.radius, rtol=1e-4)
    np.testing.assert_allclose(certificates.lipschitz, expected.lipschitz, rtol=1e-4)
    assert "weights" in certificates.assumptions[1] and len(certificates.assumptions) == 2
    broken = lipkit.attacks.falsify(plain, weights * x, certificates)
    assert broken.attacked.sum() == len(x) and not broken.broken.any()
    control = lipkit.attacks.falsify(plain, weights * x, certificates, scale=3.0)
    assert control.broken.mean() > 0.2  # the attack is able to


def linear(direction, bias, scale=None):
    """The classifier of a . s x + b."""
    layers = [] if scale is None else [keras.layers.Rescaling(scale.tolist(), 0.0)]
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])
    model.set_weights([np.reshape(direction, (3, 1)), np.array([bias])])
    return model


@pytest.mark.parametrize("scale", [None, np.array([2.0, 0.5, 4.0])])
def test_weighted_radii_are_below_the_distances_of_a_linear_classifier(scale, rng):
    a, weights = np.array([1.0, -2.0, 0.5]), np.array([0.5, 4.0, 2.0])
    model, x = linear(a, 0.25, scale), rng.standard_normal((20, 3))
    slope = a * (1 if scale is None else scale)
    distance = np.abs(x @ slope + 0.25) / np.linalg.norm(slope / weights)
    radius = lipkit.certifier.reweighted(lipkit.certify(model, x), model, weights).radius
    stretch = 2.0 if scale is None else 4.0  # max(1 / w), max(s / w)
    assert (radius <= distance).all()
    np.testing.assert_allclose(radius, np.abs(x @ slope + 0.25) / np.linalg.norm(a) / stretch)
    np.testing.assert_allclose(weighted_bound(model, weights), np.linalg.norm(a) * stretch)


def test_weights_that_change_nothing_or_are_refused(trained):
    x, _ = blobs(seed=1)
    model, certificates = trained.model, lipkit.certify(trained.model, x)
    assert lipkit.certifier.reweighted(certificates, model, None) is certificates
    one = lipkit.certifier.reweighted(certificates, model, np.ones(3)).radius
    np.testing.assert_allclose(one, certificates.radius, rtol=1e-11)
    assert (one <= certificates.radius).all()
    for bad in ([1.0, 2.0], [1.0, 0.0, 1.0], [1.0, np.nan, 1.0], ["a", "b", "c"], [-1.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match="`weights` must be"):
            lipkit.certifier.reweighted(certificates, model, bad)
    plain = model.vanilla_export()
    program = lipkit.certify(plain, x, arithmetic="float32")
    with pytest.raises(ValueError, match="arithmetic='real'.*float32"):
        lipkit.certifier.reweighted(program, plain, np.ones(3))


def test_output_interval_of_a_linear_model_is_exact(rng):
    a, x = np.array([1.0, -2.0, 0.5]), rng.standard_normal((8, 3))
    radius = rng.uniform(0, 2, 8)
    lower, upper = lipkit.certifier.output_interval(linear(a, 0.25), x, radius)
    reach = np.linalg.norm(a) * radius
    assert (lower[:, 0] <= x @ a + 0.25 - reach).all() and (
        upper[:, 0] >= x @ a + 0.25 + reach
    ).all()
    np.testing.assert_allclose(lower[:, 0], x @ a + 0.25 - reach, atol=1e-12)
    np.testing.assert_allclose(upper[:, 0], x @ a + 0.25 + reach, atol=1e-12)


def test_output_interval_holds_where_it_can_be_refused(rng):
    model = linear(np.ones(3), 0.0)
    with np.errstate(over="ignore"):
        lower, upper = lipkit.certifier.output_interval(model, np.full((1, 3), 1e308), 1.0)
    assert lower[0, 0] == -np.inf and upper[0, 0] == np.inf
    for radius in (-1.0, np.inf, [1.0, 2.0]):
        with pytest.raises(ValueError, match="`radius` must be finite"):
            lipkit.certifier.output_interval(model, np.ones((3, 3)), radius)
    with pytest.raises(ValueError, match="`x` must be finite"):
        lipkit.certifier.output_interval(model, np.full((1, 3), np.nan), 1.0)
    with pytest.raises(ValueError, match=r"shape \(n, \*\(3,\)\).*\(3, 2\)"):
        lipkit.certifier.output_interval(model, np.ones((3, 2)))
    sides = [keras.Input((3,)) for _ in range(2)]
    added = keras.Model(sides, keras.layers.Add()(sides))
    with pytest.raises(ValueError, match="one input. Received: 2"):
        lipkit.certifier.output_interval(added, np.ones((3, 3)))


def test_a_scaling_that_not_all_of_the_model_reads_is_not_trusted(rng):
    """f(x) = 5 a + 5 b + c: the scaling alone would tell that c does not matter."""
    x = keras.Input((3,))
    scaled = keras.layers.Rescaling([4.0, 4.0, 1e-6], 0.0)(x)
    model = keras.Model(x, keras.layers.Dense(1)(keras.layers.Add()([scaled, x])))
    model.set_weights([np.ones((3, 1)), np.zeros(1)])
    weights, points = np.array([4.0, 4.0, 1e-2]), rng.standard_normal((10, 3))
    distance = np.abs(points @ [5, 5, 1]) / np.linalg.norm([5 / 4, 5 / 4, 100])
    certificates = lipkit.certify(model, points)
    radius = lipkit.certifier.reweighted(certificates, model, weights).radius
    assert (radius <= distance).all() and (radius > 0).all()


@pytest.mark.parametrize("weights", [None, [2.0, 1.0, 0.1, 5.0]])
def test_scaler(weights, rng):
    x = rng.standard_normal((50, 4)) * [1.0, 0.1, 30.0, 0.0] + [0.0, 5.0, -7.0, 3.0]
    scaler = scaling.fit(x, weights, 0.2)
    w = np.ones(4) if weights is None else np.asarray(weights)
    expected = w[:3] / np.maximum(w[:3] * x[:, :3].std(axis=0), 5 * 0.2)
    np.testing.assert_allclose(scaler.scale[:3], expected, rtol=1e-6)
    assert scaler.scale[3] == 0
    np.testing.assert_allclose(scaler.stretch, (expected / w[:3]).max(), rtol=1e-6)
    z = keras.ops.convert_to_numpy(scaler.layer()(x.astype("float32")))
    np.testing.assert_allclose(z[:, :3], expected * (x - x.mean(axis=0))[:, :3], atol=2e-4)
    np.testing.assert_array_equal(z[:, 3], 0)


def test_radius_that_is_chosen_follows_the_units(rng):
    x = rng.standard_normal((50, 3)) * [1.0, 2.0, 30.0]
    eps = scaling.fit(x, None, None).eps
    np.testing.assert_allclose(eps, 0.3 * np.median(x.std(axis=0)))
    np.testing.assert_allclose(scaling.fit(1e-9 * x, None, None).eps, 1e-9 * eps)
    assert scaling.fit(x.reshape(50, 3, 1), None, None).scale.shape == ()


def test_features_that_never_vary_are_not_read():
    x, y = blobs()
    x[:, 2] = 0.1 + 0.2  # whose mean is not exactly itself
    model = train(x, y, recipe="linear", epochs=2).model
    moved = x + np.array([0, 0, 100])
    np.testing.assert_array_equal(*(model.predict(v, verbose=0) for v in (x, moved)))


def test_batches_have_one_size_and_hold_all_samples_and_classes():
    strata = np.repeat([0, 1, 2], [60, 30, 12])
    x = np.arange(102.0)
    batches = Shuffled((x, strata), 25, 0, strata=strata)
    epochs = []
    for _ in range(2):
        drawn = [batches[i] for i in range(len(batches))]
        assert [len(b) for b, _ in drawn] == [25] * 5
        assert set(np.concatenate([b for b, _ in drawn])) == set(x)
        for b, s in drawn:
            np.testing.assert_array_equal(strata[b.astype(int)], s)
            counts = np.bincount(s.astype(int), minlength=3)
            assert (np.abs(counts - 25 * np.array([60, 30, 12]) / 102) < 2).all()
        epochs.append(np.concatenate([b for b, _ in drawn]).tolist())
        batches.epoch += 1
    assert epochs[0] != epochs[1]


def test_several_classes_and_a_rare_one():
    x, y = blobs(150, classes=3)
    keep = (y < 2) | (np.arange(150) < 20)  # 7 of the last class
    certificates = train(x[keep], y[keep], recipe="mlp", feature_weights="std", epochs=50).certify(
        *blobs(90, 3, 1)
    )
    per_class = [
        (certificates.label == certificates.y)[certificates.y == c].mean() for c in range(3)
    ]
    assert min(per_class) > 0.7, per_class
    assert (certificates.status == "certified").all()


def test_images():
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_digits(n_class=3, return_X_y=True)
    x = x.reshape(-1, 8, 8, 1)
    trained = train(x[:400], y[:400], epochs=15, eps=0.5)
    assert trained.settings["recipe"] == "cnn"
    certificates = trained.certify(x[400:], y[400:])
    assert certificates.certified_accuracy(0.5) > 0.9
    result = lipkit.attacks.falsify(
        trained.model.vanilla_export(), x[400:430], lipkit.certify(trained.model, x[400:430])
    )
    assert result.attacked.all() and not result.broken.any()


def test_regression_with_a_constant():
    x, _ = blobs()
    target = 1000 + 20 * np.sin(x[:, 1] / UNITS[1])
    options = {"task": "regression", "feature_weights": "std", "epochs": 60}
    trained = train(x, target, recipe="mlp", lipschitz=15.0, **options)
    weights = trained.settings["feature_weights"]
    assert 13 < weighted_bound(trained.model, weights) <= 15
    lower, upper = lipkit.certifier.output_interval(trained.model, x, 0.2, weights)
    assert (upper - lower < 2 * 15 * 0.2 + 1e-6).all()
    direction = np.random.default_rng(0).standard_normal((20, *x.shape))
    step = 0.2 * direction / np.linalg.norm(direction, axis=-1, keepdims=True) / weights
    for moved in x + step:
        values = lipkit.certifier.output_interval(trained.model, moved)
        assert (lower <= values[1]).all() and (values[0] <= upper).all()
    assert np.mean((lower[:, 0] + upper[:, 0]) / 2 - target) < 2


X, Y = blobs(20)
HOLE = X.copy()
HOLE[3, 1] = np.nan


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (HOLE, Y, {}, r"`x` must be finite.*1 values are not, such as nan at \[3, 1\]"),
        (X * 1e39, Y, {}, "`x` must be finite, in float32"),
        (X.astype(str), Y, {}, "`x` must hold real numbers.*dtype <U"),
        (X[:, 0], Y, {}, "`x` must have shape"),
        (X[:1], Y[:1], {}, "at least 2 samples"),
        (X[:, :0], Y, {}, "no axis of length 0"),
        (np.ones((20, 3)), Y, {}, "must have a feature that varies"),
        (
            X * [1, 1e-9, 1] + [0, 1, 0],
            Y,
            {},
            "column 1.*subtract an offset|subtract an offset.*column 1",
        ),
        (X * 1e-32, Y, {}, "1e-30 to 1e30.*column 0"),
        (X, Y[:-1], {}, r"shape \(20,\).*\(19,\)"),
        (X, Y * 0, {}, "at least 2 classes"),
        (X, 2 * Y, {}, "integers 0 ... k - 1"),
        (X, Y.astype(float), {}, r"k - 1.*or task='regression'.*float64 values \[0.0, 1.0\]"),
        (X, Y / 2, {}, "task='regression' for a continuous target"),
        (X, np.eye(2)[Y], {}, r"one-hot labels use y.argmax\(axis=1\).*\(20, 2\)"),
        (X, np.where(Y, "b", "a"), {}, "integers 0 ... k - 1"),
        (X, Y, {"eps": 0.0}, "`eps` must be"),
        (X, Y, {"eps": np.nan}, "`eps` must be"),
        (X, Y, {"recipe": "resnet"}, "`recipe` must be one of.*resnet"),
        (X, Y, {"recipe": "cnn"}, "'cnn' does not accept samples of shape"),
        (X.reshape(20, 3, 1, 1), Y, {}, "at least 4 x 4"),
        (X, Y, {"epochs": 0}, "`epochs` must be"),
        (X, Y, {"batch_size": 2.5}, "`batch_size` must be"),
        (X, Y, {"learning_rate": -1}, "`learning_rate` must be"),
        (X, Y, {"seed": -1}, "`seed` must be"),
        (X, Y, {"feature_weights": [1, 2]}, r"`feature_weights` must be numbers.*\(3,\).*\(2,\)"),
        (X, Y, {"feature_weights": "max"}, "`feature_weights` must be numbers"),
        (X, Y, {"feature_weights": [1, 2, -3]}, "`feature_weights` must be positive"),
        (X, Y, {"task": "ranking"}, "`task` must be one of"),
        (X, Y, {"lipschitz": 1.0}, "`lipschitz` applies only to task='regression'"),
        (X, Y, {"task": "regression", "lipschitz": 0.0}, "`lipschitz` must be"),
        (X, HOLE[:, 1], {"task": "regression"}, "`y` must be finite"),
        (X, 1e9 + Y, {"task": "regression"}, "targets.*subtract an offset"),
        (X, X, {"task": "regression"}, r"`y` must have one entry.*\(20, 3\)"),
    ],
)
def test_what_is_refused(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        train(x, y, **options)


def test_features_are_refused_where_keras_puts_channels_first():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels_last"):
            train(X, Y)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_recipes_are_described():
    assert list(RECIPES) == ["auto", "mlp", "cnn", "linear"]
    assert lipkit.recipes.RECIPES is RECIPES
    with pytest.raises(AttributeError, match="no attribute 'recipe'"):
        lipkit.recipe  # noqa: B018

"""Centering layers against NumPy, and what their predecessors got wrong."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import POLICIES, array

import lipkit
from lipkit import layers

VECTOR, SEQUENCE, IMAGE = (6,), (5, 3), (4, 3, 2)
LAYERS = {
    "layer, features": (VECTOR, lambda **k: layers.LayerCentering(axis=-1, **k)),
    "layer, spatial": (IMAGE, lambda **k: layers.LayerCentering(**k)),
    "layer, some axes": (
        IMAGE,
        lambda **k: layers.LayerCentering(axis=(1, -1), use_bias=False, **k),
    ),
    "layer, channels first": (IMAGE, lambda **k: layers.LayerCentering(channel_axis=1, **k)),
    "batch": (VECTOR, lambda **k: layers.BatchCentering(**k)),
    "batch, image": (IMAGE, lambda **k: layers.BatchCentering(use_bias=False, **k)),
    "batch, channels first": (IMAGE, lambda **k: layers.BatchCentering(axis=1, **k)),
    "norm": (SEQUENCE, lambda **k: layers.BatchLipNorm(**k)),
    "norm, unlimited": (SEQUENCE, lambda **k: layers.BatchLipNorm(max_scale=None, **k)),
    "norm, channels first": (IMAGE, lambda **k: layers.BatchLipNorm(axis=1, max_scale=3, **k)),
}
BATCH = [name for name in LAYERS if not name.startswith("layer")]


def model_of(name, rng, **arguments):
    """A model of the one layer, its bias and statistics drawn at random."""
    shape, make = LAYERS[name]
    model = keras.Sequential([keras.Input(shape), make(**arguments)])
    for weight in model.weights:
        values = rng.standard_normal(weight.shape)
        weight.assign(0.01 + values**2 / 3 if "variance" in weight.name else values)
    return model


def data(shape, rng, n=8):
    return (2 * rng.standard_normal((n, *shape)) + 1).astype("float32")


def along(vector, axis, rank):
    return np.reshape(array(vector), [-1 if i == axis % rank else 1 for i in range(rank)])


def truth(layer, x):
    """The layer at inference, in float64."""
    x = x.astype("float64")
    axis = layer.channel_axis if isinstance(layer, layers.LayerCentering) else layer.axis
    others = tuple(i for i in range(1, x.ndim) if i != axis % x.ndim)
    factor = 1.0
    if isinstance(layer, layers.LayerCentering):
        axes = others if layer.axis is None else tuple(map(int, np.atleast_1d(layer.axis)))
        mean = x.mean(axis=axes, keepdims=True)
    else:
        mean = along(layer.moving_mean, axis, x.ndim)
    if isinstance(layer, layers.BatchLipNorm):
        factor = max(array(layer.moving_variance).max(), layer.epsilon) ** -0.5
        factor = factor if layer.max_scale is None else min(factor, layer.max_scale)
    y = layer.k_coef_lip * factor * (x - mean)
    return y + along(layer.bias, axis, x.ndim) if layer.use_bias else y


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("k", [0.1, 1, 10])
def test_inference_and_bound(name, k, rng):
    model = model_of(name, rng, k_coef_lip=k)
    x = data(LAYERS[name][0], rng)
    layer = model.layers[0]
    np.testing.assert_allclose(array(model(x)), truth(layer, x), rtol=1e-5, atol=1e-5 * k)
    basis = np.eye(np.prod(x.shape[1:])).reshape(-1, *x.shape[1:])
    matrix = (truth(layer, basis) - truth(layer, 0 * basis)).reshape(len(basis), -1)
    norm = np.linalg.norm(matrix, 2)
    bound = lipkit.lipschitz_bound(model)
    assert norm <= bound * (1 + 1e-6) and bound <= norm * (1 + 1e-6)
    if getattr(layer, "max_scale", 1) == 1:
        assert bound <= k * (1 + 1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_export_and_files(name, rng, tmp_path):
    model = model_of(name, rng, k_coef_lip=2)
    x = data(LAYERS[name][0], rng)
    expected = array(model(x))
    plain = lipkit.vanillaModel(model)
    for number, (candidate, tolerance) in enumerate([(plain, 1e-6), (model, 0)]):
        candidate.save(tmp_path / f"{number}.keras")
        loaded = keras.models.load_model(tmp_path / f"{number}.keras")
        np.testing.assert_allclose(array(loaded(x)), expected, atol=tolerance)
    assert lipkit.lipschitz_bound(plain) == lipkit.lipschitz_bound(model)


@pytest.mark.parametrize("name", BATCH)
def test_training_step_follows_the_batch(name, rng):
    model = model_of(name, rng, momentum=0.75)
    layer, x = model.layers[0], data(LAYERS[name][0], rng)
    axes = tuple(i for i in range(x.ndim) if i != layer.axis % x.ndim)
    before = {v.name: array(v) for v in layer.weights}
    y = array(model(x, training=True))
    mean = x.mean(axis=axes, dtype="float64")
    np.testing.assert_allclose(
        array(layer.moving_mean), 0.75 * before["moving_mean"] + 0.25 * mean, atol=1e-5
    )
    factor = 1.0
    if isinstance(layer, layers.BatchLipNorm):
        variance = 0.75 * before["moving_variance"] + 0.25 * x.var(axis=axes, ddof=1)
        np.testing.assert_allclose(array(layer.moving_variance), variance, rtol=1e-5)
        factor = min(before["moving_variance"].max() ** -0.5, layer.max_scale or np.inf)
    y = y - (along(layer.bias, layer.axis, x.ndim) if layer.use_bias else 0)
    np.testing.assert_allclose(y, factor * (x - along(mean, layer.axis, x.ndim)), atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_evaluation_mutates_nothing(name, rng):
    model = model_of(name, rng)
    x = data(LAYERS[name][0], rng)
    before = [array(w) for w in model.weights]
    model(x)
    model(x, training=False)
    model.predict(x, verbose=0)
    lipkit.lipschitz_bound(model)
    lipkit.vanillaModel(model)
    if name in BATCH:
        model.layers[0].trainable = False
        model(x, training=True)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, array(new))


@pytest.mark.parametrize("name", LAYERS)
def test_batch_of_one_divides_by_no_zero(name, rng):
    model = model_of(name, rng)
    layer, x = model.layers[0], data(LAYERS[name][0], rng, n=1)
    assert np.isfinite(array(model(x, training=True))).all()
    assert all(np.isfinite(array(w)).all() for w in model.weights)
    norm = keras.Sequential([keras.Input(VECTOR), layers.BatchLipNorm()])
    norm(data(VECTOR, rng, n=1), training=True)  # no variance to learn from
    np.testing.assert_array_equal(array(norm.layers[0].moving_variance), 1)
    assert np.abs(array(norm.layers[0].moving_mean)).min() > 0
    assert layer.built


def test_constant_channels_have_a_finite_scale():
    model = keras.Sequential([keras.Input(VECTOR), layers.BatchLipNorm(max_scale=None, momentum=0)])
    model(np.ones((8, 6), "float32"), training=True)
    assert lipkit.lipschitz_bound(model) == pytest.approx(1e-5**-0.5, rel=1e-5)


@pytest.mark.parametrize("name", ["layer, spatial", "batch, image", "norm, channels first"])
def test_reloaded_statistics_survive_the_first_step(name, rng, tmp_path):
    model = model_of(name, rng)
    shape = LAYERS[name][0]
    x = data(shape, rng)
    model.add(layers.SpectralDense(shape[-1]))
    model.compile("sgd", "mse")
    start = [array(w) for w in model.weights]
    model.fit(x, x, epochs=2, batch_size=4, verbose=0)
    assert all(
        np.abs(array(w) - old).max() > 0 for w, old in zip(model.weights, start, strict=True)
    )
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    for candidate in (model, loaded):
        candidate.fit(x, x, epochs=1, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(array(a), array(b), atol=1e-6)


def test_scale_is_no_function_of_the_batch(rng):
    """In training, the outputs' distances are at most the scale times those of the inputs."""
    x, step = data(SEQUENCE, rng, n=4), 5 * rng.standard_normal((4, *SEQUENCE)).astype("float32")
    outputs = []
    for given in (x, x + step):
        layer = layers.BatchLipNorm(max_scale=None)
        outputs.append(array(layer(given, training=True)))
    assert np.linalg.norm(outputs[1] - outputs[0]) <= np.linalg.norm(step)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["layer, spatial", "batch", "norm"])
def test_dtypes(name, policy, rng):
    model = model_of(name, rng, dtype=policy)
    x = data(LAYERS[name][0], rng)
    layer, dtype = model.layers[0], policy.removeprefix("mixed_")
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    tolerance = 1e-6 if dtype == "float64" else 0.05
    np.testing.assert_allclose(
        array(y if dtype == "float64" else ops.cast(y, "float32")), truth(layer, x), atol=tolerance
    )
    assert keras.backend.standardize_dtype(lipkit.vanillaModel(model)(x).dtype) == dtype
    layer(x, training=True)
    if name != "layer, spatial" and "mixed" in policy:
        assert layer.moving_mean.dtype == "float32"


def test_unknown_sizes(rng):
    model = keras.Sequential([keras.Input((None, None, 2)), layers.LayerCentering()])
    for shape in ((4, 3, 2), (2, 5, 2)):
        x = data(shape, rng)
        np.testing.assert_allclose(array(model(x)), truth(model.layers[0], x), atol=1e-5)
    assert lipkit.lipschitz_bound(lipkit.vanillaModel(model), (4, 4, 2)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.LayerCentering()(np.ones((2, 3))), "no axis to average over.*Give `axis`"),
        (lambda: layers.LayerCentering(axis=0)(np.ones((2, 3))), "`axis` must be.*axis=0"),
        (lambda: layers.LayerCentering(axis=(1, 5))(np.ones((2, 3))), "`axis` must be.*axis=5"),
        (lambda: layers.BatchCentering(axis=0)(np.ones((2, 3))), "other than the batch's.*axis=0"),
        (lambda: layers.BatchCentering(axis=1.5)(np.ones((2, 3))), "`axis` must be.*axis=1.5"),
        (lambda: layers.BatchCentering()(keras.Input((None,))), "known number of channels"),
        (lambda: layers.BatchCentering(momentum=2), r"`momentum` must be a number in \[0, 1\].*2"),
        (lambda: layers.BatchLipNorm(epsilon=0), "`epsilon`.*0"),
        (lambda: layers.BatchLipNorm(max_scale=-1), "`max_scale`.*-1"),
        (lambda: layers.LayerCentering(k_coef_lip=0), "`k_coef_lip`"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()

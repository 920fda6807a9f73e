"""Pooling and resampling against NumPy in float64, at more than one size per layer."""

import keras
import numpy as np
import pytest
from keras import ops

import lipkit
from lipkit import layers as ll
from lipkit._backend import value_and_input_gradient

KINDS = {
    "AveragePooling": lambda w, n: w.mean(axis=-1) * np.sqrt(n),
    "L2NormPooling": lambda w, n: np.sqrt(np.sum(w * w, axis=-1)),
}
SIZES = {1: [(7,), (4,)], 2: [(5, 7), (4, 6)], 3: [(3, 4, 2), (2, 5, 3)]}
POOL = {1: 3, 2: (2, 3), 3: (1, 2, 2)}
LAYERS = [(kind, rank) for kind in KINDS for rank in SIZES]


def make(kind, rank, scope="", **arguments):
    return getattr(ll, f"Scaled{scope}{kind}{rank}D")(**arguments)


def array(x):
    return ops.convert_to_numpy(x).astype("float64")


def channels_first(x):
    return np.moveaxis(x, -1, 1)


def truth(x, kind, pool):
    """Channels last; each window is copied out by itself."""
    counts = [n // p for n, p in zip(x.shape[1:], pool, strict=False)]
    y = np.zeros((len(x), *counts, x.shape[-1]))
    for place in np.ndindex(*counts):
        window = tuple(slice(i * p, (i + 1) * p) for i, p in zip(place, pool, strict=True))
        values = np.moveaxis(x[(slice(None), *window)], -1, 1).reshape(len(x), x.shape[-1], -1)
        y[(slice(None), *place)] = KINDS[kind](values, values.shape[-1])
    return y


def widths(rank):
    return (POOL[rank],) if rank == 1 else POOL[rank]


@pytest.mark.parametrize(("kind", "rank"), LAYERS)
@pytest.mark.parametrize("k", [0.1, 1.0, 10.0])
def test_windows(kind, rank, k, rng):
    layer = make(kind, rank, pool_size=POOL[rank], k_coef_lip=k)
    first = make(
        kind, rank, pool_size=POOL[rank], k_coef_lip=k, data_format="channels_first", name="first"
    )
    for size in SIZES[rank]:
        x = rng.standard_normal((2, *size, 3)).astype("float32")
        expected = k * truth(x.astype("float64"), kind, widths(rank))
        y = array(layer(x))
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6 * k)
        assert layer.compute_output_shape(x.shape) == y.shape
        y = array(first(channels_first(x)))
        np.testing.assert_allclose(y, channels_first(expected), rtol=1e-5, atol=1e-6 * k)
        assert first.compute_output_shape(channels_first(x).shape) == y.shape


@pytest.mark.parametrize(("kind", "rank"), LAYERS)
@pytest.mark.parametrize("keepdims", [False, True])
def test_global(kind, rank, keepdims, rng):
    """Defect elsewhere: a factor of the size at `build`, used at another; `keepdims` ignored."""
    layer = make(kind, rank, "Global", k_coef_lip=3, keepdims=keepdims)
    first = make(
        kind, rank, "Global", k_coef_lip=3, keepdims=keepdims, data_format="channels_first"
    )
    layer.build((None, *(9,) * rank, 3))
    for size in SIZES[rank]:
        x = rng.standard_normal((2, *size, 3)).astype("float32")
        expected = 3 * truth(x.astype("float64"), kind, size)
        for one, given, result in (
            (layer, x, expected),
            (first, channels_first(x), channels_first(expected)),
        ):
            result = result if keepdims else result.reshape(2, 3)
            assert one.compute_output_shape(given.shape) == result.shape
            np.testing.assert_allclose(array(one(given)), result, rtol=1e-5, atol=1e-5)


def operator(layer, shape):
    basis = np.eye(np.prod(shape), dtype="float32").reshape(-1, *shape)
    return array(layer(basis)).reshape(len(basis), -1)


@pytest.mark.parametrize("scope", ["", "Global"])
@pytest.mark.parametrize("rank", SIZES)
def test_average_pooling_has_norm_k(rank, scope):
    arguments = {} if scope else {"pool_size": POOL[rank]}
    layer = make("AveragePooling", rank, scope, k_coef_lip=0.5, **arguments)
    for size in SIZES[rank]:
        norm = np.linalg.norm(operator(layer, (*size, 2)), 2)
        assert norm == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("scope", ["", "Global"])
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e20, 1e30])
def test_norms_neither_overflow_nor_vanish(scope, scale, rng):
    x = rng.standard_normal((3, 4, 4, 2))
    layer = make("L2NormPooling", 2, scope)
    expected = truth(x, "L2NormPooling", (4, 4) if scope else (2, 2)) * scale
    y = array(layer((x * scale).astype("float32")))
    np.testing.assert_allclose(y, expected.reshape(y.shape), rtol=1e-5)


@pytest.mark.parametrize("scope", ["", "Global"])
@pytest.mark.parametrize("scale", [1e-35, 1e-20, 1.0, 1e20, 1e35])
def test_norm_pooling_is_zero_at_zero_with_a_finite_gradient(scope, scale, rng):
    layer = make("L2NormPooling", 2, scope)
    layer.build((None, 4, 4, 2))

    def total(x):
        return 100 * ops.sum(ops.reshape(layer(scale * x) / scale, (2, -1)), axis=1)

    x = np.zeros((2, 4, 4, 2), "float32")
    x[1] = rng.standard_normal(x.shape[1:])
    values, slopes = value_and_input_gradient(total, [])(x)
    assert values[0] == 0 and not slopes[0].any()
    size = 4 if scope else 2
    norms = truth(x, "L2NormPooling", (size, size))[1]
    expected = 100 * x[1] / norms.repeat(size, axis=0).repeat(size, axis=1)
    np.testing.assert_allclose(slopes[1], expected, rtol=1e-4)


@pytest.mark.parametrize(("kind", "rank"), LAYERS)
def test_gradients_are_orthogonal_on_each_window(kind, rank, rng):
    """TensorFlow has none of one reduction along three axes of windows."""
    layer = make(kind, rank, pool_size=2)
    run = value_and_input_gradient(lambda x: ops.sum(ops.reshape(layer(x), (2, -1)), axis=1), [])
    x = rng.standard_normal((2, *(4,) * rank, 3)).astype("float32")
    squares = run(x)[1].astype("float64") ** 2
    assert squares.sum() == pytest.approx(2 * 2**rank * 3)  # 1 for each window


@pytest.mark.parametrize("strides", [None, 2, (2, 2), [2, 2]])
@pytest.mark.parametrize("padding", ["valid", "VALID"])
@pytest.mark.parametrize("pool_size", [2, (2, 2), [2, 2]])
def test_pooling_accepts_every_spelling_of_its_strides(pool_size, strides, padding):
    for kind in KINDS:
        layer = make(kind, 2, pool_size=pool_size, strides=strides, padding=padding)
        assert layer.pool_size == (2, 2) and layer(np.ones((1, 4, 4, 1))).shape == (1, 2, 2, 1)


BAD = [
    ({"strides": 1}, "overlap"),
    ({"strides": (2, 1)}, "strides"),
    ({"padding": "same"}, "valid"),
    ({"padding": None}, "valid"),
    ({"pool_size": 0}, "pool_size"),
    ({"pool_size": (2, 2, 2)}, "pool_size"),
    ({"pool_size": 2.0}, "pool_size"),
    ({"data_format": "nhwc"}, "data_format"),
    ({"k_coef_lip": 0}, "k_coef_lip"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_arguments_are_named(arguments, message):
    for kind in KINDS:
        with pytest.raises(ValueError, match=message):
            make(kind, 2, **arguments)


def test_windows_never_fit_inputs_that_are_too_small():
    """An empty reshape of size -1 would lose the batch, without a word."""
    for kind in KINDS:
        layer = make(kind, 2, pool_size=4)
        layer(np.ones((3, 4, 5, 1)))
        with pytest.raises(ValueError, match="no window"):
            layer(np.ones((3, 5, 3, 1)))
        model = keras.Sequential([keras.Input((None, None, 1)), layer])
        for size in (4, 5):  # graphs are traced for open sizes from the second one on
            assert model.predict(np.ones((3, size, size, 1)), verbose=0).shape == (3, 1, 1, 1)
        with pytest.raises(Exception, match=r"no window|[Rr]eshape"):
            model.predict(np.ones((3, 3, 5, 1)), verbose=0)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_norms_of_values_that_are_not_finite_are_not_zero(value):
    for scope in ("", "Global"):
        layer = make("L2NormPooling", 2, scope)
        y = array(layer(np.full((1, 2, 2, 1), value, "float32")))
        assert not np.isfinite(y).any()


def test_half_precision_holds_the_sums_of_large_images():
    x = np.ones((1, 300, 300, 1), "float16")
    for kind in KINDS:
        model = keras.Sequential(
            [keras.Input((None, None, 1)), make(kind, 2, "Global", dtype="float16")]
        )
        assert array(model(x)).item() == 300
        for size in (8, 16, 300):
            assert model.predict(x[:, :size, :size], verbose=0).item() == size


def test_bad_inputs_and_tolerances_are_named():
    with pytest.raises(ValueError, match="eps_grad_sqrt"):
        ll.ScaledL2NormPooling2D(eps_grad_sqrt=-1)
    assert ll.ScaledL2NormPooling2D(eps_grad_sqrt=1e-3).get_config()["eps_grad_sqrt"] == 1e-3
    with pytest.raises(ValueError, match="rank 4"):
        ll.ScaledAveragePooling2D()(np.ones((1, 4, 4)))
    with pytest.raises(ValueError, match="no window"):
        ll.ScaledAveragePooling2D(5)(np.ones((1, 4, 6, 1)))


MODELS = {
    **{f"{kind}{rank}D": (kind, rank, "") for kind, rank in LAYERS},
    **{f"Global{kind}{rank}D": (kind, rank, "Global") for kind, rank in LAYERS},
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_saved_exported_and_certified(name, data_format, rng, tmp_path):
    """Defect elsewhere: a reloaded global pooling that is four times as large."""
    kind, rank, scope = MODELS[name]
    size, arguments = SIZES[rank][0], {} if scope else {"pool_size": POOL[rank]}
    shape = (*size, 2) if data_format == "channels_last" else (2, *size)
    layer = make(kind, rank, scope, data_format=data_format, k_coef_lip=2.0, **arguments)
    model = lipkit.Sequential([keras.Input(shape), layer])
    x = rng.standard_normal((2, *shape)).astype("float32")
    y = array(model(x))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(array(keras.saving.load_model(tmp_path / "model.keras")(x)), y)
    export = model.vanilla_export()
    export.save(tmp_path / "export.keras")
    export = keras.saving.load_model(tmp_path / "export.keras")
    np.testing.assert_allclose(array(export(x)), y, rtol=1e-5, atol=1e-6)
    for certified in (model, export):
        assert 2 * (1 - 1e-6) <= lipkit.lipschitz_bound(certified) <= 2 * (1 + 1e-5)


@pytest.mark.parametrize("name", ["ScaledAveragePooling2D", "ScaledL2NormPooling2D"])
def test_sizes_may_be_unknown(name, rng):
    layer = getattr(ll, name)()
    model = lipkit.Sequential([keras.Input((None, None, 2)), layer])
    assert model.output_shape == (None, None, None, 2)
    for size in (4, 7):
        x = rng.standard_normal((2, size, 6, 2)).astype("float32")
        expected = truth(x.astype("float64"), name[6:-2], (2, 2))
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="known sizes"):
        model.vanilla_export()


def pixel_unshuffle(x, p, q):
    """Entry by entry: output channel (c, i, j) of (batch, h, w, c)."""
    b, h, w, c = x.shape
    y = np.zeros((b, h // p, w // q, c * p * q))
    for n, i, j in np.ndindex(c, p, q):
        y[..., n * p * q + i * q + j] = x[:, i::p, j::q, n]
    return y


@pytest.mark.parametrize("pool_size", [2, (2, 3), (1, 2)])
def test_sampling_is_a_permutation_and_its_inverse(pool_size, rng, tmp_path):
    """On an input that is not square, where height and width are easily swapped."""
    down, up = ll.InvertibleDownSampling(pool_size), ll.InvertibleUpSampling(pool_size)
    x = rng.standard_normal((2, 4, 6, 3)).astype("float32")
    y = array(down(x))
    np.testing.assert_array_equal(y, pixel_unshuffle(x, *down.pool_size))
    np.testing.assert_array_equal(array(up(y)), x)
    assert (
        down.compute_output_shape(x.shape) == y.shape
        and up.compute_output_shape(y.shape) == x.shape
    )
    arguments = {"pool_size": pool_size, "data_format": "channels_first"}
    down, up = ll.InvertibleDownSampling(**arguments), ll.InvertibleUpSampling(**arguments)
    model = lipkit.Sequential([keras.Input((3, 4, 6)), down, up])
    np.testing.assert_array_equal(array(down(channels_first(x))), channels_first(y))
    np.testing.assert_array_equal(array(model(channels_first(x))), channels_first(x))
    export = model.vanilla_export()
    np.testing.assert_array_equal(array(export(channels_first(x))), channels_first(x))
    assert lipkit.lipschitz_bound(model) == lipkit.lipschitz_bound(export) == 1
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].get_config() == down.get_config()


def test_sampling_never_mixes_samples():
    """Defect elsewhere: 16 inputs (5, 5, 3) became 25 outputs."""
    for layer, shape in (
        (ll.InvertibleDownSampling(2), (16, 5, 5, 3)),
        (ll.InvertibleUpSampling(2), (4, 2, 2, 5)),
    ):
        with pytest.raises(ValueError, match="must divide"):
            layer(np.ones(shape))
    layer = ll.InvertibleDownSampling(2)
    layer(np.ones((1, 4, 4, 3)))
    model = keras.Sequential([keras.Input((None, None, 3)), layer])
    for size in (4, 6):  # graphs are traced for open sizes from the second one on
        assert len(model.predict(np.ones((16, size, size, 3)), verbose=0)) == 16
    with pytest.raises(Exception, match=r"must divide|[Rr]eshape"):
        model.predict(np.ones((16, 5, 5, 3)), verbose=0)
    with pytest.raises(ValueError, match="must divide"):
        layer(np.ones((16, 5, 5, 3)))
    assert ll.InvertibleDownSampling(np.int64(2)).pool_size == (2, 2)
    for bad in (0, 2.0, (2, 2, 2), None):
        with pytest.raises(ValueError, match="pool_size"):
            ll.InvertibleUpSampling(bad)
    with pytest.raises(ValueError, match="data_format"):
        ll.InvertibleUpSampling(2, "nchw")
    with pytest.raises(ValueError, match="rank 4"):
        ll.InvertibleUpSampling(2)(np.ones((1, 4, 4)))

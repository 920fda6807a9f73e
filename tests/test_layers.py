import json

import keras
import numpy as np
import pytest
from keras import ops
from reference import POLICIES, RULES, array, group_sort, singular_values

from lipkit import layers, parametrizations

DENSE = [
    (layers.SpectralDense, {}),
    (layers.SpectralDense, {"parametrization": "bjorck"}),
    (layers.SpectralDense, {"parametrization": "cholesky"}),
    (layers.SpectralDense, {"parametrization": "spectral"}),
    (layers.SpectralDense, {"parametrization": "frobenius"}),
    (layers.FrobeniusDense, {"disjoint_neurons": False}),
]


@pytest.mark.parametrize(("cls", "arguments"), DENSE)
@pytest.mark.parametrize("k", [0.1, 1, 10])
@pytest.mark.parametrize("init", ["orthogonal", "he_normal", "ones"])
def test_norm_right_after_construction(cls, arguments, k, init):
    layer = cls(9, kernel_initializer=init, k_coef_lip=k, **arguments)
    layer.build((None, 14))
    sigma = singular_values(layer.kernel)
    assert sigma.max() <= k * (1 + 1e-5)
    frobenius = "frobenius" in (arguments.get("parametrization"), layer.parametrization.name)
    reached = np.linalg.norm(sigma) if frobenius else sigma.max()
    assert reached >= 0.9 * k  # it constrains, it does not destroy


@pytest.mark.parametrize(("cls", "arguments"), [*DENSE, (layers.FrobeniusDense, {})])
def test_call_is_the_matrix_product_with_kernel(cls, arguments, rng):
    layer = cls(5, bias_initializer="normal", activation="tanh", **arguments)
    x = rng.standard_normal((6, 3, 4)).astype("float32")
    y = array(layer(x))
    np.testing.assert_allclose(y, np.tanh(x @ array(layer.kernel) + array(layer.bias)), atol=1e-5)


def test_frobenius_dense_norms(rng):
    columns = layers.FrobeniusDense(4, k_coef_lip=3, kernel_initializer="normal")
    whole = layers.FrobeniusDense(4, disjoint_neurons=False, kernel_initializer="normal")
    for layer in (columns, whole):
        layer.build((None, 6))
    np.testing.assert_allclose(np.linalg.norm(array(columns.kernel), axis=0), 3, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(array(whole.kernel)), 1, rtol=1e-5)


def test_default_layers_start_different():
    kernels = []
    for _ in range(2):
        layer = layers.SpectralDense(8)
        layer.build((None, 8))
        kernels.append(array(layer.kernel))
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1


def test_reading_the_kernel_changes_nothing():
    layer = layers.SpectralDense(8, kernel_initializer="he_normal")
    layer.build((None, 8))
    before = array(layer._kernel)
    layer(np.ones((2, 8)))
    array(layer.kernel)
    layer.vanilla_export()
    np.testing.assert_array_equal(array(layer._kernel), before)


def test_assigned_kernel_is_constrained_at_once(rng):
    layer = layers.SpectralDense(8)
    x = rng.standard_normal((4, 8)).astype("float32")
    before = array(layer(x, training=True))  # what a copy that is kept would be of
    layer._kernel.assign(50 * rng.standard_normal((8, 8)))
    assert singular_values(layer.kernel).max() <= 1 + 1e-5
    assert singular_values(layer.vanilla_export().kernel).max() <= 1 + 1e-5
    after = array(layer(x, training=False))
    np.testing.assert_allclose(after, x @ array(layer.kernel), atol=1e-5)
    assert np.abs(after - before).max() > 0.1


def test_condense_keeps_the_function(rng):
    layer = layers.SpectralDense(8, kernel_initializer="he_normal", k_coef_lip=3)
    x = rng.standard_normal((4, 20)).astype("float32")
    before = array(layer(x))
    layer.condense()
    assert singular_values(layer._kernel).max() <= 1 + 1e-5
    np.testing.assert_allclose(array(layer(x)), before, atol=1e-3)


@pytest.mark.parametrize("rule", [*RULES, "aol"])
def test_condense_does_nothing_where_the_function_would_change(rule, rng):
    """Iterations end before kernels of low rank are orthogonal, and constrained again they move."""
    u, _, v = np.linalg.svd(rng.standard_normal((8, 6)), full_matrices=False)
    spectra = {"orthogonal": np.ones(6), "rank one": np.eye(6)[0], "tiny": np.geomspace(1, 1e-3, 6)}
    layer = layers.SpectralDense(6, parametrization=rule)
    layer.build((None, 8))
    for name, sigmas in spectra.items():
        layer._kernel.assign(2 * u * sigmas @ v)
        before = array(layer.kernel)
        layer.condense()
        np.testing.assert_allclose(array(layer.kernel), before, atol=2e-5, err_msg=name)
        if name == "orthogonal" and rule != "aol":
            np.testing.assert_allclose(array(layer._kernel), before, atol=1e-6)


def test_parametrizations_are_not_shared():
    rule = parametrizations.Bjorck(iterations=5)
    assert layers.SpectralDense(3, parametrization=rule).parametrization is not rule


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, parametrizations.Polar()),
        ({"eps_spectral": 1e-3, "eps_bjorck": 1e-3}, parametrizations.Polar()),
        ({"eps_bjorck": None}, parametrizations.Spectral()),
        ({"beta_bjorck": None}, parametrizations.Spectral()),
        ({"maxiter_bjorck": 7}, parametrizations.Bjorck(iterations=7)),
        ({"beta_bjorck": 0.25}, parametrizations.Bjorck(beta=0.25)),
        ({"maxiter_spectral": 3}, parametrizations.Polar()),
    ],
)
def test_deel_lip_keywords(keywords, expected):
    assert layers.SpectralDense(4, **keywords).parametrization == expected


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"k_coef_lip": 0}, "`k_coef_lip` must be a number > 0.*=0"),
        ({"k_coef_lip": float("nan")}, "`k_coef_lip`.*nan"),
        ({"k_coef_lip": "1"}, "`k_coef_lip`.*'1'"),
        ({"k_coef_lip": True}, "`k_coef_lip`.*True"),
        ({"k_coef_lip": np.float32(-1)}, r"`k_coef_lip`.*-1"),
        ({"parametrization": "unit_columns"}, "`parametrization` must be one of.*'unit_columns'"),
        ({"dtype": "int8_from_float32"}, "nor quantization.*dtype='int8_from"),
        ({"eps_spectral": 0}, "`eps_spectral` must be .*=0"),
        ({"eps_spectral": None}, "`eps_spectral` must be .*None"),
        ({"eps_bjorck": -1}, "`eps_bjorck` must be .*-1"),
        ({"beta_bjorck": 0.7}, "`beta_bjorck` must be a number in .*0.7"),
        ({"maxiter_bjorck": 0}, "`maxiter_bjorck` must be an integer >= 1.*0"),
        ({"beta_bjorck": 0.5, "parametrization": "polar"}, "Give either `parametrization`"),
        ({"parametrization": 3}, "`parametrization` must be one of.*3"),
        ({"units": -1}, "units=-1"),
        ({"lora_rank": 2}, "`lora_rank`"),
    ],
)
def test_bad_arguments(keywords, message):
    with pytest.raises(ValueError, match=message):
        layers.SpectralDense(**{"units": 4, **keywords})


def test_frobenius_dense_has_its_own_rule(tmp_path):
    with pytest.raises(TypeError, match="FrobeniusDense takes no argument `parametrization`"):
        layers.FrobeniusDense(4, parametrization="polar")
    for disjoint in (True, False):
        model = keras.Sequential(
            [keras.Input((6,)), layers.FrobeniusDense(3, disjoint_neurons=disjoint)]
        )
        model.save(tmp_path / "m.keras")
        loaded = keras.models.load_model(tmp_path / "m.keras").layers[-1]
        assert loaded.parametrization == model.layers[-1].parametrization


def test_numbers_of_numpy_are_numbers():
    layer = layers.SpectralDense(
        4,
        k_coef_lip=np.float32(2),
        parametrization=parametrizations.Bjorck(iterations=np.int64(3), beta=np.float64(0.25)),
    )
    assert type(layer.k_coef_lip) is float and layers.GroupSort(np.int32(2)).n == 2
    config = json.loads(json.dumps(layer.get_config()))
    assert layers.SpectralDense.from_config(config).parametrization == layer.parametrization


def test_constant_is_fixed():
    for layer in (layers.SpectralDense(3, name="l"), layers.MaxMin(name="l")):
        with pytest.raises(AttributeError, match="`k_coef_lip` of 'l' is fixed.*k_coef_lip=2"):
            layer.k_coef_lip = 2
        assert layer.k_coef_lip == 1


def test_built_layers_refuse_what_the_constructor_refuses():
    layer = layers.SpectralDense(4)
    layer.build((None, 4))
    with pytest.raises(ValueError, match="neither `lora_rank` nor quantization.*lora_rank=2"):
        layer.enable_lora(2)
    with pytest.raises(ValueError, match="neither `lora_rank` nor quantization.*'int8'"):
        layer.quantize("int8")


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 15, 30, 120, None])
@pytest.mark.parametrize("shape", [(7, 120), (1, 120), (2, 3, 120)])
def test_group_sort(n, shape, rng):
    x = rng.standard_normal(shape).astype("float32")
    layer = layers.GroupSort(n, k_coef_lip=2.0)
    expected = 2 * group_sort(x, n or 120)
    np.testing.assert_allclose(array(layer(x)), expected, rtol=1e-6)
    np.testing.assert_allclose(array(layer.to_vanilla(ops.convert_to_tensor(x))), expected)
    assert layer.compute_output_shape(shape) == shape


def test_named_sorts_and_maxmin(rng):
    x = rng.standard_normal((5, 6)).astype("float32")
    np.testing.assert_allclose(array(layers.GroupSort2()(x)), group_sort(x, 2))
    np.testing.assert_allclose(array(layers.FullSort()(x)), np.sort(x))
    np.testing.assert_allclose(array(layers.GroupSort(99)(x)), np.sort(x))
    expected = 3 * np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], axis=-1)
    np.testing.assert_allclose(array(layers.MaxMin(k_coef_lip=3)(x)), expected)
    image = rng.standard_normal((2, 3, 4, 4)).astype("float32")
    assert layers.MaxMin("channels_first")(image).shape == (2, 6, 4, 4)
    assert layers.MaxMin().compute_output_shape((None, 4)) == (None, 8)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 15, 120])
def test_nan_stays_where_a_sort_puts_it(n, rng):
    x = rng.standard_normal((6, 120)).astype("float32")
    x[0, 0], x[1, 1], x[2, :7], x[3, ::3], x[4] = 5 * [np.nan]
    x[3, 1::5] = np.inf
    y = array(layers.GroupSort(n)(x))
    np.testing.assert_array_equal(np.isnan(y).sum(axis=-1), np.isnan(x).sum(axis=-1))
    if keras.backend.backend() != "tensorflow" or n == 2:  # its sort leaves the order open
        np.testing.assert_array_equal(y, group_sort(x, n))


@pytest.mark.parametrize("jit_compile", [False] + [True] * (keras.backend.backend() != "torch"))
@pytest.mark.parametrize("dtype", ["float32", *(p.removeprefix("mixed_") for p in POLICIES)])
@pytest.mark.parametrize("n", [2, 6])
def test_sort_gradient_is_a_permutation(n, dtype, jit_compile, rng):
    x, weights = (rng.permutation(48).reshape(4, 12) / 4 - 6 for _ in range(2))  # exact in all

    class Probe(keras.layers.Layer):
        def build(self, _):
            self.x = self.add_weight(shape=x.shape, initializer="zeros")

        def call(self, _):
            y = layers.GroupSort(n, dtype=dtype)(self.x)
            return ops.reshape(ops.sum(ops.multiply(ops.cast(weights, dtype), y)), (1, 1))

    model = keras.Sequential([keras.Input((1,)), Probe(dtype=dtype)])
    model.set_weights([x])
    optimizer = keras.optimizers.SGD(1.0)
    model.compile(optimizer, loss=lambda y, f: f, jit_compile=jit_compile)
    model.fit(np.zeros((1, 1)), np.zeros((1, 1)), verbose=0)
    order = np.argsort(x.reshape(4, -1, n), axis=-1)
    expected = np.empty(order.shape)
    np.put_along_axis(expected, order, weights.reshape(order.shape), axis=-1)
    np.testing.assert_array_equal(x - array(model.layers[-1].x), expected.reshape(4, 12))
    got = array(layers.GroupSort(n, dtype=dtype)(ops.cast(x, dtype)))
    np.testing.assert_array_equal(got, group_sort(x, n))


def test_activation_errors():
    with pytest.raises(ValueError, match="`n` must divide the number of channels.*n=4 for 6"):
        layers.GroupSort(4)(np.ones((2, 6)))
    with pytest.raises(ValueError, match="GroupSort2 'g' needs an even number.* 3 channels"):
        layers.GroupSort2(name="g")(np.ones((2, 3)))
    with pytest.raises(ValueError, match="'sort' needs a known number of channels"):
        layers.FullSort(name="sort")(keras.Input((None,)))
    with pytest.raises(ValueError, match="`n` must be an integer >= 1.*n=0"):
        layers.GroupSort(0)
    with pytest.raises(ValueError, match="channels_last"):
        layers.GroupSort(2, data_format="channels_first")
    with pytest.raises(ValueError, match="`data_format`.*'nchw'"):
        layers.MaxMin(data_format="nchw")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("rule", RULES)
def test_low_precision_layers_constrain_in_float32(rule, dtype, rng):
    layer = layers.SpectralDense(32, parametrization=rule, dtype=dtype)
    layer.build((None, 64))
    for _ in range(2):
        kernel = layer.kernel
        assert keras.backend.standardize_dtype(kernel.dtype) == dtype
        assert singular_values(ops.cast(kernel, "float32")).max() <= 1 + 4e-3
        layer.condense()


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the others have no strides")
@pytest.mark.parametrize("widths", [(12, 5), (5, 12), (7, 7)])
@pytest.mark.parametrize("rule", RULES)
def test_free_kernels_lie_by_rows(widths, rule):
    layer = layers.SpectralDense(widths[1], parametrization=rule)
    layer.build((None, widths[0]))
    assert layer._kernel.value.is_contiguous()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the others have a global switch")
@pytest.mark.parametrize("rule", ["polar", "bjorck", "stiefel", "spectral"])
def test_kernels_are_constrained_in_full_precision_where_products_are_not(rule):
    import jax

    def precisions(function, *args):
        text = str(jax.make_jaxpr(function)(*args))
        products = text.split("dot_general[")[1:]
        return ["HIGHEST" in p.partition("preferred_element_type")[0] for p in products]

    layer = layers.SpectralDense(8, parametrization=rule)
    layer.build((None, 8))
    kernel = layer._kernel.value

    def constrained(kernel):
        with keras.StatelessScope(state_mapping=[(layer._kernel, kernel)]):
            return layer.kernel

    assert all(precisions(constrained, kernel))
    if rule == "stiefel":
        assert all(precisions(layer._kernel.constraint, kernel))
    # the layer's own product, last, has the precision of the rest of the network
    assert not precisions(layer, jax.numpy.ones((2, 8)))[-1]


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_constrains_in_float32(name, rng):
    layer = layers.SpectralDense(16, dtype=name, kernel_initializer="he_normal")
    y = layer(rng.standard_normal((4, 16)).astype("float32"))
    assert keras.backend.standardize_dtype(y.dtype) == name.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(layer._kernel.dtype) == "float32"
    assert singular_values(ops.cast(layer.kernel, "float32")).max() <= 1 + 4e-3
    # cast last: the constrained kernel of a float32 layer, rounded once
    wide = layers.SpectralDense(16, dtype="float32")
    wide.build((None, 16))
    wide._kernel.assign(array(layer._kernel))
    rounded = ops.cast(wide.kernel, layer.compute_dtype)
    np.testing.assert_array_equal(
        array(ops.cast(layer.kernel, "float32")), array(ops.cast(rounded, "float32"))
    )

"""Residual blocks: their functions, their constants, and what is inside them."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops
from reference import POLICIES, array

import lipkit
from lipkit import NotCertifiable, layers
from lipkit._backend import value_and_input_gradient


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def halves(x):
    return np.split(x, 2, axis=-1)


# name: (class, arguments, float64 twin of (x, f, alpha), constant for |f| <= L)
BLOCKS = {
    "lip": (
        layers.LipResidual,
        {"init_val": 0.7},
        lambda x, f, a: sigmoid(a) * x + (1 - sigmoid(a)) * f(x),
        lambda norm, a: sigmoid(a) + (1 - sigmoid(a)) * norm,
    ),
    "prescaled": (
        layers.PrescaledAdditiveResidual,
        {"init_val": -1.5},
        lambda x, f, a: (x + f(a * x)) / (1 + abs(a)),
        lambda norm, a: (1 + abs(a) * norm) / (1 + abs(a)),
    ),
    "scaled": (
        layers.ScaledResidual,
        {"alpha": 0.3},
        lambda x, f, a: a * x + (1 - a) * f(x),
        lambda norm, a: a + (1 - a) * norm,
    ),
    "l2": (
        layers.L2NormResidual,
        {},
        lambda x, f, a: np.sqrt((x**2 + f(x) ** 2) / 2),
        lambda norm, a: np.sqrt((1 + norm**2) / 2),
    ),
    "concat": (
        layers.ConcatResidual,
        {},
        lambda x, f, a: np.concatenate([halves(x)[0], f(halves(x)[1])], axis=-1),
        lambda norm, a: max(1, norm),
    ),
}
ALPHA = {"lip": 0.7, "prescaled": -1.5, "scaled": 0.3, "l2": None, "concat": None}


def inner_units(name, units):
    return units // 2 if name == "concat" else units


def block(name, inner, **arguments):
    cls, own, *_ = BLOCKS[name]
    return cls(inner, **own, **arguments)


def spectral(name, units=6, **arguments):
    """A block of a 1-Lipschitz inner function with an activation."""
    units = inner_units(name, units)
    dense = layers.SpectralDense(units, bias_initializer="normal")
    return block(name, [dense, kl.Activation("tanh")], **arguments)


def model_of(layer, shape=(6,), **arguments):
    return keras.Sequential([keras.Input(shape, **arguments), layer])


def data(rng, n=8, units=6):
    return rng.standard_normal((n, units)).astype("float32")


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("k", [0.1, 1, 10])
def test_function_and_constant(name, k, rng):
    layer = spectral(name, k_coef_lip=k)
    model = model_of(layer)
    dense = layer.inner.layers[0]
    kernel, bias = array(dense.kernel), array(dense.bias)
    x = data(rng)
    expected = k * BLOCKS[name][2](x, lambda z: np.tanh(z @ kernel + bias), ALPHA[name])
    np.testing.assert_allclose(array(model(x)), expected, rtol=1e-5, atol=1e-5 * k)
    bound = lipkit.lipschitz_bound(model)
    assert 0.99 * k <= bound <= k * (1 + 1e-5)


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("norm", [0.5, 1.0, 4.0])
def test_constant_is_the_certifiers_business(name, norm, rng):
    """An inner function of any norm, with the worst input direction where it is linear."""
    units = inner_units(name, 6)
    layer = block(name, kl.Dense(units, use_bias=False), k_coef_lip=2)
    model = model_of(layer)
    matrix = norm * np.linalg.qr(rng.standard_normal((units, units)))[0]
    matrix = matrix if name == "l2" else norm * np.sign(ALPHA[name] or 1) * np.eye(units)
    layer.inner.layers[0].kernel.assign(matrix)
    matrix = array(layer.inner.layers[0].kernel).astype("float64")  # as it was rounded
    bound = lipkit.lipschitz_bound(model)
    assert bound == pytest.approx(2 * BLOCKS[name][3](norm, ALPHA[name]), rel=1e-6)
    basis = np.eye(6, dtype="float32")
    if name == "l2":
        x = rng.standard_normal((5000, 6))
        f = x @ matrix
        # the derivative of 2 r |(x, f)|, with r as the layer holds it
        r = float(np.float32(np.sqrt(0.5)))
        slopes = x[..., None] * np.eye(6) + f[..., None] * matrix.T
        slopes = 2 * r * slopes / np.sqrt(x**2 + f**2)[..., None]
        reached = np.linalg.norm(slopes, 2, axis=(1, 2)).max()
        assert 0.9 * bound <= reached <= bound
    else:
        reached = np.linalg.norm(array(model(basis)), 2)
        assert reached == pytest.approx(bound, rel=1e-6)


@pytest.mark.parametrize("name", BLOCKS)
def test_fit_export_and_files(name, rng, tmp_path):
    model = lipkit.Sequential([keras.Input((6,)), layers.SpectralDense(6), spectral(name)])
    x = data(rng)
    model.compile("sgd", "mse")
    before = [array(w) for w in model.trainable_variables]
    model.fit(x, 2 * x, epochs=2, batch_size=4, verbose=0)
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert np.abs(array(new) - old).max() > 0
    assert lipkit.lipschitz_bound(model) <= 1 + 1e-5
    expected = array(model(x))
    plain = model.vanilla_export()
    np.testing.assert_allclose(array(plain(x)), expected, atol=1e-6)
    assert not any("lipkit" in type(layer).__module__ for layer in plain._flatten_layers())
    assert lipkit.lipschitz_bound(plain) == pytest.approx(lipkit.lipschitz_bound(model), rel=1e-6)
    for candidate in (plain, model):
        candidate.save(tmp_path / "m.keras")
        loaded = keras.models.load_model(tmp_path / "m.keras")
        np.testing.assert_array_equal(array(loaded(x)), array(candidate(x)))
    model.condense()
    np.testing.assert_allclose(array(model(x)), expected, atol=1e-5)


def test_condense_reaches_inner_layers():
    inner = layers.SpectralDense(6, kernel_initializer="he_normal")
    lipkit.Sequential([keras.Input((6,)), layers.LipResidual(inner)]).condense()
    assert np.linalg.norm(array(inner._kernel), 2) <= 1 + 1e-5


def test_export_can_be_certified_in_its_own_arithmetic(rng):
    model = model_of(layers.ConcatResidual(spectral("lip", 3)))
    with pytest.raises(NotCertifiable, match=r"vanilla_export\(\)"):
        lipkit.certify(model, data(rng), arithmetic="float32")
    certificates = lipkit.certify(lipkit.vanillaModel(model), data(rng), arithmetic="float32")
    assert (certificates.radius > 0).any()


def test_blocks_nest(rng):
    inner = layers.ConcatResidual([layers.LipResidual(layers.SpectralDense(2)), layers.MaxMin()])
    with pytest.raises(ValueError, match="'outer' needs an `inner` whose outputs have the shape"):
        layers.L2NormResidual(layers.MaxMin(), name="outer")(data(rng))
    with pytest.raises(ValueError, match=r"\(None, 4\) for inputs of shape \(None, 2\)"):
        inner(data(rng, units=4))
    nested = layers.ConcatResidual(
        layers.ConcatResidual(
            layers.L2NormResidual(layers.SpectralDense(2, activation=layers.GroupSort2()))
        )
    )
    model = model_of(nested, (8,))
    assert lipkit.lipschitz_bound(model) <= 1 + 1e-5
    x = data(rng, units=8)
    np.testing.assert_allclose(array(lipkit.vanillaModel(model)(x)), array(model(x)), atol=1e-6)


def test_same_names_in_two_blocks(rng):
    shared = keras.Sequential([layers.SpectralDense(6, name="dense")], name="shared")
    x = keras.Input((6,))
    y = layers.LipResidual(layers.SpectralDense(6, name="dense"), name="a")(x)
    again = layers.LipResidual(shared, name="b")
    model = keras.Model(x, layers.ScaledResidual(shared, name="c")(again(again(y))))
    z = data(rng)
    np.testing.assert_allclose(array(lipkit.vanillaModel(model)(z)), array(model(z)), atol=1e-6)
    assert lipkit.lipschitz_bound(model) <= 1 + 1e-5


def test_training_reaches_the_inner_layers(rng):
    layer = layers.ScaledResidual([kl.Dropout(0.5), layers.BatchCentering()], alpha=0)
    x = data(rng, 64)
    np.testing.assert_array_equal(array(layer(x)), x)
    trained = array(layer(x, training=True))
    assert np.isclose(trained - trained.min(axis=0), 0).sum() >= 6 and (trained != x).all()
    assert np.abs(array(layer.inner.layers[1].moving_mean)).min() > 0


def values(x):
    """NumPy has no bfloat16."""
    return array(ops.cast(x, "float32") if "16" in str(x.dtype) else x)


def gradient(layer, x):
    run = value_and_input_gradient(lambda z: ops.sum(layer(z), axis=-1), layer.variables)
    return run(x)


def test_l2_norm_at_zero_has_a_finite_gradient():
    layer = layers.L2NormResidual(layers.SpectralDense(6))
    layer(np.zeros((1, 6), "float32"))
    x = np.zeros((2, 6), "float32")
    x[1, 0] = 1e-20
    values, slopes = gradient(layer, x)
    assert np.isfinite(slopes).all() and (slopes[0] == 0).all()
    assert values[0] == 0 and np.abs(slopes[1]).max() > 0.1


@pytest.mark.parametrize("size", [1e-25, 1e-20, 1.0, 1e20, 1e30])
def test_l2_norm_of_tiny_and_huge_values(size, rng):
    layer = layers.L2NormResidual(kl.Identity())
    x = (size * data(rng)).astype("float32")
    values, slopes = gradient(layer, x)
    np.testing.assert_allclose(values, np.abs(x.astype("float64")).sum(axis=-1), rtol=1e-5)
    np.testing.assert_allclose(slopes, np.sign(x), rtol=1e-5)


def test_concat_on_another_axis(rng):
    layer = layers.ConcatResidual(layers.GroupSort2(), axis=1)
    x = rng.standard_normal((3, 4, 5, 6)).astype("float32")
    model = model_of(layer, x.shape[1:])
    expected = np.concatenate(
        [x[:, :2], np.sort(x[:, 2:].reshape(3, 2, 5, 3, 2)).reshape(3, 2, 5, 6)], 1
    )
    for candidate in (model, lipkit.vanillaModel(model)):
        np.testing.assert_array_equal(array(candidate(x)), expected)
        assert lipkit.lipschitz_bound(candidate) == 1


def test_images_of_unknown_size(rng):
    conv = kl.Conv2D(2, 3, padding="same")
    model = model_of(layers.LipResidual(conv), (None, None, 2))
    for n in (4, 6):
        x = rng.standard_normal((2, n, n, 2)).astype("float32")
        np.testing.assert_allclose(array(model(x)), (x + array(conv(x))) / 2, atol=1e-5)
    plain = lipkit.vanillaModel(model)
    assert lipkit.lipschitz_bound(plain, (4, 4, 2)) == lipkit.lipschitz_bound(model, (4, 4, 2))
    shrinks = model_of(layers.LipResidual(kl.Conv2D(2, 3)), (None, None, 2))
    with pytest.raises(Exception, match="(?i)shape|size|reshape"):
        shrinks.predict(np.ones((2, 3, 3, 2), "float32"), verbose=0)  # one that would broadcast


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["lip", "l2", "concat"])
def test_dtypes(name, policy, rng):
    dtype = policy.removeprefix("mixed_")
    inner = layers.SpectralDense(inner_units(name, 6), dtype=policy)
    layer = block(name, inner, dtype=policy)
    model = model_of(layer, dtype=dtype)
    x = data(rng)
    kernel = values(inner.kernel)
    y = model(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    expected = BLOCKS[name][2](x.astype("float64"), lambda z: z @ kernel, ALPHA[name])
    tolerance = 1e-6 if dtype == "float64" else 0.05
    np.testing.assert_allclose(values(y), expected, atol=tolerance)
    exported = lipkit.vanillaModel(model)(x)
    if (name, policy) != ("l2", "float64"):  # Keras computes `hypot` in float32
        assert keras.backend.standardize_dtype(exported.dtype) == dtype
    np.testing.assert_allclose(values(exported), expected, atol=tolerance)


def test_share_of_a_sequential(rng):
    model = lipkit.Sequential(
        [keras.Input((6,)), spectral("lip"), spectral("concat")], k_coef_lip=4
    )
    assert [layer.k_coef_lip for layer in model.layers] == [2, 2]
    assert lipkit.lipschitz_bound(model) == pytest.approx(4, rel=1e-5)


class Opaque(keras.layers.Layer):
    def call(self, x):
        return x * x


def test_unknown_inner_layers_are_not_certified():
    with pytest.raises(NotCertifiable, match="'square'.*no Lipschitz rule"):
        lipkit.lipschitz_bound(model_of(layers.LipResidual(Opaque(name="square"))))


class TwiceResidual(layers.LipResidual):
    def call(self, inputs):
        return 2 * super().call(inputs)


def test_subclasses_are_not_certified():
    with pytest.raises(NotCertifiable, match="TwiceResidual"):
        lipkit.lipschitz_bound(model_of(TwiceResidual(kl.Identity())))
    with pytest.raises(NotCertifiable, match="is the activation inside another layer"):
        activation = layers.LipResidual(kl.Identity())
        lipkit.lipschitz_bound(model_of(kl.Dense(6, activation=activation)))


def slices(*keys):
    x = keras.Input((6,))
    y = ops.concatenate([2 * x[key] if i else x[key] for i, key in enumerate(keys)], axis=1)
    return keras.Model(x, y)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (((slice(None), slice(0, 3)), (slice(None), slice(3, 6))), 2),
        (((slice(None), slice(3, None)), (slice(None), slice(-6, -3))), 2),
        (((slice(None), slice(0, 4)), (slice(None), slice(3, 6))), 5**0.5),
        (((slice(None), slice(0, 3)), (slice(None),)), 5**0.5),
        (((slice(None), slice(0, 3)), (slice(None), slice(0, 3))), 5**0.5),
    ],
)
def test_only_disjoint_slices_change_independently(keys, expected, rng):
    model = slices(*keys)
    assert lipkit.lipschitz_bound(model) == pytest.approx(expected)
    matrix = array(model(np.eye(6, dtype="float32")))
    assert np.linalg.norm(matrix, 2) <= expected * (1 + 1e-6)


def test_branches_of_slices_and_of_the_whole():
    x = keras.Input((6,))
    first, second = x[:, :3], x[:, 3:]
    inside = ops.concatenate([first[:, :1], 3 * first[:, 1:]], axis=1)
    models = {
        3: ops.concatenate([inside, second], axis=1),
        10**0.5: ops.concatenate([inside, first], axis=1),
        4: ops.concatenate([inside, first + 2 * first], axis=1) * 4 / 18**0.5,
        2: ops.hypot(first, 2 * second),
        6**-0.5: ops.mean(x, axis=1, keepdims=True),
    }
    for expected, y in models.items():
        assert lipkit.lipschitz_bound(keras.Model(x, y)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: x[(slice(0, 2),)], "keep the batch axis"),
        (lambda x: ops.hypot(x, x[:, :1]), "two tensors of one shape"),
        (lambda x: ops.hypot(x, np.ones(6, "float32")), "two tensors of one shape"),
        (lambda x: ops.mean(x, axis=0, keepdims=True) + x, "other than the batch's"),
    ],
)
def test_other_slices_are_refused(make, message):
    x = keras.Input((6,))
    with pytest.raises(NotCertifiable, match=message):
        lipkit.lipschitz_bound(keras.Model(x, make(x)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.LipResidual("relu"), "`inner` must be a Keras layer.*'relu'"),
        (lambda: layers.LipResidual([]), r"`inner` must be.*\[\]"),
        (lambda: layers.LipResidual(kl.Dense(3))(np.ones((2, 6))), "shape of its inputs.*3.*6"),
        (lambda: layers.LipResidual(kl.Dense(1))(np.ones((2, 6))), "shape of its inputs.*1.*6"),
        (lambda: layers.ConcatResidual(kl.Identity())(np.ones((2, 5))), r"even.*\(None, 5\)"),
        (lambda: layers.ConcatResidual(kl.Identity(), axis=0)(np.ones((2, 6))), "axis=0"),
        (lambda: layers.ScaledResidual(kl.Identity(), alpha=1.5), r"`alpha`.*\[0, 1\].*1.5"),
        (lambda: layers.LipResidual(kl.Identity(), init_val=np.nan), "`init_val`.*nan"),
        (lambda: layers.LipResidual(kl.Identity(), k_coef_lip=-1), "`k_coef_lip`.*-1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()

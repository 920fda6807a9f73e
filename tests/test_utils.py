import keras
import numpy as np
import pytest
from keras import ops
from reference import array

import lipkit
from lipkit import layers, utils
from lipkit.compute_layer_sv import compute_layer_sv, compute_model_sv

kl = keras.layers
FIRST = pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="TensorFlow needs a GPU for channels_first"
)


def explicit(layer, shape):
    """The matrix of a layer without bias and activation, from the layer itself on unit inputs."""
    size = int(np.prod(shape))
    units, zero = np.eye(size, dtype="float32").reshape(-1, *shape), np.zeros((1, *shape))
    return (array(layer(units)) - array(layer(zero))).reshape(size, -1)


MATRICES = [
    (lambda **k: kl.Dense(4, **k), (6,)),
    (lambda **k: kl.Dense(4, **k), (3, 6)),
    (lambda **k: kl.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d", **k), (3, 2)),
    (lambda **k: layers.SpectralDense(4, k_coef_lip=3, kernel_initializer="he_normal", **k), (6,)),
    (lambda **k: kl.Conv1D(3, 3, padding="causal", **k), (5, 2)),
    (lambda **k: kl.Conv2D(3, 3, padding="same", **k), (4, 5, 2)),
    (lambda **k: kl.Conv2D(2, 2, strides=2, **k), (4, 5, 2)),
    (lambda **k: kl.DepthwiseConv2D(3, padding="same", **k), (4, 3, 2)),
    (lambda **k: kl.Conv2DTranspose(2, 3, strides=2, padding="same", **k), (3, 3, 2)),
]


@pytest.mark.parametrize(("make", "shape"), MATRICES)
def test_bias_and_activation_are_no_part_of_the_matrix(make, shape):
    """A bias of ones made it 50 instead of 1.6."""
    linear = make(bias_initializer="ones")
    linear.build((None, *shape))
    dressed = make(bias_initializer="ones", activation="relu")
    dressed.build((None, *shape))
    before = array(linear(np.ones((1, *shape))))
    weights = [np.array(w) for w in linear.get_weights()]
    dressed.set_weights(weights)
    sigmas = np.linalg.svd(explicit(linear, shape), compute_uv=False)
    np.testing.assert_allclose(compute_layer_sv(linear), sigmas[[-1, 0]], atol=1e-5)
    assert compute_layer_sv(dressed) == compute_layer_sv(linear)
    # asking condensed the layer
    for got, expected in zip(linear.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(array(linear(np.ones((1, *shape)))), before)


@FIRST
@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (kl.Conv2D, {"filters": 3, "kernel_size": 3, "padding": "same"}),
        (kl.AveragePooling2D, {"pool_size": 2}),
    ],
)
def test_channels_first(cls, arguments):
    layer = cls(data_format="channels_first", **arguments)
    layer.build((None, 2, 4, 5))
    sigmas = np.linalg.svd(explicit(layer, (2, 4, 5)), compute_uv=False)
    values = compute_layer_sv(layer, input_shape=(2, 4, 5))
    np.testing.assert_allclose(values, sigmas[[-1, 0]], atol=1e-5)


class MyDense(kl.Dense):
    pass


class Squared(kl.Dense):
    def call(self, inputs):
        return super().call(inputs) ** 2


def called(layer, *shapes):
    inputs = [keras.Input(shape) for shape in shapes]
    layer(inputs if len(inputs) > 1 else inputs[0])
    return layer


@pytest.mark.parametrize(
    ("layer", "shapes", "expected"),
    [
        (kl.ReLU(), [(4,)], (0, 1)),
        (kl.ReLU(negative_slope=0.5), [(4,)], (0.5, 1)),
        (kl.ReLU(max_value=6, negative_slope=0.5), [(4,)], (0, 1)),
        (kl.LeakyReLU(3.0), [(4,)], (1, 3)),
        (kl.PReLU("ones"), [(4,)], (1, 1)),
        (kl.Activation("sigmoid"), [(4,)], (0, 0.25)),
        (kl.Activation("linear"), [(4,)], (1, 1)),
        (kl.Softmax(), [(4,)], (0, 0.5)),
        (layers.GroupSort2(), [(4,)], (1, 1)),
        (layers.FullSort(), [(4,)], (1, 1)),
        (layers.MaxMin(k_coef_lip=3), [(4,)], (3, 3)),
        (kl.Dropout(0.5), [(4,)], (1, 1)),
        (kl.Flatten(), [(4, 2)], (1, 1)),
        (kl.Add(), [(4,), (4,)], (2**0.5, 2**0.5)),
        (kl.Add(), [(2, 4)] * 3, (3**0.5, 3**0.5)),
        (kl.Average(), [(4,), (4,)], (0.5**0.5, 0.5**0.5)),
        (kl.Concatenate(), [(4,), (3,)], (1, 1)),
        (kl.MaxPooling1D(2), [(4, 2)], (1, 1)),
        (kl.AveragePooling1D(2), [(4, 2)], (0.5**0.5, 0.5**0.5)),
        (kl.Rescaling(1 / 4, offset=3), [(4,)], (0.25, 0.25)),
        (kl.LayerNormalization(), [(4,)], (None, None)),
        (Squared(3), [(4,)], (None, None)),
        (kl.Activation(ops.square), [(4,)], (None, None)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_slopes_and_merges(layer, shapes, expected):
    """Activations gave (None, None), Add of n inputs n, or no answer at all."""
    got = compute_layer_sv(called(layer, *shapes))
    assert got == expected if None in expected else np.allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [True, False])
def test_batch_normalization_without_scale(scale, rng):
    layer = called(kl.BatchNormalization(scale=scale), (3,))
    layer.moving_variance.assign([1.0, 4.0, 16.0])
    np.testing.assert_allclose(compute_layer_sv(layer), (0.25, 1), rtol=1e-3)


def test_subclasses_and_supplementary_types():
    layer = called(MyDense(3), (4,))
    sigmas = np.linalg.svd(array(layer.kernel), compute_uv=False)
    np.testing.assert_allclose(compute_layer_sv(layer), sigmas[[-1, 0]], rtol=1e-6)
    given = {kl.Dense: lambda layer, shape: (shape[0], 9.0 + layer.units)}
    assert compute_layer_sv(layer, given) == (4, 12)
    assert compute_layer_sv(called(Squared(5), (4,)), given) == (4, 14)


def test_shared_layers_cover_all_their_calls():
    conv = kl.Conv1D(1, 3, padding="same", kernel_initializer="ones", data_format="channels_last")
    called(called(conv, (2, 1)), (9, 1))
    alone = [compute_layer_sv(conv, input_shape=(n, 1)) for n in (2, 9)]
    expected = min(a for a, _ in alone), max(b for _, b in alone)
    assert compute_layer_sv(conv) == expected and alone[0] != alone[1]


def test_model_gives_a_dict_with_nested_names():
    inner = keras.Sequential([keras.Input((3,)), layers.SpectralDense(3, name="a")], name="inner")
    model = keras.Sequential([keras.Input((3,)), inner, kl.ReLU(name="b")])
    table = compute_model_sv(model)
    assert list(table) == ["inner/a", "b"] and table["b"] == (0, 1)
    np.testing.assert_allclose(table["inner/a"], 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (kl.Conv1D(2, 3, data_format="channels_last"), (None, 2), "leaves it open.*`input_shape`"),
        (kl.Conv1D(2, 3, data_format="channels_last"), (9999, 2), "19998 x 19994 entries"),
    ],
)
def test_matrices_that_cannot_be_had(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        compute_layer_sv(called(layer, shape))
    with pytest.raises(ValueError, match="is not built"):
        compute_layer_sv(kl.Dense(3))


def moody():
    """A model that would behave otherwise in training mode."""
    first = (keras.Input((2, 3)), kl.Flatten(), kl.Dropout(0.5), kl.BatchNormalization())
    return keras.Sequential([*first, layers.SpectralDense(4), layers.GroupSort2(), kl.Dense(3)])


@pytest.mark.parametrize("kind", ["jacobian", "noise", "attack", "all", ["noise", "attack"]])
def test_estimates_are_below_the_bound_and_change_nothing(kind, rng, capsys):
    """It printed, and left models of one backend in another mode."""
    model, x = moody(), rng.standard_normal((5, 2, 3))
    before = [np.array(w) for w in model.get_weights()]
    outputs = array(model(x))
    got = utils.evaluate_lip_const(model, x, kind)
    assert isinstance(got, float)
    bound = lipkit.lipschitz_bound(model)
    assert (0.2 if kind == "noise" else 0.7) * bound < got <= bound * (1 + 1e-5)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    np.testing.assert_array_equal(array(model(x)), outputs)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_of_the_model_stays(training, rng):
    model, x = moody(), rng.standard_normal((3, 2, 3))
    if not hasattr(model, "train"):
        pytest.skip("only PyTorch modules have a mode")
    model.train(training)
    utils.evaluate_lip_const(model, x, "all", steps=2)
    assert model.training == training


def test_estimates_of_a_linear_map_are_its_norms(rng):
    model = keras.Sequential([keras.Input((2, 3)), kl.Flatten(), kl.Dense(4)])
    w, x = array(model.layers[-1].kernel), rng.standard_normal((3, 2, 3))
    norm, column = np.linalg.norm(w, 2), np.linalg.norm(w, axis=0).max()
    evaluate = utils.evaluate_lip_const
    np.testing.assert_allclose(evaluate(model, x, eps=1e-4), norm, rtol=1e-5)
    np.testing.assert_allclose(evaluate(model, x, disjoint_neurons=True), column, rtol=1e-5)
    np.testing.assert_allclose(evaluate(model, x, "attack"), norm, rtol=1e-2)
    assert 0.5 * norm < evaluate(model, x, "noise", samples=30, epsilon=5.0) <= norm * (1 + 1e-5)
    noise = evaluate(model, x, "noise", disjoint_neurons=True)
    assert 0.3 * column < noise <= column * (1 + 1e-5)
    batches = iter([(x, None)])
    np.testing.assert_allclose(utils.evaluate_lip_const_gen(model, batches), norm, rtol=1e-5)


def test_the_jacobian_is_that_at_x():
    model = keras.Sequential([keras.Input((1,)), kl.Activation(ops.square)])
    got = utils.evaluate_lip_const(model, [[3.0], [-5.0], [1.0]])
    np.testing.assert_allclose(got, 10, rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (np.ones((1, 2)), {"kind": "guess"}, "`kind` must be.*'guess'"),
        (np.ones((1, 2)), {"kind": []}, r"`kind` must be.*\[\]"),
        (np.ones((1, 2)), {"kind": 1e-4}, "`kind` must be.*0.0001"),
        (np.ones((0, 2)), {}, "`x` must hold"),
        (np.full((1, 2), np.nan), {}, "`x` must hold"),
        (np.ones((1, 2)), {"kind": "all", "disjoint_neurons": True}, "`disjoint_neurons`"),
        (np.ones((1, 2)), {"kind": "noise", "samples": 0}, "`samples`.*0"),
        (np.ones((1, 2)), {"kind": "noise", "epsilon": -1}, "`epsilon`.*-1"),
    ],
)
def test_bad_arguments_are_named(x, arguments, message):
    model = keras.Sequential([keras.Input((2,)), kl.Dense(1)])
    with pytest.raises(ValueError, match=message):
        utils.evaluate_lip_const(model, x, **arguments)

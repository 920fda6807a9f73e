"""Calls, operands and methods that are not those of inference are read exactly, or refused."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import lipkit
from lipkit import NotCertifiable
from lipkit import layers as ll
from lipkit.certifier import evaluate
from lipkit.certifier.reader import read
from lipkit.certifier.reader.known import doubt
from lipkit.compute_layer_sv import compute_layer_sv


def nested(layer, **arguments):
    """A model that calls another one, of one layer, with these arguments."""
    x = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), layer], name="inner")
    return keras.Model(x, kl.Dense(2)(inner(x, **arguments)))


class Scaled(kl.Layer):
    """A layer whose call takes more than its inputs."""

    def call(self, inputs, scale=1.0):
        return inputs * scale


@lipkit.certifier.register_rule(Scaled)
def _scaled(layer, shape):
    return []


class Half(Scaled):
    """The last argument is the one that no caller thinks of."""

    def call(self, inputs, scale=1.0, training=None):
        return inputs * (scale if training else 1.0)


lipkit.certifier.register_rule(Half)(_scaled)


def called(layer, shape=(4,), **arguments):
    x = keras.Input(shape)
    return keras.Model(x, layer(x, **arguments))


MASK = np.array([[True, False, True, True]])
CALLS = {
    "normalization": (lambda: nested(kl.BatchNormalization(), training=True), "training=True"),
    "dropout": (lambda: nested(kl.Dropout(0.5), training=True), "training=True"),
    "functional": (
        lambda: called(called(kl.BatchNormalization()), training=True),
        "Functional.*training=True",
    ),
    "twice nested": (
        lambda: called(nested(kl.BatchNormalization(), training=True)),
        "'inner'.*training=True",
    ),
    "layer": (lambda: called(kl.BatchNormalization(), training=True), "training=True"),
    "exported layer": (lambda: called(ll.BatchCentering(), training=True), "training=True"),
    "mask": (lambda: called(kl.Softmax(), mask=MASK), "Softmax.*a mask"),
    "number": (lambda: called(Scaled(), scale=2.0), r"Scaled.*scale=2\.0"),
    "both": (lambda: called(Half(), scale=0.5, training=True), r"scale=0\.5, training=True"),
    "spectral": (
        lambda: called(kl.SpectralNormalization(kl.Dense(3)), training=True),
        "SpectralNormalization.*training=True",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_that_differ_from_inference_are_refused(name):
    make, message = CALLS[name]
    with pytest.raises(NotCertifiable, match=message):
        lipkit.lipschitz_bound(make())


def test_inference_may_be_asked_for():
    for training in (None, False):
        assert lipkit.lipschitz_bound(nested(kl.Dropout(0.5), training=training)) > 0


def test_exports_keep_the_arguments_of_calls_or_refuse_them():
    model = nested(kl.BatchNormalization(), training=True)
    x = np.random.default_rng(0).standard_normal((9, 4)).astype("float32")
    plain, own = (ops.convert_to_numpy(m(x)) for m in (lipkit.vanillaModel(model), model))
    np.testing.assert_allclose(plain, own, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"'centred'.*training=True"):
        lipkit.vanillaModel(called(ll.BatchCentering(name="centred"), training=True))


def test_twins_of_calls_that_differ_from_inference_are_refused():
    for model in (
        nested(kl.BatchNormalization(), training=True),
        called(kl.BatchNormalization(), training=True),
    ):
        with pytest.raises(ValueError, match="called with training=True"):
            lipkit.lipschitzify(model)


CONSTANT = np.array([[0.5, -1.0, 2.0, 0.1]], "float32")
WIDE = np.array([[[0.5], [-1.0], [2.0]]], "float32")  # for samples (1, 4): they become (3, 4)
MERGES = {
    # name: (sample's shape, function of its tensor, its constant)
    "add": ((4,), lambda x: kl.Add()([x, CONSTANT]), 1),
    "subtract": ((4,), lambda x: kl.Subtract()([x, CONSTANT]), 1),
    "average": ((4,), lambda x: kl.Average()([x, CONSTANT]), 0.5),
    "average of three": ((4,), lambda x: kl.Average()([x, CONSTANT, x]), 2 / 3),
    "maximum": ((4,), lambda x: kl.Maximum()([x, CONSTANT]), 1),
    "minimum": ((4,), lambda x: kl.Minimum()([kl.Rescaling(3.0)(x), CONSTANT]), 3),
    "multiply": ((4,), lambda x: kl.Multiply()([x, CONSTANT]), 2),
    "products": ((4,), lambda x: ops.multiply(CONSTANT, kl.Multiply()([x, CONSTANT])), 4),
    "add of three": ((4,), lambda x: kl.Add()([x, CONSTANT, 2 * x]), 3),
    "wide add": ((1, 4), lambda x: kl.Add()([x, WIDE]), 3**0.5),
    "wide maximum": ((1, 4), lambda x: kl.Maximum()([x, WIDE]), 3**0.5),
    "operation": ((4,), lambda x: ops.add(CONSTANT[0], x), 1),
    "operations": ((4,), lambda x: ops.maximum(CONSTANT, ops.subtract(CONSTANT[0], x)), 1),
    "float64": ((4,), lambda x: ops.minimum(CONSTANT.astype("float64") * 1.1, x), 1),
    "wide operation": ((1, 4), lambda x: ops.subtract(x, WIDE[0]), 3**0.5),
    "one unit": ((1,), lambda x: ops.maximum(x, CONSTANT), 2),
    "repeated tensor": ((3, 4), lambda x: kl.Add()([x, 0 * x[:, :1]]), 1),
    "repeated operation": ((3, 4), lambda x: ops.maximum(x[:, :1], x[:, 1:]), 2**0.5),
    "other rank": ((3, 4), lambda x: kl.Subtract()([kl.Flatten()(x[:, :1]), x]), 1 + 3**0.5),
    "one operand": ((4,), lambda x: kl.Concatenate()([x]), 1),
    "variable": ((4,), lambda x: ops.multiply(x, keras.Variable(CONSTANT)), 2),
}


@pytest.mark.parametrize("name", MERGES)
def test_constants_and_repeated_operands_are_read(name):
    shape, function, constant = MERGES[name]
    x = keras.Input(shape)
    model = keras.Model(x, function(x))
    graph = read(model).graph
    given = 3 * np.random.default_rng(0).standard_normal((1, *shape)).astype("float32")
    values = evaluate.run(graph, given.astype("float64"))[graph.outputs[0]]
    np.testing.assert_allclose(values, ops.convert_to_numpy(model(given)), rtol=1e-5, atol=1e-6)
    assert lipkit.lipschitz_bound(model) == pytest.approx(constant, rel=1e-6)


OTHERWISE = {
    "concatenation": (lambda x: kl.Concatenate()([x, CONSTANT]), "Concatenate.*constant"),
    "of an operation": (lambda x: ops.concatenate([x, CONSTANT]), "Concatenate.*constant"),
    "stack": (lambda x: ops.stack([x, CONSTANT], axis=1), "Stack.*constant"),
    "a rank less": (lambda x: kl.Add()([x, CONSTANT[0]]), "Add.*differs between the samples"),
    "each sample": (lambda x: kl.Add()([x, np.ones((3, 4), "float32")]), "differs between"),
    "product": (lambda x: kl.Multiply()([x, x, CONSTANT]), "Multiply"),
    "non-finite": (lambda x: ops.maximum(x, np.nan), "Maximum.*finite"),
    "another rank": (lambda x: ops.add(x, ops.reshape(x, (-1, 4, 1))), "Add.*one shape"),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_operands_that_cannot_be_read_are_refused(name):
    function, message = OTHERWISE[name]
    x = keras.Input((4,))
    with pytest.raises(NotCertifiable, match=message):
        lipkit.lipschitz_bound(keras.Model(x, function(x)))


class Crooked(kl.Layer):
    """A leaky rectifier whose negative slope is not what its rule says."""

    def call(self, x):
        return ops.where(x > 0, x, 0.1001 * x)


@lipkit.certifier.register_rule(Crooked)
def _crooked(layer, shape):
    return lipkit.certifier.graph.Elementwise("relu", (0.1,))


class Single(kl.Layer):
    """Another function for a batch of one sample."""

    def call(self, x):
        return x * (2 if x.shape[0] == 1 else 1)


lipkit.certifier.register_rule(Single)(_scaled)


def behind(bias, layer):
    model = keras.Sequential([keras.Input((6,)), kl.Dense(5), layer, kl.Dense(3)])
    rng = np.random.default_rng(1)
    kernel = rng.standard_normal((6, 5))
    head = rng.standard_normal((5, 3))
    model.set_weights([kernel, bias + np.arange(5.0), head, np.zeros(3)])
    return model


@pytest.mark.parametrize("bias", [8, 500, 3e5])
def test_a_wrong_slope_behind_a_bias_is_found(bias):
    assert lipkit.lipschitz_bound(behind(bias, kl.LeakyReLU(0.1))) > 1
    with pytest.raises(NotCertifiable, match="does not compute what its layers say"):
        lipkit.lipschitz_bound(behind(bias, Crooked()))


def test_another_function_of_a_single_sample_is_found():
    with pytest.raises(NotCertifiable, match="does not compute what its layers say"):
        lipkit.lipschitz_bound(called(Single()))


def test_what_overflows_at_every_size_is_not_certified():
    model = keras.Sequential([keras.Input((2,)), kl.Dense(2), kl.Dense(2)])
    model.set_weights([np.full((2, 2), 1e38), np.zeros(2)] * 2)
    with pytest.raises(NotCertifiable, match="may overflow float32 at inputs of every size"):
        lipkit.lipschitz_bound(model)


def test_third_parties_without_an_error_are_compared_too():
    class Doubled(kl.Layer):
        def call(self, x):
            return 2.1 * x

    @lipkit.certifier.register_rule(Doubled)
    def _(layer, shape):
        return lipkit.certifier.graph.Custom(lambda x: 2 * x, 2.0)

    with pytest.raises(NotCertifiable, match="does not compute what its layers say"):
        lipkit.lipschitz_bound(called(Doubled()))


def replaced(layer, name="call"):
    method = getattr(layer, name)
    setattr(layer, name, lambda *args, **kwargs: 1.001 * method(*args, **kwargs))
    return layer


def replaced_everywhere():
    yield called(replaced(kl.Dense(3)))
    yield called(replaced(ll.SpectralDense(3)))
    yield called(replaced(ll.BatchCentering()))
    yield called(replaced(keras.Sequential([keras.Input((4,)), kl.Dense(3)])))
    yield replaced(called(kl.Dense(3)))
    yield called(kl.Dense(3, activation=replaced(kl.ReLU())))


def test_methods_that_an_object_replaces_are_refused():
    for model in replaced_everywhere():
        with pytest.raises(NotCertifiable, match="'call' was replaced"):
            lipkit.lipschitz_bound(model)
    layer = replaced(kl.Conv1D(3, 2), "convolution_op")
    with pytest.raises(NotCertifiable, match="'convolution_op' was replaced"):
        lipkit.lipschitz_bound(called(layer, (5, 4)))
    assert "replaced" in doubt(replaced(kl.ReLU()))
    model = called(replaced(kl.Dense(3)))
    assert compute_layer_sv(model.layers[-1]) == (None, None)
    with pytest.raises(ValueError, match="'call' was replaced"):
        lipkit.vanillaModel(model)


def test_singular_values_of_every_layer_of_a_functional_model():
    model = nested(kl.BatchNormalization(), training=True)
    ranges = [compute_layer_sv(layer) for layer in model.layers]
    assert ranges[:2] == [(None, None)] * 2 and None not in ranges[2]

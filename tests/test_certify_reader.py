"""The graph computes what the Keras model computes, and its bound is above the true norm."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import lipkit
from lipkit import NotCertifiable
from lipkit import layers as ll
from lipkit.certifier import convolutions, evaluate
from lipkit.certifier import graph as g
from lipkit.certifier.reader import read
from lipkit.certifier.reader.registry import REASONS, has_rule

VECTOR, SEQUENCE, IMAGE, VOLUME = (6,), (7, 3), (7, 5, 4), (4, 5, 3, 2)

# name: (input shape, layer); linear layers are compared with their explicit matrix
LINEAR = {
    "dense": (VECTOR, lambda: kl.Dense(4)),
    "dense on a sequence": (SEQUENCE, lambda: kl.Dense(5)),
    "dense, no bias": (VECTOR, lambda: kl.Dense(9, use_bias=False)),
    "spectral": (VECTOR, lambda: ll.SpectralDense(5)),
    "frobenius": (VECTOR, lambda: ll.FrobeniusDense(5, disjoint_neurons=False)),
    "scaled": (VECTOR, lambda: ll.SpectralDense(5, k_coef_lip=3.0)),
    "einsum": (SEQUENCE, lambda: kl.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d")),
    "einsum 2": (SEQUENCE, lambda: kl.EinsumDense("abc,cde->abde", (None, 5, 2), bias_axes="de")),
    "einsum 3": (SEQUENCE, lambda: kl.EinsumDense("abc,bcd->ad", (4,), bias_axes="d")),
    "einsum 4": (SEQUENCE, lambda: kl.EinsumDense("...x,xy->...y", 4)),
    "einsum 5": (SEQUENCE, lambda: kl.EinsumDense("abc,db->adc", (4, 3))),
    "conv1d": (SEQUENCE, lambda: kl.Conv1D(4, 3)),
    "conv1d causal": (SEQUENCE, lambda: kl.Conv1D(4, 3, padding="causal", dilation_rate=2)),
    "conv2d valid": (IMAGE, lambda: kl.Conv2D(3, 3)),
    "conv2d same": (IMAGE, lambda: kl.Conv2D(3, (3, 2), padding="same")),
    "conv2d strides": (IMAGE, lambda: kl.Conv2D(3, (3, 2), strides=2, padding="same")),
    "conv2d strides 3": (IMAGE, lambda: kl.Conv2D(3, 2, strides=3)),
    "conv2d dilated": (IMAGE, lambda: kl.Conv2D(3, 2, dilation_rate=(2, 3), padding="same")),
    "conv2d groups": (IMAGE, lambda: kl.Conv2D(6, 3, groups=2, padding="same")),
    "conv1d replicate": (SEQUENCE, lambda: ll.PadConv1D(4, 4, padding="replicate")),
    "conv2d circular": (IMAGE, lambda: ll.PadConv2D(3, 3, padding="circular", strides=2)),
    "conv2d reflect": (IMAGE, lambda: ll.PadConv2D(3, (3, 1), padding="reflect")),
    "conv2d symmetric": (IMAGE, lambda: ll.SpectralConv2D(3, (3, 4), padding="symmetric")),
    "conv3d": (VOLUME, lambda: kl.Conv3D(3, 2, strides=2, padding="same")),
    "depthwise1d": (SEQUENCE, lambda: kl.DepthwiseConv1D(3, depth_multiplier=2)),
    "depthwise2d": (IMAGE, lambda: kl.DepthwiseConv2D(3, padding="same", depth_multiplier=2)),
    "separable1d": (SEQUENCE, lambda: kl.SeparableConv1D(4, 3)),
    "separable2d": (IMAGE, lambda: kl.SeparableConv2D(4, 3, strides=2, padding="same")),
    "transposed1d": (SEQUENCE, lambda: kl.Conv1DTranspose(4, 3)),
    "transposed1d strides": (SEQUENCE, lambda: kl.Conv1DTranspose(4, 3, strides=2, padding="same")),
    "transposed2d": (IMAGE, lambda: kl.Conv2DTranspose(3, (3, 2), strides=2)),
    "transposed2d same": (IMAGE, lambda: kl.Conv2DTranspose(3, 3, strides=2, padding="same")),
    "transposed2d small kernel": (IMAGE, lambda: kl.Conv2DTranspose(3, 2, strides=3)),
    "transposed3d": (VOLUME, lambda: kl.Conv3DTranspose(2, 2, strides=2, padding="same")),
    "average1d": (SEQUENCE, lambda: kl.AveragePooling1D(2)),
    "average2d": (IMAGE, lambda: kl.AveragePooling2D(3, strides=2)),
    "average2d same": (IMAGE, lambda: kl.AveragePooling2D((2, 3), strides=2, padding="same")),
    "average3d": (VOLUME, lambda: kl.AveragePooling3D(2)),
    "global average1d": (SEQUENCE, lambda: kl.GlobalAveragePooling1D()),
    "global average2d": (IMAGE, lambda: kl.GlobalAveragePooling2D(keepdims=True)),
    "global average3d": (VOLUME, lambda: kl.GlobalAveragePooling3D()),
    "zero padding1d": (SEQUENCE, lambda: kl.ZeroPadding1D((1, 2))),
    "zero padding2d": (IMAGE, lambda: kl.ZeroPadding2D(((1, 2), (0, 3)))),
    "zero padding3d": (VOLUME, lambda: kl.ZeroPadding3D(1)),
    "cropping1d": (SEQUENCE, lambda: kl.Cropping1D((1, 2))),
    "cropping2d": (IMAGE, lambda: kl.Cropping2D(((1, 2), (0, 1)))),
    "cropping3d": (VOLUME, lambda: kl.Cropping3D(1)),
    "up sampling1d": (SEQUENCE, lambda: kl.UpSampling1D(3)),
    "up sampling2d": (IMAGE, lambda: kl.UpSampling2D((2, 3))),
    "up sampling3d": (VOLUME, lambda: kl.UpSampling3D(2)),
    "flatten": (IMAGE, lambda: kl.Flatten()),
    "reshape": (IMAGE, lambda: kl.Reshape((4, -1))),
    "permute": (IMAGE, lambda: kl.Permute((3, 1, 2))),
    "repeat": (VECTOR, lambda: kl.RepeatVector(3)),
    "rescaling": (IMAGE, lambda: kl.Rescaling(1 / 255, offset=-0.5)),
    "batch normalization": (IMAGE, lambda: kl.BatchNormalization()),
    "batch normalization, plain": (SEQUENCE, lambda: kl.BatchNormalization(scale=False, axis=1)),
    "normalization": (VECTOR, lambda: kl.Normalization(mean=[1.0] * 6, variance=[0.5, 4] * 3)),
    "denormalization": (
        VECTOR,
        lambda: kl.Normalization(mean=[1.0] * 6, variance=[0.5, 4] * 3, invert=True),
    ),
    "identity": (VECTOR, lambda: kl.Identity()),
    "dropout": (VECTOR, lambda: kl.Dropout(0.5)),
    "leaky, linear": (VECTOR, lambda: kl.LeakyReLU(1.0)),
    "linear activation": (VECTOR, lambda: kl.Activation("linear")),
}

NONLINEAR = {
    **{
        name: (VECTOR, lambda name=name: kl.Activation(name))
        for name in (
            *("relu", "relu6", "hard_tanh", "soft_shrink", "tanh_shrink", "hard_sigmoid"),
            *("hard_silu", "sigmoid", "log_sigmoid", "tanh", "softplus", "softsign", "elu"),
            *("celu", "selu", "gelu", "silu", "mish", "softmax", "leaky_relu"),
        )
    },
    "relu layer": (VECTOR, lambda: kl.ReLU(max_value=1.0, negative_slope=0.3)),
    "leaky": (VECTOR, lambda: kl.LeakyReLU(0.1)),
    "prelu": (IMAGE, lambda: kl.PReLU(shared_axes=[1, 2], alpha_initializer="random_uniform")),
    "elu layer": (VECTOR, lambda: kl.ELU(alpha=2.0)),
    "softmax layer": (SEQUENCE, lambda: kl.Softmax(axis=1)),
    "max1d": (SEQUENCE, lambda: kl.MaxPooling1D(2)),
    "max2d overlapping": (IMAGE, lambda: kl.MaxPooling2D(3, strides=(1, 2))),
    "max2d same": (IMAGE, lambda: kl.MaxPooling2D((3, 2), strides=2, padding="same")),
    "max3d": (VOLUME, lambda: kl.MaxPooling3D(2)),
    "global max1d": (SEQUENCE, lambda: kl.GlobalMaxPooling1D()),
    "global max2d": (IMAGE, lambda: kl.GlobalMaxPooling2D(keepdims=True)),
    "global max3d": (VOLUME, lambda: kl.GlobalMaxPooling3D()),
    "max min": (IMAGE, lambda: ll.MaxMin(k_coef_lip=2.0)),
    "group sort": (SEQUENCE, lambda: ll.GroupSort(3)),
    "group sort 2": (IMAGE, lambda: ll.GroupSort2(k_coef_lip=0.5)),
    "full sort": (VECTOR, lambda: ll.FullSort()),
    "dense, relu": (VECTOR, lambda: kl.Dense(4, activation="relu")),
    "dense, sort": (VECTOR, lambda: ll.SpectralDense(4, activation=ll.GroupSort2())),
    "conv, gelu": (IMAGE, lambda: kl.Conv2D(4, 3, activation="gelu")),
}
OPERATIONS = {
    "norm": (IMAGE, lambda x: ops.norm(x, axis=(-1,))),
    "norm over windows": (IMAGE, lambda x: ops.norm(x, ord=None, axis=(1, 2), keepdims=True)),
    "abs": (VECTOR, ops.abs),
    "operators": (VECTOR, lambda x: 1.0 - (2.0 * x + 3.0 - x) / 4.0),
    "branches": (VECTOR, lambda x: ops.maximum(x, ops.minimum(2 * x, ops.tanh(x)))),
    "clips": (VECTOR, lambda x: ops.minimum(ops.maximum(x, -0.5), np.arange(6, dtype="float32"))),
    "numbers": (VECTOR, lambda x: ops.minimum(ops.maximum(x, -0.1), 0.3)),  # no float32
    "shapes": (IMAGE, lambda x: ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (-1, 5, 28))),
    "axes of size 1": (SEQUENCE, lambda x: ops.relu(ops.expand_dims(ops.expand_dims(x, 1), -2))),
    "sort": (SEQUENCE, lambda x: ops.sort(x, axis=1)),
    "crelu": (IMAGE, lambda x: ops.concatenate([ops.relu(x), ops.relu(-x)], axis=1)),
    "not quite crelu": (IMAGE, lambda x: ops.concatenate([ops.relu(x), ops.relu(x)], axis=1)),
    "softmax": (SEQUENCE, lambda x: ops.softmax(x, axis=1)),
    **{
        name: (VECTOR, lambda x, name=name: getattr(ops, name)(x))
        for name in ("relu", "relu6", "sigmoid", "softplus", "softsign", "silu", "selu", "elu")
    },
    "leaky relu": (VECTOR, lambda x: ops.leaky_relu(x, negative_slope=0.3)),
    "gelu": (VECTOR, lambda x: ops.gelu(x, approximate=False)),
    "approximate gelu": (VECTOR, lambda x: ops.gelu(x, approximate=True)),
}
NONLINEAR |= {
    f"ops: {name}": (shape, lambda function=function: function)
    for name, (shape, function) in OPERATIONS.items()
}
ALL = {**LINEAR, **NONLINEAR}


# Keras on PyTorch repeats border values into the padding of an uneven average
MISREAD = {"average2d same"} if keras.backend.backend() == "torch" else set()


def array(x):
    return keras.ops.convert_to_numpy(x).astype("float64")


def build(name, seed=0):
    keras.utils.set_random_seed(seed)
    shape, make = ALL[name]
    x = keras.Input(shape)
    model = keras.Model(x, make()(x))
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.standard_normal(weight.shape)
        weight.assign(np.abs(values) if "variance" in weight.name else values)
    return model, rng


@pytest.mark.parametrize("name", sorted(MISREAD))
def test_layers_that_this_backend_computes_otherwise_are_noticed(name):
    with pytest.raises(NotCertifiable, match="does not compute what its layers say"):
        lipkit.lipschitz_bound(build(name)[0])


@pytest.mark.parametrize("name", sorted(set(ALL) - MISREAD))
def test_graph_computes_what_keras_does(name):
    model, rng = build(name)
    graph = read(model).graph
    x = rng.standard_normal((3, *ALL[name][0])).astype("float32")
    expected = array(model(x, training=False))
    (index,) = graph.outputs
    got = evaluate.run(graph, x.astype("float64"))[index]
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", sorted(set(LINEAR) - MISREAD))
def test_bound_of_linear_layers_is_the_norm_of_their_matrix(name):
    model, _ = build(name)
    bound = lipkit.lipschitz_bound(model)
    shape = ALL[name][0]
    basis = np.eye(np.prod(shape), dtype="float32").reshape(-1, *shape)
    origin = array(model(0 * basis[:1], training=False))
    matrix = (array(model(basis, training=False)) - origin).reshape(len(basis), -1)
    norm = np.linalg.norm(matrix, 2)
    assert norm * (1 - 1e-5) <= bound  # the matrix is read off in float32
    exact = not any(word in name for word in ("separable", "batch"))
    assert bound <= norm * (1 + 1e-4 if exact else 3)


@pytest.mark.parametrize("size", [1, 9])
def test_padding_by_repetition_is_exact_in_exports_and_many_layers(size, monkeypatch):
    """Alone, padding by a circle has norm 2; with the convolution it is the symbol's supremum."""
    monkeypatch.setattr(convolutions, "MATRIX_COST", 0 if size > 1 else 1e9)
    convs = [ll.SpectralConv2D(4, 3, padding="circular") for _ in range(3)]
    model = keras.Sequential([keras.Input((5 * size, 4 * size, 4)), *convs])
    for each in (model, lipkit.vanillaModel(model)):
        assert lipkit.lipschitz_bound(each) == pytest.approx(1, abs=3e-3)
    table = lipkit.lipschitz_bound(lipkit.vanillaModel(model)).layers
    assert [row.name for row in table] == [conv.name for conv in convs]


@pytest.mark.parametrize("name", sorted(NONLINEAR))
def test_bound_of_nonlinear_layers_is_above_all_slopes(name):
    model, rng = build(name)
    graph = read(model).graph
    bound = lipkit.lipschitz_bound(model)
    shape = ALL[name][0]
    slopes = []
    for size in (1e-4, 1e-2, 1.0):
        x = 2 * rng.standard_normal((2000, *shape))
        step = rng.standard_normal(x.shape) * (rng.random(x.shape) < rng.random())
        fx, fy = (evaluate.run(graph, z)[graph.outputs[0]] for z in (x, x + size * step))
        moved = np.linalg.norm((size * step).reshape(len(x), -1), axis=1)
        change = np.linalg.norm((fy - fx).reshape(len(x), -1), axis=1)
        slopes.append((change / np.maximum(moved, 1e-12)).max())
    assert max(slopes) <= bound * (1 + 1e-6)  # differences of tiny steps round
    assert max(slopes) >= bound / 4


def public_layers():
    named = {name: getattr(kl, name) for name in dir(kl)}
    return {n: c for n, c in named.items() if isinstance(c, type) and issubclass(c, kl.Layer)}


@pytest.mark.parametrize("name", sorted(public_layers()))
def test_every_keras_layer_is_ruled_or_refused(name):
    layer_class = public_layers()[name]
    assert has_rule(layer_class) != (layer_class.__name__ in REASONS)


def test_every_lipkit_layer_is_ruled():
    for name in ll.__all__:
        layer_class = getattr(ll, name)
        if issubclass(layer_class, kl.Layer):
            assert has_rule(layer_class) or has_rule(layer_class.vanilla_class)


def model_of(layer, shape=VECTOR):
    return keras.Sequential([keras.Input(shape), layer])


class Twice(kl.Dense):
    """A subclass may compute anything."""

    def call(self, x):
        return 2 * super().call(x)


class TwiceSpectral(ll.SpectralDense):
    def call(self, x):
        return 2 * super().call(x)


class CallsItself(keras.Model):
    def __init__(self):
        x = keras.Input((6,))
        super().__init__(x, kl.Dense(3)(x))

    def call(self, x):
        return 10 * super().call(x)


def training():
    x = keras.Input((6,))
    return keras.Model(x, kl.BatchNormalization()(x, training=True))


def product():
    x = keras.Input((6,))
    return keras.Model(x, x * x)


def mixes_batch():
    x = keras.Input((6,))
    return keras.Model(x, ops.reshape(x, (-1, 3)))


def batch_concat():
    x = keras.Input((6,))
    return keras.Model(x, ops.concatenate([x, x], axis=0))


def batch_expanded():
    x = keras.Input((6,))
    return keras.Model(x, ops.expand_dims(x, -3))


REFUSED = {
    "unknown layer": (lambda: model_of(kl.LayerNormalization()), "LayerNormalization.*no bound"),
    "lambda": (lambda: model_of(kl.Lambda(lambda x: 3 * x)), "Lambda.*cannot be read"),
    "subclass": (lambda: model_of(Twice(3)), "Twice.*no Lipschitz rule.*register_rule"),
    "subclass of ours": (lambda: model_of(TwiceSpectral(3)), "TwiceSpectral"),
    "activation": (lambda: model_of(kl.Dense(3, activation=lambda x: 10 * x)), "no proven slope"),
    "exponential": (lambda: model_of(kl.Activation("exponential")), "exponential"),
    "threshold": (lambda: model_of(kl.ReLU(threshold=1.0)), "jumps at its threshold"),
    "batch einsum": (
        lambda: model_of(kl.EinsumDense("abc,bc->abc", (7, 3)), SEQUENCE),
        "not one matrix",
    ),
    "own call": (CallsItself, "overrides `call`"),
    "training": (training, "training=True"),
    "product": (product, "product of two tensors"),
    "mixes batch": (mixes_batch, "mixes the samples"),
    "batch concat": (batch_concat, "other than the batch's"),
    "batch expanded": (batch_expanded, "other than the batch's"),
    "bfloat16": (lambda: model_of(kl.Dense(3, dtype="bfloat16")), "computes in bfloat16"),
    "mixed": (lambda: model_of(kl.Dense(3, dtype="mixed_float16")), "computes in float16"),
    "unadapted": (lambda: model_of(kl.Dropout(0.1)) and unbuilt(), "has been built"),
    "another constant for each sample": (
        lambda: keras.Model(i := keras.Input((6,)), i * np.ones((4, 6), "float32")),
        "differs between the samples",
    ),
    "multiply": (
        lambda: keras.Model(i := keras.Input((6,)), kl.Multiply()([i, i])),
        "product of two inputs",
    ),
}


def unbuilt():
    return keras.Sequential([kl.Dense(3)])


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_layer(name):
    make, message = REFUSED[name]
    with pytest.raises(NotCertifiable, match=message):
        lipkit.lipschitz_bound(make())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_weights_are_located(value):
    model = model_of(kl.Dense(3, name="head"))
    kernel = np.ones((6, 3))
    kernel[4, 2] = value
    model.set_weights([kernel, np.zeros(3)])
    with pytest.raises(NotCertifiable, match=r"'head'.*1 non-finite values, first at \(4, 2\)"):
        lipkit.lipschitz_bound(model)


def test_inputs_in_a_dictionary_keep_their_names():
    """Keras sorts the keys of what it flattens, and matches a list by another order."""
    inputs = {"b": keras.Input((3,), name="b"), "a": keras.Input((2,), name="a")}
    model = keras.Model(inputs, kl.Concatenate()([3 * inputs["b"], inputs["a"]]))
    assert lipkit.lipschitz_bound(model) == pytest.approx(3)


def test_layers_that_compute_something_else_are_noticed(monkeypatch):
    model = model_of(kl.Dense(3))
    call = kl.Dense.call
    monkeypatch.setattr(kl.Dense, "call", lambda self, x, **_: 1.001 * call(self, x))
    with pytest.raises(NotCertifiable, match="does not compute what its layers say"):
        lipkit.lipschitz_bound(model)


@pytest.mark.parametrize("classes", [(), (int,), (ll.Exported,), (kl.Dense(2),)])
def test_rules_are_registered_for_classes_of_layers(classes):
    with pytest.raises(ValueError, match="`register_rule` needs at least one subclass"):
        lipkit.certifier.register_rule(*classes)


@pytest.mark.parametrize("given", [None, 3.0, [g.Sort(), None]])
def test_rules_that_give_no_operations_are_named(given):
    class Third(kl.Layer):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="decorates a function"):
        lipkit.certifier.register_rule(Third)(given)
    lipkit.certifier.register_rule(Third)(lambda layer, shape: given)
    wrong = type(given[-1] if isinstance(given, list) else given).__name__
    message = rf"rule of layer 'a' \(Third\) must return an operation.*Received: {wrong}"
    with pytest.raises(ValueError, match=message):
        lipkit.lipschitz_bound(model_of(Third(name="a")))
    with pytest.raises(ValueError, match=message):
        lipkit.lipschitz_bound(model_of(kl.Dense(2, activation=Third(name="a"))))


def test_third_parties_register_rules():
    class Halve(kl.Layer):
        def call(self, x):
            return x / 2

    with pytest.raises(NotCertifiable, match="Halve"):
        lipkit.lipschitz_bound(model_of(Halve()))

    @lipkit.certifier.register_rule(Halve)
    def _(layer, shape):
        return lipkit.certifier.graph.Custom(lambda x: x / 2, 0.5, error=lambda unit: (0.0, 0.0))

    assert lipkit.lipschitz_bound(model_of(Halve())) == 0.5
    certificates = lipkit.certify(model_of(Halve()), np.eye(6))
    np.testing.assert_allclose(certificates.radius, 1 / np.sqrt(2))


def test_models_of_open_size_need_one():
    model = keras.Sequential([keras.Input((None, None, 1)), kl.Conv2D(2, 3)])
    with pytest.raises(ValueError, match="give `input_shape`"):
        lipkit.lipschitz_bound(model)
    small, large = (lipkit.lipschitz_bound(model, input_shape=(n, n, 1)) for n in (4, 16))
    assert 0 < small < large
    with pytest.raises(ValueError, match="`input_shape` must fit"):
        lipkit.lipschitz_bound(model, input_shape=(4, 4, 3))

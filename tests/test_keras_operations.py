"""Operations and layers of Keras that a user expects to be read: values, and constants by SVD."""

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

A = np.random.default_rng(5).standard_normal((3, 4)).astype("float32")
B = np.random.default_rng(6).standard_normal((4, 2)).astype("float32")
KEPT = np.array([[True, False, True, True]])


def second(parts):
    return parts[1]


def spread(x, axis):
    return ops.concatenate(ops.unstack(x, axis=axis)[::-1], axis=-1)


# name: (shape, function of a symbolic tensor, constant if it is not linear)
OPERATIONS = {
    "flip": ((3, 4), lambda x: ops.flip(x, axis=(1, -1)), None),
    "split": ((3, 4), lambda x: second(ops.split(x, 2, axis=-1)), None),
    "split at": ((3, 5), lambda x: ops.split(x, [1, 3], axis=2)[2], None),
    "unstack": ((3, 4), lambda x: ops.unstack(x, axis=2)[3], None),
    "all parts": ((3, 4), lambda x: spread(x, 1), None),
    "stack": ((3, 4), lambda x: ops.stack([x, 2 * x], axis=2), None),
    "stack last": ((3, 4), lambda x: ops.stack([x, 2 * x, x], axis=-1), None),
    "squeeze": ((3, 1, 4, 1), lambda x: ops.squeeze(x, axis=(2, -1)), None),
    "swapaxes": ((3, 4, 2), lambda x: ops.swapaxes(x, 1, -1), None),
    "moveaxis": ((3, 4, 2), lambda x: ops.moveaxis(x, 1, 3), None),
    "moveaxis back": ((3, 4, 2), lambda x: ops.moveaxis(x, [-1, 1], [1, 2]), None),
    "roll": ((3, 4), lambda x: ops.roll(x, 3, axis=2), None),
    "repeat": ((3, 4), lambda x: ops.repeat(x, 3, axis=1), None),
    "sum": ((3, 4), lambda x: ops.sum(x, axis=1), None),
    "sum of all": ((3, 4, 2), lambda x: ops.sum(x, axis=(1, 3), keepdims=True), None),
    "max": ((3, 4), lambda x: ops.max(x, axis=1), 1),
    "max of all": ((3, 4, 2), lambda x: ops.max(x, axis=(-1, 1), keepdims=True), 1),
    "amax": ((3, 4), lambda x: ops.amax(x, axis=-1), 1),
    "min": ((3, 4, 2), lambda x: ops.min(x, axis=2), 1),
    "amin": ((3, 4), lambda x: ops.amin(x, axis=(1, 2)), 1),
    "clip": ((3, 4), lambda x: ops.clip(x, -0.3, 0.1), 1),
    "where": ((4,), lambda x: ops.where(KEPT, 2 * x, 0.5), 2),
    "where not": ((4,), lambda x: ops.where(KEPT[0], B[:, 0], x), 1),
    "matmul": ((3, 4), lambda x: ops.matmul(x, B), None),
    "matmul of a vector": ((4,), lambda x: x @ B, None),
    "matmul by a vector": ((3, 4), lambda x: ops.matmul(x, B[:, 0]), None),
    "matmul from the left": ((4, 2), lambda x: ops.matmul(A, x), None),
    "matmul from the left by a vector": ((4, 2), lambda x: ops.matmul(A[0], x), None),
    "dot": ((3, 4), lambda x: ops.dot(x, B), None),
    "tensordot": ((3, 4), lambda x: ops.tensordot(x, B, axes=1), None),
    "tensordot of two axes": (
        (3, 4, 2),
        lambda x: ops.tensordot(x, A, axes=([2, 1], [1, 0])),
        None,
    ),
    "tensordot of one": ((4, 2), lambda x: ops.tensordot(x, A, axes=([1], [1])), None),
    "einsum": ((4, 2), lambda x: ops.einsum("bij,ki->bkj", x, A), None),
    "einsum before": ((4, 2), lambda x: ops.einsum("ki,bij->bkj", A, x), None),
    "ellipsis": ((3, 4), lambda x: x[..., :2], None),
    "ellipsis between": ((3, 4, 2), lambda x: x[:, 1, ..., -1:], None),
    "an integer": ((3, 4), lambda x: x[:, -1], None),
    "a new axis": ((3, 4), lambda x: x[:, None, 1:, 2], None),
    "last of a vector": ((4,), lambda x: x[:, -1], None),
    "no change": ((3, 4), lambda x: ops.stop_gradient(ops.cast(x, "float32")), None),
    "log softmax": ((4,), lambda x: 0.5 * ops.log_softmax(x), 1),
    "absolute values": ((3, 4), lambda x: ops.abs(ops.negative(x)), 1),
    "no padding": ((3, 4), lambda x: ops.concatenate([ops.pad(x, [[0, 0]] * 3), x], axis=1), None),
    "bilinear": ((3, 4, 2), lambda x: kl.UpSampling2D((2, 3), interpolation="bilinear")(x), None),
    "bilinear first": (
        (2, 3, 4),
        lambda x: kl.UpSampling2D(2, "channels_first", interpolation="bilinear")(x),
        None,
    ),
    "resizing": ((5, 7, 2), lambda x: kl.Resizing(3, 9)(x), None),
    "resizing smoothly": ((9, 8, 1), lambda x: kl.Resizing(3, 5, antialias=True)(x), None),
    "resizing by copies": (
        (6, 4, 2),
        lambda x: kl.Resizing(3, 8, interpolation="nearest")(x),
        None,
    ),
    "resizing channels first": (
        (2, 5, 4),
        lambda x: kl.Resizing(8, 2, data_format="channels_first")(x),
        None,
    ),
    "resize": ((5, 4, 2), lambda x: ops.image.resize(x, (3, 6)), None),
    "time distributed": ((3, 4), lambda x: kl.TimeDistributed(kl.Dense(2))(x), None),
    "time distributed convolution": (
        (3, 5, 4, 2),
        lambda x: kl.TimeDistributed(kl.Conv2D(3, 3, padding="same"))(x),
        None,
    ),
    "time distributed transposition": (
        (3, 5, 2),
        lambda x: kl.TimeDistributed(kl.Conv1DTranspose(2, 3, strides=2))(x),
        None,
    ),
    "time distributed padding": (
        (2, 4, 3, 1),
        lambda x: kl.TimeDistributed(ll.PadConv2D(2, 3, padding="reflect"))(x),
        None,
    ),
    "time distributed flatten": ((3, 4, 2), lambda x: kl.TimeDistributed(kl.Flatten())(x), None),
    "time distributed einsum": (
        (3, 4, 2),
        lambda x: kl.TimeDistributed(kl.EinsumDense("abc,bcd->ad", 5, bias_axes="d"))(x),
        None,
    ),
    "time distributed pooling": (
        (3, 4, 6, 1),
        lambda x: kl.TimeDistributed(kl.MaxPooling2D(2, data_format="channels_last"))(x),
        1,
    ),
    "time distributed softmax": ((3, 4), lambda x: kl.TimeDistributed(kl.Softmax())(x), 0.5),
    "spectral normalization": (
        (3, 4),
        lambda x: kl.SpectralNormalization(kl.Conv1D(2, 2))(x),
        None,
    ),
}


def drawn(model, rng):
    """Biases that are not 0, so that they are seen."""
    for weight in model.weights:
        if "bias" in weight.name:
            weight.assign(rng.standard_normal(weight.shape))
    return model


@pytest.mark.parametrize("name", OPERATIONS)
def test_values_and_constants_of_operations(name):
    shape, function, constant = OPERATIONS[name]
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    x = keras.Input(shape)
    model = drawn(keras.Model(x, function(x)), rng)
    bound = float(lipkit.lipschitz_bound(model))
    graph = read(model).graph
    size = int(np.prod(shape))
    given = np.concatenate([np.eye(size), np.zeros((1, size)), 2 * rng.standard_normal((3, size))])
    given = given.reshape(-1, *shape).astype("float32")
    values = evaluate.run(graph, given.astype("float64"))[graph.outputs[0]]
    outputs = ops.convert_to_numpy(model(given))
    assert values.shape == outputs.shape
    np.testing.assert_allclose(values, outputs, rtol=1e-4, atol=1e-5)
    if constant is None:
        flat = values.reshape(len(values), -1)
        constant = np.linalg.svd(flat[:size] - flat[size], compute_uv=False)[0]
    assert constant * (1 - 1e-9) <= bound <= constant * 1.02 + 1e-9


def test_bounds_through_time_distributed_models():
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 5, 1))
    y = kl.Conv2D(3, 3, activation="relu")(image)
    y = kl.Add()([y, kl.Conv2D(3, 3, padding="same")(y)])
    frames = keras.Model(image, kl.Dense(2)(kl.Flatten()(y)))
    x = keras.Input((4, 6, 5, 1))
    model = keras.Model(x, kl.Flatten()(kl.TimeDistributed(frames)(x)))
    assert lipkit.lipschitz_bound(model) == pytest.approx(lipkit.lipschitz_bound(frames), rel=0.02)
    given = np.random.default_rng(0).standard_normal((5, 4, 6, 5, 1)).astype("float32")
    single, whole = (read(m).graph for m in (frames, model))
    each = evaluate.run(single, given.reshape(20, 6, 5, 1))[single.outputs[0]].reshape(5, 8)
    np.testing.assert_allclose(evaluate.run(whole, given)[whole.outputs[0]], each, rtol=1e-12)
    assert (lipkit.certify(model, given, arithmetic="float32").status == "certified").all()


def test_spectral_normalization_is_read_with_its_stored_kernel():
    model = keras.Sequential([keras.Input((4,)), kl.SpectralNormalization(kl.Dense(3))])
    model.layers[0].layer.kernel.assign(3 * np.eye(4, 3))
    assert lipkit.lipschitz_bound(model) == pytest.approx(3)
    model(np.ones((2, 4), "float32"), training=True)
    assert lipkit.lipschitz_bound(model) == pytest.approx(1, abs=0.1)


def test_interpolated_images_have_no_certificate_in_floating_point():
    model = keras.Sequential([keras.Input((3, 3, 1)), kl.Resizing(5, 5), kl.Flatten(), kl.Dense(2)])
    x = np.ones((1, 3, 3, 1), "float32")
    assert lipkit.certify(model, x).status[0] == "certified"
    with pytest.raises(NotCertifiable, match="resizing.*compute in another way"):
        lipkit.certify(model, x, arithmetic="float32")


def vector():
    return keras.Input((4,))


REFUSED = {
    "flip of the batch": (vector, lambda x: ops.flip(x), "Flip.*other than the batch's"),
    "sum of the batch": (vector, lambda x: ops.sum(x), "Sum.*other than the batch's"),
    "squeeze": (lambda: keras.Input((1, 4)), lambda x: ops.squeeze(x), "Squeeze.*batch's"),
    "initial": (vector, lambda x: ops.max(x, axis=1, initial=0.0), "Max.*without `initial`"),
    "swap": (vector, lambda x: ops.swapaxes(x, 0, 1), "Swapaxes.*batch axis first"),
    "clip": (vector, lambda x: ops.clip(x, 1.0, -1.0), "Clip.*above its upper"),
    "clip by more digits": (
        vector,
        lambda x: ops.clip(x, -1.0, np.full(4, 0.1)),
        "Clip.*constants of float32",
    ),
    "choice": (vector, lambda x: ops.where(x > 0, x, 0.0), "cannot be certified"),
    "choice of tensors": (vector, lambda x: ops.where(KEPT, x, 2 * x), "Where.*by constants"),
    "product": (lambda: keras.Input((4, 4)), lambda x: ops.matmul(x, x), "Matmul.*two tensors"),
    "from the left": (vector, lambda x: ops.matmul(np.ones((2, 4)), x[:, :]), "Matmul.*mixes"),
    "dot": (lambda: keras.Input((4, 2)), lambda x: ops.dot(A, x), "Dot.*mixes"),
    "einsum": (vector, lambda x: ops.einsum("bi,i->bi", x, B[:, 0]), "Einsum.*not one matrix"),
    "repeated in a contraction": (
        lambda: keras.Input((4, 3)),
        lambda x: ops.einsum("bij,ik->bkj", x, A[:1]),
        "Einsum.*axes of the sizes 4 and 1|does not run",
    ),
    "scalars": (vector, lambda x: ops.hypot(x[:, 0], x[:, 1]), "Hypot.*do not fit"),
    "empty": (vector, lambda x: ops.mean(x[:, 4:], axis=1), "Mean.*empty"),
    "another format": (vector, lambda x: ops.cast(x, "float16"), "Cast.*float32 to float16"),
    "tensordot": (vector, lambda x: ops.tensordot(B.T, x, axes=([1], [1])), "Tensordot.*second"),
    "of the batch": (vector, lambda x: x[0], "GetItem.*keep the batch axis"),
    "bicubic": (
        lambda: keras.Input((4, 4, 1)),
        lambda x: kl.UpSampling2D(2, interpolation="bicubic")(x),
        "UpSampling2D.*'nearest' or 'bilinear'",
    ),
    "cropped": (
        lambda: keras.Input((4, 4, 1)),
        lambda x: kl.Resizing(2, 3, crop_to_aspect_ratio=True)(x),
        "Resizing.*crop_to_aspect_ratio=True",
    ),
    "recurrent": (
        lambda: keras.Input((4, 4, 3)),
        lambda x: kl.TimeDistributed(kl.LSTM(2))(x),
        "LSTM.*recurrent",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_operations_are_refused_by_name(name):
    make, function, message = REFUSED[name]
    x = make()
    with pytest.raises(NotCertifiable, match=message):
        lipkit.lipschitz_bound(keras.Model(x, function(x)))


@pytest.mark.parametrize("name", ["hard_tanh", "tanh_shrink", "hard_silu", "log_sigmoid"])
def test_an_operation_reads_as_the_activation_of_its_name(name):
    x = keras.Input((5,))
    called = keras.Model(x, getattr(ops, name)(x))
    layer = keras.Model(x, keras.layers.Activation(name)(x))
    assert lipkit.lipschitz_bound(called) == lipkit.lipschitz_bound(layer)


@pytest.mark.parametrize("call", [lambda x: ops.celu(x, 2.0), lambda x: ops.soft_shrink(x, 0.1)])
def test_an_operation_with_parameters_of_its_own_is_not_taken_for_the_usual_one(call):
    x = keras.Input((5,))
    with pytest.raises(lipkit.NotCertifiable, match="has parameters"):
        lipkit.lipschitz_bound(keras.Model(x, call(x)))

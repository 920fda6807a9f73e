import json

import keras
import numpy as np
import pytest
from keras import ops
from reference import array

from lipkit import initializers, layers, regularizers


def tensor(x):
    return ops.convert_to_tensor(np.asarray(x, "float32"))


def circular_matrix(kernel, stride, size):
    """The circular convolution with stride as a matrix: (pixels out * M, pixels in * C)."""
    r, _, c, m = kernel.shape
    out = size // stride
    matrix = np.zeros((out, out, m, size, size, c))
    for y, x, i, j in np.ndindex(out, out, r, r):
        rows, columns = (stride * y + i - r // 2) % size, (stride * x + j - r // 2) % size
        matrix[y, x, :, rows, columns] += kernel[i, j].T
    return matrix.reshape(out * out * m, -1), out * out


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(
    ("shape", "stride"),
    [((3, 3, 2, 3), 1), ((3, 3, 4, 2), 1), ((3, 3, 1, 3), 2), ((3, 3, 1, 6), 2), ((5, 5, 1, 2), 3)],
)
@pytest.mark.filterwarnings("ignore:A square")
def test_lorth_is_the_distance_of_the_circular_operator(shape, stride, transpose, rng):
    kernel = 0.3 * rng.standard_normal(shape)
    a, pixels = circular_matrix(kernel, stride, 12)
    # the smaller Gram matrix of the operator or, with the same nonzero spectrum, of its adjoint
    gram = a @ a.T if a.shape[0] <= a.shape[1] else a.T @ a
    expected = np.sum((gram - np.eye(len(gram))) ** 2) / pixels
    lorth = regularizers.Lorth2D(shape, stride, conv_transpose=transpose)
    got = float(array(lorth.compute_lorth(tensor(kernel))))
    np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("shape", "stride"),
    [((3, 3, 2, 5), 1), ((3, 3, 5, 2), 1), ((3, 3, 2, 3), 2), ((3, 3, 1, 6), 2)],
)
@pytest.mark.parametrize("transpose", [False, True])
def test_lorth_of_orthogonal_kernels_is_zero(shape, stride, transpose):
    """With roles of the channels swapped, transposed kernels had another minimum than 0."""
    kernel = initializers.DeltaOrthogonal(strides=stride)(shape)
    regularizer = regularizers.LorthRegularizer(stride=stride, conv_transpose=transpose)
    np.testing.assert_allclose(float(array(regularizer(kernel))), 0, atol=1e-4)


def test_lorth_attributes_and_weight(rng):
    lorth = regularizers.Lorth2D((5, 5, 2, 12), stride=2)
    assert (lorth.padding, lorth.delta) == (4, 4)
    unset = regularizers.Lorth2D()
    assert (unset.kernel_shape, unset.padding, unset.delta) == (None, None, None)
    unset.set_kernel_shape((3, 3, 2, 1))
    assert (unset.padding, unset.delta) == (2, 0)
    kernel = tensor(rng.standard_normal((3, 3, 2, 1)))
    one, ten = (regularizers.LorthRegularizer(lambda_lorth=n)(kernel) for n in (1, 10))
    np.testing.assert_allclose(array(ten), 10 * array(one), rtol=1e-5)
    with pytest.raises(ValueError, match=r"of shape \(3, 3, 2, 1\).*\(3, 3, 1, 2\)"):
        unset.compute_lorth(tensor(np.ones((3, 3, 1, 2))))


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((4, 4, 1, 2), {}, "odd R.*(4, 4, 1, 2)"),  # an assert in deel-lip
        ((3, 5, 1, 2), {}, "R, R"),
        ((3, 3, 2), {}, "R, R"),
        ((3, 3, 1, 10), {"stride": 4}, "exists for Conv2D from 1 to 10 channels.*size 3, stride 4"),
        ((3, 3, 1, 17), {"stride": 4}, "exists for Conv2D from 1 to 17"),
        (
            (3, 3, 1, 10),
            {"stride": 4, "conv_transpose": True},
            "exists for Conv2DTranspose from 10 to 1 channels",
        ),
    ],
)
def test_existence_check_respects_the_transposition(shape, arguments, message):
    for make in (regularizers.Lorth2D, regularizers.LorthRegularizer):
        with pytest.raises(ValueError, match=message):
            make(shape, **arguments)


def test_square_maps_are_warned_of():
    with pytest.warns(UserWarning, match="hard to train: Conv2D from 1 to 4"):
        regularizers.Lorth2D((3, 3, 1, 4), stride=2)
    with pytest.raises(ValueError, match="`dim` must be 2.*1"):
        regularizers.LorthRegularizer(dim=1)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_orth_dense(shape, rng):
    w = rng.standard_normal(shape)
    small = w if shape[0] <= shape[1] else w.T
    expected = 2 * np.sum((small @ small.T - np.eye(3)) ** 2)
    got = regularizers.OrthDenseRegularizer(2.0)(tensor(w))
    np.testing.assert_allclose(array(got), expected, rtol=1e-4)
    with pytest.raises(ValueError, match=r"matrix.*\(2, 2, 2\)"):
        regularizers.OrthDenseRegularizer()(tensor(np.ones((2, 2, 2))))


@pytest.mark.parametrize(
    "regularizer",
    [
        regularizers.LorthRegularizer((3, 3, 2, 1), 2, 0.5, conv_transpose=True),
        regularizers.LorthRegularizer(),
        regularizers.OrthDenseRegularizer(3.0),
    ],
    ids=lambda r: type(r).__name__,
)
def test_configurations_are_json_and_complete(regularizer):
    config = json.loads(json.dumps(keras.regularizers.serialize(regularizer)))
    assert keras.regularizers.deserialize(config).get_config() == regularizer.get_config()


def test_lorth_trains_towards_orthogonality(rng, tmp_path):
    """On JAX a traced index made it fail in any compiled step."""
    conv = keras.layers.Conv2D(
        2,
        3,
        padding="same",
        data_format="channels_last",
        kernel_regularizer=regularizers.LorthRegularizer(lambda_lorth=1),
    )
    head = layers.SpectralDense(1, kernel_regularizer=regularizers.OrthDenseRegularizer())
    model = keras.Sequential([keras.Input((4, 4, 3)), conv, keras.layers.Flatten(), head])
    model.compile(keras.optimizers.Adam(0.02), "mse")
    before = float(array(conv.kernel_regularizer(conv.kernel)))
    x, y = rng.standard_normal((8, 4, 4, 3)), np.zeros((8, 1))
    model.fit(x, y, batch_size=8, epochs=40, verbose=0)
    assert float(array(conv.kernel_regularizer(conv.kernel))) < before / 4
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(array(loaded(x)), array(model(x)), atol=1e-5)

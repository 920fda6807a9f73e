import json

import keras
import numpy as np
import pytest
from keras import ops
from reference import array, singular_values

from lipkit import compute_layer_sv, initializers, layers


@pytest.mark.parametrize(
    ("arguments", "low"),
    [({}, 0.999), ({"base_initializer": "he_normal"}, 0.99), ({"eps_bjorck": None}, 0.99)],
)
@pytest.mark.parametrize("k", [0.1, 1, 10])
def test_singular_values(arguments, low, k):
    values = initializers.SpectralInitializer(k_coef_lip=k, **arguments)((3, 3, 2, 5))
    sigma = singular_values(ops.reshape(values, (18, 5))) / k
    assert sigma.max() <= 1 + 1e-5 and sigma.min() >= low


@pytest.mark.parametrize(
    "make",
    [initializers.SpectralInitializer, initializers.DeltaOrthogonal],
    ids=lambda c: c.__name__,
)
def test_layers_that_share_an_initializer_start_different(make):
    """One default instance made all layers of a shape start with identical kernels."""

    def kernels():
        keras.utils.set_random_seed(3)
        shared = make()
        convs = [keras.layers.Conv1D(4, 3, kernel_initializer=shared) for _ in range(2)]
        for conv in convs:
            conv.build((None, 8, 4))
        return [array(conv.kernel) for conv in convs]

    first, second = kernels()
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(kernels(), [first, second])  # reproducible all the same


def test_seeds_of_the_base_are_kept():
    shared = initializers.SpectralInitializer(
        base_initializer=keras.initializers.Orthogonal(seed=1)
    )
    np.testing.assert_array_equal(array(shared((4, 4))), array(shared((4, 4))))
    stream = keras.initializers.Orthogonal(seed=keras.random.SeedGenerator(1))
    shared = initializers.SpectralInitializer(base_initializer=stream)
    assert np.abs(array(shared((4, 4))) - array(shared((4, 4)))).max() > 0.1
    assert (array(initializers.DeltaOrthogonal(seed=2)((1, 4, 4))) != 0).all()
    delta = initializers.DeltaOrthogonal(seed=2, groups=2)
    np.testing.assert_array_equal(array(delta((3, 2, 4))), array(delta((3, 2, 4))))
    assert np.abs(array(delta((3, 2, 4)))[1, :, :2] - array(delta((3, 2, 4)))[1, :, 2:]).max() > 0.1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_in_a_layer_that_is_saved(dtype, tmp_path):
    dense = layers.SpectralDense(
        3, kernel_initializer=initializers.SpectralInitializer(), dtype=dtype
    )
    model = keras.Sequential([keras.Input((5,)), dense])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").layers[0]
    np.testing.assert_array_equal(array(loaded._kernel), array(dense._kernel))


@pytest.mark.parametrize(
    "initializer",
    [
        initializers.SpectralInitializer(
            eps_bjorck=None, k_coef_lip=2, base_initializer="glorot_normal"
        ),
        initializers.SpectralInitializer(parametrization="cholesky"),
        initializers.DeltaOrthogonal(2.0, strides=(1, 2), groups=2, seed=4),
    ],
    ids=lambda i: type(i).__name__,
)
def test_configurations_are_json_and_complete(initializer):
    config = json.loads(json.dumps(keras.initializers.serialize(initializer)))
    again = keras.initializers.deserialize(config)
    plain = json.loads(json.dumps(initializer.get_config()))
    assert json.loads(json.dumps(again.get_config())) == plain
    assert again((3, 3, 2, 4)).shape == (3, 3, 2, 4)


@pytest.mark.parametrize(
    ("cls", "filters", "size", "arguments"),
    [
        (keras.layers.Conv1D, 6, (5, 4), {}),
        (keras.layers.Conv2D, 6, (4, 5, 3), {}),
        (keras.layers.Conv2D, 2, (4, 4, 5), {}),
        (keras.layers.Conv2D, 6, (4, 6, 2), {"strides": (1, 2)}),
        (keras.layers.Conv2D, 4, (4, 4, 1), {"strides": 2, "kernel_size": 4}),
        (keras.layers.Conv2D, 6, (3, 3, 4), {"groups": 2}),
        (keras.layers.Conv3D, 3, (2, 2, 3, 2), {}),
        (keras.layers.Conv2DTranspose, 3, (3, 3, 5), {}),
        (keras.layers.Conv2DTranspose, 2, (3, 3, 5), {"strides": 2}),
    ],
)
def test_convolutions_are_orthogonal(cls, filters, size, arguments):
    shape = {key: arguments[key] for key in ("strides", "groups") if key in arguments}
    layer = cls(
        filters,
        padding="same",
        kernel_initializer=initializers.DeltaOrthogonal(3.0, **shape),
        data_format="channels_last",
        **{"kernel_size": 3, **arguments},
    )
    layer.build((None, *size))
    np.testing.assert_allclose(compute_layer_sv.compute_layer_sv(layer), 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({"strides": 0}, (3, 3, 2, 2), "`strides`.*strides=0"),
        ({"strides": (1, 1)}, (3, 2, 2), r"`strides`.*\(3, 2, 2\).*\(1, 1\)"),
        ({"groups": 3}, (3, 2, 4), "`groups` must divide.*3"),
        ({"gain": 0}, (3, 2, 4), "`gain`.*0"),
    ],
)
def test_bad_arguments_are_named(arguments, shape, message):
    with pytest.raises(ValueError, match=message):
        initializers.DeltaOrthogonal(**arguments)(shape)

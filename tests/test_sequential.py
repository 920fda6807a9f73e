"""`Sequential(k_coef_lip=k)`: the constant is the model's, or there is no model."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from reference import array

import lipkit
from lipkit import layers as ll

K = [0.1, 10]


def dense(**kwargs):
    return ll.SpectralDense(4, **kwargs)


def image(k):
    """The layers of a reload that once changed the function: each has its own input shape."""
    layers = [
        keras.Input((4, 4, 2)),
        ll.SpectralConv2D(4, 2),
        ll.ScaledAveragePooling2D(2),
        ll.SpectralConv2D(4, 1, activation=ll.GroupSort2()),
        ll.ScaledGlobalAveragePooling2D(),
        ll.FrobeniusDense(1, activation="relu"),
    ]
    return lipkit.Sequential(layers, k_coef_lip=k)


@pytest.mark.parametrize("k", K)
def test_reloaded_and_rebuilt_models_keep_function_and_constant(k, tmp_path, rng):
    model = image(k)
    x = rng.standard_normal((4, 4, 4, 2)).astype("float32")
    expected = array(model(x))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    model.build((None, 4, 4, 2))
    for same in (model, loaded, loaded.from_config(loaded.get_config())):
        assert same.k_coef_lip == k
        shares = [layer.k_coef_lip for layer in same.layers]
        assert shares == pytest.approx([k ** (1 / 5)] * 5)
        assert lipkit.lipschitz_bound(same) <= k * (1 + 1e-5)
    np.testing.assert_array_equal(array(loaded(x)), expected)
    np.testing.assert_array_equal(array(model(x)), expected)


@pytest.mark.parametrize("k", K)
def test_the_constant_is_that_of_the_map(k):
    orthogonal = lipkit.Sequential([keras.Input((4,)), dense(), dense()], k_coef_lip=k)
    steps = np.eye(4, dtype="float32")
    matrix = array(orthogonal(steps)) - array(orthogonal(0 * steps))
    assert np.linalg.norm(matrix, 2) == pytest.approx(k, rel=1e-4)
    later = lipkit.Sequential([dense(), dense()], k_coef_lip=k)  # built by its first inputs
    later(steps)
    assert lipkit.lipschitz_bound(later) <= k * (1 + 1e-5)


KNOWN = {
    "Flatten": kl.Flatten,
    "Reshape": lambda: kl.Reshape((16, 2)),
    "Permute": lambda: kl.Permute((2, 1, 3)),
    "ReLU": lambda: kl.ReLU(max_value=6.0, negative_slope=0.5),
    "LeakyReLU": lambda: kl.LeakyReLU(0.3),
    "Softmax": kl.Softmax,
    "Activation": lambda: kl.Activation("tanh"),
    "Dropout": lambda: kl.Dropout(0.5),
    "SpatialDropout2D": lambda: kl.SpatialDropout2D(0.5),
    "ZeroPadding2D": lambda: kl.ZeroPadding2D(1),
    "Cropping2D": lambda: kl.Cropping2D(1),
    "MaxPooling2D": lambda: kl.MaxPooling2D(2, padding="same"),
    "MaxPooling2D, gaps": lambda: kl.MaxPooling2D((1, 2), (2, 3)),
    "AveragePooling2D": lambda: kl.AveragePooling2D(2, padding="same"),
    "GlobalMaxPooling2D": kl.GlobalMaxPooling2D,
    "Identity": kl.Identity,
    "Rescaling": lambda: kl.Rescaling(1 / 255),
    "InvertibleDownSampling": lambda: ll.InvertibleDownSampling(2),
    "PReLUlip": ll.PReLUlip,
    "nested": lambda: keras.Sequential([ll.GroupSort2(), kl.Flatten()]),
    "residual": lambda: ll.ScaledResidual([kl.Dropout(0.5), kl.ReLU()]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_weightless_layers_that_expand_nothing_are_known(name):
    layers = [keras.Input((4, 4, 2)), ll.GroupSort2()]
    model = lipkit.Sequential([*layers, KNOWN[name]()], k_coef_lip=3)
    assert lipkit.lipschitz_bound(model) <= 3 * (1 + 1e-5)
    if not isinstance(KNOWN[name](), ll.LipschitzLayer):
        model.add(KNOWN["Flatten"]())
        assert len(model.layers) == 3 and model.k_coef_lip == 3


class OwnFlatten(kl.Flatten):
    """A subclass may compute anything."""


@keras.saving.register_keras_serializable("test")
class OwnDense(ll.SpectralDense):
    """So may a subclass of one of lipkit's."""

    def call(self, inputs):
        return 3 * super().call(inputs)


@keras.saving.register_keras_serializable("test")
def triple(x):
    return 3 * x


UNKNOWN = {
    "dense": (lambda: kl.Dense(3), "depends on its weights"),
    "convolution": (lambda: kl.Conv2D(3, 3), "depends on its weights"),
    "batch normalisation": (kl.BatchNormalization, "depends on its weights"),
    "layer normalisation": (kl.LayerNormalization, "no bound over all inputs"),
    "recurrent": (lambda: kl.LSTM(3), "recurrent"),
    "lambda": (lambda: kl.Lambda(triple), "cannot be read"),
    "subclass": (OwnFlatten, "no Lipschitz rule"),
    "own subclass": (lambda: OwnDense(3), "no Lipschitz rule"),
    "upsampling": (lambda: kl.UpSampling2D(2), "depends on"),
    "max pooling (2, 3) by (3, 2)": (lambda: kl.MaxPooling2D((2, 3), (3, 2)), "windows overlap"),
    "max pooling 3 by 2, same": (lambda: kl.MaxPooling2D(3, 2, padding="same"), "windows overlap"),
    "max pooling of sequences": (lambda: kl.MaxPooling1D(3, 2), "windows overlap"),
    "relu with a threshold": (lambda: kl.ReLU(threshold=1.0), "jumps at its threshold"),
    "relu with a slope": (lambda: kl.ReLU(negative_slope=3.0), "constant is 3"),
    "leaky relu": (lambda: kl.LeakyReLU(2.0), "constant is 2"),
    "elu": (lambda: kl.ELU(4.0), "constant is 4"),
    "gelu": (lambda: kl.Activation("gelu"), "constant is 1.1289"),
    "function": (lambda: kl.Activation(triple), "no proven slope"),
    "rescaling": (lambda: kl.Rescaling([1.0, -2.0]), "constant is 2"),
    "gelu inside": (lambda: dense(activation="gelu"), "activation has the slope 1.1289"),
    "function inside": (lambda: dense(activation=triple), "no proven slope"),
    "layer inside": (lambda: dense(activation=kl.PReLU()), "depends on its weights"),
    "neurons apart": (lambda: ll.FrobeniusDense(3), "disjoint_neurons=False"),
    "unbounded scale": (lambda: ll.BatchLipNorm(max_scale=None), "max_scale=None"),
    "nested": (lambda: keras.Sequential([kl.Flatten(), kl.Dense(3, name="d")]), "holds 'd'"),
    "block": (lambda: ll.ScaledResidual([kl.Dense(2, name="d")]), "holds 'd'"),
    "nested constant": (lambda: lipkit.Sequential([dense()], k_coef_lip=2), "has k_coef_lip=2.0"),
    "own constant": (lambda: ll.GroupSort2(k_coef_lip=0.5), "has k_coef_lip=0.5"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_refused_by_name(name):
    make, reason = UNKNOWN[name]
    layer = make()
    message = f"k_coef_lip=2.0: layer '{layer.name}' .*{reason}.* leave the model's k_coef_lip at 1"
    with pytest.raises(ValueError, match=message):
        lipkit.Sequential([dense(), layer], k_coef_lip=2)
    model = lipkit.Sequential([dense()], k_coef_lip=2)
    with pytest.raises(ValueError, match=f"layer '{layer.name}'"):
        model.add(layer)
    assert len(model.layers) == 1
    used = lipkit.Sequential([dense(), layer])  # as it is
    assert used.layers[1] is layer


def test_built_layers_are_not_copied_without_their_weights():
    inner = keras.Sequential([keras.Input((4,)), dense()])
    for layer in (ll.ScaledResidual(inner, name="it"), dense(name="it")):
        layer.build((None, 4))
        with pytest.raises(ValueError, match="layer 'it' .*is already built"):
            lipkit.Sequential([layer], k_coef_lip=2)
    trained = ll.LipResidual(inner, name="it")  # not built, but around weights
    with pytest.raises(ValueError, match="layer 'it' holds .*is already built"):
        lipkit.Sequential([trained], k_coef_lip=2)

"""Keras's `Resizing` puts layers behind it in training mode, unless it is told not to."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import lipkit
from lipkit import NotCertifiable
from lipkit import layers as ll


def model(**how):
    x = keras.Input((4, 4, 2))
    y = kl.BatchNormalization(moving_mean_initializer="ones")(kl.Resizing(5, 3)(x, **how))
    return keras.Model(x, y)


def test_what_trains_behind_a_resizing_is_refused(rng):
    x = rng.standard_normal((5, 4, 4, 2)).astype("float32")
    trains = model()
    # Keras's own: without `training` the statistics are those of the batch
    at_inference = ops.convert_to_numpy(trains(x, training=False))
    assert np.abs(ops.convert_to_numpy(trains(x)) - at_inference).max() > 0.5
    for refused in (trains, keras.Sequential([keras.Input((4, 4, 2)), trains])):
        with pytest.raises(NotCertifiable, match="Resizing.*training=False"):
            lipkit.lipschitz_bound(refused)


def test_a_resizing_that_does_not_train_is_read(rng):
    x = rng.standard_normal((5, 4, 4, 2)).astype("float32")
    right = model(training=False)
    at_inference = ops.convert_to_numpy(right(x, training=False))
    np.testing.assert_array_equal(ops.convert_to_numpy(right(x)), at_inference)
    assert lipkit.lipschitz_bound(right) < 1
    alone = keras.Sequential([keras.Input((4, 4, 2)), kl.Resizing(5, 3), kl.Dropout(0.5)])
    assert lipkit.lipschitz_bound(alone) < 1


def called(*layers):
    return keras.Sequential([keras.Input((4, 4, 2)), *layers])


def before(*layers):
    return called(kl.Resizing(4, 4), *layers)


@pytest.mark.parametrize(
    ("layers", "bound"),
    [
        (lambda: [kl.Flatten(), kl.Dense(3, kernel_initializer="orthogonal")], 1),
        (lambda: [kl.TimeDistributed(kl.Dense(2, kernel_initializer="orthogonal"))], 1),
        (lambda: [kl.Flatten(), ll.SpectralDense(3)], 1),
        (lambda: [kl.Flatten(), ll.FrobeniusDense(1)], 1),
    ],
)
def test_a_resizing_before_layers_that_have_no_mode_is_read(layers, bound, rng):
    x = rng.standard_normal((5, 4, 4, 2)).astype("float32")
    model = before(*layers())
    at_inference = ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), at_inference)
    assert lipkit.lipschitz_bound(model) == pytest.approx(bound, abs=1e-5)


@pytest.mark.parametrize(
    "block",
    [
        lambda: called(kl.Dropout(0.5)),
        lambda: called(called(called(kl.GaussianNoise(1.0)))),
        lambda: kl.TimeDistributed(kl.Dropout(0.5)),
        lambda: kl.TimeDistributed(kl.TimeDistributed(kl.Dropout(0.5))),
        lambda: ll.LipResidual([ll.SpectralConv2D(2, 3), kl.Dropout(0.5)]),
    ],
)
def test_what_is_given_the_mode_inside_of_others_is_refused(block, rng):
    x = rng.standard_normal((5, 4, 4, 2)).astype("float32")
    trains, alone = before(block()), called(block())
    with pytest.raises(NotCertifiable, match="Resizing.*training=False"):
        lipkit.lipschitz_bound(trains)
    # it is the resizing that trains it
    for model, low, high in ((trains, 0.1, np.inf), (alone, 0, 0)):
        at_inference = ops.convert_to_numpy(model(x, training=False))
        assert low <= np.abs(ops.convert_to_numpy(model(x)) - at_inference).max() <= high
    assert lipkit.lipschitz_bound(alone) == pytest.approx(1)


def test_a_resizing_inside_of_another_model_is_read():
    assert lipkit.lipschitz_bound(called(called(kl.Resizing(4, 4)))) == pytest.approx(1)


def test_layers_that_differ_in_training_are_refused(rng):
    for layer in (ll.SpectralDense(3, parametrization="stiefel"), ll.BatchCentering()):
        with pytest.raises(NotCertifiable, match=f"Resizing.*{layer.name}.*training=False"):
            lipkit.lipschitz_bound(before(kl.Flatten(), layer))

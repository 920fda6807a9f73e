"""Runs that stop and go on: the same weights as of a run that was never interrupted."""

import keras
import numpy as np
import pytest

import lipkit
from lipkit.data import BalancedBatches, moons

EPOCHS, STEPS = 4, 3


def network(cls):
    keras.utils.set_random_seed(1)
    model = cls([keras.Input((2,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), lipkit.losses.HKR(2, 0.3))
    return model


def batches():
    return BalancedBatches(*moons(200, seed=0), batch_size=16, steps=STEPS, seed=3)


def equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


class Stop(keras.callbacks.Callback):
    """Stops the process in the middle of an epoch."""

    def __init__(self, stop):
        super().__init__()
        self.stop, self.batch = stop, 0

    def on_train_batch_end(self, batch, logs=None):
        self.batch += 1
        if self.batch == self.stop:
            raise KeyboardInterrupt


def run(cls, folder=None, stop=None, same=None):
    """Weights, from a process that has nothing but the folder of an earlier one."""
    model, data = network(cls), same or batches()
    callbacks: list = [Stop(stop)]
    if folder:
        callbacks.append(keras.callbacks.BackupAndRestore(folder))
    plain = cls is keras.Sequential
    if plain:
        callbacks.append(data.follow())
    try:
        model.fit(data, epochs=EPOCHS, callbacks=callbacks, shuffle=not plain, verbose=0)
    except KeyboardInterrupt:
        return None
    return model.get_weights()


@pytest.mark.parametrize("cls", [lipkit.Sequential, keras.Sequential])
def test_interrupted_and_restored_is_uninterrupted(cls, tmp_path):
    expected = run(cls)
    assert run(cls, tmp_path, stop=2 * STEPS + 2) is None
    equal(run(cls, tmp_path), expected)


def test_resumed_with_the_same_data_set_and_by_initial_epoch(tmp_path):
    expected, data = run(lipkit.Sequential), batches()
    assert run(lipkit.Sequential, tmp_path, stop=STEPS + 1, same=data) is None
    data.on_epoch_end()  # whatever was drawn of it in between
    equal(run(lipkit.Sequential, tmp_path, same=data), expected)
    model = network(lipkit.Sequential)
    model.fit(batches(), None, None, 2, 0, [])
    model.fit(batches(), epochs=EPOCHS, initial_epoch=2, verbose=0)
    equal(model.get_weights(), expected)


def test_validation_draws_by_the_epoch_too():
    data, curve = batches(), []
    for first in (0, 2):
        model = network(lipkit.Sequential)
        model.optimizer.learning_rate = 0.0
        options = {"epochs": EPOCHS, "initial_epoch": first, "verbose": 0}
        history = model.fit(data, validation_data=batches(), **options).history
        curve.append(history["val_loss"])
    assert len(set(curve[0])) == EPOCHS and curve[1] == curve[0][2:]


def test_epochs_count_as_in_a_plain_fit_that_is_not_interrupted():
    drawn = []
    for model in (network(lipkit.Sequential), network(keras.Sequential)):
        model.fit(batches(), epochs=2, shuffle=False, verbose=0)
        drawn.append(model.get_weights())
    equal(*drawn)


def test_draws_do_not_depend_on_the_global_generators():
    expected, model = run(lipkit.Sequential), network(lipkit.Sequential)
    keras.utils.set_random_seed(99)
    model.fit(batches(), epochs=EPOCHS, verbose=0)
    equal(model.get_weights(), expected)

"""`train_further`: a trained model that goes on, in recipes and in estimators."""

import numpy as np
import pytest

from lipkit.recipes import train, train_further


def turned(n, angle=0.0, seed=0):
    """Two classes on two sides of a line that may turn, in raw units: x, y."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 3))
    return z * [100.0, 1.0, 1e-3] + 50, (np.cos(angle) * z[:, 0] + np.sin(angle) * z[:, 1] > 0) * 1


def right(trained, data):
    return trained.certify(*data).certified_accuracy(0)


@pytest.fixture(scope="module")
def line():
    return train(*turned(300), recipe="mlp", epochs=15)


def test_a_line_that_turns_is_followed(line):
    test = turned(500, angle=1.0, seed=1)
    assert right(line, test) < 0.75
    before = line.model.get_weights()
    found = train_further(line, *turned(300, angle=1.0, seed=2), epochs=40)
    assert right(found, test) > 0.9
    for ours, theirs in zip(line.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert found.settings == line.settings
    assert [len(t.history["loss"]) for t in (line, found)] == [15, 55]
    assert found.model.layers[0].scale == line.model.layers[0].scale
    test = found.certify(*test)
    assert test.certified.all() and test.certified_accuracy(line.settings["eps"]) > 0.6


def test_epochs_rates_and_weights(line):
    x, y = turned(64, angle=1.0, seed=2)
    again = train_further(line, x, y)
    assert len(again.history["loss"]) == 30  # as many as at first
    slow = train_further(line, x, y, epochs=1, learning_rate=1e-9)
    for ours, theirs in zip(slow.model.get_weights(), line.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    only = np.where(y == 0, 1.0, 0.0)
    ignorant = train_further(line, x, y, epochs=60, learning_rate=0.01, sample_weight=only)
    assert np.mean(ignorant.certify(x).label == 0) > 0.9
    stopped = train_further(line, x, y, epochs=200, early_stopping=True, patience=2)
    assert len(stopped.history["val_loss"]) < 200


def test_a_batch_may_be_one_sample_of_one_class(line):
    x, y = turned(1)
    assert len(train_further(line, x, y, epochs=2).history["loss"]) == 17


@pytest.mark.once
def test_several_classes_of_which_one_comes_later(rng):
    y = np.arange(300) % 3
    x = rng.standard_normal((300, 2)) + 5 * np.array([(0, 0), (1, 0), (0, 1)])[y]
    early = y < 2
    options = {"epochs": 40, "learning_rate": 0.1}
    trained = train(x[early], y[early], classes=3, recipe="linear", **options)
    assert trained.model.output_shape == (None, 3) and trained.settings["classes"] == 3
    assert right(train_further(trained, x, y, **options), (x, y)) > 0.85


@pytest.mark.once
def test_targets_in_raw_units(rng):
    x = rng.uniform(-1, 1, (300, 2))
    y, moved = 1e3 + 50 * x[:, 0], 1e3 + 50 * x[:, 1]
    trained = train(x, y, task="regression", recipe="mlp", epochs=15)

    def error(found, truth):
        return np.std(found.model.predict(x.astype("float32"), verbose=0)[:, 0] - truth)

    assert error(trained, y) < 5 < error(trained, moved)
    assert error(train_further(trained, x, moved, epochs=40, learning_rate=0.01), moved) < 8


@pytest.mark.once
def test_hkr_goes_on_with_its_margin(rng):
    x = rng.standard_normal((60, 8, 8, 1)) * 0.1
    x[:30, :4] += 1
    y = (np.arange(60) < 30).astype(int)
    trained = train(x, y, recipe="cnn", epochs=5)
    found = train_further(trained, x, y, epochs=5)
    assert right(found, (x, y)) > 0.9


@pytest.mark.once
@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.zeros((4, 2)), [0, 1, 0, 1], {}, r"`x` must have shape \('n', 3\).*\(4, 2\)"),
        (np.zeros((0, 3)), [], {}, r"`x` must have shape \('n', 3\), n >= 1"),
        (np.zeros((2, 3)), [0, 2], {}, "`y` must hold integers from 0 to 1.*0 to 2"),
        (np.zeros((2, 3)), [0.5, 1], {}, "`y` must hold integers from 0 to 1"),
        (np.zeros((2, 3)), [0, 1], {"epochs": 0}, "`epochs` must be"),
        (np.zeros((2, 3)), [0, 1], {"seed": -1}, "`seed` must be"),
    ],
)
def test_what_is_refused(line, x, y, options, message):
    with pytest.raises(ValueError, match=message):
        train_further(line, x, y, **options)


@pytest.mark.once
def test_classes_that_are_counted():
    x, y = turned(20)
    with pytest.raises(ValueError, match="`y` must hold integers from 0 to 1"):
        train(x, y + 1, classes=2)
    with pytest.raises(ValueError, match="`classes` applies only to task='classification'"):
        train(x, y, classes=2, task="regression")

"""Early stopping: of candidates side by side, of one network, and in the command."""

import json

import keras
import numpy as np
import pytest
from test_cli import invoke

from lipkit import recipes
from lipkit.recipes import kept, train
from lipkit.recipes.stopping import BestOfEach


def noise(n=90, seed=0):
    """Nothing to learn, so that more epochs are worse: x, y."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 4)), rng.permutation(np.arange(n) % 2)


class Scripted(keras.callbacks.Callback):
    """A model of two candidates whose weights are the number of the epoch, and given losses."""

    def __init__(self, losses):
        super().__init__()
        self.weights, self.stop_training, self.losses = np.zeros((2, 3)), False, losses

    def get_weights(self):
        return [self.weights]

    def set_weights(self, weights):
        (self.weights,) = weights

    def fit(self, stop):
        stop.set_model(self)
        stop.on_train_begin()
        for epoch, losses in enumerate(self.losses):
            self.weights = np.full((2, 3), epoch)
            stop.on_epoch_end(epoch, logs := {"loss": 0.0})
            assert logs["val_loss"] == np.mean(losses)
            if self.stop_training:
                break
        stop.on_train_end()
        return epoch


def test_each_candidate_gets_its_best_epoch():
    losses = [(3, 3), (2, 4), (3, 2), (3, 3), (3, 2), (0, 0)]
    model = Scripted(losses)
    told = iter(np.array(losses, float))
    assert model.fit(BestOfEach(2, lambda: next(told))) == 4
    np.testing.assert_array_equal(model.weights, [[1] * 3, [2] * 3])
    with pytest.raises(StopIteration):  # nobody asked for more
        [next(told), next(told)]


def test_a_search_that_overfits_stops_and_is_better(monkeypatch):
    x, y = noise()
    options = {"recipe": "mlp", "epochs": 60, "seed": 1}
    stopped = train(x, y, early_stopping=True, patience=3, **options)
    assert 4 <= len(stopped.history["val_loss"]) == len(stopped.history["loss"]) < 60
    assert stopped.settings["patience"] == 3 and stopped.settings["epochs"] == 60
    whole = train(x, y, **options)
    assert whole.settings["patience"] is None and len(whole.history["loss"]) == 60
    assert "val_loss" not in whole.history


@pytest.mark.parametrize("classes", [2, 3])
def test_the_losses_are_those_of_training(classes, rng):
    """On rows left out, with weights, against a training whose rows they are."""
    x, y = rng.standard_normal((60, 3)), np.arange(60) % classes
    weights = rng.uniform(0.5, 2, 60)
    seen = {}

    class Look(BestOfEach):
        def on_epoch_end(self, epoch, logs=None):
            seen["search"], seen["losses"] = self._judged, self._judged()
            super().on_epoch_end(epoch, logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lipkit.recipes.searched.BestOfEach", Look)
        options = {"epochs": 1, "early_stopping": True, "sample_weight": weights}
        train(x, y, recipe="linear", **options)
    search, (stack,) = seen["search"].func.__self__, seen["search"].args
    total, count = np.zeros(len(stack.scales)), 0
    for part, rows in search.left_out:
        w = search.weights[rows]
        f = stack.values(search.scaled(rows), part) * stack.scales[:, None, None]
        f = np.concatenate([np.zeros_like(f), f], axis=-1) if classes == 2 else f
        f = f - f.max(axis=-1, keepdims=True)
        log_p = f - np.log(np.exp(f).sum(axis=-1, keepdims=True))
        total += (-log_p[:, np.arange(len(rows)), y[rows]]) @ w
        count += w.sum()
    np.testing.assert_allclose(seen["losses"], total / count, rtol=1e-4)


@pytest.mark.once
def test_other_networks_leave_rows_out(rng):
    x = rng.standard_normal((40, 8, 8, 1))
    y = rng.permutation(np.arange(40) % 2)
    options = {"recipe": "cnn", "epochs": 30, "early_stopping": True, "patience": 1}
    found = train(x, y, validation_fraction=0.25, **options)
    assert 2 <= len(found.history["val_loss"]) < 30
    with pytest.raises(ValueError, match="needs samples to leave out: 2 of a class"):
        train(x[:2], [0, 1], **options)
    with pytest.raises(ValueError, match="`patience` must be an integer >= 1"):
        train(x, y, patience=0)


def test_a_search_that_stops_early_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "EVERY", 0.0)
    x, y = noise()

    class Stop(keras.callbacks.Callback):
        def __init__(self, left):
            super().__init__()
            self.left = left

        def on_epoch_begin(self, epoch, logs=None):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    def found(folder, left):
        stages = recipes.Stages(folder)
        options = {"recipe": "mlp", "epochs": 40, "early_stopping": True, "patience": 2}
        return train(x, y, callbacks=[Stop(left)], stages=stages, **options)

    whole = found(None, -1)
    with pytest.raises(KeyboardInterrupt):
        found(tmp_path / "states", 4)
    again = found(tmp_path / "states", -1)
    assert again.history == whole.history
    for ours, theirs in zip(again.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.once
def test_the_command(tmp_path):
    x, y = noise()
    np.savez(tmp_path / "d.npz", x=x, y=y)
    command = ["train", tmp_path / "d.npz", "--recipe", "mlp", "--epochs", 60, "--patience", 2]
    command += ["--out", tmp_path / "run", "--json"]
    result = invoke(*command)
    assert result.exit_code == 2 and "--early-stopping" in result.stderr
    info = json.loads(invoke(*command, "--early-stopping").stdout)
    assert info["settings"]["patience"] == 2 and len(info["history"]["val_loss"]) < 60

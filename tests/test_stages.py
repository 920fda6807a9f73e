"""Trainings that end in the middle, by Ctrl-C or for good, and those that go on."""

import json
import random
import signal
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from test_cli import invoke

import lipkit
from lipkit import recipes, runs
from lipkit.recipes import kept
from lipkit.recipes.batches import Shuffled

EPOCHS, STEPS = 6, 4
TRAIN = {"recipe": "mlp", "epochs": EPOCHS, "eps": 0.1}


@pytest.fixture(autouse=True)
def _each_epoch(monkeypatch):
    """Keep the state after each epoch."""
    monkeypatch.setattr(kept, "EVERY", 0.0)


@pytest.fixture
def data(tmp_path, rng):
    x = rng.normal(size=(640, 2))
    np.savez(tmp_path / "d.npz", x=x, y=x[:, 0] > 0.3)  # 512 to train on: 4 batches
    return tmp_path / "d.npz"


def weights(out):
    return keras.models.load_model(out / "lipkit.keras").get_weights()


def equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


KILLED = """
import os, signal, sys
import keras
from lipkit import runs
from lipkit.recipes import kept

kept.EVERY = 0.0

class Kill(keras.callbacks.Callback):
    left = int(sys.argv[1])

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

runs.train("d.npz", "killed", callbacks=[Kill()], **TRAIN)
"""


def test_killed_and_resumed_is_uninterrupted(data, tmp_path, python):
    """Both weights and history: nothing but the folder of states outlives a SIGKILL."""
    whole = runs.train(data, tmp_path / "whole", **TRAIN)
    batch = random.SystemRandom().randrange(STEPS + 1, EPOCHS * STEPS + 1)
    code = KILLED.replace("**TRAIN", f"**{TRAIN}")
    result = python(code, batch, KERAS_BACKEND=keras.backend.backend())
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert not (tmp_path / "killed").exists() and (tmp_path / "killed.unfinished").is_dir()
    resumed = runs.train(data, tmp_path / "killed", resume=True, **TRAIN)
    assert resumed.info.history == whole.info.history, batch
    equal(weights(tmp_path / "killed"), weights(tmp_path / "whole"))
    assert {path.name for path in tmp_path.glob("*killed*")} == {"killed"}


class Stop(keras.callbacks.Callback):
    """Ends at the n-th batch, or end of a fit."""

    def __init__(self, stop):
        super().__init__()
        self.left = stop

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def on_train_end(self, logs=None):
        self.on_train_batch_end(0)


def searched(folder=None, stop=0):
    """What two fits give, of which the first stops early, and the number of batches and ends."""
    rng, stages = np.random.default_rng(0), recipes.Stages(folder)
    x, y = rng.normal(size=(64, 2)), rng.integers(2, size=64)  # nothing to learn
    found, stopper = [], Stop(stop)
    for margin in (0.1, 0.3):
        keras.utils.set_random_seed(1)
        layers = [keras.Input((2,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]
        model = lipkit.Sequential(layers)
        model.compile(keras.optimizers.Adam(0.1), lipkit.losses.HKR(2, margin))
        early = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
        options = {"validation_data": (x[:16] + 0.5, y[:16]), "shuffle": False, "verbose": 0}
        batches = Shuffled((x, y), 16, 0)
        found.append(stages.fit(model, batches, epochs=8, callbacks=[early, stopper], **options))
        found.append(model.get_weights())
    return found, -stopper.left, stages


def test_fits_that_stop_early_go_on_with_what_was_best(tmp_path):
    (first, w1, second, w2), events, _ = searched()
    assert 2 < len(first["loss"]) < 8, "the first is to stop early, and not at once"
    end = len(first["loss"]) * STEPS + 1  # of the first fit, which is to bring back its best
    for stop in (end - 2, end, random.SystemRandom().randrange(end + 1, events + 1)):
        folder = tmp_path / str(stop)
        with pytest.raises(KeyboardInterrupt):
            searched(folder, stop)
        (again, v1, last, v2), _, stages = searched(folder)
        assert (again, last) == (first, second), stop
        equal(v1 + v2, w1 + w2)
        assert 0 < stages.earlier <= stages.seconds


def press(times, monkeypatch):
    """Press Ctrl-C in the second epoch."""

    class Presses(keras.callbacks.Callback):
        def __init__(self, *_):
            super().__init__()
            self.left = STEPS + 2

        def on_train_batch_end(self, batch, logs=None):
            self.left -= 1
            if not self.left:
                for _ in range(times):
                    signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("lipkit_command.progress.Epochs", Presses)


def test_ctrl_c_keeps_the_model_of_the_epoch(data, tmp_path, handler, monkeypatch):
    handler(signal.default_int_handler)
    runs.train(data, tmp_path / "whole", **TRAIN)
    press(1, monkeypatch)
    command = ["train", data, "--recipe", "mlp", "--eps", 0.1, "--epochs", EPOCHS, "--out"]
    result = invoke(*command, tmp_path / "run", "--json")
    assert result.exit_code == 130
    note, line = result.stderr.splitlines()
    assert "ends after this epoch" in note and line == "lipkit: interrupted"
    info = json.loads(result.stdout)
    assert info["settings"]["interrupted"] and len(info["history"]["loss"]) == 2
    full = runs.read(tmp_path / "whole").info
    assert info["history"]["loss"] == full.history["loss"][:2]
    assert not full.settings["interrupted"]
    run = runs.read(tmp_path / "run")  # checks the files, and proves the bound anew
    assert len(run.certificates) == 128 and run.certificates.certified.any()
    assert {path.name for path in tmp_path.iterdir()} == {"d.npz", "run", "whole"}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_breaks_off_and_resume_goes_on(data, tmp_path, handler, monkeypatch):
    handler(signal.default_int_handler)
    press(2, monkeypatch)
    command = ["train", data, "--recipe", "mlp", "--eps", 0.1, "--epochs", EPOCHS, "--out"]
    command.append(tmp_path / "run")
    result = invoke(*command)
    assert result.exit_code == 130 and result.stderr == "lipkit: interrupted\n"
    assert {path.name for path in tmp_path.iterdir()} == {"d.npz", "run.unfinished"}
    monkeypatch.undo()
    assert "--resume" in invoke(*command).stderr
    changed = invoke(*command, "--resume", "--seed", 1).stderr
    assert "seed was 0, is 1" in changed and "data" not in changed.partition("training:")[2]
    assert invoke(*command, "--resume").exit_code == 0
    assert len(runs.read(tmp_path / "run").info.history["loss"]) == EPOCHS
    assert {path.name for path in tmp_path.iterdir()} == {"d.npz", "run"}


@pytest.mark.once
def test_what_is_unfinished_is_of_the_same_data_and_may_be_damaged(data, tmp_path, caplog):
    def broken(*_):
        raise RuntimeError

    out, stop = tmp_path / "run", keras.callbacks.LambdaCallback(on_train_end=broken)
    with pytest.raises(RuntimeError):
        runs.train(data, out, callbacks=[stop], **TRAIN)
    (state,) = (tmp_path / "run.unfinished").glob("*.npz")
    with np.load(data) as file:
        np.savez(tmp_path / "other.npz", x=file["x"] + 1, y=file["y"])
    with pytest.raises(ValueError, match="of another training: data was '"):
        runs.train(tmp_path / "other.npz", out, resume=True, **TRAIN)
    state.write_bytes(state.read_bytes()[:999])
    runs.train(data, out, resume=True, **TRAIN)
    assert "this part of the training begins anew" in caplog.text
    assert len(runs.read(out).info.history["loss"]) == EPOCHS
    with pytest.raises(RuntimeError):
        runs.train(data, out, overwrite=True, callbacks=[stop], **TRAIN)
    with pytest.raises(ValueError, match="did not end.*--resume.*--overwrite"):
        runs.train(data, out, **TRAIN)
    (tmp_path / "run.unfinished" / "thesis.txt").write_text("mine")
    runs.train(tmp_path / "other.npz", out, overwrite=True, **TRAIN)
    assert [path.name for path in (tmp_path / "run.unfinished").iterdir()] == ["thesis.txt"]


@pytest.mark.once
@pytest.mark.parametrize(("epochs", "first"), [(5, 0), (100, 0), (1000, 0), (1050, 700)])
def test_lines_without_a_terminal(epochs, first, capsys):
    from lipkit_command.progress import Epochs

    progress, name = Epochs(), "" if first else "search 2 of 3, mlp  "
    progress.set_model(SimpleNamespace(title=name.strip()))
    progress.set_params({"epochs": epochs, "steps": 2})
    progress.on_train_begin()
    for epoch in range(first, epochs):
        progress.on_epoch_begin(epoch)
        progress.on_train_batch_end(0)
        progress.on_epoch_end(epoch, {"loss": 0.25, "accuracy": 0.5})
    progress.on_train_end()
    out, err = capsys.readouterr()
    lines = err.rstrip().splitlines()  # old versions of rich end with an empty one
    assert out == "" and len(lines) == {5: 5, 100: 100, 1000: 101, 1050: 36}[epochs]
    assert lines[-1] == f"{name}epoch {epochs}/{epochs}  accuracy 0.5000  loss 0.2500  0 s left"

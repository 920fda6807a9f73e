import json
import re

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from lipkit import _demo as demo
from lipkit import plots
from lipkit.data import BalancedBatches, circles, moons
from lipkit.layers import FrobeniusDense, FullSort, SpectralDense
from lipkit.models import Sequential
from lipkit_command.commands import app


@pytest.mark.parametrize("make", [moons, circles])
def test_toy_data(make):
    x, y = make(1001, noise=0.02, seed=3)
    assert x.shape == (1001, 2) and y.shape == (1001,) and x.dtype == y.dtype == np.float32
    assert sorted(np.unique(y, return_counts=True)[1].tolist()) == [500, 501]
    np.testing.assert_array_equal(make(1001, noise=0.02, seed=3)[0], x)
    assert np.abs(make(1001, noise=0.02, seed=4)[0] - x).max() > 0.1


def test_toy_data_agrees_with_scikit_learn():
    from sklearn.datasets import make_circles, make_moons

    for ours, theirs in (
        (moons(100, noise=0), make_moons(100, noise=0)),
        (circles(100, noise=0), make_circles(100, noise=0, factor=0.4)),
    ):
        for sign, label in ((1, 0), (-1, 1)):
            a, b = ours[0][ours[1] == sign], theirs[0][theirs[1] == label]
            a, b = (p[np.lexsort(p.round(4).T)] for p in (a, b))
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_balanced_batches():
    x, y = moons(500, seed=0)
    batches = BalancedBatches(x, y, 64, steps=3, seed=1)
    assert len(batches) == 3
    for _ in range(2):
        assert (batches[0][1] > 0).sum() == 32 and batches[0][0].shape == (64, 2)
    first = batches[0][0]
    np.testing.assert_array_equal(first, BalancedBatches(x, y, 64, seed=1)[0][0])
    assert np.abs(first - batches[1][0]).max() > 0
    batches.on_epoch_end()
    assert np.abs(first - batches[0][0]).max() > 0


@pytest.mark.once
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: moons(1), "`n_samples` must be an integer >= 2.*=1"),
        (lambda: moons(10, noise=-1), "`noise` must be.*-1"),
        (lambda: circles(10, factor=2), "`factor` must be a number in.*2"),
        (lambda: BalancedBatches(np.ones((4, 2)), np.ones(4)), "Both classes.*1.0"),
        (lambda: BalancedBatches(np.ones((4, 2)), np.ones(3)), "one row and one label"),
        (lambda: BalancedBatches(*moons(10), batch_size=3), "`batch_size` must be even.*3"),
        (
            lambda: BalancedBatches(*moons(10), batch_size=0),
            "`batch_size` must be an integer >= 2.*0",
        ),
        (lambda: BalancedBatches(*moons(10), steps=0), "`steps` must be.*0"),
    ],
)
def test_bad_data_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_toy_data_takes_numbers_of_numpy():
    x, y = moons(np.int64(20), noise=np.float32(0.1))
    assert len(BalancedBatches(x, y, batch_size=np.int32(4), steps=np.int64(2))) == 2


def test_plots_return_axes_and_show_the_zero_level():
    import matplotlib.pyplot as plt

    x, y = moons(200, seed=0)
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
    ax = plots.decision_function(model, x, y, resolution=31)
    stressed = [c for c in ax.collections if list(getattr(c, "levels", [])) == [0.0]]
    assert len(stressed) == 1
    for path in stressed[0].get_paths():  # x1 + x2 = 0
        np.testing.assert_allclose(path.vertices.sum(axis=1), 0, atol=1e-5)
    axes = plt.figure().add_subplot()
    assert plots.scatter(x, y, axes) is axes
    assert plots.decision_surface(model, x, y, resolution=11).name == "3d"
    with pytest.raises(ValueError, match="`ax` must be a 3-D Axes"):
        plots.decision_surface(model, x, y, axes)
    with pytest.raises(ValueError, match=r"points x of shape.*\(5, 3\)"):
        plots.scatter(np.ones((5, 3)), np.ones(5))
    plt.close("all")


@pytest.fixture
def small_network(monkeypatch):
    """In the place of the experiment's, whose sorts JAX compiles for half a minute."""

    def network(parametrization):
        hidden = [SpectralDense(16, parametrization=parametrization), FullSort()]
        return Sequential([keras.Input((2,)), *hidden, FrobeniusDense(1)])

    monkeypatch.setattr(demo, "network", network)


@pytest.mark.usefixtures("small_network")
def test_command_writes_everything(tmp_path):
    arguments = ["demo", "circles", "--epochs", "1", "--samples", "300", "--out", str(tmp_path)]
    arguments += ["--alpha", "inf", "--backend", keras.backend.backend()]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {
        "data.png",
        "model.png",
        "export.png",
        "surface.png",
        "model.keras",
        "export.keras",
        "metrics.json",
    }
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["backend"] == keras.backend.backend()
    assert metrics["settings"]["alpha"] == "inf"
    assert metrics["export_max_difference"] <= 1e-5
    assert set(metrics["final"]) == {"loss", "KR", "HingeMargin", "accuracy"}
    x = circles(300, seed=1)[0]
    a, b = (
        keras.models.load_model(tmp_path / f"{n}.keras").predict(x, verbose=0)
        for n in ("model", "export")
    )
    np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "0"],
        ["--epochs", "x"],
        ["--batch-size", "7"],
        ["--alpha", "-1"],
        ["--alpha", "nan"],
        ["--min-margin", "0"],
        ["--noise", "-0.1"],
        ["--noise", "inf"],
        ["--samples", "1"],
        ["--seed", "-1"],
        ["--noise", "1e20"],
        ["--noise", "nan"],
        ["--backend", "mxnet"],
        ["squares"],
    ],
)
def test_bad_values_exit_with_2(arguments, tmp_path):
    result = CliRunner().invoke(app, ["demo", *arguments, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert arguments[0].strip("-") in result.output or "squares" in result.output
    assert not list(tmp_path.iterdir())


def test_unwritable_folder_fails_before_training(tmp_path, monkeypatch):
    def train(*_):
        raise AssertionError("trained before the folder was checked")

    monkeypatch.setattr(demo, "train", train)
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "file" / "sub")])
    assert result.exit_code == 2 and "Cannot write to" in result.output


@pytest.mark.usefixtures("small_network")
def test_infinite_results_end_in_one_line_and_no_file(tmp_path):
    arguments = ["--min-margin", "1e30", "--alpha", "1e30", "--epochs", "1", "--samples", "300"]
    result = CliRunner().invoke(app, ["demo", *arguments, "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr == (
        "lipkit: the training gave infinite or undefined values; nothing was written\n"
    )
    assert not list(tmp_path.iterdir())


COMMAND = "import lipkit_command; lipkit_command.main()"


@pytest.mark.once
def test_command_runs_on_the_backend_asked_for(python, tmp_path):  # slow: the whole network
    other = {"jax": "torch", "torch": "tensorflow", "tensorflow": "jax"}[keras.backend.backend()]
    arguments = ["demo", "--epochs", "1", "--samples", "300", "--out", tmp_path / "out"]
    result = python(COMMAND, *arguments, "--backend", other)
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["backend"] == other


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (
            ["--backend", "tensorflow"],
            {"KERAS_BACKEND": "jax"},
            "'--backend': tensorflow is not installed: pip install 'lipkit.tensorflow.'",
        ),
        ([], {"KERAS_BACKEND": "tensorflow"}, "'tensorflow', .*KERAS_BACKEND, is not installed"),
        ([], {"KERAS_BACKEND": "theano"}, "Unknown Keras backend 'theano'"),
    ],
)
def test_command_without_the_backend_says_so_in_one_line(python, arguments, environment, message):
    result = python(COMMAND, "demo", *arguments, hidden=("tensorflow",), **environment)
    assert result.returncode == 2
    assert re.fullmatch(f"lipkit: .*{message}.*\n", result.stderr), result.stderr


def test_defaults_of_the_command_are_those_of_the_experiment(monkeypatch, tmp_path):
    class Stop(Exception):
        pass

    def train(settings, _):
        assert settings == demo.Settings()
        raise Stop

    monkeypatch.setattr(demo, "train", train)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert isinstance(result.exception, Stop)

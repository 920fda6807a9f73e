"""The command line, from a data file to certificates, and what it says about bad input."""

import csv
import json
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pandas
import pytest
from typer.testing import CliRunner

import lipkit
from lipkit import recipes
from lipkit.certifier import Certificates
from lipkit_command.commands import app

CLASSES = ("benign", "malignant")


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments):
    """The JSON that a command printed."""
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def line_of(result, status):
    """The one line that a command said."""
    assert result.exit_code == status, result.output
    assert result.stdout == "" and result.stderr.count("\n") == 1, result.output
    assert result.stderr.startswith("lipkit: ")
    return result.stderr


@pytest.fixture(scope="session")
def cancer(tmp_path_factory):
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    frame = data.data.assign(diagnosis=[data.target_names[i] for i in data.target])
    path = tmp_path_factory.mktemp("data") / "cancer.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def trained(cancer, tmp_path_factory):
    """The folder of a run and what `lipkit train` printed."""
    folder = tmp_path_factory.mktemp("runs") / "cancer"
    options = ["--target", "diagnosis", "--epochs", 5, "--seed", 1, "--out", folder]
    options += ["--feature-weights", "none"]  # radii are those of the model alone
    return folder, done("train", cancer, *options)


def test_train_writes_a_run(cancer, trained):
    folder, printed = trained
    names = {"model.keras", "lipkit.keras", "test.npz", "certificates.json", "run.json"}
    names |= {"manifest.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert not [path for path in folder.parent.iterdir() if path != folder]
    run = json.loads((folder / "run.json").read_text())
    assert run.items() <= printed.items()
    assert run["lipkit"] == lipkit.__version__ and run["backend"] == keras.backend.backend()
    assert run["classes"] == list(CLASSES) and run["split"] == {"train": 456, "test": 113}
    assert run["data"]["rows"] == 569 and run["data"]["kind"] == "table"
    assert run["data"]["target"] == "diagnosis" and run["data"]["image_shape"] is None
    frame = pandas.read_csv(cancer)
    assert run["data"]["features"] == list(frame.columns[:-1])
    with np.load(folder / "test.npz") as test:
        x, y = test["x"], test["y"]
    assert x.shape == (113, 30) and x.dtype == np.float64 and y.dtype == np.int64
    truth = frame.set_index(frame.iloc[:, 0]).diagnosis  # by the first column
    assert all(
        CLASSES[label] in truth.loc[[key]].values for key, label in zip(x[:, 0], y, strict=True)
    )
    assert np.isin(x, frame.iloc[:, :-1]).all()  # raw units


def test_what_train_says_is_what_the_certifier_proves(trained):
    folder, printed = trained
    model = keras.models.load_model(folder / "model.keras")
    assert not any(type(layer).__module__.startswith("lipkit") for layer in model.layers)
    with np.load(folder / "test.npz") as test:
        x, y = test["x"], test["y"]
    result = lipkit.certify(model, x, y)
    saved = lipkit.certifier.Certificates.load(folder / "certificates.json")
    np.testing.assert_allclose(saved.radius, result.radius, rtol=1e-9)
    np.testing.assert_array_equal(saved.y, y)
    assert printed["lipschitz_bound"] == pytest.approx(float(lipkit.lipschitz_bound(model)))
    outputs = model.predict(x, verbose=0)[:, 0]
    assert printed["accuracy"] == np.mean((outputs > 0) == y) > 0.8
    recalls = [np.mean((outputs > 0)[y == label] == label) for label in (0, 1)]
    assert printed["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    eps = printed["eps"]
    assert eps == printed["settings"]["eps"] > 0
    expected = np.mean((np.abs(outputs) / printed["lipschitz_bound"] >= eps) & ((outputs > 0) == y))
    assert printed["certified_accuracy"] >= expected - 1e-9  # of the joint bound
    assert printed["median_radius"] == np.median(result.radius)
    ours = keras.models.load_model(folder / "lipkit.keras")
    np.testing.assert_allclose(ours.predict(x, verbose=0)[:, 0], outputs, atol=1e-3)


def test_text_says_the_same(trained, cancer):
    folder, printed = trained
    text = invoke("bound", folder).stdout
    assert f"{printed['lipschitz_bound']:.9g}"[:8] in text and "scaler" in text
    text = invoke("certify", folder, folder / "test.npz").stdout
    assert "113 of 113 certified (real)" in text and "certified accuracy" in text
    assert f"{printed['accuracy']:.4f}" in text


def test_certify_encodes_a_new_table_as_in_training(trained, cancer, tmp_path):
    folder, _ = trained
    frame = pandas.read_csv(cancer)
    shuffled = frame[list(reversed(frame.columns))].assign(note="x")
    shuffled.head(50).to_csv(tmp_path / "new.csv", index=False)
    out = done("certify", folder, tmp_path / "new.csv", "--eps", 0.01, "--out", tmp_path / "r.csv")
    model = keras.models.load_model(folder / "model.keras")
    x = frame.iloc[:50, :-1].to_numpy()
    result = lipkit.certify(model, x, (frame.diagnosis[:50] == "malignant").astype(int))
    assert out["inputs"] == 50 and out["certified"] == np.sum(result.status == "certified")
    assert out["accuracy"] == np.mean(result.label == result.y)
    assert out["shares"] == [[e, result.certified_accuracy(e)] for e in (0.0, 0.01)]
    with (tmp_path / "r.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [CLASSES[label] for label in result.label]
    np.testing.assert_allclose([float(row["radius"]) for row in rows], result.radius, rtol=1e-9)
    again = invoke("certify", folder, tmp_path / "new.csv", "--out", tmp_path / "r.csv")
    assert "exists" in line_of(again, 2)
    frame.iloc[:9, :-1].to_csv(tmp_path / "unlabelled.csv", index=False)
    out = done("certify", folder, tmp_path / "unlabelled.csv", "--out", tmp_path / "r.json")
    assert out["accuracy"] is None and out["shares"][0] == [0.0, 1.0]
    assert len(lipkit.certifier.Certificates.load(tmp_path / "r.json")) == 9


def test_require_fails_a_check(trained):
    folder, printed = trained
    arguments = ["certify", folder, folder / "test.npz", "--eps", printed["eps"], "--require"]
    reached = printed["certified_accuracy"]
    assert invoke(*arguments, reached - 1e-6).exit_code == 0
    assert invoke(*arguments, reached + 1e-6).exit_code == 1
    assert "--eps" in line_of(invoke("certify", folder, folder / "test.npz", "--require", 0.5), 2)


def test_attack_breaks_nothing_and_tells_when_it_does(trained, monkeypatch):
    folder, _ = trained
    out = done("attack", folder, folder / "test.npz", "--rows", 30, "--steps", 5)
    assert out["inputs"] == out["attacked"] == 30 and out["broken"] == 0
    falsify = lipkit.attacks.falsify

    def stronger(model, x, certificates, **kwargs):  # radii that claim too much
        return falsify(model, x, certificates, scale=1000, **kwargs)

    monkeypatch.setattr(lipkit.attacks, "falsify", stronger)
    result = invoke("attack", folder, folder / "test.npz", "--rows", 30, "--steps", 5)
    assert result.exit_code == 1 and "broken" in result.stdout


def test_export_keras(trained, tmp_path):
    folder, _ = trained
    done("export", folder, "--to", "keras", "--out", tmp_path / "m.keras")
    x = np.load(folder / "test.npz")["x"]
    a, b = (
        keras.models.load_model(path).predict(x, verbose=0)
        for path in (tmp_path / "m.keras", folder / "model.keras")
    )
    np.testing.assert_array_equal(a, b)
    again = ["export", folder, "--to", "keras", "--out", tmp_path / "m.keras"]
    assert "exists" in line_of(invoke(*again), 2)
    assert invoke(*again, "--overwrite").exit_code == 0
    assert "end in .onnx" in line_of(invoke("export", folder, "--to", "onnx", "--out", "m"), 2)


def test_what_the_backend_cannot_export_is_one_line(trained, tmp_path, monkeypatch):
    def export(*_, **__):
        raise RuntimeError("no converter\nand a long story")

    monkeypatch.setattr(keras.Model, "export", export)
    for to, name in (("saved_model", "served"), ("litert", "m.tflite")):
        result = invoke("export", trained[0], "--to", to, "--out", tmp_path / name)
        line = line_of(result, 2)
        assert f"{to} on the backend {keras.backend.backend()}: no converter\n" in line
    assert not list(tmp_path.iterdir())


@pytest.fixture
def plain(tmp_path, rng):
    """A model that lipkit has not trained, and data for it."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.save(tmp_path / "m.keras")
    x = rng.normal(size=(20, 3)).astype("float32")
    y = model.predict(x, verbose=0).argmax(axis=1)
    frame = pandas.DataFrame(x, columns=list("abc")).assign(y=y)
    frame.to_csv(tmp_path / "d.csv", index=False)
    return tmp_path


def test_models_of_anybody(plain):
    out = done("certify", plain / "m.keras", plain / "d.csv", "--target", "y")
    assert out["accuracy"] == 1.0 and out["certified"] == 20
    kernel = keras.models.load_model(plain / "m.keras").layers[-1].get_weights()[0]
    bound = done("bound", plain / "m.keras")["lipschitz_bound"]
    np.testing.assert_allclose(bound, np.linalg.norm(kernel, 2), rtol=1e-6)
    # labels are the model's own numbers, also if some do not occur
    frame = pandas.read_csv(plain / "d.csv")
    frame[frame.y == frame.y.max()].to_csv(plain / "few.csv", index=False)
    out = done("certify", plain / "m.keras", plain / "few.csv", "--target", "y")
    assert out["accuracy"] == 1.0


def test_an_exported_file_is_read_with_its_run(trained, cancer):
    folder, _ = trained
    arguments = ["certify", folder / "model.keras", cancer, "--target", "diagnosis"]
    assert "--run" in line_of(invoke(*arguments), 2)
    alone = done(*arguments, "--run", folder)
    ours = done("certify", folder, cancer)
    assert alone == {**ours, "model": alone["model"], "sha256": alone["sha256"]} != ours


class Mine(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def unknown_layer(path):
    keras.Sequential([keras.Input((3,)), Mine(name="mine"), keras.layers.Dense(1)]).save(path)
    return "'mine' (Mine)"


def no_rule(path):
    layers = [keras.Input((3, 2)), keras.layers.LSTM(2, name="memory")]
    keras.Sequential(layers).save(path)
    return "'memory'"


def code_in_a_lambda(path):
    layers = [keras.Input((3,)), keras.layers.Lambda(lambda x: 2 * x, name="mine")]
    keras.Sequential([*layers, keras.layers.Dense(1)]).save(path)
    return "'mine' (Lambda)"


@pytest.mark.parametrize(
    ("make", "suffix"),
    [(make, suffix) for make in (unknown_layer, code_in_a_lambda) for suffix in ("keras", "h5")]
    + [(no_rule, "keras")],
)
def test_a_layer_without_a_proof_is_named(make, suffix, tmp_path):
    name = make(tmp_path / f"m.{suffix}")
    line = line_of(invoke("bound", tmp_path / f"m.{suffix}"), 1)
    assert line.startswith("lipkit: not certified: ") and name in line


def cut_off(path):
    path.write_bytes(path.read_bytes()[:1000])


def emptied(path):
    path.write_bytes(b"")


def without_weights(path):
    import zipfile

    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist() if "weights" not in name}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)


@pytest.mark.parametrize("damage", [cut_off, emptied, without_weights])
def test_damaged_models_are_one_line(damage, plain):
    damage(plain / "m.keras")
    assert "is not a readable Keras model" in line_of(invoke("bound", plain / "m.keras"), 2)


@pytest.mark.parametrize("damage", ["no JSON", "no object", "data", "settings", "feature_weights"])
def test_a_damaged_run_is_one_line(damage, cancer, trained, tmp_path):
    """Without what run.json says of columns and distances, certificates would be of other ones."""
    shutil.copytree(trained[0], tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()  # as in a run of an older version
    path = tmp_path / "run" / "run.json"
    run = json.loads(path.read_text())
    if damage == "feature_weights":
        del run["settings"][damage]
    texts = {"no JSON": path.read_text()[:99], "no object": "[]"}
    rest = {key: value for key, value in run.items() if key != damage}
    path.write_text(texts.get(damage, json.dumps(rest)))
    problem = {"no JSON": "cannot be read", "no object": "JSON object"}.get(damage, repr(damage))
    result = invoke("certify", tmp_path / "run", cancer)
    note, line = result.stderr.splitlines()
    assert result.exit_code == 2 and "has no manifest.json" in note
    assert str(path) in line and problem in line


def test_models_that_are_none(tmp_path, plain):
    assert "no file or folder" in line_of(invoke("bound", tmp_path / "none.keras"), 2)
    assert "is not a model" in line_of(invoke("bound", plain / "d.csv"), 2)
    assert "run.json is missing" in line_of(invoke("bound", tmp_path), 2)
    assert "28,28,1" in line_of(invoke("bound", plain / "m.keras", "--input-shape", "a"), 2)


def test_data_of_another_shape(plain):
    line = line_of(invoke("certify", plain / "m.keras", plain / "d.csv"), 2)  # y is a column
    assert "does not fit the model: wrong shape: expected ('batch', 3), got (20, 4)" in line
    text = "a,b,c,y\n1,2,3,x\n"
    (plain / "t.csv").write_text(text)
    line = line_of(invoke("certify", plain / "m.keras", plain / "t.csv", "--target", "y"), 2)
    assert "the classes are text" in line
    line = line_of(invoke("certify", plain / "m.keras", plain / "t.csv"), 2)
    assert "column 'y' holds text" in line


BAD_DATA = {
    "one class": ("a,y\n1,u\n2,u\n", "has only one class, 'u'"),
    "one row": ("a,y\n1,u\n", "has only one class, 'u'"),
    "one row of a class": ("a,y\n1,u\n2,u\n3,v\n", "Class 'v' has one row"),
    "missing cells": ("a,y\n1,u\n,v\n", "missing values in a (1, first in row 2)"),
    "strings in numbers": ("a,y\n1,u\ntwo,v\n", "'a' has numbers"),
    "wrong column": ("a,b\n1,u\n2,v\n", "no column 'y'"),
    "empty": ("", "is empty"),
    "names alone": ("a,y\n", "no rows"),
    "names twice": ("a,a,y\n1,2,u\n", "more than one column named 'a'"),
    "continuous target": ("a,y\n1,0.5\n2,0.7\n", "is continuous"),
    "binary": ("\x00\x01\x02", "d.csv"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_one_line_and_status_2(case, tmp_path):
    text, message = BAD_DATA[case]
    (tmp_path / "d.csv").write_text(text)
    out = tmp_path / "out"
    line = line_of(invoke("train", tmp_path / "d.csv", "--target", "y", "--out", out), 2)
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv", "--target", "y"], "There is no file or folder none.csv"),
        (["CANCER"], "`target` is missing (--target)"),
        (
            ["CANCER", "--target", "diagnosis", "--recipe", "magic"],
            "'--recipe': must be one of auto",
        ),
        (["CANCER", "--target", "diagnosis", "--eps", "0"], "'--eps': must be a finite number > 0"),
        (["CANCER", "--target", "diagnosis", "--test-size", "1"], "'--test-size'"),
        (["CANCER", "--target", "diagnosis", "--impute", "zero"], "'--impute': must be one of"),
        (["CANCER", "--target", "diagnosis", "--image-size", "8"], "`image_size` is for folders"),
        (["CANCER", "--target", "diagnosis", "--image-size", "x"], "HEIGHT,WIDTH"),
        (["CANCER", "--target", "diagnosis", "--feature-weights", "none.json"], "none.json"),
        (["--target", "diagnosis"], "Missing argument 'DATA'"),
        (["CANCER", "--tarjet", "diagnosis"], "--tarjet"),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(arguments, message, cancer, tmp_path):
    arguments = [cancer if a == "CANCER" else a for a in arguments]
    line = line_of(invoke("train", *arguments, "--out", tmp_path / "out"), 2)
    assert message in line
    assert not list(tmp_path.iterdir())


def stand_in(x, y, *, callbacks, feature_weights, **_):
    """What `recipes.train` returns, without the training: a linear model."""
    layers = [keras.Input(x.shape[1:]), keras.layers.Flatten()]
    layers.append(lipkit.layers.FrobeniusDense(1 if max(y) < 2 else int(max(y)) + 1))
    weights = None if isinstance(feature_weights, str) else feature_weights.tolist()
    settings = {"recipe": "linear", "eps": 0.1, "feature_weights": weights}
    model = lipkit.Sequential(layers)
    return SimpleNamespace(model=model, history={"loss": [1.0]}, settings=settings)


def test_folders_that_cannot_be_written(cancer, tmp_path, monkeypatch):
    def train(*_, **__):
        raise AssertionError("trained before the folder was checked")

    monkeypatch.setattr(recipes, "train", train)
    start = ["train", cancer, "--target", "diagnosis", "--out"]
    (tmp_path / "file").write_text("mine")
    assert "Cannot write to" in line_of(invoke(*start, tmp_path / "file" / "sub"), 2)
    assert "is not a folder" in line_of(invoke(*start, tmp_path / "file"), 2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    for overwrite in ([], ["--overwrite"]):
        line = line_of(invoke(*start, tmp_path / "mine", *overwrite), 2)
        assert "holds 'thesis.txt', which does not belong to a run" in line
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"
    monkeypatch.chdir(tmp_path / "mine")
    (tmp_path / "mine" / "thesis.txt").unlink()
    assert "the working folder" in line_of(invoke(*start, "."), 2)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
@pytest.mark.parametrize("where", ["train", "write"])
def test_nothing_is_lost_when_a_run_breaks_off(error, where, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise error

    (tmp_path / "d.csv").write_text("a,y\n1,u\n2,v\n3,u\n4,v\n")
    start = ["train", tmp_path / "d.csv", "--target", "y", "--out", tmp_path / "run"]
    monkeypatch.setattr(recipes, "train", stand_in)
    assert invoke(*start).exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert "--overwrite" in line_of(invoke(*start), 2)
    place = {"train": (recipes, "train"), "write": (np, "savez_compressed")}[where]
    with monkeypatch.context() as patch:
        patch.setattr(*place, broken)
        assert invoke(*start, "--overwrite", "--seed", 1).exit_code != 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"d.csv", "run"}
    assert invoke(*start, "--overwrite", "--seed", 1).exit_code == 0
    assert (tmp_path / "run" / "run.json").read_bytes() != before["run.json"]
    assert {path.name for path in tmp_path.iterdir()} == {"d.csv", "run"}


def test_a_training_that_diverges_writes_nothing(tmp_path, monkeypatch):
    def diverged(*args, **kwargs):
        trained = stand_in(*args, **kwargs)
        trained.history["loss"] = [float("nan")]
        return trained

    monkeypatch.setattr(recipes, "train", diverged)
    (tmp_path / "d.csv").write_text("a,y\n1,u\n2,v\n3,u\n4,v\n")
    result = invoke("train", tmp_path / "d.csv", "--target", "y", "--out", tmp_path / "run")
    assert "infinite or undefined" in line_of(result, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]


@pytest.mark.once
def test_a_million_rows(tmp_path, monkeypatch):
    """At most 100,000 are held out and certified; the command says so."""
    monkeypatch.setattr(recipes, "train", stand_in)
    x = np.random.default_rng(0).normal(size=(10**6, 10)).astype("float32")
    np.savez(tmp_path / "d.npz", x=x, y=x[:, 0] > 0)
    result = invoke("train", tmp_path / "d.npz", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "100000 rows, the most that lipkit holds out" in result.stdout
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["split"] == {"train": 900000, "test": 100000}
    assert len(lipkit.certifier.Certificates.load(tmp_path / "run" / "certificates.json")) == 100000


def test_the_seed_fixes_a_run(tmp_path, rng):
    x = rng.normal(size=(400, 2))
    np.savez(tmp_path / "d.npz", x=x, y=x[:, 0] > 0)
    start = ["train", tmp_path / "d.npz", "--recipe", "linear", "--epochs", 2, "--out"]
    a, b, c = (done(*start, tmp_path / f"{i}", "--seed", s) for i, s in enumerate((3, 3, 4)))
    assert a["history"] == b["history"] != c["history"]


def test_feature_weights_are_of_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "train", stand_in)
    (tmp_path / "d.csv").write_text("a,s,b,y\n1,f,1,u\n2,m,1,v\n3,f,1,u\n4,m,1,v\n")
    weights = tmp_path / "w.json"
    start = ["train", tmp_path / "d.csv", "--target", "y", "--out", tmp_path / "run"]
    weights.write_text('{"s": 2, "b": 0.5}')
    settings = done(*start, "--feature-weights", weights)["settings"]
    assert settings["feature_weights"] == [1, 2, 2, 0.5]
    for text, message in (
        ('{"c": 2}', "'c' is not a column"),
        ("[1]", "must hold weights"),
        ("", "JSON"),
    ):
        weights.write_text(text)
        line = line_of(invoke(*start, "--overwrite", "--feature-weights", weights), 2)
        assert message in line


def test_all_distances_of_a_run_have_its_feature_weights(tmp_path, rng):
    """A linear model: the distance |w dx| to the plane f = 0 is |f| / |a / w|."""
    x = rng.normal(size=(200, 3)) * [1.0, 2.0, 4.0]
    frame = pandas.DataFrame(x, columns=list("abc")).assign(y=x @ [1, 1, 1] > 0)
    frame.to_csv(tmp_path / "d.csv", index=False)
    (tmp_path / "w.json").write_text('{"a": 4, "c": 0.25}')
    start = ["train", tmp_path / "d.csv", "--target", "y", "--recipe", "linear", "--epochs", 20]
    start += ["--feature-weights", tmp_path / "w.json", "--out", run := tmp_path / "run"]
    result = invoke(*start)
    assert "in weighted units" in result.stdout, result.output
    model = keras.models.load_model(run / "model.keras")
    with np.load(run / "test.npz") as test:
        x = test["x"]
    f = [np.asarray(model.predict(v, verbose=0), "float64")[:, 0] for v in (x, np.eye(4, 3, -1))]
    slope = f[1][1:] - f[1][0]
    weights = np.array([4, 1, 0.25])
    distance = np.abs(f[0]) / np.linalg.norm(slope / weights)
    radius = Certificates.load(run / "certificates.json").radius
    assert (radius <= distance * (1 + 1e-4)).all() and np.median(radius / distance) > 0.5
    assert np.median(radius / lipkit.certify(model, x).radius) > 2  # which is without weights
    done("certify", run, run / "test.npz", "--out", tmp_path / "r.json")
    np.testing.assert_array_equal(Certificates.load(tmp_path / "r.json").radius, radius)
    bounds = done("bound", run)
    steepest = np.linalg.norm(slope / weights)
    assert steepest * (1 - 1e-4) <= bounds["weighted_bound"] != bounds["lipschitz_bound"]
    attacked = done("attack", run, run / "test.npz", "--steps", 5)
    assert attacked["broken"] == 0 and attacked["attacked"] == len(x)
    line = line_of(invoke("certify", run, run / "test.npz", "--arithmetic", "float32"), 2)
    assert "real arithmetic only" in line
    np.savez(tmp_path / "wide.npz", x=np.ones((5, 4), "float32"))
    for command, shape in (("certify", "('batch', 3)"), ("attack", "('n', 3)")):
        assert shape in line_of(invoke(command, run, tmp_path / "wide.npz"), 2)
    result = invoke("export", run, "--to", "onnx", "--out", tmp_path / "m.onnx")
    assert "without the feature weights" in result.stdout
    assert invoke("report", run).exit_code == 0
    page = (run / "report.html").read_text()
    assert "in weighted units" in page and "; 0 lie within the certified" in page


def test_images_from_a_folder_to_certificates(tmp_path, rng):
    from PIL import Image

    pixels = rng.integers(0, 256, (12, 4, 4)).astype("uint8")
    for i, values in enumerate(pixels):
        path = tmp_path / "photos" / ("dark", "light")[i // 6] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
    run = tmp_path / "run"
    out = done("train", tmp_path / "photos", "--recipe", "linear", "--epochs", 2, "--out", run)
    assert out["data"]["kind"] == "images" and out["data"]["image_shape"] == [4, 4, 1]
    assert out["classes"] == ["dark", "light"]
    checked = done("certify", run, tmp_path / "photos", "--out", tmp_path / "r.json")
    model = keras.models.load_model(run / "model.keras")
    logits = model.predict(pixels[..., None].astype("float32") / 255, verbose=0)[:, 0]
    assert checked["accuracy"] == np.mean((logits > 0) == np.repeat([False, True], 6))
    radius = lipkit.certifier.Certificates.load(tmp_path / "r.json").radius
    np.testing.assert_allclose(radius, np.abs(logits) / lipkit.lipschitz_bound(model), rtol=1e-3)


COMMAND = "import lipkit_command; lipkit_command.main()"


@pytest.mark.once
def test_exit_codes_and_streams_of_the_command(python, plain, tmp_path):
    backend = {"KERAS_BACKEND": keras.backend.backend()}
    unknown_layer(tmp_path / "u.keras")
    for arguments, status, line in (
        (["bound", plain / "m.keras", "--json"], 0, ""),
        (["bound", tmp_path / "u.keras"], 1, "lipkit: not certified: "),
        (["bound", tmp_path / "none.keras"], 2, "lipkit: There is no file"),
    ):
        result = python(COMMAND, *arguments, **backend)
        assert result.returncode == status, result.stderr
        assert result.stderr.startswith(line) and result.stderr.count("\n") == (status != 0)
        assert json.loads(result.stdout) if status == 0 else result.stdout == ""


def test_export_onnx_and_certify_it(trained, cancer, tmp_path):
    folder, _ = trained
    done("export", folder, "--to", "onnx", "--out", tmp_path / "m.onnx")
    alone = done("certify", tmp_path / "m.onnx", cancer, "--run", folder, "--eps", 0.001)
    ours = done("certify", folder, cancer, "--eps", 0.001)
    assert alone["accuracy"] == ours["accuracy"] and alone["shares"] == ours["shares"]
    np.testing.assert_allclose(alone["median_radius"], ours["median_radius"], rtol=1e-6)
    result = invoke("attack", tmp_path / "m.onnx", cancer, "--run", folder)
    assert "need a Keras model" in line_of(result, 2)


def test_report(trained):
    folder, _ = trained
    out = done("report", folder)
    assert out["report"] == str(folder / "report.html") and (folder / "report.html").exists()
    (folder / "report.html").unlink()
    assert "none" in line_of(invoke("report", folder / "none"), 2)
    refused = line_of(invoke("report", folder, "--freeze", "no such"), 2)
    assert "(--freeze) must name columns" in refused and "'no such'" in refused
    assert not (folder / "report.html").exists()


def test_w1(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("lipkit.wasserstein.critics.WIDTHS", (32,))
    for name, shift in (("p", 0.0), ("q", 3.0)):
        frame = pandas.DataFrame(rng.normal(size=(200, 2)) + shift, columns=["a", "b"])
        frame.assign(b=0.0, c="x").to_csv(tmp_path / f"{name}.csv", index=False)
    arguments = ["w1", tmp_path / "p.csv", tmp_path / "q.csv", "--epochs", 1]
    out = done(*arguments, "--columns", "a,b")
    assert out["empirical_lower_bound"] <= 3.3 and 2.5 < out["estimate"] < 3.5
    assert out["samples"] == [200, 200]
    assert "column 'c' holds text" in line_of(invoke(*arguments), 2)
    assert "no column 'd'" in line_of(invoke(*arguments, "--columns", "a,d"), 2)
    frame.loc[4, "a"] = np.nan
    frame.to_csv(tmp_path / "q.csv", index=False)
    advice = line_of(invoke(*arguments, "--drop", "c"), 2)
    assert "q.csv: 1 rows cannot be used, first row 5: column 'a' has no value" in advice


COMMANDS = ("train", "certify", "bound", "attack", "export", "report", "w1", "demo")


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_has_examples(name):
    result = invoke(*([name] if name else []), "--help")
    assert result.exit_code == 0 and result.stderr == ""
    assert (f"lipkit {name}" if name else "lipkit train DATA.csv") in result.stdout
    if name:
        assert "For example" in result.stdout

"""What an earlier lipkit saved (made by data/make_saved.py) is read, and is the same function."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
import pytest

import lipkit
from lipkit.report import write_report
from lipkit.runs import RunFolder, load

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def recorded():
    with np.load(DATA / "saved_model.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def model():
    model = keras.models.load_model(DATA / "saved_model.keras")
    assert not model.jit_compile
    if keras.backend.backend() == "jax":
        model.jit_compile = True  # operation by operation its step takes four times as long
    return model


def inputs(recorded):
    return [recorded[f"x{i}"] for i in range(3)]


def test_a_model_of_all_kinds_of_layers_is_the_same_function(model, recorded):
    y = model.predict(inputs(recorded), verbose=0)
    np.testing.assert_allclose(y, recorded["y"], atol=1e-5)
    plain = lipkit.vanillaModel(model)
    assert lipkit.lipschitz_bound(plain) == pytest.approx(float(recorded["bound"]), rel=1e-4)


def test_its_loss_metrics_and_optimizer_are_those_that_were_compiled(model, recorded):
    # slow: the step of a model of all layers and rules is one program, which JAX compiles
    found = model.evaluate(inputs(recorded), recorded["labels"], verbose=0)
    np.testing.assert_allclose(found, recorded["losses"], atol=1e-4)
    assert model.loss.get_config()["min_margin"] == 0.3
    assert isinstance(model.optimizer, lipkit.optimizers.StiefelMuon)
    assert int(model.optimizer.iterations) == 2
    before = model.get_weights()
    model.fit(inputs(recorded), recorded["labels"], epochs=1, verbose=0)
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_the_plain_model_is_read(recorded):
    plain = keras.models.load_model(DATA / "saved_plain.keras")
    assert all(type(layer).__module__.startswith("keras.") for layer in plain.layers)
    np.testing.assert_allclose(plain.predict(inputs(recorded), verbose=0), recorded["y"], atol=1e-5)
    assert lipkit.lipschitz_bound(plain) == pytest.approx(float(recorded["bound"]), rel=1e-4)


def test_the_onnx_file_gives_its_radii():
    onnxruntime = pytest.importorskip("onnxruntime")
    with np.load(DATA / "saved_radius.npz") as file:
        x, y, radius = file["x"], file["y"], file["radius"]
    session = onnxruntime.InferenceSession(DATA / "saved_radius.onnx")
    logits, inside = session.run(["logits", "radius"], {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(logits, y, atol=1e-5)
    found = lipkit.certify(DATA / "saved_radius.onnx", x, output="logits")
    np.testing.assert_allclose(found.radius, radius, rtol=1e-5)
    np.testing.assert_allclose(inside, radius, rtol=1e-5)


def test_the_run_folder_is_read_and_reported(tmp_path):
    info = RunFolder.open(DATA / "saved_run").info
    assert info.classes == ["left", "right"]
    later = {"task": "classification", "r2": None, "balanced_accuracy": None}  # it has none of them
    stored = json.loads((DATA / "saved_run" / "run.json").read_text())
    assert asdict(info) == {**stored, **later} and not later.keys() & stored.keys()
    run = load(DATA / "saved_run")
    stored = json.loads((DATA / "saved_run" / "certificates.json").read_text())
    with np.load(DATA / "saved_run" / "test.npz") as file:
        found = lipkit.certify(run.model, file["x"])
    np.testing.assert_allclose(found.radius, stored["radius"], rtol=1e-5)
    shutil.copytree(DATA / "saved_run", tmp_path / "run")
    assert "left" in write_report(tmp_path / "run").read_text()
    trained = load(DATA / "saved_run" / "lipkit.keras").model
    assert lipkit.lipschitz_bound(lipkit.vanillaModel(trained)) < 1

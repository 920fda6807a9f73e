"""The example that serves an exported model."""

import importlib.util
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import lipkit

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # which HTTP library it would rather have
    from fastapi.testclient import TestClient

EXAMPLE = Path(__file__).parents[1] / "examples" / "serve_onnx.py"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A model, the module of the example and a client of its application."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    path = tmp_path_factory.mktemp("served") / "model.onnx"
    lipkit.export_onnx(model, path, classes=["benign", "malignant"])
    spec = importlib.util.spec_from_file_location("serve_onnx", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return model, path, module, TestClient(module.create_app(str(path)))


def test_answers_are_labels_with_certified_radii(served):
    model, _, _, client = served
    x = np.random.default_rng(0).standard_normal((20, 3))
    answers = client.post("/predict", json=x.tolist()).json()
    result = lipkit.certify(model, x.astype("float32"))
    assert [a["label"] for a in answers] == [["benign", "malignant"][i] for i in result.label]
    radii = np.array([a["radius"] for a in answers])
    assert (radii <= result.radius).all() and (radii >= 0.999 * result.radius).all()
    assert client.post("/predict", json=[]).json() == []


def test_values_that_are_not_finite_have_neither_label_nor_radius(served):
    _, _, _, client = served
    rows, kind = "[[NaN, 0, 0], [1e39, 0, 0]]", {"content-type": "application/json"}
    answer = client.post("/predict", content=rows, headers=kind).json()
    assert answer == [{"label": None, "radius": 0.0}] * 2


@pytest.mark.parametrize("rows", [[[1.0, 2.0]], [[1.0, 2.0, 3.0, 4.0]], [["a", 0, 0]], 3])
def test_bad_requests_are_refused(rows, served):
    response = served[-1].post("/predict", json=rows)
    assert response.status_code == 422 and response.json()["detail"]


def test_long_requests_are_refused(served):
    """Half a megabyte of short rows came back as 13 megabytes."""
    _, _, module, client = served
    rows = [[0.0, 0.0, 0.0]] * (module.MOST + 1)
    assert client.post("/predict", json=rows).status_code == 422
    assert len(client.post("/predict", json=rows[1:]).content) < 100_000
    large = b"[" + b" " * module.LONGEST + b"]"
    for body in (large, iter([large[:1000], large[1000:]])):  # the second without its length
        answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 413 and "at most 1048576 bytes" in answer.json()["detail"]


def test_the_path_may_come_from_the_environment(served, monkeypatch):
    _, path, module, _ = served
    monkeypatch.setenv("LIPKIT_MODEL", str(path))
    facts = TestClient(module.create_app()).get("/").json()
    assert facts["lipkit.task"] == "multiclass"

"""A slice of `benchmarks/onnx_corpus.py`: files of others; and its committed results."""

import importlib
import json
import re
import sys
import warnings
from pathlib import Path

import keras
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
DATA = Path(__file__).parent / "data"
STORED = sorted(path for kind in ("jax", "tensorflow") for path in DATA.glob(f"{kind}_*.onnx"))
BACKEND = keras.backend.backend()
# what a run exports: both exporters of PyTorch, and Keras's, which needs no other package there
SLICE = {
    "torch": {
        "torch_files": r"(mlp (gelu|softplus)|cnn residual), torch, dynamo, opset 18$",
        "keras_files": r"(mlp (gelu_tanh|log_sigmoid)|cnn (normalised|max)), .*opset 13"
        r"|cnn average, .*batch of 1",
    },
    "jax": {"torch_files": r"(mlp (gelu|softsign|mish)|cnn overlapping max), .*traced, opset 9"},
    "tensorflow": {"torch_files": r"(mlp (hard_silu|gelu_tanh)|cnn global max), .*opset 13"},
}


@pytest.fixture(scope="module")
def corpus():
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("onnx_corpus")
    sys.path.remove(str(FOLDER))


@pytest.mark.parametrize("generator", SLICE[BACKEND])
def test_files_of_exporters_are_read_with_the_right_bound(generator, corpus, tmp_path):
    files = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters
        only = re.compile(SLICE[BACKEND][generator])
        for name, title, content, _ in getattr(corpus, generator)(only):
            assert isinstance(content, bytes), content
            (tmp_path / "m.onnx").write_bytes(content)
            failure, excess = corpus.check(tmp_path / "m.onnx", corpus.right_bound(name))
            assert failure is None, f"{name}, {title}: {failure}"
            assert excess > -0.5  # the right bound is no other network's
            files += 1
    assert files >= 3


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_files_of_tf2onnx_and_jax2onnx_are_read(path, corpus):
    name = path.stem.split("_", 1)[1].replace("_", " ", 1)
    failure, excess = corpus.check(path, corpus.right_bound(name))
    assert failure is None and excess > -0.5


def test_a_wrong_bound_is_found(corpus):
    path, right = STORED[0], corpus.right_bound(STORED[0].stem.split("_", 1)[1].replace("_", " "))
    failure, excess = corpus.check(path, right * (1 - 1e-5))
    assert "right is" in failure and excess == pytest.approx(1e-5, rel=1e-3)


def test_the_committed_results_have_no_failure():
    result = json.loads((FOLDER / "results" / "onnx_corpus.json").read_text())
    assert result["failures"] == {} and result["right"] == result["files"] >= 192
    for exporter in ("torch, traced", "torch, dynamo", *(f"Keras on {b}" for b in SLICE)):
        rows = [row for title, row in result["exporters"].items() if title.startswith(exporter)]
        assert rows and all(row["right"] == row["files"] >= 20 for row in rows)
        assert max(row["largest excess"] for row in rows) <= 1e-6

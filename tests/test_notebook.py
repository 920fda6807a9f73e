"""The committed notebook is what its script writes; it and the code of the README run."""

import importlib.util
import re
from pathlib import Path

import keras
import matplotlib
import nbformat
import pytest

import lipkit

EXAMPLES = Path(__file__).parents[1] / "examples"


def script():
    spec = importlib.util.spec_from_file_location("make_notebook", EXAMPLES / "make_notebook.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.once
def test_committed_notebook_is_current_and_executed():
    notebook = nbformat.read(EXAMPLES / "hkr_two_moons.ipynb", as_version=4)
    expected = [cell.replace("EPOCHS", "10") for cell in script().CELLS]
    assert [cell.source for cell in notebook.cells] == expected
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.execution_count
            assert not [o for o in cell.outputs if o.output_type == "error"]
    pictures = [
        o for c in notebook.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})
    ]
    assert len(pictures) == 4


@pytest.mark.once
def test_notebook_runs(tmp_path):  # slow: the whole network, in a kernel of its own
    script().write(1, tmp_path / "run.ipynb")  # raises on the first failing cell
    assert (tmp_path / "two_moons.keras").exists()


def test_code_of_the_readme_runs(tmp_path, monkeypatch):  # slow: JAX compiles wide sorts
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    text = EXAMPLES.with_name("README.md").read_text()
    code, after = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code, replaced = re.subn(r"steps=158\), epochs=10", "steps=2), epochs=1", code)
    assert replaced == 1
    names = {}
    exec(code, names)
    exec(after, names)
    assert 0.99 < names["bound"] < 1 + 1e-5 and (names["result"].radius > 0).any()
    export = keras.models.load_model("two_moons.keras")
    assert not any(isinstance(layer, lipkit.layers.LipschitzLayer) for layer in export.layers)
    assert export.count_params() == names["model"].count_params() == 41985

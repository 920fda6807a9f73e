"""The committed notebook is what its script writes, and it runs."""

import importlib.util
from pathlib import Path

import nbformat

EXAMPLES = Path(__file__).parents[1] / "examples"


def script():
    spec = importlib.util.spec_from_file_location("make_notebook", EXAMPLES / "make_notebook.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_notebook_runs(tmp_path):
    script().write(1, tmp_path / "run.ipynb")  # raises on the first failing cell
    assert (tmp_path / "two_moons.keras").exists()

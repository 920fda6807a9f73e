"""`lipkit.runs` is the one home of run folders: nobody else names their files; use from Python."""

import ast
import json
import re
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas
import pytest
from test_cli import stand_in

import lipkit
from lipkit import recipes, runs
from lipkit.runs.schema import FILES, MANIFEST, REPORT

ROOT = Path(__file__).parents[1]
SAVED = ROOT / "tests" / "data" / "saved_run"
NAMES = re.compile("|".join(map(re.escape, (*FILES, MANIFEST, REPORT))))


def texts(tree):
    """The strings of a module, but for docstrings."""
    said = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def test_no_other_module_names_the_files_of_a_run():
    source = ROOT / "src"
    naming = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if any(NAMES.search(text) for text in texts(ast.parse(path.read_text())))
    }
    # the demo's folder is not a run
    assert naming == {"lipkit/runs/schema.py", "lipkit_command/demo.py"}


def test_help_and_tutorial_name_the_files_that_there_are():
    listed = {*FILES, MANIFEST}
    listing = (ROOT / "docs" / "tutorials" / "csv.md").read_text()
    table = "".join(line for line in listing.splitlines() if line.startswith("|"))
    assert set(NAMES.findall(table)) == listed
    command = sys.modules["lipkit_command.train"].train.__doc__
    assert set(NAMES.findall(command)) == listed
    assert {path.name for path in SAVED.iterdir()} == listed


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table to train on, where training takes no time."""
    monkeypatch.setattr(recipes, "train", stand_in)
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["a", "s"])
    frame.loc[0, "s"] = np.nan
    frame.assign(y=np.where(frame.a > 0, "u", "v")).to_csv(tmp_path / "d.csv", index=False)
    return tmp_path / "d.csv"


def test_training_from_python(table, tmp_path):
    wanted = {"impute": "median", "feature_weights": {"s": 2}, "test_size": 0.25}
    written = runs.train(table, tmp_path / "run", "y", command=["me"], **wanted)
    found = runs.RunFolder.open(tmp_path / "run")
    assert json.dumps(asdict(found.info)) == json.dumps(asdict(written.info))
    assert found.sha256 == written.sha256
    assert found.info.settings["feature_weights"] == [1, 2] and found.info.command == ["me"]
    assert found.info.split == runs.Split(train=30, test=10) and found.info.data.target == "y"
    run = runs.read(tmp_path / "run")
    np.testing.assert_array_equal(run.certificates.radius, written.certificates.radius)
    loaded = runs.load(str(tmp_path / "run"))
    assert loaded.info == found.info and loaded.weights.tolist() == [1, 2]
    with pytest.raises(ValueError, match="holds a run.*--overwrite"):
        runs.train(table, tmp_path / "run", "y", impute="mean")
    assert runs.train(table, tmp_path / "run", "y", drop=["s"], overwrite=True).info != found.info


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"impute": "zero"}, "`impute` must be one of .*'median'"),
        ({"test_size": 1}, "`test_size`"),
        ({"impute": "mean", "feature_weights": {"c": 2.0}}, "'c' is not a column"),
        ({}, r"missing values in s \(1, first in row 1\)"),
        ({"target": None}, r"`target` is missing \(--target\)"),
        ({"seed": -1}, "`seed` must be an integer >= 0"),
        ({"drop": "s"}, r"`drop` must be a list .*Write drop=\['s'\]"),
    ],
)
def test_arguments_are_checked(arguments, message, table, tmp_path):
    with pytest.raises(ValueError, match=message):
        runs.train(table, tmp_path / "run", **{"target": "y", **arguments})
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]


def copied(folder, created):
    """A run of an older version, made at another time."""
    shutil.copytree(SAVED, folder)
    (folder / MANIFEST).unlink()
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**info, "created": created}))


def test_the_latest_run_is_found_by_its_date(tmp_path):
    with pytest.raises(ValueError, match="has no runs"):
        runs.latest(tmp_path)
    with pytest.raises(ValueError, match="must be a folder"):
        runs.find(tmp_path / "none")
    copied(tmp_path / "c", "2026-01-01T12:00:00+02:00")
    copied(tmp_path / "b", "2026-01-01T11:00:00+00:00")
    copied(tmp_path / "a", "2026-01-01T10:30:00")  # of no zone
    (tmp_path / "other").mkdir()
    (tmp_path / "run.json").write_text("{}")
    assert [path.name for path in runs.find(str(tmp_path))] == ["c", "a", "b"]
    assert runs.latest(tmp_path) == tmp_path / "b"
    (tmp_path / "a" / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="a/run.json has no valid 'lipkit'"):
        runs.latest(tmp_path)


def test_records_of_later_versions_may_say_more(tmp_path):
    copied(tmp_path / "run", "2026-01-01T12:00:00+02:00")
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    more = {**info, "colour": "blue", "data": {**info["data"], "licence": "none"}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(more))
    assert runs.RunFolder.open(tmp_path / "run").info.data.rows == 60
    assert lipkit.runs is runs and {*runs.__all__} <= {*vars(runs)}

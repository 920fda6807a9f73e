"""`lipkit certify` of files with rows that cannot be read, with names of rows and filled cells."""

import csv
import json
import re

import keras
import numpy as np
import pandas
import pytest
from test_cli import app, done, invoke, line_of
from test_run_home import ROOT, texts

import lipkit
from lipkit.data import Format, files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table t.csv, and a run that was trained on it."""
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    rows = ["patient;age;sex;seen;smokes;sick"]
    for i in range(60):
        age, sex, day = rng.normal(50, 9), "mf"[i % 2], f"{1 + i % 28}.1.2024"
        shown = "?" if i == 7 else f"{age:.3f}".replace(".", ",")
        rows.append(f"{i:03};{shown};{sex};{day};{i % 3 == 0};{'yes' if age > 50 else 'no'}")
    (folder / "t.csv").write_text("\n".join(rows) + "\n", encoding="latin-1")
    start = ["train", folder / "t.csv", "--target", "sick", "--recipe", "linear", "--epochs", 2]
    options = ["--decimal", ",", "--missing", "?", "--dates", "seen", "--id", "patient"]
    result = invoke(
        *start, *options, "--impute", "median", "--feature-weights", "none", "--out", folder / "run"
    )
    assert result.exit_code == 0, result.output
    assert "note: 1 of 60 rows have missing cells, which are filled" in result.stderr
    return folder


def certified(folder, name, *options):
    """The table of radii of a file, by row, and the JSON that the command printed."""
    out = folder / f"{name}.radii.csv"
    arguments = ["certify", folder / "run", folder / name, "--out", out, "--overwrite", *options]
    result = invoke(*arguments, "--json")
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads(result.stdout)


def test_one_bad_row_does_not_refuse_the_file(folder):
    lines = [
        "age;sex;patient;seen;smokes",
        "40,5;f;001;3.1.2024;True",
        "old;f;002;3.1.2024;True",
        "40,5;x;003;3.1.2024;True",
        "inf;f;004;3.1.2024;True",
        "40,5;f;005;soon;True",
        "40,5;f;=1+1;3.1.2024;maybe",
        "40.5;f;007;3.1.2024;False",
        "?;f;008;3.1.2024;False",
        "60,25;m;009;29.2.2024;False",
    ]
    (folder / "new.csv").write_text("\n".join(lines) + "\n")
    rows, printed = certified(folder, "new.csv")
    assert list(rows[0]) == [
        *("patient", "row", "label", "truth", "radius", "margin", "status", "imputed")
    ]
    problems = {
        1: "column 'age' must hold finite float32 numbers, and has 'old'",
        2: "column 'sex' has 'x', which the model was not trained on: it knows 'f', 'm'",
        3: "column 'age' must hold finite float32 numbers, and has 'inf'",
        4: "column 'seen' must hold dates as in training, and has 'soon'",
        5: "column 'smokes' must hold true or false, and has 'maybe'",
        6: "column 'age' must hold finite float32 numbers, and has '40.5'",
    }
    for i, row in enumerate(rows):
        assert int(row["row"]) == i + 1 and row["truth"] == ""
        if i in problems:
            assert row["status"] == f"not certified: {problems[i]}"
            assert row["label"] == "" and float(row["radius"]) == 0 and row["imputed"] == "0"
    names = [row["patient"] for row in rows]
    assert names == ["001", "002", "003", "004", "005", "'=1+1", "007", "008", "009"]
    assert printed["inputs"] == 9 and printed["certified"] == 3 and printed["imputed"] == 1
    assert sum(printed["not_certified"].values()) == 6
    # the others are those of an independent encoding
    day = (pandas.Timestamp(2024, 1, 3) - pandas.Timestamp(1970, 1, 1)).days
    run = json.loads((folder / "run" / "run.json").read_text())
    fill = run["data"]["encoding"]["columns"][0]["fill"]
    x = np.array([[40.5, 1, 0, day, 1], [fill, 1, 0, day, 0], [60.25, 0, 1, day + 57, 0]])
    assert run["data"]["features"] == ["age", "sex=f", "sex=m", "seen", "smokes"]
    model = keras.models.load_model(folder / "run" / "model.keras")
    truth = lipkit.certify(model, x)
    good = [rows[i] for i in (0, 7, 8)]
    assert [float(row["radius"]) for row in good] == truth.radius.tolist()
    assert [float(row["margin"]) for row in good] == truth.margin.tolist()
    assert [row["label"] for row in good] == [run["classes"][label] for label in truth.label]
    assert [row["imputed"] for row in good] == ["0", "1", "0"]
    refused = line_of(invoke("certify", folder / "run", folder / "new.csv", "--drop", "age"), 2)
    assert "Column 'age' is an input of the model: --drop others." in refused
    shown = invoke("certify", folder / "run", folder / "new.csv").stdout
    assert "3 of 9 certified" in shown and "  1 not certified: column 'sex' has 'x'" in shown
    assert "  1 have filled cells: what is proven is of the filled rows" in shown
    attacked = done("attack", folder / "run", folder / "new.csv", "--steps", 2)
    assert attacked["attacked"] == 3 and attacked["broken"] == 0


def test_truth_is_written_where_it_is_known(folder):
    rows, printed = certified(folder, "t.csv")
    frame = pandas.read_csv(folder / "t.csv", sep=";", dtype=str)
    assert [row["truth"] for row in rows] == frame.sick.tolist()
    assert [row["patient"] for row in rows] == frame.patient.tolist()
    assert [row["imputed"] for row in rows] == ["1" if i == 7 else "0" for i in range(60)]
    right = np.mean([row["truth"] == row["label"] for row in rows])
    assert printed["accuracy"] == right


def test_rows_without_a_class_are_certified_and_do_not_count(folder):
    frame = pandas.read_csv(folder / "t.csv", sep=";", dtype=str)
    frame.assign(sick=frame.sick.where(frame.index % 2 == 0)).to_csv(
        folder / "half.csv", sep=";", index=False
    )
    half, printed = certified(folder, "half.csv")
    rows, _ = certified(folder, "t.csv")
    assert [row["radius"] for row in half] == [row["radius"] for row in rows]
    assert [row["truth"] for row in half[:2]] == [frame.sick[0], ""]
    right = np.mean([row["truth"] == row["label"] for row in rows[::2]])
    assert printed["accuracy"] == right and printed["shares"][0][1] <= right
    frame.assign(sick="").to_csv(folder / "none.csv", sep=";", index=False)
    assert certified(folder, "none.csv")[1]["accuracy"] is None


def test_names_of_rows_are_of_a_column_that_is_chosen(folder):
    frame = pandas.read_csv(folder / "t.csv", sep=";", dtype=str).drop(columns="patient")
    frame.assign(row=[f"n{i}" for i in range(60)]).to_csv(folder / "o.csv", sep=";", index=False)
    rows, _ = certified(folder, "o.csv")  # without that of the run
    assert "id" not in rows[0] and "patient" not in rows[0]
    rows, _ = certified(folder, "o.csv", "--id", "row")  # a name that is taken
    assert [row["id"] for row in rows] == [f"n{i}" for i in range(60)]
    arguments = ["certify", folder / "run", folder / "o.csv", "--id", "name"]
    assert "no column 'name'" in line_of(invoke(*arguments), 2)


def test_options_of_reading_replace_those_of_the_run(folder):
    frame = pandas.read_csv(folder / "t.csv", sep=";", decimal=",", na_values="?", dtype={0: str})
    frame.to_csv(folder / "points.csv", index=False, encoding="utf-16")
    options = ["--decimal", ".", "--encoding", "utf-16"]
    rows, _ = certified(folder, "points.csv", *options)
    before, _ = certified(folder, "t.csv")
    assert [row["radius"] for row in rows] == [row["radius"] for row in before]
    rows, printed = certified(folder, "points.csv")
    assert printed["certified"] == 1  # that without an age, which is filled
    arguments = ["certify", folder / "run", folder / "t.csv"]
    line = line_of(invoke(*arguments, "--encoding", "klingon"), 2)
    assert "must be one that Python knows, such as utf-8, latin-1" in line
    assert "'--decimal': must be one of ., ," in line_of(invoke(*arguments, "--decimal", "x"), 2)


def test_a_model_without_a_run_takes_arrays_as_they_are(tmp_path):
    layers = [keras.Input((2, 2)), keras.layers.Flatten(), keras.layers.Dense(1)]
    keras.Sequential(layers).save(tmp_path / "m.keras")
    x = np.array([[[1.0, 2], [3, 4]], [[np.nan, 2], [3, 4]], [[4, 3], [2, 1]]])
    np.savez(tmp_path / "d.npz", x=x)
    result = invoke("certify", tmp_path / "m.keras", tmp_path / "d.npz", "--json")
    printed = json.loads(result.stdout)
    assert printed["certified"] == 2 and printed["not_certified"] == {
        "not certified: numbers that are missing, infinite or too large for float32": 1
    }


def test_grey_arrays_are_read_as_in_training(tmp_path, rng):
    x = rng.normal(size=(40, 8, 8)) + np.arange(40)[:, None, None] % 2
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(40) % 2)
    start = ["train", tmp_path / "d.npz", "--epochs", 1, "--out", tmp_path / "run"]
    printed = done(*start)
    assert printed["data"]["image_shape"] == [8, 8, 1] and printed["settings"]["recipe"] == "cnn"
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    out = ["--out", tmp_path / "r.csv"]
    assert invoke("certify", tmp_path / "run", tmp_path / "d.npz", *out).exit_code == 0
    radii = pandas.read_csv(tmp_path / "r.csv").radius
    np.testing.assert_allclose(radii, lipkit.certify(model, x[..., None]).radius, rtol=1e-6)
    with np.load(tmp_path / "run" / "test.npz") as test:
        assert test["x"].shape == (8, 8, 8, 1)
    done("certify", tmp_path / "run", tmp_path / "run" / "test.npz")


def xlsx(path):
    pandas.read_csv(path.with_name("t.csv"), sep=";", decimal=",", na_values="?").to_excel(
        path, index=False, sheet_name="S"
    )
    return ["--id", "patient", "--dates", "seen", "--impute", "mean"]


def zipped(path):
    path.write_text("")
    frame = pandas.read_csv(path.with_name("t.csv"), sep=";", decimal=",", na_values="?")
    frame.to_csv(path, index=False)
    return ["--drop", "patient", "--categorical", "seen", "--impute", "median"]


@pytest.mark.once
@pytest.mark.parametrize(("make", "name"), [(xlsx, "w.xlsx"), (zipped, "z.csv.gz")])
def test_other_files_are_trained_on(folder, make, name):
    options = make(folder / name)
    start = ["train", folder / name, "--target", "sick", "--recipe", "linear", "--epochs", 1]
    result = invoke(*start, *options, "--out", folder / f"{name}.run")
    assert result.exit_code == 0, result.output
    with np.load(folder / f"{name}.run" / "test.npz") as test:
        ages = test["x"][:, 0]
    known = files.read(
        folder / "t.csv",
        "sick",
        impute=True,
        format=Format(decimal=",", missing=["?"]),
        drop=["seen", "patient"],
    )
    assert len(ages) == 12 and np.isin(ages, known.x[:, 0]).sum() >= 11


OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
STYLE = re.compile(r"var\(--[a-z-]+\)|--[a-z-]+:")  # variables of CSS
COMMAND = re.compile(r"\blipkit ([a-z]\w*)( [^`|&#\n]*)")


def options_of(command):
    return {name for parameter in command.params for name in parameter.opts} | {"--help"}


@pytest.mark.once
def test_advice_names_options_that_there_are():
    import ast

    import typer

    root = typer.main.get_command(app)
    known = {name: options_of(command) for name, command in root.commands.items()}
    everything = options_of(root).union(*known.values())
    source = ROOT / "src"
    found = 0
    for path in source.rglob("*.py"):
        for text in texts(ast.parse(path.read_text())):
            options = {*OPTION.findall(STYLE.sub("", text))}
            assert options <= everything, (path, options - everything)
            found += len(options)
    assert found > 50
    pages = [*(ROOT / "docs").rglob("*.md"), *source.rglob("*.py"), ROOT / "README.md"]
    for path in pages:
        for name, rest in COMMAND.findall(path.read_text()):
            options = {*OPTION.findall(rest)}
            assert not options or options <= known[name], (path, name, options - known[name])

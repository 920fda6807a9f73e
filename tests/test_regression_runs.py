"""Runs that predict numbers: from a table to intervals, their attack, export and report."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import chromium
import keras
import numpy as np
import pandas
import pytest
from report_runs import Reader
from test_cli import done, invoke, line_of
from test_report import CHECKS

import lipkit
from lipkit import attacks
from lipkit.certifier import Intervals, certify_values
from lipkit.data import Format, files, splits
from lipkit.report import write_report
from lipkit.report.axes import Axes, left_of
from lipkit.runs import RunFolder, RunInfo, read, train

once = pytest.mark.once
DATA = Path(__file__).parent / "data"


def table(n, seed=0):
    rng = np.random.default_rng(seed)
    frame = pandas.DataFrame({"a": rng.normal(size=n), "b": 100 * rng.normal(size=n)})
    frame["kind"] = rng.choice(["x", "y"], n)
    price = 1000 + 30 * frame.a - 0.2 * frame.b + 20 * (frame.kind == "x")
    return frame.assign(price=price + rng.normal(size=n), name=[f"r{i}" for i in range(n)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a table and a run of it, and what `lipkit train` printed."""
    folder = tmp_path_factory.mktemp("prices")
    table(240).to_csv(folder / "prices.csv", index=False)
    options = ["--target", "price", "--id", "name", "--recipe", "linear", "--epochs", 100]
    options += ["--task", "regression", "--seed", 1, "--out", folder / "run"]
    return folder, done("train", folder / "prices.csv", *options)


def weighted(run):
    """(k, features): directions of length 1 in the distances of a run."""
    directions = np.random.default_rng(0).normal(size=(64, run.x.shape[1]))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True) / run.weights


def test_the_record_is_of_numbers(trained):
    folder, printed = trained
    run = json.loads((folder / "run" / "run.json").read_text())
    assert run.items() <= printed.items()
    assert run["task"] == "regression" and run["classes"] == [] and run["accuracy"] is None
    with np.load(folder / "run" / "test.npz") as test:
        x, y = test["x"], test["y"]
    assert y.dtype == np.float64 and np.isin(y, table(240).price).all() and len(y) == 48
    values = keras.models.load_model(folder / "run" / "model.keras").predict(x, verbose=0)[:, 0]
    r2 = 1 - np.sum((values - y) ** 2) / np.sum((y - y.mean()) ** 2)
    assert run["r2"] == pytest.approx(r2, abs=1e-5) and r2 > 0.7
    found = read(folder / "run")
    assert found.certificates.radius == printed["eps"] == printed["settings"]["eps"]
    assert found.certificates.r2() == run["r2"]


def test_values_in_the_ball_are_in_the_interval(trained):
    """Of inputs at the radius, and of those that an attack finds; the proof is near to tight."""
    folder, _ = trained
    run = read(folder / "run")
    intervals = run.certificates
    assert intervals.certified.all()
    x = run.x + 0.9999 * intervals.radius * weighted(run)[:, None]  # (directions, n, features)
    values = run.model.predict(x.reshape(-1, run.x.shape[1]).astype("float32"), verbose=0)
    values = values.reshape(x.shape[:2])
    slack = 1e-5 * np.abs(values)  # of float32
    assert (values >= intervals.lower - slack).all()
    assert (values <= intervals.upper + slack).all()
    assert np.abs(values - intervals.value).max() > 0.5 * intervals.reach.min()
    found = done("attack", folder / "run", folder / "run" / "test.npz")
    assert found["attacked"] == 48 and found["broken"] == 0
    assert found["attacks"] == ["upward", "downward"]


def test_the_attack_leaves_intervals_that_are_too_small(trained):
    """A positive control: the same attack, where the interval, or the radius, is not proven."""
    model, z, intervals = read(trained[0] / "run").space
    value, reach = intervals.value, intervals.reach
    assert not attacks.falsify(model, z, intervals).broken.any()
    small = replace(intervals, lower=value - 0.9 * reach, upper=value + 0.9 * reach)
    found = attacks.falsify(model, z, small)
    assert found.broken.all() and (found.ratio <= 1).all()
    ends = certify_values(model, found.x, radius=0.0).value
    assert ((ends > small.upper) | (ends < small.lower)).all()
    one_sided = replace(intervals, lower=value - 2 * reach, upper=value + 0.9 * reach)
    assert attacks.falsify(model, z, one_sided, attacks=["upward"]).broken.all()
    assert not attacks.falsify(model, z, one_sided, attacks=["downward"]).broken.any()
    assert attacks.falsify(model, z, intervals, scale=1.2).broken.all()
    with pytest.raises(ValueError, match=r"some of \('upward', 'downward'\)"):
        attacks.falsify(model, z, intervals, attacks=["pgd"])


def test_intervals_of_a_linear_model_are_those_of_its_formula(rng, tmp_path):
    w, offset = np.array([3.0, -4.0]), 0.5
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.set_weights([w[:, None], np.array([offset])])
    x, y = rng.normal(size=(6, 2)), rng.normal(size=6)
    x[4, 1], y[2] = np.nan, np.nan
    found = certify_values(model, x, y, radius=0.1)
    sure = found.certified
    assert sure.tolist() == [True] * 4 + [False, True] and found.status[4] == "non-finite input"
    assert all(isinstance(status, lipkit.certifier.Status) for status in found.status)
    truth = x @ w + offset
    np.testing.assert_allclose(found.value, truth, rtol=1e-12)
    np.testing.assert_allclose(found.lower[sure], truth[sure] - 0.5, rtol=1e-12)
    np.testing.assert_allclose(found.upper[sure], truth[sure] + 0.5, rtol=1e-12)
    assert (found.upper - truth >= 0.5)[sure].all() and (truth - found.lower >= 0.5)[sure].all()
    assert found.constant == pytest.approx(5, rel=1e-9) and found.constant >= 5
    assert (found.lower[4], found.upper[4]) == (-np.inf, np.inf) and np.isinf(found.reach[4])
    known = [0, 1, 3, 5]
    error, spread = truth[known] - y[known], y[known] - y[known].mean()
    assert found.r2() == pytest.approx(1 - error @ error / (spread @ spread))
    by_weight = certify_values(model, x[:4], radius=0.1, weights=[3.0, 1.0])
    np.testing.assert_allclose(by_weight.reach, 0.5, rtol=1e-9)  # at most 5 max(1 / w)
    assert "user's weights" in " ".join(by_weight.assumptions)
    found.save(tmp_path / "intervals.json")
    again = Intervals.load(tmp_path / "intervals.json")
    for name in ("value", "lower", "upper", "y"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert [*again.status] == [*found.status] and str(again) == str(found)
    assert (again.radius, again.constant) == (found.radius, found.constant)
    assert again.assumptions == found.assumptions and "5 of 6 values certified" in str(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": -1.0}, "`radius` must be a finite number >= 0"),
        ({"radius": np.inf}, "`radius` must be a finite number >= 0"),
        ({"y": np.zeros(3)}, r"`y` must have shape \(2,\)"),
        ({"x": np.zeros((2, 3))}, r"`x` the shape \(n, \*\(2,\)\)"),
        ({"outputs": 2}, "one number as output"),
        ({"x": np.zeros((0, 2))}, r"with n >= 1. Received: shape \(0, 2\)"),
        ({"x": np.zeros(2)}, r"with n >= 1. Received: shape \(2,\)"),
    ],
)
def test_arguments_that_intervals_refuse(change, message):
    outputs = change.get("outputs", 1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(outputs)])
    given = {"x": np.zeros((2, 2)), "radius": 0.1, **change}
    given.pop("outputs", None)
    with pytest.raises(ValueError, match=message):
        certify_values(model, given.pop("x"), **given)


def test_scores_need_true_values():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="need the true values"):
        certify_values(model, np.zeros((2, 2)), radius=0.1).r2()
    with pytest.raises(ValueError, match="two different true values"):
        certify_values(model, np.zeros((2, 2)), np.ones(2), radius=0.1).r2()


def test_certify_writes_an_interval_for_each_row(trained, tmp_path):
    folder, _ = trained
    frame = table(6, seed=1).astype(object)
    frame.loc[1, "a"], frame.loc[2, "kind"], frame.loc[3, "price"] = "much", "z", None
    frame.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "intervals.csv"
    found = done("certify", folder / "run", tmp_path / "new.csv", "--eps", 0.5, "--out", out)
    assert found["inputs"] == 6 and found["certified"] == 4 and found["radius"] == 0.5
    with out.open() as file:
        rows = list(csv.DictReader(file))
    names = ["name", "row", "value", "truth", "lower", "upper", "status", "imputed"]
    assert [*rows[0]] == names and [row["name"] for row in rows] == [f"r{i}" for i in range(6)]
    for i, row in enumerate(rows):
        if i in (1, 2):
            assert (row["value"], row["lower"], row["upper"]) == ("", "", "")
            continue
        assert row["status"] == "certified"
        assert float(row["lower"]) < float(row["value"]) < float(row["upper"])
        assert row["truth"] == ("" if i == 3 else repr(frame.price[i]))
    assert rows[1]["status"] == (
        "not certified: column 'a' must hold finite float32 numbers, and has 'much'"
    )
    assert rows[2]["status"].startswith("not certified: column 'kind' has 'z'")
    assert sum(found["not_certified"].values()) == 2
    truth = np.array([float(rows[i]["truth"]) for i in (0, 4, 5)])
    errors = np.array([float(rows[i]["value"]) for i in (0, 4, 5)]) - truth
    spread = truth - truth.mean()
    assert found["r2"] == pytest.approx(1 - errors @ errors / (spread @ spread))
    assert found["median_reach"] == pytest.approx(0.5 * found["constant"], rel=1e-6)
    text = invoke("certify", folder / "run", folder / "prices.csv").stdout
    assert "240 of 240 values certified" in text and "R2 0." in text


@once
def test_json_and_a_model_without_its_run(trained, tmp_path):
    folder, _ = trained
    data = folder / "run" / "test.npz"
    done("certify", folder / "run", data, "--out", tmp_path / "i.json")
    loaded, stored = Intervals.load(tmp_path / "i.json"), read(folder / "run").certificates
    np.testing.assert_allclose(loaded.lower, stored.lower, rtol=1e-9)
    other = done("certify", folder / "run" / "model.keras", data, "--run", folder / "run")
    assert other["certified"] == 48 and other["median_reach"] > 0


@once
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--alpha", 1], "'--alpha': applies only to --task classification: it weighs the hinge"),
        (["--min-margin", 1], "'--min-margin': .* margin between classes"),
        (["--class-weight", "balanced"], "'--class-weight': .* a number to predict has no class"),
        (["--task", "classification", "--lipschitz", 1], "'--lipschitz': applies only to --task r"),
        (["--task", "ranking"], "must be one of classification, regression"),
        (["--lipschitz", 0], "finite number > 0"),
        (["--target", "name"], "row 1: target column 'name' must hold finite .* and has 'r0'"),
        (["--target", "holes"], "Target 'holes' has 2 missing values, first in row 3"),
        (["--target", "same"], "has only one target, 5"),
        (["--target", None], "--target.*numbers to predict"),
        (["--test-size", 0.001], "The 1 rows held out have one target"),
        (["--target", "price", "--task", "classification"], "is continuous.*--task regression"),
        (["--target", "count", "--task", "classification"], "different.*--task regression"),
    ],
)
def test_options_and_data_that_train_refuses(options, message, tmp_path):
    frame = table(40).assign(same=5.0, holes=1.5, count=range(40))
    frame.loc[2:3, "holes"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    given = {"--target": "price", "--task": "regression"}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    flat = [part for pair in given.items() if pair[1] is not None for part in pair]
    flat += ["--drop", "holes"] if "holes" not in flat else []
    line = line_of(invoke("train", tmp_path / "t.csv", *flat, "--out", tmp_path / "run"), 2)
    assert re.search(message, line), line
    assert not (tmp_path / "run").exists()


@once
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["certify", "--require", 0.5, "--eps", 0.1], "--require is a share of right answers"),
        (["certify", "--arithmetic", "float32"], "--arithmetic float32: .* real arithmetic only"),
        (["certify", "--output", 0], "--output: .* one output"),
        (["certify", "--target", "nothing"], "no column 'nothing' with numbers"),
        (["report", "--freeze", "a"], "--freeze.* this run predicts numbers"),
        (["w1"], "is a run, and w1 compares samples, such as .*test.npz"),
    ],
)
def test_options_that_other_commands_refuse(options, message, trained):
    folder, _ = trained
    command, *rest = options
    rest = [folder / "run"] if command == "w1" else rest
    data = [folder / "prices.csv"] if command == "certify" else []
    line = line_of(invoke(command, folder / "run", *data, *rest), 2)
    assert re.search(message, line), line


@once
def test_arrays_have_targets_and_folders_have_none(tmp_path, rng):
    x, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    data = files.read(tmp_path / "a.npz", targets=True)
    assert data.y.dtype == np.float64 and data.classes == ()
    np.testing.assert_array_equal(data.y, y)
    for bad, message in (
        (np.where(np.arange(20) == 3, np.nan, y), "in 1 rows, first in row 4"),
        (x, r"one number for each row, shape \(n,\)"),
        (y[:5], "y has 5: give each row of x a target"),
        (y.astype(str), "one number for each row"),
    ):
        np.savez(tmp_path / "b.npz", x=x, y=bad)
        with pytest.raises(ValueError, match=message):
            files.read(tmp_path / "b.npz", targets=True)
    np.savez(tmp_path / "c.npz", x=x)
    with pytest.raises(ValueError, match="an NPZ file with an array y"):
        train(tmp_path / "c.npz", tmp_path / "run", task="regression")
    with pytest.raises(ValueError, match="`task` must be one of"):
        train(tmp_path / "a.npz", tmp_path / "run", task="ranking")


@once
def test_targets_are_read_as_other_cells(tmp_path):
    (tmp_path / "t.csv").write_text("a;y\n1,5;2,5\n2,5;?\n3,5;1e3\n")
    options = {"format": Format(decimal=",", missing=["?"]), "targets": True}
    data = files.read(tmp_path / "t.csv", "y", **options, partly=True)
    np.testing.assert_array_equal(data.y, [2.5, np.nan, 1000])
    assert not data.problems and data.x.tolist() == [[1.5], [2.5], [3.5]]
    with pytest.raises(ValueError, match="Target 'y' has 1 missing values, first in row 2"):
        files.read(tmp_path / "t.csv", "y", **options)


@once
@pytest.mark.parametrize(("n", "share", "most", "count"), [(10, 0.2, None, 2), (10, 0.99, None, 9)])
def test_random_splits_have_all_rows_once(n, share, most, count):
    rows, held = splits.random(n, share, seed=3, most=most)
    assert sorted([*rows, *held]) == [*range(n)] and len(held) == count
    assert len(splits.random(1000, 0.5, most=20)[1]) == 20
    assert [*splits.random(n, share, seed=3)[1]] == [*held]


@pytest.fixture(scope="module")
def page(trained):
    folder, _ = trained
    return read(folder / "run"), Reader(
        write_report(folder / "run", baselines=True).read_text(encoding="utf-8")
    )


@once
def test_the_report_says_what_the_files_say(page, trained):
    run, html = page
    assert html.open == []
    ids = [attributes.get("id") for _, attributes in html.tags]
    for name, attributes in html.tags:
        assert "href" not in attributes or attributes["href"][1:] in ids
        assert name != "svg" or (attributes["role"] == "img" and attributes["aria-label"])
    assert {"predictions", "stability", "tolerances", "baselines"} < {*ids}
    assert not {"accuracy", "radii", "decisions", "examples"} & {*ids}
    text, intervals = html.text, run.certificates
    middle = float(np.median(np.abs(intervals.error)))
    assert f"off by at most {middle:.3g}" in text and "For 48 of them it is proven" in text
    shown = float(text.split("the prediction by more than ")[1].split(".R²")[0])
    assert intervals.reach.max() <= shown <= 1.01 * intervals.reach.max()
    rows = html.table("radius")[1:]
    stated = [(float(a), float(b.removeprefix("± "))) for a, b in rows]
    assert all(b >= intervals.constant * a for a, b in stated) and len(stated) == 4
    assert "0 of 48 were broken" in text and "0 left their interval" in text
    assert "A regression of price" in text and "class" not in text.split("How to reproduce")[0]
    pictures = [a["aria-label"] for name, a in html.tags if name == "svg"]
    assert pictures[0].startswith("Predictions of 48 test points")
    dots = [a for name, a in html.tags if name == "circle" and a["class"] == "dot certified"]
    assert len(dots) >= 48


@once
@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_in_chromium(width, page):
    if chromium.PATH is None:
        pytest.skip("Chromium is not installed")
    run, _ = page
    with chromium.browser() as window:
        window.show(width)
        window.open(run.directory / "report.html")
        found = window.evaluate(CHECKS)
        assert window.problems() == []
    assert found["width"] <= width and found["tables"]
    assert found["overlaps"] == [] and found["faint"] == [] and found["small"] == 0


@once
def test_numbers_of_wide_axes_do_not_meet():
    axes = Axes((0, 1e6), (-2e6, 2e6), "x", "y", left=left_of((-2e6, 2e6)))
    svg = Reader(axes.svg("a frame"))
    across = [a for name, a in svg.tags if name == "text" and a.get("text-anchor") == "middle"]
    assert 2 <= len(across) <= 5
    assert axes.left >= 9 * len("−2,000,000")


@once
def test_the_page_says_what_each_constant_would_cost(page):
    run, html = page
    rows = html.table("constant, about")[1:]
    trade, kept = run.info.settings["trade"], run.info.settings["constant"]
    assert [float(score.replace("−", "-")) for _, score in rows] == pytest.approx(
        [point["r2"] for point in trade], abs=5e-3
    )
    shown = {point["constant"]: float(row[0]) for point, row in zip(trade, rows, strict=True)}
    assert shown[kept] == pytest.approx(run.certificates.constant, rel=5e-3)


@once
def test_tolerances_are_moves_within_the_radius(page):
    run, html = page
    rows = {row[0]: row[1] for row in html.table("column")[1:]}
    assert [*rows] == ["a", "b", "kind"]
    for name, weight in zip("ab", run.weights, strict=False):
        shown = float(rows[name])
        assert 0.99 * run.certificates.radius / weight <= shown <= run.certificates.radius / weight


@once
def test_baselines_see_the_same_rows(page, trained):
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    run, html = page
    rows = {row[0]: row for row in html.table("model")[1:]}
    assert [*rows] == ["this model", "ridge regression", "neural network"]
    data = files.read(trained[0] / "prices.csv", "price", id="name", targets=True)
    train_rows = ~np.isin(data.y, run.y)
    assert train_rows.sum() == 192
    ridge = make_pipeline(StandardScaler(), Ridge()).fit(data.x[train_rows], data.y[train_rows])
    assert float(rows["ridge regression"][1]) == pytest.approx(ridge.score(run.x, run.y), abs=5e-3)
    assert float(rows["this model"][1]) == pytest.approx(run.info.r2, abs=5e-3)


def test_exports_predict_the_same(trained, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder, printed = trained
    run = read(folder / "run")
    done("export", folder / "run", "--to", "onnx", "--out", tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert [output.name for output in session.get_outputs()] == ["value"]
    feed = {session.get_inputs()[0].name: run.x.astype("float32")}
    values = session.run(["value"], feed)[0][:, 0]
    np.testing.assert_allclose(values, run.certificates.value, rtol=1e-4)
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["lipkit.task"] == "regression" and facts["lipkit.classes"] == "null"
    bound = float(facts["lipkit.lipschitz_bound"])
    assert bound == pytest.approx(printed["lipschitz_bound"], rel=1e-6)
    assert float(lipkit.lipschitz_bound(tmp_path / "m.onnx")) == pytest.approx(bound, rel=1e-6)
    with pytest.raises(ValueError, match="takes no `classes`"):
        lipkit.export_onnx(run.model, tmp_path / "n.onnx", task="regression", classes=["a", "b"])
    assert done("bound", folder / "run")["weighted_bound"] == run.certificates.constant


@once
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("certificates.json", {"upper": lambda v: [u - 1 for u in v]}, "another value or interval"),
        ("certificates.json", {"constant": lambda v: v / 2}, "another value or interval"),
        ("certificates.json", {"value": lambda v: [u + 1e3 for u in v]}, "outside of their inter"),
        ("certificates.json", {"y": lambda v: [u + 1 for u in v]}, "other true values"),
        ("certificates.json", {"status": lambda v: ["tie"] * len(v)}, "says are not certified"),
        ("certificates.json", {"radius": lambda v: -v}, "radius or constant"),
        ("certificates.json", {"lower": lambda v: v[:-1]}, "one interval and true value for each"),
        ("run.json", {"r2": lambda v: v - 0.1}, "has R2"),
        ("run.json", {"r2": lambda v: None}, "has no 'r2'"),
        ("run.json", {"classes": lambda v: ["a", "b"]}, "names 2 classes, but is a regression"),
        ("run.json", {"task": lambda v: "ranking"}, "has the task 'ranking'"),
        ("run.json", {"task": lambda v: "classification"}, "has no 'accuracy'"),
    ],
)
def test_a_run_whose_files_do_not_belong_together_is_refused(
    name, change, message, trained, tmp_path
):
    run = shutil.copytree(trained[0] / "run", tmp_path / "run")
    (run / "manifest.json").unlink()
    document = json.loads((run / name).read_text())
    document |= {key: function(document[key]) for key, function in change.items()}
    (run / name).write_text(json.dumps(document))
    with pytest.raises(ValueError, match=message):
        read(run)


@once
def test_runs_of_before_are_classifications():
    info = RunFolder.open(DATA / "saved_run").info
    assert (info.task, info.r2, info.regression) == ("classification", None, False)
    document = json.loads((DATA / "saved_run" / "run.json").read_text())
    assert "task" not in document
    with pytest.raises(ValueError, match="has no 'accuracy'"):
        RunInfo.of({name: value for name, value in document.items() if name != "accuracy"})


@once
def test_rough_scores_are_warned_of(tmp_path):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": rng.normal(size=40), "y": rng.normal(size=40)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    options = {"task": "regression", "recipe": "linear", "epochs": 2}
    found = train(tmp_path / "t.csv", tmp_path / "run", "y", **options)
    said = " ".join(found.info.settings["warnings"])
    assert "Only 8 rows were held out: R2 is rough" in said
    assert ("the mean of the target does as well" in said) == (found.info.r2 <= 0)

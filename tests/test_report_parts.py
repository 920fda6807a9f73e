"""Parts of a report: plausible changes, tolerances, the choice of the radius, baselines."""

import json
import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from report_runs import Reader

import lipkit
from lipkit import runs
from lipkit.data import files
from lipkit.data.tables import Column
from lipkit.report import changes, choice, tolerances, write_report
from lipkit.report.findings import investigate
from lipkit.report.summary import summary

pd = pytest.importorskip("pandas")
pytestmark = pytest.mark.once  # what is trained here is trained on each backend elsewhere
COLORS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a table with numbers, categories, booleans and 0/1, and weights of the columns."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    n = 300
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n),
            "income": rng.lognormal(10, 0.5, n).round(),
            "color": rng.choice(COLORS, n),
            "member": rng.random(n) < 0.4,
            "old": rng.integers(0, 2, n),
        }
    )
    score = (table.age - 50) / 15 + np.log(table.income) - 10 + 1.5 * (table.color == "red")
    table["buys"] = np.where(score - 1.5 * table.member > 0, "yes", "no")
    table.to_csv(folder / "data.csv", index=False)
    weights = {"age": 0.05, "income": 6e-5, "color": 0.7, "member": 2, "old": 2}
    run = folder / "run"
    runs.train(folder / "data.csv", run, "buys", eps=0.3, epochs=15, feature_weights=weights)
    return folder


@pytest.fixture
def settings(trained):
    """A function that gives the text of the page of a run with other settings."""
    path = trained / "run" / "run.json"
    before = path.read_text(), (trained / "run" / "manifest.json").read_text()

    def page(**values):
        document = json.loads(before[0])
        document["settings"] |= values
        path.write_text(json.dumps(document))
        (trained / "run" / "manifest.json").unlink(missing_ok=True)
        return Reader(write_report(trained / "run").read_text())

    yield page
    path.write_text(before[0])
    (trained / "run" / "manifest.json").write_text(before[1])


def test_changes_could_be_rows(trained):
    """Whole categories, at most one of them; numbers in range; decided otherwise by the model."""
    run = runs.read(trained / "run")
    rows = np.flatnonzero(run.certified)
    found = changes.nearest(run, rows, np.zeros(7, bool))
    assert np.isfinite(found.distance).mean() > 0.9
    rows, x = rows[np.isfinite(found.distance)], found.x[np.isfinite(found.distance)]
    label, distance = (
        values[np.isfinite(found.distance)] for values in (found.label, found.distance)
    )
    assert (x >= run.x.min(axis=0) - 1e-4).all() and (x <= run.x.max(axis=0) * (1 + 1e-6)).all()
    assert np.isin(x[:, 2:], (0, 1)).all() and (x[:, 2:5].sum(axis=1) == 1).all()
    switched = [x[:, 2:5] != run.x[rows, 2:5], *(x[:, [i]] != run.x[rows][:, [i]] for i in (5, 6))]
    count = sum(part.any(axis=1).astype(int) for part in switched)
    assert set(count) == {0, 1}
    np.testing.assert_allclose(
        distance, np.linalg.norm(run.weights * (x - run.x[rows]), axis=1), rtol=1e-4, atol=1e-6
    )
    assert (distance >= run.certificates.radius[rows] * (1 - 1e-6)).all()
    assert (label != run.certificates.label[rows]).all()
    logits = run.model.predict(x.astype("float32"), verbose=0)[:, 0]
    sure = np.abs(logits) > 1e-5
    np.testing.assert_array_equal((logits > 0)[sure], label[sure] == 1)


def test_frozen_columns_stay(trained):
    run = runs.read(trained / "run")
    stay = changes.frozen(run, ["color", "age", "member"])
    np.testing.assert_array_equal(stay, [True, False, True, True, True, True, False])
    rows = np.flatnonzero(run.certified)
    found = changes.nearest(run, rows, stay)
    np.testing.assert_array_equal(found.x[:, stay], run.x[rows][:, stay])
    assert np.isfinite(found.distance).any()
    nothing = changes.nearest(run, rows, np.ones(7, bool))
    assert np.isinf(nothing.distance).all()
    page = write_report(trained / "run", freeze=["age", "color=red"]).read_text()
    assert "Frozen: age, color=red." in page
    changed = [row[0] for rows in Reader(page).tables if "becomes" in rows[0] for row in rows[1:]]
    assert changed and not {"age", "color"} & set(changed)
    with pytest.raises(ValueError, match=r"`freeze` \(--freeze\) must name columns.*'ages'.*color"):
        write_report(trained / "run", freeze=["ages"])
    with pytest.raises(ValueError, match=r"\(--freeze\) is for tables"):
        changes.frozen(SimpleNamespace(x=run.x, unit="picture"), ["age"])


def test_a_switch_is_found_where_it_is_the_nearest():
    """f = 4 [red] - 1 + x / 100: one category more than 100 units of the number away."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.set_weights([np.array([[0.01], [0.0], [4.0]]), np.array([-1.0])])
    x = np.array([[-50.0, 1, 0], [50.0, 0, 1], [99.9, 1, 0], [120.0, 0, 1]])
    columns = [{"name": "x", "kind": "number", "categories": []}]
    columns += [{"name": "c", "kind": "category", "categories": ["blue", "red"]}]
    data = SimpleNamespace(encoding={"columns": columns}, features=["x", "c=blue", "c=red"])
    run = SimpleNamespace(
        x=x, unit="row", weights=np.ones(()), info=SimpleNamespace(data=data), weighted=False
    )
    run.space = model, x.astype("float32"), lipkit.certify(model, x.astype("float32"))
    found = changes.nearest(run, np.arange(4), np.zeros(3, bool))
    np.testing.assert_allclose(found.distance, [2**0.5, 2**0.5, 0.1, 402**0.5], rtol=0.05)
    np.testing.assert_array_equal(found.x[:2], [[-50, 0, 1], [50, 1, 0]])
    np.testing.assert_allclose(found.x[2:], [[100, 1, 0], [100, 1, 0]], atol=0.1)
    np.testing.assert_array_equal(found.label, [1, 0, 1, 0])
    still = changes.nearest(run, np.arange(4), np.array([False, True, True]))
    assert np.isinf(still.distance[[1, 3]]).all()  # beyond the range of the data


def test_tolerances_are_radii_in_the_units_of_columns(trained, settings):
    run = runs.read(trained / "run")
    page = settings()
    rows = {row[0]: row[1:] for row in page.table("column")[1:]}
    radius = np.median(run.certificates.radius[run.certified])
    assert set(rows) == {"age", "income", "color", "member", "old"}
    for name, place, weight in (("age", 0, 0.05), ("income", 1, 6e-5)):
        may, width = (float(cell.strip().replace(",", "")) for cell in rows[name][:2])
        assert radius / weight * (1 - 1e-2) <= may <= radius / weight
        assert width == pytest.approx(np.ptp(run.x[:, place]), rel=5e-3)
        share = float(rows[name][2].removesuffix(" %"))
        assert share == pytest.approx(100 * radius / weight / np.ptp(run.x[:, place]), abs=0.06)
        # a proof, so no point on the way is decided otherwise
        chosen = run.certified & (run.certificates.radius >= radius)
        assert chosen.sum() >= run.certified.sum() / 2
        for step in np.linspace(-may, may, 9):
            moved = run.x[chosen].astype("float32")
            moved[:, place] += step
            logits = run.model.predict(moved, verbose=0)[:, 0]
            np.testing.assert_array_equal(logits > 0, run.certificates.label[chosen] == 1)
    assert "a distance of 1 is a move of one column by 1 / weight" in page.text
    sentence = re.search(
        r"a distance of 0\.3 is a move .* age by (\S+), or income by (\S+);", page.text
    )
    may = [float(text.replace(",", "")) for text in sentence.groups()]
    assert 5.9 < may[0] <= 0.3 / 0.05 and 4900 < may[1] <= 0.3 / 6e-5
    page = settings(feature_weights_source="spread")
    assert "a distance of 1 is one spread of one column" in page.text
    assert "in robust spreads of the columns" in page.text


@pytest.mark.once
@pytest.mark.parametrize(("radius", "said"), [(0.4, "no change"), (0.6, "some"), (3.0, "any")])
def test_tolerances_of_categories(radius, said):
    column = Column("c", "category", ("a", "b", "d"))
    weights = np.array([0.3, 0.4, 2.0])  # a step from a to b is 0.5, one from b to d 2.04
    assert tolerances.alone(column, weights, radius, None)[0] == said
    flag = tolerances.alone(Column("b", "boolean"), np.array([0.5]), radius, None)
    assert flag[0] == ("any" if radius > 0.5 else "no change")


def test_the_constant_is_that_of_the_distance_of_the_radii(trained):
    """Against the bound of a model that reads weighted inputs."""
    run = runs.read(trained / "run")
    found = investigate(run)
    constant = float(lipkit.lipschitz_bound(run.space[0]))
    assert found.constant == pytest.approx(constant, rel=1e-5)
    assert abs(found.constant - run.bound) > 0.01 * run.bound
    text = Reader(write_report(trained / "run").read_text()).text
    assert "in weighted units, it is ≤ " in text
    assert f"for distances {run.distances}" in text


TRADE = [
    {"eps": 0.1, "accuracy": 0.94, "certified": 0.91},
    {"eps": 0.3, "accuracy": 0.935, "certified": 0.86},
    {"eps": 0.9, "accuracy": 0.90, "certified": 0.62},
]


def test_the_choice_of_the_radius_is_explained(settings):
    page = settings(trade=TRADE, eps_source="searched")
    assert (
        "The radius 0.3 was chosen on validation data: of 3 that were tried, it is the largest "
        "that costs at most one point of accuracy, 93.5 % against 94.0 % at best." in page.text
    )
    lines = {
        a["class"]: np.array([pair.split(",") for pair in a["points"].split()], float).T
        for name, a in page.tags
        if name == "polyline" and "accuracy" in a["class"]
    }
    x, y = lines["line accuracy"]
    assert (np.diff(x) > 0).all() and x[2] - x[1] == pytest.approx(3 * (x[1] - x[0]), abs=0.2)
    assert y[2] - y[0] == pytest.approx(8 * (y[1] - y[0]), abs=0.6)  # 4 points against 0.5
    assert "radius 0.9: 90.0 % right, 62.0 % proven" in str(page.tags)
    assert "trade" not in [row[0] for rows in page.tables for row in rows]


@pytest.mark.once
def test_only_models_that_none_beats_are_in_the_curve(rng):
    points = [tuple(point) for point in rng.integers(1, 6, (40, 3)) / 10]
    beaten = {p for p in points for q in points if q[0] >= p[0] and q[1] >= p[1] and q[:2] != p[:2]}
    kept = choice.frontier(points)
    assert {p[:2] for p in kept} == {p[:2] for p in points if p not in beaten}
    assert [p[0] for p in kept] == sorted({p[0] for p in kept})


@pytest.mark.once
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"eps_source": "given"}, "The radius 0.3 was given to the training (--eps)."),
        ({"eps_source": "searched"}, "The radius 0.3 was chosen on validation data."),
        ({"eps_source": "spread"}, "was set from the spreads of the features, without a search."),
        ({}, "The radius 0.3 is the one that the model was trained for."),
        ({"eps_source": ["x"], "trade": 3}, "is the one that the model was trained for."),
    ],
)
def test_sources_of_the_radius(values, said):
    info = SimpleNamespace(settings=values)
    found = SimpleNamespace(run=SimpleNamespace(info=info), eps=0.3, asked=True)
    assert choice.sentence(found).endswith(said)


@pytest.mark.once
@pytest.mark.parametrize("trade", [None, 3, {}, [3], [{"eps": 1}], [{**TRADE[0], "eps": "a"}]])
def test_a_trade_that_is_none_is_left_out(trade):
    assert choice.trade({"trade": trade}) == []


def test_warnings_are_on_the_first_screen(settings):
    page = settings(warnings=["<b>An id</b> is among the columns.", "Few rows."])
    first = page.text[: page.text.index("What the model was trained on")]
    assert "Warnings" in first and "<b>An id</b> is among the columns." in first
    assert "Few rows." in first
    assert "Warnings" not in settings(warnings=[]).text


def test_a_model_that_is_no_better_than_one_answer_is_said(trained):
    run = runs.read(trained / "run")
    y = np.zeros_like(run.y)
    y[0] = 1
    found = investigate(replace(run, y=y, certificates=replace(run.certificates, label=1 - y, y=y)))
    text = Reader(summary(found)).text
    assert f"Always answering no would be right about {len(y) - 1:,} of {len(y):,}" in text


def direct(trained, run):
    """scikit-learn's accuracy on the split, from the rows of the file that the run held out."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from lipkit.data.splits import stratified

    data = files.read(trained / "data.csv", "buys")
    rows, held = stratified(data.y, 0.2, 0)
    np.testing.assert_array_equal(data.x[held], run.x)
    scaler = StandardScaler().fit(data.x[rows])
    model = LogisticRegression(max_iter=1000).fit(scaler.transform(data.x[rows]), data.y[rows])
    return int(np.sum(model.predict(scaler.transform(run.x)) == run.y))


@pytest.mark.once
def test_baselines_are_trained_on_the_same_rows(trained):
    run = runs.read(trained / "run")
    page = Reader(write_report(trained / "run", baselines=True).read_text())
    rows = {row[0]: row[1:] for row in page.table("model")[1:]}
    assert list(rows) == ["this model", "logistic regression", "neural network"]
    n = len(run.y)
    assert int(rows["this model"][0]) == run.right.sum()
    assert int(rows["logistic regression"][0]) == direct(trained, run)
    assert 0.8 * n < int(rows["neural network"][0]) <= n
    proven = 100 * run.certificates.certified_accuracy(0.3)
    assert float(rows["this model"][2].removesuffix(" %")) == pytest.approx(proven, abs=0.051)
    assert "Comparison with scikit-learn" not in write_report(trained / "run").read_text()


@pytest.mark.once
def test_baselines_need_the_data_of_the_run(trained, monkeypatch):
    path, run = trained / "data.csv", trained / "run"
    before = path.read_bytes()
    try:
        path.write_bytes(before + b"30,20000,red,True,1,yes\n")
        assert "no comparison: " in (text := write_report(run, baselines=True).read_text())
        assert "data.csv has changed since the training." in text
        path.unlink()
        text = write_report(run, baselines=True).read_text()
        assert "data.csv is not there any more." in text
    finally:
        path.write_bytes(before)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"\(--baselines\) needs scikit-learn.*lipkit\[sklearn\]"):
        write_report(run, baselines=True)

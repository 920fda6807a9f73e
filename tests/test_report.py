"""Reports of runs: what they say, whom they escape, what they refuse, how they look."""

import hashlib
import json
import re
import shutil
from dataclasses import asdict, replace
from types import SimpleNamespace

import chromium
import keras
import numpy as np
import pytest
from report_runs import Reader, scaled, write_run
from sklearn import datasets

import lipkit
from lipkit.data.tables import Column
from lipkit.layers import GroupSort2, SpectralDense
from lipkit.report import write_report
from lipkit.report.findings import attack, singular_values
from lipkit.report.markup import aligned, join, tag
from lipkit.report.numbers import at_least, at_most, changed, number, percent
from lipkit.runs import read
from lipkit.runs.schema import FILES

HOSTILE = """<script>alert(1)</script>"'&<img src=x onerror=alert(2)>"""
POLICY = "Content-Security-Policy"


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Three runs with their reports: a hostile binary table, three classes, pictures."""
    keras.utils.set_random_seed(0)  # of the layers below
    folder = tmp_path_factory.mktemp("runs")
    iris, digits = datasets.load_iris(), datasets.load_digits()
    some = iris.target < 2
    write_run(
        folder / "binary",
        iris.data[some],
        iris.target[some],
        [scaled(iris.data), SpectralDense(8), GroupSort2()],
        classes=[HOSTILE, "\u202e\x00 é"],
        data={"path": f"data/{HOSTILE}", "features": [HOSTILE, "a", "b" * 300, ""]},
        settings={HOSTILE: HOSTILE},
        history={HOSTILE: [1.0, 0.5], "broken": [None, float("nan")]},
        command=["lipkit", "train", HOSTILE],
    )
    write_run(
        folder / "classes",
        iris.data,
        iris.target,
        [SpectralDense(8), GroupSort2()],
        settings={"eps": None},
    )
    write_run(
        folder / "pictures",
        digits.images[:700, ..., None] / 16,
        digits.target[:700],
        [keras.layers.Flatten(), SpectralDense(32), GroupSort2()],
    )
    found = {}
    for path in sorted(folder.iterdir()):
        page = write_report(path)
        assert page == path / "report.html"
        text = page.read_text(encoding="utf-8")
        run = json.loads((path / "run.json").read_text())
        certificates = lipkit.certifier.Certificates.load(path / "certificates.json")
        found[path.name] = SimpleNamespace(
            path=path, text=text, html=Reader(text), run=run, certificates=certificates
        )
    return found


KINDS = ("binary", "classes", "pictures")


@pytest.fixture(params=KINDS)
def report(request, reports):
    return reports[request.param]


def test_page_is_well_formed_and_alone(report):
    html = report.html
    assert html.open == []
    names = [name for name, _ in html.tags]
    assert "script" not in names and "link" not in names and names.count("h1") == 1
    ids = [attributes["id"] for _, attributes in html.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for name, attributes in html.tags:
        assert not any(key.startswith("on") for key in attributes), attributes
        assert "src" not in attributes or attributes["src"].startswith("data:image/png;base64,")
        assert "href" not in attributes or attributes["href"][1:] in ids
        assert name != "img" or attributes["alt"]
        assert name != "svg" or (attributes["role"] == "img" and attributes["aria-label"])
    policies = [a["content"] for _, a in html.tags if a.get("http-equiv") == POLICY]
    assert len(policies) == 1 and policies[0].startswith("default-src 'none';")
    assert not re.search(r"https?:|url\(|@import", report.text)
    assert names.count("table") == names.count("caption")


def stated(text):
    """The bound at the beginning of a text: a number, or the sum of two."""
    found = re.match(r"[\d.,]+(e−?\d+)?( \+ [\d.]+(e−?\d+)?)?", text)[0].rstrip(".,")
    return sum(float(part.replace(",", "").replace("−", "-")) for part in found.split(" + "))


def test_numbers_are_those_of_the_files(report):
    text, run, c = report.html.text, report.run, report.certificates
    n, right = len(c), int((c.label == c.y).sum())
    eps = run["settings"]["eps"] or float(f"{np.median(c.radius):.0e}")
    if run["settings"]["eps"] is None and eps > np.median(c.radius):  # rounded down
        eps = round(eps - 10.0 ** np.floor(np.log10(eps)), 12)
    proven = int(((c.label == c.y) & (c.radius >= eps)).sum())
    assert f"Its answer is right for {right} of {n}" in text and f"For {proven} of them" in text
    assert f"{100 * run['accuracy']:.1f} %{right} of {n} test" in text
    assert f"Certified at radius {eps:.3g}{100 * proven / n:.1f} %" in text
    assert f"{proven} of {n} proven" in text
    bound = lipkit.lipschitz_bound(keras.saving.load_model(report.path / "model.keras"))
    for where in ("proven: ≤ ", "constant of the model ≤ ", "proven anew: "):
        shown = stated(text[text.index(where) + len(where) :])
        assert bound <= shown <= bound * (1 + 1e-2)
    rows = report.html.table("layer")[1:]
    assert [row[0] for row in rows] == [layer.name for layer in bound.layers]
    shown = np.array([stated(row[3]) for row in rows])
    bounds = np.array([layer.bound for layer in bound.layers])
    assert (shown >= bounds).all() and (shown <= bounds * (1 + 1e-2)).all()
    for name in FILES:
        assert hashlib.sha256((report.path / name).read_bytes()).hexdigest() in text
    assert run["data"]["sha256"] in text
    for assumption in c.assumptions:
        assert assumption[1:] in text


def test_confusion_matrix(report):
    c, k = report.certificates, len(report.run["classes"])
    rows = [rows for rows in report.html.tables if rows[0][0] == "true class"][1][1:]
    counts = np.zeros((k, k), int)
    np.add.at(counts, (c.y, c.label), 1)
    shown = [[int(cell.split()[0]) for cell in row[1:]] for row in rows]
    assert np.array_equal(shown, counts)


def test_curves_in_the_table(report):
    c = report.certificates
    right = c.label == c.y
    for row in report.html.table("radius")[1:]:
        share = np.mean(right & (c.radius >= float(row[0])))
        certified, *same, attacked = (float(cell.removesuffix(" %")) for cell in row[1:])
        assert abs(certified - 100 * share) < 0.051
        assert max(same, default=certified) <= attacked
    assert attacked < 100 * np.mean(right)  # the attack gets somewhere


def marks(report, name, class_):
    """Attributes of the marks of a class in the pictures."""
    return [a for tag, a in report.html.tags if tag == name and a.get("class") == class_]


def test_curves_in_the_picture(report):
    """They start at the accuracy and pass the dotted line at the certified accuracy there."""
    c, eps = report.certificates, report.run["settings"]["eps"]
    right = c.label == c.y
    lines = {
        name: np.array([pair.split(",") for pair in mark[0]["points"].split()], float).T
        for name in ("certified", "certified thin", "attacked")
        if (mark := marks(report, "polyline", f"line {name}"))
    }
    x, y = lines["certified"]
    assert ("certified thin" in lines) == (len(c) > 128)
    # the attack's curve lies above that of the same points
    assert (lines["attacked"][1] <= lines.get("certified thin", lines["certified"])[1]).all()
    share = (244 - y) / (244 - 26)  # the frame's lower and upper end
    assert share[0] == pytest.approx(np.mean(right), abs=1e-3)
    assert (np.diff(share) <= 0).all() and share[-1] == 0
    if eps is not None:
        line = float(marks(report, "line", "upright")[0]["x1"])
        near = share[np.abs(x - line) < 2.5]  # the points between which it is
        assert near.min() - 1e-3 <= c.certified_accuracy(eps) <= near.max() + 1e-3


def test_histogram_in_the_picture(report):
    c = report.certificates
    right = c.label == c.y
    for chosen, name in ((right, "right"), (~right, "wrong")):
        counts = np.histogram(c.radius[chosen], 30, (0, 1.03 * c.radius.max()))[0]
        heights = [float(mark["height"]) for mark in marks(report, "rect", name)]
        counts = counts[counts > 0]
        unit = heights[0] / counts[0] if len(counts) else 0.0
        np.testing.assert_allclose(heights, counts * unit, rtol=0.02)


def test_hostile_names_are_text(reports):
    html = reports["binary"].html
    assert html.text.count(HOSTILE) > 8
    assert not set("\x00\u202e") & set(reports["binary"].text)
    assert any(HOSTILE in (attributes.get("aria-label") or "") for _, attributes in html.tags)


def test_pictures_are_shown_with_their_counterfactuals(reports):
    images = [attributes for name, attributes in reports["pictures"].html.tags if name == "img"]
    assert len(images) == 18  # 6 examples
    assert len({image["src"] for image in images}) == 18


def test_examples_of_a_table_change_the_decision(reports):
    """The changes shown add up: value and change to what it becomes; shares to 100 %."""
    tables = [rows for rows in reports["classes"].html.tables if rows[0][:2] == ["column", "value"]]
    assert len(tables) == 6
    x = read(reports["classes"].path).x
    low, high = x.min(axis=0), x.max(axis=0)
    for rows in tables:
        numbers = [[float(cell.replace("−", "-")) for cell in row[1:]] for row in rows[1:]]
        value, change, becomes, share = np.array(numbers).T
        np.testing.assert_allclose(value + change, becomes, atol=0.011 * np.abs(change).max())
        places = [int(row[0].removeprefix("feature ")) for row in rows[1:]]
        assert (low[places] - 1e-6 <= becomes).all() and (becomes <= high[places] + 1e-6).all()
        assert abs(share.sum() - 100) < 0.5


def linear_run(rng):
    """A linear classifier, whose distances to the boundary are known."""
    w, x = rng.normal(size=5), rng.normal(size=(40, 5)).astype("float32")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.set_weights([w[:, None], np.array([0.25])])
    values = x.astype("float64") @ model.get_weights()[0][:, 0].astype("float64") + 0.25
    y = (values > 0).astype(int)
    y[:10] = 1 - y[:10]
    run = SimpleNamespace(
        space=(model, x, lipkit.certify(model, x, y)), y=y, sample=np.arange(5, 40)
    )
    return run, np.abs(values) / np.linalg.norm(model.get_weights()[0].astype("float64"))


def test_attack_finds_the_distance_to_a_linear_boundary(rng):
    run, distance = linear_run(rng)
    found = attack(run)
    exact = distance[5:]
    assert (found.distance[:5] == 0).all()  # wrong as they are
    assert (found.distance[5:] >= exact[5:]).all()
    assert (found.distance[5:] <= 1.1 * exact[5:]).all()
    assert (found.tried, found.broken, found.refuted) == (30, 30, 0)
    radii = np.quantile(exact, [0.11, 0.52, 0.91])
    np.testing.assert_array_equal(
        found.certified(radii), [np.mean((exact >= r) & (np.arange(35) > 4)) for r in radii]
    )
    assert (found.accuracy(radii) >= found.certified(radii)).all()


def test_attack_counts_refuted_certificates(rng):
    run, _ = linear_run(rng)
    *rest, certificates = run.space
    run.space = (*rest, replace(certificates, radius=2 * certificates.radius))
    assert attack(run).refuted == 30


def test_singular_values_are_those_of_the_kernels(reports):
    run = read(reports["binary"].path)
    found = {name: values for name, *values in singular_values(run.model)}
    dense = [layer for layer in run.model.layers if isinstance(layer, keras.layers.Dense)]
    assert len(found) == 3
    for layer in dense:
        sigmas = np.linalg.svd(layer.get_weights()[0].astype("float64"), compute_uv=False)
        np.testing.assert_allclose(found[layer.name], [sigmas[-1], sigmas[0]])


@pytest.mark.once
def test_numbers_do_not_promise_too_much(rng):
    for value in [*rng.lognormal(sigma=9, size=300), 1.0, 0.1, 1 + 1e-12, 1e-300, 1e30]:
        above, below = stated(at_most(value)), stated(at_least(value))
        assert value * (1 - 1e-2) <= below <= value <= above <= value * (1 + 1e-2)
    assert at_least(0.3) == at_most(0.3) == "0.3"
    assert at_most(1.0000001) == "1 + 1e−7" and at_most(0.99999999) == "1"
    assert at_most(151.168) == "152" and at_least(151.968) == "151"
    assert percent(9999, 10000) == "99.9 %" and percent(3, 3) == "100.0 %"


@pytest.mark.once
def test_numbers_have_three_digits():
    values = (0, -0.0, 1234567, 1.5e-7, -0.012346, 1e12, 2.0)
    assert [*map(number, values)] == ["0", "0", "1,230,000", "1.5e−7", "−0.0123", "1e12", "2"]
    assert changed(24825.0, -3.9312) == ("24,825", "−3.93", "24,821.07")
    assert changed(0.0, 1.4321) == ("0", "+1.43", "1.43")
    assert changed(44376.0, -8096.4) == ("44,376", "−8,096", "36,280")


def test_texts_are_escaped_and_decimals_aligned():
    assert tag("p", HOSTILE, title='"') == (
        '<p title="&quot;">&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;'
        "&lt;img src=x onerror=alert(2)&gt;</p>"
    )
    assert join([tag("b", "\x00"), None, ["<"]]) == "<b>\ufffd</b>&lt;"
    point, digit = "\N{PUNCTUATION SPACE}", "\N{FIGURE SPACE}"
    assert aligned(["1", "2.50", "−0.3", "x"]) == [
        f"1{point}{digit * 2}",
        "2.50",
        f"−0.3{digit}",
        "x",
    ]


def edit(name, change):
    """A damage: a change of a JSON file."""

    def damage(folder):
        document = json.loads((folder / name).read_text())
        changed = change(document)
        (folder / name).write_text(json.dumps(document if changed is None else changed))

    return damage


def put(name, content=b"nonsense"):
    return lambda folder: (folder / name).write_bytes(content)


def arrays(change):
    """A damage: a change of the test data."""

    def damage(folder):
        with np.load(folder / "test.npz") as old:
            new = dict(old)
        np.savez(folder / "test.npz", **{**new, **change(new)})

    return damage


def other_weights(folder):
    model = keras.saving.load_model(folder / "lipkit.keras")
    model.layers[-1].bias.assign(model.layers[-1].bias + 0.01)
    model.save(folder / "lipkit.keras")


def other_inputs(folder):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)]).save(folder / "model.keras")


def unknown_layer(folder):
    layers = [keras.Input((4,)), keras.layers.Reshape((1, 4)), keras.layers.LSTM(3)]
    keras.Sequential(layers).save(folder / "model.keras")


def swap(columns):
    columns[0], columns[1] = columns[1], columns[0]


def column(document):
    return document["data"]["encoding"]["columns"][0]


ONE = {"features": ["a"], "encoding": {"columns": [asdict(Column("a", "number"))]}}
DAMAGES = {
    "no JSON": (put("run.json"), "run.json cannot be read"),
    "a list": (put("run.json", b"[]"), "run.json must hold a JSON object"),
    "no classes": (edit("run.json", lambda d: d.pop("classes") and None), "no valid 'classes'"),
    "no hash": (edit("run.json", lambda d: d["data"].pop("sha256") and None), "'sha256' in data"),
    "a bool": (edit("run.json", lambda d: {**d, "seconds": True}), "no valid 'seconds'"),
    "NaN": (edit("run.json", lambda d: {**d, "accuracy": float("nan")}), "'accuracy' nan"),
    "no date": (edit("run.json", lambda d: {**d, "created": "today"}), "run.json cannot be read"),
    "one class": (edit("run.json", lambda d: {**d, "classes": ["a"]}), "names 1 classes"),
    "history": (edit("run.json", lambda d: {**d, "history": {"loss": 1}}), "history of 'loss'"),
    "kind": (edit("run.json", lambda d: d["data"].update(kind="text")), "has the kind 'text'"),
    "features": (edit("run.json", lambda d: d["data"].update(ONE)), "has no names"),
    "accuracy": (edit("run.json", lambda d: {**d, "accuracy": 0.1}), "run.json 0.1"),
    "no encoding": (edit("run.json", lambda d: d["data"].update(encoding=1)), "'encoding'"),
    "no weights": (edit("run.json", lambda d: {**d, "settings": {}}), "no 'feature_weights'"),
    "no columns": (
        edit("run.json", lambda d: d["data"].update(encoding={})),
        "not give its features",
    ),
    "null": (edit("run.json", lambda d: d["data"]["encoding"].update(columns=None)), "cannot be"),
    "swapped": (
        edit("run.json", lambda d: swap(d["data"]["encoding"]["columns"])),
        "not give its f",
    ),
    "a kind": (edit("run.json", lambda d: column(d).update(kind="text")), "no such column"),
    "a fill": (edit("run.json", lambda d: column(d).update(fill={})), "no such column"),
    "target": (edit("run.json", lambda d: d["data"].update(target=[1])), "no valid 'target'"),
    "no target": (edit("run.json", lambda d: d["data"].pop("target") and None), "valid 'target'"),
    "class 5": (
        edit("run.json", lambda d: {**d, "classes": ["a", 5, "b"]}),
        "are not strings",
    ),
    "scalar": (
        edit("run.json", lambda d: d["settings"].update(feature_weights=5)),
        "not a list",
    ),
    "weights": (edit("run.json", lambda d: d["settings"].update(feature_weights=[1])), "_weights"),
    "no arrays": (put("test.npz"), "test.npz cannot be read"),
    "NaN in x": (arrays(lambda d: {"x": d["x"] * np.nan}), "finite inputs"),
    "less rows": (arrays(lambda d: {"x": d["x"][1:]}), "must hold 30 finite inputs"),
    "classes": (arrays(lambda d: {"y": d["y"] + 1}), "classes y from 0 to 2"),
    "objects": (arrays(lambda d: {"y": d["y"].astype(object)}), "test.npz cannot be read"),
    "no certificates": (put("certificates.json", b"{}"), "certificates.json cannot be read"),
    "less certificates": (
        edit(
            "certificates.json",
            lambda d: (
                {k: v[1:] for k, v in d.items() if k != "arithmetic"} | {"arithmetic": "real"}
            ),
        ),
        "one decision and true label for each of 30",
    ),
    "no true labels": (
        edit("certificates.json", lambda d: d.pop("y") and None),
        "one decision and true label",
    ),
    "other labels": (edit("certificates.json", lambda d: d["y"].reverse()), "other true labels"),
    "negative radii": (
        edit("certificates.json", lambda d: {**d, "radius": [-r for r in d["radius"]]}),
        "not numbers >= 0",
    ),
    "radii of nothing": (
        edit("certificates.json", lambda d: {**d, "status": ["tie"] * 30}),
        "not certified",
    ),
    "no model": (put("model.keras"), "model.keras cannot be read"),
    "other model": (other_inputs, "model.keras has inputs and outputs"),
    "no proof": (unknown_layer, "model.keras has no proven bound .*lstm"),
    "other bound": (edit("run.json", lambda d: {**d, "lipschitz_bound": 0.5}), "run.json 0.5"),
    "larger radii": (
        edit("certificates.json", lambda d: {**d, "radius": [1.01 * r for r in d["radius"]]}),
        "does not belong to model.keras and test.npz: certified anew, \\d+ of 30",
    ),
    "other points": (arrays(lambda d: {"x": d["x"][::-1]}), "does not belong"),
    "other lipkit model": (other_weights, "lipkit.keras differs from model.keras by 0.01"),
    "no page": (lambda folder: (folder / "report.html").mkdir(), "report.html cannot be written"),
}


@pytest.fixture
def copy(reports, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(reports["classes"].path, folder)
    (folder / "report.html").unlink()
    return folder


@pytest.mark.once
@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_refused(name, copy):
    damage, message = DAMAGES[name]
    damage(copy)
    with pytest.raises(ValueError, match=message) as caught:
        write_report(copy)
    assert "\n" not in str(caught.value) and str(copy) in str(caught.value)
    assert not (copy / "report.html").is_file() and not list(copy.glob("*.partial"))


@pytest.mark.once
@pytest.mark.parametrize("name", FILES)
def test_missing_files_are_named(name, copy):
    (copy / name).unlink()
    with pytest.raises(ValueError, match=f"{re.escape(name)} is missing.*lipkit train"):
        write_report(copy)


def test_a_folder_is_needed(tmp_path):
    with pytest.raises(ValueError, match="`directory` must be a folder.*nowhere"):
        write_report(tmp_path / "nowhere")


def test_nothing_certified_is_a_report_too(copy):
    """A test point on the boundary itself, and no other."""
    model = keras.saving.load_model(copy / "model.keras")
    last = model.layers[-1]
    last.set_weights([np.zeros_like(w) for w in last.get_weights()])
    for name in ("model.keras", "lipkit.keras"):
        model.save(copy / name)
    with np.load(copy / "test.npz") as data:
        certificates = lipkit.certify(model, data["x"], data["y"])
    assert not certificates.radius.any()
    certificates.save(copy / "certificates.json")
    facts = {
        "accuracy": float(np.mean(certificates.label == certificates.y)),
        "lipschitz_bound": float(lipkit.lipschitz_bound(model)),
    }
    edit("run.json", lambda d: {**d, **facts, "history": {}})(copy)
    text = Reader(write_report(copy).read_text()).text
    assert "No test point has a certificate." in text
    assert "radius 0: 30 tie." in text


def test_certificates_of_the_program_in_float32(copy):
    run = read(copy)
    lipkit.certify(run.model, run.x, run.y, arithmetic="float32").save(copy / "certificates.json")
    text = Reader(write_report(copy).read_text()).text
    assert "in float32, whose worst-case rounding errors are subtracted" in text
    assert "0 lie within the certified radius" in text


CHECKS = """(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((v) => {
      const c = v / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const contrast = (element) => {
    const style = getComputedStyle(element);
    const own = light(element.closest("svg") ? style.fill : style.color);
    return (Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05);
  };
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
  const overlaps = all("svg").flatMap((svg) => {
    const texts = all("text", svg).filter((t) => t.textContent);
    const boxes = texts.map((t) => t.getBoundingClientRect());
    const frame = svg.getBoundingClientRect();
    return texts.flatMap((t, i) => [
      ...boxes.slice(i + 1).flatMap((b, j) =>
        meet(boxes[i], b) ? [`${t.textContent} / ${texts[i + 1 + j].textContent}`] : []),
      ...(boxes[i].left < frame.left - 1 || boxes[i].right > frame.right + 1
        ? [`${t.textContent} leaves the picture`] : []),
    ]);
  });
  return {
    width: document.documentElement.scrollWidth,
    headings: all("h1, h2").map((h) => h.textContent),
    tables: all("table").every((t) => t.caption && t.querySelector("th[scope=row]")),
    images: all("img").every((i) => i.complete && i.naturalWidth > 0),
    small: all("svg text").filter((t) => t.getBoundingClientRect().height < 10).length,
    dark: ground < 0.1,
    faint: all("p, td, th, li, dt, dd, h1, h2, h3, h4, a, caption, figcaption, svg text")
      .filter((e) => contrast(e) < 4.5).map((e) => e.textContent),
    overlaps,
  };
})()"""


@pytest.fixture(scope="module")
def page():
    if chromium.PATH is None:
        pytest.skip("Chromium is not installed")
    with chromium.browser() as page:
        yield page


@pytest.mark.once
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_page_in_chromium(kind, scheme, width, reports, page):
    page.show(width, scheme=scheme)
    page.open(reports[kind].path / "report.html")
    found = page.evaluate(CHECKS)
    assert page.problems() == []
    assert found["width"] <= width
    tolerances = ["How far each column may move"] * (kind != "pictures")
    assert found["headings"][1:] == [
        *("Data and settings", "Accuracy against radius", "Certified radii"),
        *(*tolerances, "Decisions"),
        *("Least and most robust examples", "Layers and proven bounds", "Training"),
        *("What the certificates rest on", "Checks of this report", "How to reproduce"),
    ]
    assert found["tables"] and found["images"] and found["dark"] == (scheme == "dark")
    assert found["overlaps"] == [] and found["faint"] == [] and found["small"] == 0


@pytest.mark.once
def test_page_in_print(reports, page):
    page.show(718, scheme="dark", media="print")
    page.open(reports["binary"].path / "report.html")
    found = page.evaluate(CHECKS)
    assert found["width"] <= 718 and not found["dark"]
    breaks = "(e, name) => getComputedStyle(document.querySelector(e))[name]"
    for element in ("figure", ".example", ".tiles", "tr", "main > section"):
        assert page.evaluate(f"({breaks})('{element}', 'breakInside')") == "avoid"
    assert page.evaluate(f"({breaks})('main > section', 'breakAfter')") == "page"  # the first
    assert page.evaluate(f"({breaks})('nav', 'display')") == "none"
    assert page.pdf().startswith(b"%PDF")

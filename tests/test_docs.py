"""The documentation site: links, hosts, completeness of the reference; the code of pages runs."""

import gzip
import html
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import types
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import chromium
import keras
import numpy as np
import pytest
from public import public_modules

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
once = pytest.mark.once
# public names without a page of their own: a page says what they are
ALIASES = {"lipkit.activations", "lipkit.model", "lipkit.__version__"}
SAME = {
    f"lipkit.{name}": f"lipkit.models.{name}" for name in ("Model", "Sequential", "vanillaModel")
}
SAME["lipkit.lipschitzify"] = "lipkit.lipschitzify.lipschitzify"


def module(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


executed = module("executed", DOCS / "executed.py")


class Page(HTMLParser):
    """What a page refers to, and what it can be referred to by."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.classes = set(), [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.add(attrs.get("id"))
        self.classes.update((attrs.get("class") or "").split())
        for key in ("href", "src", "srcset", "action", "poster", "data"):
            if attrs.get(key) is not None:
                self.links.append(attrs[key])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built without executing code, in strict mode: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "LIPKIT_DOCS": "text", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr.strip()) == (0, "")
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html") if path.stat().st_size}


@once
def test_every_link_and_anchor_leads_somewhere(site, pages):
    assert len(pages) > 60
    count = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme == "data" or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists() and target.is_relative_to(site), f"{path}: {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids, f"{path}: {link}"
                count += 1
    assert count > 500


@once
def test_no_page_names_an_outside_host(site, pages):
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            assert not parts.netloc and parts.scheme in ("", "data"), f"{path}: {link}"
        assert "mermaid" not in page.classes  # the theme would load its drawer from a network
        inline = "".join(re.findall(r"(?s)<(?:script|style)\b[^>]*>(.*?)</", path.read_text()))
        assert not re.search(r"//[\w-]+\.\w", inline), path
    for path in site.rglob("*.css"):
        for url in re.findall(r"url\(([^)]*)\)|@import", path.read_text()):
            assert url.strip("\"'").startswith(("data:", "../", "./", "#")), f"{path}: {url}"


@once
def test_functions_precede_classes_in_the_reference(site):
    """Attributes and functions, then classes; pages that have both."""
    both = 0
    for path in (site / "reference").glob("*.html"):
        kinds = re.findall(r'doc-object doc-(\w+)">\s*<h2', path.read_text())
        after = kinds[kinds.index("class") :] if "class" in kinds else []
        assert set(after) <= {"class"}, path
        both += "function" in kinds and "class" in kinds
    assert both > 8


@once
def test_pages_lead_to_the_next_and_the_one_before(site):
    text = (site / "tutorials" / "digits.html").read_text()
    footer = text[text.index('class="md-footer"') :]
    assert 'href="wasserstein.html"' in footer and 'href="mnist.html"' in footer


@pytest.fixture(scope="module")
def browser():
    if chromium.PATH is None:
        pytest.skip("Chromium is not installed")
    with chromium.browser() as page:
        yield page


SEARCH = """(() => {
  document.querySelector("label[for=__search]").click();
  const field = document.querySelector("input.md-search__input");
  field.focus();
  field.value = "counterfactual";
  field.dispatchEvent(new KeyboardEvent("keyup", { bubbles: true, key: "l" }));
})()"""
FOUND = "[...document.querySelectorAll('.md-search-result__link')].map((a) => a.href)"


@once
@pytest.mark.parametrize("name", ["index.html", "reference/layers.html"])
def test_search_works_from_a_disk(name, site, browser):
    browser.show(1280)
    browser.open(site / name)
    browser.evaluate(SEARCH)
    deadline = time.monotonic() + 20
    while not (found := browser.evaluate(FOUND)) and time.monotonic() < deadline:
        time.sleep(0.1)
    page = (site / "reference" / "explain.html").as_uri()
    assert any(link.startswith(page) for link in found), found
    assert browser.problems() == []


@once
def test_the_first_screen_shows_the_picture(site, browser):
    place = """(() => {
      const image = document.querySelector("article img"), box = image.getBoundingClientRect();
      const lists = [...document.querySelectorAll("article li")].filter(
        (e) => e.getBoundingClientRect().bottom < innerHeight);
      return [image.naturalWidth > 0, box.bottom, lists.length,
              document.documentElement.scrollWidth];
    })()"""
    browser.show(1280, 800)
    browser.open(site / "index.html")
    shown, bottom, items, _ = browser.evaluate(place)
    assert shown and bottom < 800 and items >= 4
    browser.show(390, 800)
    browser.open(site / "index.html")
    shown, bottom, _, width = browser.evaluate(place)
    assert shown and bottom < 800 and width <= 390


@once
def test_files_are_included_as_they_are(site):
    for page, path in (("mnist", "mnist_hkr"), ("serve", "serve_onnx")):
        text = (site / "tutorials" / f"{page}.html").read_text()
        text = html.unescape(re.sub("<[^>]*>", "", text))
        assert (ROOT / "examples" / f"{path}.py").read_text().strip() in text


@once
def test_figures_are_described(pages):
    for path in DOCS.rglob("*.md"):
        for block in executed.blocks(path.read_text()):
            assert "plt.show" not in block["code"], path
    for path, page in pages.items():
        assert "figure" not in page.classes or 'alt=""' not in path.read_text(), path


def public_names(name, module):
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == name
    ]


@once
def test_every_public_name_is_in_the_reference(site, pages):
    ids = set().union(*(page.ids for page in pages.values()))
    index = (site / "reference" / "index.html").read_text()
    modules = public_modules()
    assert len(modules) > 25
    for name, module in modules.items():
        assert name == "lipkit" or f">{name}<" in index, f"{name} is not in the list of modules"
        for key in public_names(name, module):
            full = f"{name}.{key}"
            is_module = isinstance(getattr(module, key), types.ModuleType)
            if is_module or full in ALIASES:
                assert full in ALIASES or f"{name}.{key}" in modules or key == "functional", full
            else:
                assert SAME.get(full, full) in ids, f"{full} is not in the reference"


@once
def test_tests_that_pages_name_exist():
    named = 0
    for path in [*DOCS.rglob("*.md")]:
        for file, rest in re.findall(
            r"`(?:tests/)?(test_\w+\.py)`(.*?)(?=`(?:tests/)?test_\w+\.py`|\n\n|\|\n)",
            path.read_text(),
            re.DOTALL,
        ):
            tests = (ROOT / "tests" / file).read_text()
            for name in re.findall(r"`(test_\w+)`", rest):
                assert f"def {name}(" in tests, f"{path.name} names {file}: {name}"
                named += 1
    assert named > 100


def run_page(job, folder, backend):
    return subprocess.run(
        [sys.executable, executed.RUNNER, folder],
        input=json.dumps(job),
        env=executed.environment(backend),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", ["loop", pytest.param("extend", marks=once)])
def test_code_of_pages_runs(name, tmp_path):
    """Each of the pages here; all the others run in `make docs`. Slow: a process, its plots."""
    backend = keras.backend.backend()
    page = {"loop": f"tutorials/{backend}-loop.md", "extend": "how-to/extend.md"}[name]
    if not (DOCS / page).exists():
        pytest.skip("there is no page on a loop in TensorFlow")
    text = (DOCS / page).read_text().replace("steps=300", "steps=20")
    job = {"blocks": executed.blocks(text)}
    run = run_page(job, tmp_path, backend)
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout)
    assert len(results) == len(job["blocks"]) >= 4 and any(
        "proven" in r["out"] or "<= 1" in r["out"] for r in results
    )


PAGE = """---
backend: torch
---
```python run alt="a line"
import matplotlib.pyplot as plt
plt.plot([1, 2])
n = 6
print("drawn")
```

```sh run status="3" show="made/file.txt"
mkdir made; echo $KERAS_BACKEND > made/file.txt
echo to stderr >&2; exit 3
```

```python run
print(7 * n)
```

```python
not executed
```
"""


@once
def test_blocks_run_in_order_in_one_folder(tmp_path):
    assert executed.BACKEND.search(PAGE)[1] == "torch"
    run = run_page({"blocks": executed.blocks(PAGE)}, tmp_path, "torch")
    first, second, third = json.loads(run.stdout)
    assert (first["out"], len(first["figures"])) == ("drawn\n", 1)
    assert first["figures"][0].startswith("iVBORw0KGgo")  # a PNG
    assert second["out"] == "to stderr\n" and list(second["files"]) == ["file.txt"]
    assert (tmp_path / "made" / "file.txt").read_text() == "torch\n"
    assert (third["out"], third["figures"]) == ("42\n", [])


@once
@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("```python run\n1 / 0\n```\n", "ZeroDivisionError"),
        ("```python run\nimport matplotlib.pyplot as p\np.plot([1])\n```\n", 'needs alt="..."'),
        ("```sh run\necho wrong; false\n```\n", "wrong"),
        ('```python run show="no.txt"\n1\n```\n', "no.txt"),
    ],
)
def test_what_fails_in_a_page_is_an_error(page, message, tmp_path):
    run = run_page({"blocks": executed.blocks(page)}, tmp_path, "jax")
    assert run.returncode == 1 and message in run.stderr


def files_of(folder, text, monkeypatch):
    """The files of a site of one page, as the hook leaves them."""
    from mkdocs.config import load_config
    from mkdocs.structure.files import get_files

    monkeypatch.setattr(executed, "CACHE", folder / "cache")
    monkeypatch.delenv("LIPKIT_DOCS", raising=False)
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "docs" / "page.md").write_text(text)
    (folder / "mkdocs.yml").write_text("site_name: test\n")
    config = load_config(str(folder / "mkdocs.yml"))
    config.plugins._current_plugin = "executed"  # as when mkdocs calls its hooks
    return executed.on_files(get_files(config), config)


@once
def test_pages_get_their_outputs_once(tmp_path, monkeypatch, capsys):
    page = PAGE.replace('alt="a line"', 'alt="a line" caption="steep"')
    for _ in range(2):
        files = files_of(tmp_path, page, monkeypatch)
        text = files.get_file_from_path("page.md").content_string
        assert "```{.text .output}\ndrawn\n```\n\n![a line](page-0.png){ .figure }" in text
        assert "*steep*" in text and "```console\nmkdir made" in text
        assert "```{.text .output}\n42\n```" in text and "```python\nnot executed\n```" in text
        assert files.get_file_from_path("page-0.png").content_bytes.startswith(b"\x89PNG")
        assert files.get_file_from_path("page-file.txt").content_bytes == b"torch\n"
    assert capsys.readouterr().out.count("page.md: executed in") == 1  # then from the cache
    files_of(tmp_path, page.replace("7 * n", "8 * n"), monkeypatch)
    assert capsys.readouterr().out.count("page.md: executed in") == 1


@once
def test_a_page_that_fails_stops_the_build(tmp_path, monkeypatch):
    with pytest.raises(Exception, match="(?s)page.md failed:.*ZeroDivisionError"):
        files_of(tmp_path, "```python run\n1 / 0\n```\n", monkeypatch)


@once
def test_docstrings_become_markdown():
    markdown = module("docstrings", DOCS / "docstrings.py").markdown
    text = (
        "Norm <= 1, `a < b`, `lipkit.f`.\n\n    z <- z - 1\n\nReturns:\n    A float,\n    up.\n\n"
        "Example:\n>>> f(1) < 2\n... True\n\nReference: x."
    )
    assert markdown(text) == (
        'Norm &lt;= 1, `a < b`, <autoref optional identifier="lipkit.f">`lipkit.f`</autoref>.'
        "\n\n    z <- z - 1\n\n**Returns:** A float,\nup.\n\n"
        "Example:\n\n```pycon\n>>> f(1) < 2\n... True\n```\n\nReference: x."
    )


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype("uint8").tobytes()


@once
def test_files_of_mnist_are_read(tmp_path, rng):
    example = module("mnist_hkr", ROOT / "examples" / "mnist_hkr.py")
    images, labels = rng.integers(256, size=(2, 5, 4, 3)), rng.integers(10, size=(2, 5))
    for i, part in enumerate(("train", "t10k")):
        (tmp_path / f"{part}-images.idx3-ubyte").write_bytes(idx(images[i]))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[i])))
    for (x, y), pictures, digits in zip(example.mnist(tmp_path), images, labels, strict=True):
        np.testing.assert_allclose(x, pictures.reshape(5, 12) / 255, rtol=1e-6)
        np.testing.assert_array_equal(y, digits)
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(b"\x89PNG")
    with pytest.raises(SystemExit, match="not an IDX file"):
        example.mnist(tmp_path)
    (tmp_path / "t10k-images.idx3-ubyte").unlink()
    with pytest.raises(SystemExit, match="has no t10k-images-idx3-ubyte"):
        example.mnist(tmp_path)

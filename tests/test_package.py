"""Backend choice, import levels and file sizes."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once
ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "lipkit"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
CERTIFIER_CORE = [
    f"certifier.{name}"
    for name in (
        *("graph", "norms", "convolutions", "activations", "evaluate", "parts", "arithmetic"),
        *("bounding", "rounding", "certificate", "status", "result"),
    )
]
LEVELS = {
    0: [
        *("errors", "_version", "_selection", "_checks", "_registry", "_docstrings", "_table"),
        *("_choices", "_files", "_backend", "_keras"),
    ],
    1: ["linalg", "padding", "losses.functional", *CERTIFIER_CORE],
    2: ["parametrizations", "views"],
    3: [
        *("layers", "losses", "normalizers", "constraints", "initializers", "regularizers"),
        "optimizers",
    ],
    4: [
        *("models", "lipschitzify", "metrics", "callbacks", "export"),
        *("certifier", "certifier.reader", "certifier.api"),
    ],
    5: [
        *("data", "plots", "attacks", "testing", "compute_layer_sv", "utils"),
        *("recipes", "estimators", "wasserstein", "explain", "runs"),
    ],
    6: ["_demo", "compat", "report"],
}


def level(module):
    matches = [
        (len(p), n) for n, ps in LEVELS.items() for p in ps if f"{module}.".startswith(f"{p}.")
    ]
    assert matches, f"{module} has no level; add it to LEVELS and docs/architecture.md"
    return max(matches)[1]


def modules():
    return {
        ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(SRC.rglob("*.py"))
    }


def imported(nodes):
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("lipkit.") in modules() else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_each_level_imports_from_lower_ones_only():
    for name, path in modules().items():
        if name == "__init__":
            continue
        for target in imported(ast.walk(ast.parse(path.read_text()))):
            root = target.split(".")[0]
            assert root != "lipkit_command", f"{name} imports {target}"
            if not name.startswith("_backend."):
                assert root not in ("jax", "torch", "tensorflow"), f"{name} imports {target}"
            assert not target.startswith("keras.src"), f"{name} imports {target}"
            if not target.startswith("lipkit."):
                continue
            target = target.removeprefix("lipkit.")
            lazy = (name, target) == (
                "layers.kernels",
                "export",
            )  # the one upward call
            assert lazy or level(target) <= level(name), f"{name} imports {target} from above"


def test_core_of_the_certifier_needs_numpy_only():
    allowed = {*sys.stdlib_module_names, "numpy", "lipkit"}
    for name in CERTIFIER_CORE:
        top = ast.parse(modules()[name].read_text()).body  # pandas is for one method of a result
        for target in imported(top):
            assert target.split(".")[0] in allowed, f"{name} imports {target}"


def test_core_of_the_certifier_is_typed_strictly():
    config = json.loads((SRC.parents[1] / ".ci" / "core.json").read_text())
    named = {f"../src/lipkit/{name.replace('.', '/')}.py" for name in ("errors", *CERTIFIER_CORE)}
    assert config["typeCheckingMode"] == "strict" and set(config["include"]) == named


def test_files_are_small():
    for path in SRC.parent.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 300, path


def test_page_on_the_architecture_has_these_levels():
    rows = re.findall(r"(?m)^\| (\d) \| (.*) \|$", PAGE)
    named = {int(number): set(re.findall("`(.*?)`", row)) for number, row in rows}
    assert named == {number: set(names) for number, names in LEVELS.items()}


def defined(body):
    return {node.name: node for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def test_page_on_the_architecture_names_what_exists():
    folders = (ROOT, SRC, ROOT / "docs")
    for path in re.findall(r"`([\w/.]+(?:\.(?:py|md)|/…))`", PAGE):
        assert any((folder / path.removesuffix("…")).exists() for folder in folders), path
    steps = re.findall(r"`([\w/]+\.py)`: ((?:`[\w.]+`(?:, )?)+)", PAGE)
    assert len(steps) > 20
    for path, names in steps:
        for name in re.findall("`(.*?)`", names):
            body = ast.parse((SRC / path).read_text()).body
            for part in name.split("."):
                assert part in defined(body), f"{path} has no {name}"
                body = defined(body)[part].body


SHOW = "import lipkit, keras; print(keras.backend.backend())"


@pytest.mark.parametrize(
    ("hidden", "expected", "said"),
    [
        ((), "tensorflow", False),
        (("tensorflow",), "jax", True),
        (("tensorflow", "jax"), "torch", False),  # the only one
    ],
)
def test_backend_is_chosen_only_if_needed(hidden, expected, said, python):
    result = python(SHOW, hidden=hidden)
    assert result.stdout.strip() == expected, result.stderr
    assert ("lipkit chose" in result.stderr) == said


def test_users_choice_is_respected(python, tmp_path):  # slow: three processes
    assert python(SHOW, KERAS_BACKEND="torch").stdout.strip() == "torch"
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    assert python(SHOW).stdout.strip() == "jax"
    # Keras writes the file itself, so what it names is replaced if it is missing
    result = python(SHOW, hidden=("jax", "tensorflow"))
    assert result.stdout.strip() == "torch" and "backend jax, which is not" in result.stderr


@pytest.mark.parametrize(
    ("hidden", "environment", "message"),
    [
        (("tensorflow", "jax", "torch"), {}, "found none.*pip install"),
        (
            ("tensorflow",),
            {"KERAS_BACKEND": "tensorflow"},
            "'tensorflow'.*KERAS_BACKEND.*jax, torch",
        ),
        ((), {"KERAS_BACKEND": "theano"}, "Unknown.*'theano'.*KERAS_BACKEND.*jax, torch"),
    ],
)
def test_missing_backend_says_what_to_do(hidden, environment, message, python):
    result = python("import lipkit", hidden=hidden, **environment)
    assert result.returncode != 0
    assert re.search(message, result.stderr.splitlines()[-1]), result.stderr


def test_unknown_backend_in_the_file_of_keras(python, tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "theano"}')
    result = python("import lipkit")
    assert re.search("'theano'.*keras.json", result.stderr.splitlines()[-1]), result.stderr


def test_keras_imported_before_with_an_unusable_choice(python):
    code = (
        "import os; os.environ['KERAS_BACKEND'] = 'tensorflow'\n"
        "try:\n    import keras\nexcept ImportError:\n    pass\nimport lipkit"
    )
    result = python(code, hidden=("tensorflow",))
    assert "BackendError" in result.stderr and "KERAS_BACKEND" in result.stderr.splitlines()[-1]

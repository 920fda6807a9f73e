"""Public docstrings say what is taken, given back and raised, and their examples run.

Examples find what most programs have at that point: `lipkit`, `keras`, `ops`, `np`, 200 points of
two moons in `x` with the labels 0 and 1 in `y`, `model`, a network of one logit for them, and
`run`, the folder of a run.
"""

import ast
import doctest
import enum
import inspect
import re
import shutil
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from public import public_modules

import lipkit

SECTION = r"(?ms)^{}:[ \t]*\n((?:[ \t]+\S.*?$|[ \t]*\n)+)"
# operations of a graph that users rarely make themselves; each docstring is the operation's formula
FORMULAS = "lipkit.certifier.graph."


def found():
    """{qualified name: function or class} of all that is public, each object once."""
    names = {}
    for module in public_modules().values():
        for name in getattr(module, "__all__", vars(module)):
            value = getattr(module, name)
            home = getattr(value, "__module__", None) or ""
            public = not name.startswith("_") and home.startswith(module.__name__)
            if public and (inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value))):
                names.setdefault(id(value), (f"{module.__name__}.{name}", value))
    return dict(names.values())


PUBLIC = found()


def section(docstring, name):
    match = re.search(SECTION.format(name), docstring)
    return textwrap.dedent(match[1]) if match else ""


def listed(docstring):
    """The arguments that a docstring has an entry for; several may share one: `a, b: ...`."""
    heads = re.findall(r"(?m)^([\w*`, ]+):", section(docstring, "Args"))
    return {name.strip(" `*") for head in heads for name in head.split(",")}


def body(function):
    """The statements of a function, without those of functions inside of it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    todo, inside = list(tree.body[0].body), []
    while todo:
        node = todo.pop()
        inside.append(node)
        if not isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            todo += ast.iter_child_nodes(node)
    return inside


def faults(name, value):
    """What the docstring of a class or function lacks."""
    text = inspect.getdoc(value) or ""
    if not text:
        return ["no docstring"]
    if inspect.isclass(value) and issubclass(value, (Exception, tuple, enum.Enum)):
        return []
    lacking = []
    if callable(value):
        names = {*inspect.signature(value).parameters} - {"self"}
        generated = inspect.isclass(value) and "__dataclass_fields__" in vars(value)
        if not generated and (missing := sorted(names - listed(text))):
            lacking.append(f"no Args: {', '.join(missing)}")
    statements = [] if inspect.isclass(value) else body(value)
    gives = any(isinstance(n, (ast.Return, ast.Yield)) and n.value for n in statements)
    if gives and not (section(text, "Returns") or section(text, "Yields")):
        lacking.append("no Returns")
    if any(isinstance(n, ast.Raise) for n in statements) and not section(text, "Raises"):
        lacking.append("no Raises")
    if ">>>" not in text and not name.startswith(FORMULAS):
        lacking.append("no example")
    return lacking


@pytest.mark.once
@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_is_complete(name):
    lacking = faults(name, PUBLIC[name])
    assert not lacking, f"{name}: {'; '.join(lacking)}"


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    keras.utils.set_random_seed(0)
    x, y = lipkit.data.moons(200, seed=0)
    model = lipkit.Sequential(
        [
            keras.Input((2,)),
            lipkit.layers.SpectralDense(8),
            lipkit.layers.FullSort(),
            lipkit.layers.FrobeniusDense(1),
        ]
    )
    model.compile("adam", lipkit.losses.HKR(alpha=10, min_margin=0.2))
    saved = Path(__file__).parent / "data" / "saved_run"
    run = shutil.copytree(saved, tmp_path_factory.mktemp("runs") / "run")
    return {"x": x, "y": y, "model": model, "run": str(run)}


@pytest.mark.parametrize("name", [n for n, v in PUBLIC.items() if ">>>" in (v.__doc__ or "")])
def test_example_runs(name, common, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lipkit.wasserstein.critics.WIDTHS", (32,))  # compiles in less time
    names = {"lipkit": lipkit, "keras": keras, "ops": keras.ops, "np": np, **common}
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(PUBLIC[name]), names, name, None, 0)
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
    assert test.examples

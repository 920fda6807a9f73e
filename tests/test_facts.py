"""What code has to know of an error or a certificate is an attribute, never its text."""

import ast
import copy
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest

import lipkit
from lipkit.certifier import Certificates, Status

SRC = Path(lipkit.__file__).parent
# the texts of other libraries, whose errors have nothing else to tell them by
FOREIGN = {
    "testing/suite.py",  # what a backend says that it cannot do
    "testing/layers.py",  # constructors of third parties that refuse a data format
    "runs/models.py",  # Keras wraps what went wrong in a longer text, of which the end is shown
}
PARTS = {"startswith", "endswith", "partition", "rpartition", "find", "index", "count"}


def compared(tree, names):
    """Lines on which the text of one of these names, or a status, is compared or taken apart."""

    def is_text(node):
        is_str = isinstance(node, ast.Call) and getattr(node.func, "id", None) in ("str", "repr")
        return is_str and any(getattr(n, "id", None) in names for n in ast.walk(node))

    def is_status(node):
        return any(isinstance(n, ast.Attribute) and n.attr == "status" for n in ast.walk(node))

    def is_literal(node):
        return isinstance(node, ast.Constant) and isinstance(node.value, str)

    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(is_text, sides)) or (
                any(map(is_status, sides)) and any(map(is_literal, sides))
            ):
                yield node.lineno
        elif isinstance(node, ast.Attribute) and node.attr in PARTS:
            if is_text(node.value) or is_status(node.value):
                yield node.lineno
        elif isinstance(node, ast.Attribute) and node.attr == "args":
            yield from [node.lineno] * (getattr(node.value, "id", None) in names)


def caught(tree):
    """The names of errors that are caught, and of what is made of them by an assignment."""
    names = {n.name for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.name}
    assignments = [n for n in ast.walk(tree) if isinstance(n, ast.Assign)]
    made = [n for n in assignments if any(getattr(m, "id", 0) in names for m in ast.walk(n.value))]
    return names | {target.id for n in made for target in n.targets if isinstance(target, ast.Name)}


def test_no_text_of_an_error_or_status_is_compared():
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        tree = ast.parse(path.read_text())
        if lines := list(compared(tree, caught(tree))):
            found[path.relative_to(SRC).as_posix()] = lines
    assert set(found) == FOREIGN, found


@pytest.mark.parametrize(
    "line",
    [
        "'rule' in str(error)",
        "str(error).partition(': ')",
        "str(error) == 'x'",
        "error.args[0] == 'x'",
        "result.status == 'certified'",
        "(result.status[0] != 'tie').all()",
        "result.status[0].startswith('wrong')",
    ],
)
def test_comparisons_of_texts_are_found(line):
    assert list(compared(ast.parse(line), {"error"}))
    assert not list(compared(ast.parse(line), {"other"})) or "status" in line


def model_of(*layers):
    return keras.Sequential([keras.Input((4,)), *layers])


def test_refusals_say_what_and_where():
    layer = keras.layers.LayerNormalization(name="n")
    with pytest.raises(lipkit.NotCertifiable) as caught:
        lipkit.lipschitz_bound(model_of(layer))
    error = caught.value
    assert error.where == "Layer 'n' (LayerNormalization)"
    assert error.reason.startswith("its slope has no bound over all inputs")
    assert str(error) == f"{error.where} cannot be certified: {error.reason}"
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (twin.reason, twin.where, str(twin)) == (error.reason, error.where, str(error))


def test_a_refusal_of_a_whole_model_is_a_sentence():
    with pytest.raises(lipkit.NotCertifiable, match="cannot be read") as caught:
        lipkit.lipschitz_bound(keras.Sequential([keras.layers.Dense(2)]))
    assert caught.value.where is None and str(caught.value) == caught.value.reason


def test_files_are_refused_in_the_same_way(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    x, y = (helper.make_tensor_value_info(name, kind, ["n", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Erf", ["x"], ["y"], name="e")], "g", [x], [y])
    path = tmp_path / "f.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    with pytest.raises(lipkit.NotCertifiable) as caught:
        lipkit.lipschitz_bound(path)
    error = caught.value
    assert error.where.startswith("Node 'e' (Erf) of 'f.onnx'"), error.where
    assert str(error) == f"{error.where} cannot be certified: {error.reason}"


def test_status_is_an_enumeration_and_prints_as_its_text():
    x = np.array([[3, 0, 0, 0], [0, 0, 0, 0], [np.inf, 0, 0, 0]], "float32")
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    found = lipkit.certify(model_of(layer), x)
    assert [*map(type, found.status)] == [Status] * 3
    assert found.status.tolist() == ["certified", "tie", "non-finite input"]
    assert found.certified.tolist() == [True, False, False] and found.certified.dtype == bool
    assert found.reasons() == {"non-finite input": 1, "tie": 1}
    assert str(found.status) == "['certified' 'tie' 'non-finite input']"
    assert f"{Status.TIE}" == str(Status.TIE) == Status.TIE.value == "tie"


@pytest.mark.parametrize(
    ("x", "status", "detail"),
    [
        (np.ones((2, 3), "float32"), Status.WRONG_SHAPE, "expected ('batch', 4), got (2, 3)"),
        (np.ones((2, 4), complex), Status.WRONG_DTYPE, "expected real numbers of at most 64 bits"),
        (np.full((2, 4), 2**60), Status.WRONG_DTYPE, "int64 values above 2**53 are not exact"),
    ],
)
def test_inputs_that_do_not_fit(x, status, detail, tmp_path):
    found = lipkit.certify(model_of(keras.layers.Dense(1)), x)
    assert found.status.tolist() == [status] * 2 and found.misfit.startswith(detail)
    assert not found.certified.any() and list(found.reasons().values()) == [2]
    assert f"2 not certified: {status}: {detail}" in str(found)
    found.save(tmp_path / "c.json")
    again = Certificates.load(tmp_path / "c.json")
    assert again.status.tolist() == [status] * 2 and again.misfit == found.misfit
    assert str(again) == str(found)


def test_a_status_that_does_not_exist_is_not_loaded(tmp_path):
    found = lipkit.certify(model_of(keras.layers.Dense(1)), np.ones((1, 4), "float32"))
    found.save(path := tmp_path / "c.json")
    path.write_text(path.read_text().replace('"certified"', '"certain"'))
    with pytest.raises(ValueError, match="certain"):
        Certificates.load(path)

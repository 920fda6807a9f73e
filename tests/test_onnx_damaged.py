"""ONNX files that are damaged and valid all the same: operands left out, an output twice."""

import onnx
import pytest
from onnx_models import model

import lipkit
from lipkit import NotCertifiable

pytestmark = pytest.mark.once  # no backend of Keras reads or runs these files


def file(folder, nodes, without):
    """A file of these nodes; the last one has no operands from the second to `without`."""
    made = model(nodes, (2,), opset=17)
    made.graph.node[-1].input[1:without] = [""] * (without - 1)
    onnx.save(made, folder / "model.onnx")
    return str(folder / "model.onnx")


@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "Min"])
def test_an_operand_that_must_be_there_is_missed(op, tmp_path):
    """ONNX's checker takes such files, and the process died in ONNX Runtime."""
    path = file(tmp_path, [(op, "x x", "y", {})], 2)
    with pytest.raises(NotCertifiable, match=f"{op}.*its operand 1 is missing"):
        lipkit.lipschitz_bound(path)


def test_a_node_that_no_output_needs_is_not_run(tmp_path):
    path = file(tmp_path, [("Relu", "x", "y", {}), ("Max", "x x", "z", {})], 2)
    assert lipkit.lipschitz_bound(path) == 1


def test_an_output_that_is_there_twice_is_refused(tmp_path):
    """A runtime gives both, whose constant together is larger."""
    made = model([("Relu", "x", "y", {})], (2,))
    made.graph.output.append(made.graph.output[0])
    onnx.save(made, tmp_path / "model.onnx")
    with pytest.raises(NotCertifiable, match="two of its outputs have one name, of y"):
        lipkit.lipschitz_bound(str(tmp_path / "model.onnx"))


def test_an_optional_operand_may_be_missing(tmp_path):
    assert lipkit.lipschitz_bound(file(tmp_path, [("Clip", "x x x", "y", {})], 3)) == 1

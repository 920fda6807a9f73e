"""ONNX files of single operators, and how ONNX Runtime computes them."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def model(nodes, shape, constants=None, outputs=("y",), opset=20, batch="batch", inputs=("x",)):
    """A model of nodes that read the inputs and constants by name; ("Relu", "x", "y", {...})."""
    nodes = [
        helper.make_node(op, inputs.split(), outputs.split(), **attributes)
        for op, inputs, outputs, attributes in nodes
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, *shape]) for n in inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run(path, *inputs, outputs=None):
    """The outputs of a file: a list, in float64 if real."""
    opened = session(path)
    feeds = {i.name: x for i, x in zip(opened.get_inputs(), inputs, strict=True)}
    return opened.run(outputs, feeds)

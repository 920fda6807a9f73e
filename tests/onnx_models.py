"""ONNX files of single operators, and how ONNX Runtime computes them."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def model(nodes, shape, constants=None, outputs=("y",), opset=20, batch="batch", inputs=("x",)):
    """A model of nodes that read the inputs and constants by name; ("Relu", "x", "y", {...})."""
    nodes = [
        helper.make_node(op, inputs.split(" ") if inputs else [], outputs.split(), **attributes)
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


def linear_norm(path, shape):
    """The 2-norm of the matrix of an affine file, read off in float32."""
    basis = np.eye(np.prod(shape), dtype="float32").reshape(-1, *shape)
    values = run(path, np.concatenate([basis, 0 * basis[:1]]))[0].astype("float64")
    return np.linalg.norm((values[:-1] - values[-1]).reshape(len(basis), -1), 2)


def largest_slope(path, shape):
    """The largest quotient |f(x) - f(x')| / |x - x'| of random pairs."""
    rng, slopes = np.random.default_rng(2), []
    for size in (1e-2, 1.0):
        x, step = rng.standard_normal((2, 500, *shape))
        step *= size * (rng.random(step.shape) < rng.random((500,) + (1,) * len(shape)))
        ends = np.concatenate([2 * x, 2 * x + step]).astype("float32")
        (values,) = run(path, ends)
        moved, change = (
            np.linalg.norm(np.subtract(*np.split(v.astype("float64"), 2)).reshape(500, -1), axis=1)
            for v in (ends, values)
        )
        slopes.append(((change - 1e-5) / np.maximum(moved, 1e-9)).max())
    return max(slopes)

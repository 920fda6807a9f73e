"""Values that do not depend on the input: weights, and what is computed of them or of shapes."""

import math
from typing import NamedTuple

import numpy as np

_ROWS = -6148914691236517205  # no size that a file would hold

_MOVES = {"Identity", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Gather", "Concat", "Cast"}
_EXACT = _MOVES | {
    *("Constant", "ConstantOfShape", "Transpose", "Flatten", "Split", "Expand", "Tile", "Range"),
    *("Shape", "Size", "Where", "Equal", "Less", "Greater", "Neg", "Abs", "Max", "Min", "Pad"),
    *("LessOrEqual", "GreaterOrEqual", "And", "Or", "Not", "Sign", "Floor", "Ceil", "Round"),
    *("ReduceMin", "CastLike"),
}
_ROUNDED = {
    *("Add", "Sub", "Mul", "Div", "Sum", "Sqrt", "Reciprocal", "Pow", "Exp", "MatMul", "Gemm"),
    *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ReduceSumSquare", "Clip"),
    *("ReduceProd", "Mod", "Conv", "ConvTranspose", "Einsum"),
}


def batch_size(rows=1, batch=None):
    """What Shape gives for a batch axis of this many rows for each sample: not a number yet.

    A number where the batch has a fixed size.
    """
    return _ROWS + rows if batch is None else rows * batch


def rows_of(size):
    """The rows for each sample that a size stands for, or None if it is a number."""
    return size - _ROWS if 0 < size - _ROWS < 2**48 else None


def _holds_batch(values):
    return values.dtype.kind == "i" and any(rows_of(int(n)) for n in values.flat)


def _multiple(node, operands):
    """Rows of a batch times or over a number, and the product of a shape's entries; or None."""
    if node.op_type == "ReduceProd":  # of all axes
        operands = operands[:1]
    values = [int(n) for operand in operands for n in np.ravel(operand)]
    held = [rows for n in values if (rows := rows_of(n))]
    factor = math.prod(n for n in values if not rows_of(n))
    if len(held) != 1 or factor < 1 or any(operand.ndim > 1 for operand in operands):
        return None
    rows = held[0] * factor
    if node.op_type == "Div":
        if not rows_of(values[0]) or held[0] % factor:
            return None
        rows = held[0] // factor
    if node.op_type == "ReduceProd":
        keeps = [a.i for a in node.attribute if a.name == "keepdims"] or [1]
        shape = (1,) * keeps[0]
    else:
        shape = np.broadcast_shapes(*(operand.shape for operand in operands))
        if math.prod(shape) != 1:
            return None
    return Constants([np.full(shape, batch_size(rows))], False)


class Constants(NamedTuple):
    """A node's outputs as NumPy computes them in the file's format, and whether it rounds them."""

    values: list[np.ndarray]
    rounded: bool


def folded(node, operands, opset) -> Constants | None:
    """What a node computes from constants; None without a rule."""
    from onnx import ValueInfoProto, helper
    from onnx.reference import ReferenceEvaluator

    held = [i for i, o in enumerate(operands) if o is not None and _holds_batch(o)]
    if held and node.op_type == "Cast":
        (to,) = (a.i for a in node.attribute if a.name == "to")
        kind = helper.tensor_dtype_to_np_dtype(to).kind
        return Constants(operands, False) if kind == "i" else None
    if held and node.op_type in ("Mul", "Div", "ReduceProd"):
        return _multiple(node, [o for o in operands if o is not None])
    moved = node.op_type in _MOVES and (node.op_type == "Concat" or held == [0])
    if node.op_type not in _EXACT | _ROUNDED or (held and not moved):
        return None
    given = {n: o for n, o in zip(node.input, operands, strict=True) if n}
    values = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(o.dtype), o.shape)
        for n, o in given.items()
    ]
    outputs = [ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "constants", values, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    results = [np.asarray(result) for result in ReferenceEvaluator(model).run(None, given)]
    if held and any(result.dtype != "int64" for result in results):
        return None
    rounded = node.op_type in _ROUNDED and any(r.dtype.kind == "f" for r in results)
    return Constants(results, rounded)

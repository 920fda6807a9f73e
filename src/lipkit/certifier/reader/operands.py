"""What a call reads: tensors of the graph, constants, and what is repeated to fit the others."""

import keras
import numpy as np
from keras import layers as kl

from lipkit._keras import calls
from lipkit.certifier import graph as g
from lipkit.certifier.reader import operations, registry
from lipkit.certifier.reader.constants import is_tensor, sample_constant
from lipkit.certifier.reader.fusion import fused
from lipkit.certifier.reader.layers import diagonal
from lipkit.certifier.reader.refusals import refusal

_BROADCASTING = (kl.Add, kl.Subtract, kl.Average, kl.Maximum, kl.Minimum)
_OPERATIONS = ("Add", "Subtract", "Maximum", "Minimum")


def call_of(builder, operation, node, inputs):
    """What a layer or operation of `keras.ops` computes at one of its calls.

    Args:
        builder: what nodes are appended to: constants, and inputs that are repeated.
        operation, node: the layer or operation, and the call.
        inputs: indices of the nodes of its tensors.

    Returns:
        Operations, and the indices of what they read.

    Raises:
        NotCertifiable: naming the layer or operation, and the argument.
    """
    is_layer = isinstance(operation, keras.layers.Layer)
    if is_layer and type(operation) is not kl.Multiply:  # which has a rule with a constant
        registry.rule_of(operation)
    arguments = [*node.arguments.args, *node.arguments.kwargs.values()]
    shapes = [builder.nodes[i].shape for i in inputs]
    operands = keras.tree.flatten(_inputs(operation, node) if is_layer else arguments)
    if any(0 in shape for shape in shapes):
        raise refusal(operation, f"its inputs, of shapes {shapes}, are empty.")
    constant = not all(map(is_tensor, operands))
    name = type(operation).__name__
    if type(operation) in _BROADCASTING or (not is_layer and name in _OPERATIONS):
        if constant:
            operands = _numbers(operation, operands, shapes, is_layer)
            if (ops := _with_constant(operation, operands, shapes)) is not None:
                return ops, inputs
        if constant or (len(set(shapes)) > 1 and not _is_known(builder, operation, inputs)):
            inputs = _aligned(builder, operation, operands, inputs, is_layer)
            shapes = [builder.nodes[i].shape for i in inputs]
    elif type(operation) is kl.Multiply and constant and len(operands) == 2:
        operands = _numbers(operation, operands, shapes, is_layer)
        return operations.RULES["Multiply"](operation, operands, shapes), inputs
    elif constant and (is_layer or name in ("Concatenate", "Stack")):
        raise refusal(
            operation,
            "one of its inputs is a constant, which has as many samples in every batch. "
            "Concatenate zeros by keras.ops.pad and add the constant instead.",
        )
    if is_layer and len(node.outputs) != 1:
        raise refusal(operation, f"it has {len(node.outputs)} outputs, and rules give one.")
    if is_layer:
        return registry.operations_of(operation, *shapes), inputs
    return operations.rule_of(operation)(operation, arguments, shapes), inputs


def _inputs(layer, node):
    """The first argument of a layer's call, the others being those of inference."""
    check_call(layer, node)
    return calls.inputs_and_others(layer, node.arguments.args, node.arguments.kwargs)[0]


def check_call(layer, node):
    """Refuse calls of a layer or model with arguments that change its function."""
    registry.check_methods(layer)
    _, others = calls.inputs_and_others(layer, node.arguments.args, node.arguments.kwargs)
    if others:
        raise refusal(
            layer,
            f"the model calls it with {calls.listing(others)}. Only inputs, and training=False, "
            "are read: call it without.",
        )


def _numbers(operation, operands, shapes, is_layer):
    """The operands, constants as float64 arrays for samples."""
    rank = max(map(len, shapes))
    dtype = next(x.dtype for x in operands if is_tensor(x))
    return [
        x if is_tensor(x) else sample_constant(operation, x, rank, is_layer, dtype)
        for x in operands
    ]


def _with_constant(operation, operands, shapes):
    """The operation of one tensor and one constant, or None where it needs all as nodes."""
    if len(operands) != 2 or len(shapes) != 1:
        return None
    (tensor,) = (x for x in operands if is_tensor(x))
    (constant,) = (x for x in operands if not is_tensor(x))
    if type(operation) is kl.Average or np.broadcast_shapes(constant.shape, *shapes) != shapes[0]:
        return None
    compares = type(operation).__name__ in ("Maximum", "Minimum")
    if compares and not np.array_equal(constant, constant.astype(tensor.dtype)):
        return None  # the constant is rounded: an error that copies and comparisons do not make
    return operations.RULES[type(operation).__name__](operation, operands, shapes)


def _is_known(builder, operation, inputs):
    """Whether it is one operation of the graph together with what it reads, as x - mean(x)."""
    name = type(operation).__name__
    if isinstance(operation, keras.layers.Layer) or len(inputs) != 2:
        return False
    op = operations.RULES[name](operation, [], [builder.nodes[i].shape for i in inputs])
    return fused(builder.nodes, op, inputs)[0] is not op


def _aligned(builder, operation, operands, inputs, is_layer):
    """The nodes of all operands, with one shape."""
    name, kind = operation.name, type(operation).__name__
    nodes = iter(inputs)
    tensors = [next(nodes) if is_tensor(x) else None for x in operands]
    shapes = [builder.nodes[i].shape for i in inputs]
    if not is_layer and len({len(shape) for shape in shapes}) > 1:  # layers insert axes
        raise refusal(
            f"Operation {name!r} ({kind})",
            f"it broadcasts inputs of shapes {sorted(shapes)} along the batch axis. Give them one "
            "shape.",
        )
    constants = [x.shape for x in operands if not is_tensor(x)]
    shape = np.broadcast_shapes(*shapes, *constants)
    first = _repeated(builder, inputs[0], shape, name, kind)
    return [
        builder.chain([diagonal(np.zeros(shape), value)], [first], name, kind)
        if index is None
        else _repeated(builder, index, shape, name, kind)
        for index, value in zip(tensors, operands, strict=True)
    ]


def _repeated(builder, index, shape, name, kind):
    """The node, repeated along axes of size 1 to a shape."""
    own = builder.nodes[index].shape
    if own == shape:
        return index
    own = (1,) * (len(shape) - len(own)) + own
    sizes = enumerate(zip(own, shape, strict=True))
    matrices = tuple((axis, np.ones((n, 1))) for axis, (m, n) in sizes if m != n)
    return builder.chain([g.Reshape(own), g.AxisMaps(matrices)], [index], name, kind)

"""One node of an ONNX graph, as the rules see it."""

from typing import Any, NamedTuple

import numpy as np

from lipkit.certifier.reader import refusals


class Tensor(NamedTuple):
    """A value that depends on the input: a node of the graph.

    `merged`: the first axis of the sample lies in the file's batch axis, as after Reshape(-1, 2).
    `ahead`: so many axes of size 1 lie before the batch axis.
    """

    node: int
    merged: bool = False
    ahead: int = 0


def refusal(node, file, reason):
    """The error for a node of a file."""
    name = node.name or node.output[0]
    return refusals.refusal(f"Node {name!r} ({node.op_type}) of {file!r}", f"{reason}.")


class Call:
    """A node's operands and attributes. What a rule does not ask for is refused afterwards.

    A rule may set `merged` and `ahead` for its outputs, put `sources` in another order, and set
    `rewritten` where the file computes its operations in another way.
    """

    rewritten = False

    def __init__(self, node, attributes, operands, nodes, model):
        self.node, self.nodes, self.file = node, nodes, model.file
        self.opset, self.batch, self.dtype = model.opset, model.batch, model.dtype
        self.title = node.name or node.output[0], node.op_type
        self.sources = [o for o in operands if isinstance(o, Tensor)]
        self.merged, self.ahead = self.sources[0].merged, self.sources[0].ahead
        self.operands = operands
        self._attributes = attributes
        self._unread = {i for i, o in enumerate(operands) if isinstance(o, np.ndarray)}
        if len({source[1:] for source in self.sources}) > 1:
            raise self.refusal("its operands have different batch axes")

    def refusal(self, reason):
        """The error for this node."""
        return refusal(self.node, self.file, reason)

    @property
    def shapes(self):
        """The shapes of the tensors among the operands."""
        return [self.nodes[source.node].shape for source in self.sources]

    @property
    def inner(self):
        """The shape of the first tensor without what lies in the batch axis."""
        return self.shapes[0][self.merged :]

    @property
    def outer(self):
        """The rest of that shape."""
        return self.shapes[0][: self.merged]

    def is_constant(self, position):
        """Whether the operand is there, and a constant."""
        return position < len(self.operands) and isinstance(self.operands[position], np.ndarray)

    @property
    def whole(self):
        """The shape of the first tensor in the file; None for an open batch, or rows of it."""
        first = self.batch and self.batch * (self.outer[0] if self.merged else 1)
        return (*[1] * self.ahead, first, *self.inner)

    @property
    def alone(self):
        """Whether the sample's first axis lies in a batch axis of one sample: all axes are its."""
        return self.merged and self.batch == 1

    def attribute(self, name, default: Any = None) -> Any:
        """The value of an attribute."""
        value = self._attributes.pop(name, default)
        if isinstance(value, float) and not np.isfinite(value):
            raise self.refusal(f"its attribute {name}={value} is not finite")
        return value.decode() if isinstance(value, bytes) else value

    def constant(self, position) -> Any:
        """A constant operand as float64 or int64, or None."""
        if position < len(self.operands) and isinstance(self.operands[position], Tensor):
            raise self.refusal(f"its operand {position} must not depend on the input")
        self._unread.discard(position)
        value = self.operands[position] if position < len(self.operands) else None
        if value is not None and value.dtype.kind == "f":
            if not np.isfinite(value).all():
                raise self.refusal(f"its operand {position} has non-finite values")
            value = value.astype("float64")
        return value

    def integers(self, name, position) -> Any:
        """A list of integers that is an attribute or, in later opsets, an operand; or None."""
        value = self.constant(position) if position < len(self.operands) else None
        return self.attribute(name) if value is None else value.reshape(-1).tolist()

    def either(self, name, position) -> Any:
        """A number or list that is an attribute or, in later opsets, an operand, in any type."""
        if position >= len(self.operands) or self.operands[position] is None:
            return self._attributes.pop(name, None)
        if not self.is_constant(position):
            return self.constant(position)  # refused
        self._unread.discard(position)
        return self.operands[position]

    def constants(self):
        """The positions of the operands that are constants."""
        return [i for i in range(len(self.operands)) if self.is_constant(i)]

    def broadcast(self, position):
        """A constant operand as it meets one sample."""
        value = self.constant(position)
        if value is None:
            raise self.refusal("it needs two operands")
        if value.ndim == len(self.inner) + 1 and len(value) == 1 and not self.alone:
            value = value[0]
        if value.ndim > len(self.inner) + self.alone:
            raise self.refusal(f"its constant of shape {value.shape} meets the batch axis")
        return value

    def axis(self, axis):
        """An axis of the file as one of the sample's."""
        place = axis - 1 if axis >= 0 else axis + len(self.inner)
        if not -self.alone <= place < len(self.inner):
            raise self.refusal(f"only axes of a sample are covered. Received: axis={axis}")
        return place + self.merged

    def axes(self, name, position):
        """Axes of the sample that are an attribute or an operand."""
        given = self.integers(name, position)
        if not given:
            raise self.refusal(f"it must name its {name}, other than the batch's")
        return sorted(self.axis(int(axis)) for axis in given)

    def samples(self):
        """The shape of the one tensor, whose batch axis must be the samples'."""
        if self.merged:
            raise self.refusal("an earlier Reshape has put parts of samples in the batch axis")
        return self.shapes[0]

    def finish(self):
        """Refuse what was not read."""
        if self._attributes:
            raise self.refusal(f"its attributes {sorted(self._attributes)} have no rule")
        if self._unread:
            raise self.refusal(f"its constant operands {sorted(self._unread)} have no rule")

"""Walk the nodes of an ONNX graph: constants are folded, the rest is translated by rules."""

from typing import Any

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.arithmetic import FORMATS
from lipkit.certifier.reader import refusals
from lipkit.certifier.reader.builder import Builder
from lipkit.certifier.reader.onnx import (
    ahead,
    elementwise,
    layout,
    linear,
    ml,
    pooling,
    resize,
    roots,
)
from lipkit.certifier.reader.onnx.call import Call, Tensor, refusal
from lipkit.certifier.reader.onnx.composed import Pending, recognised
from lipkit.certifier.reader.onnx.folding import batch_size, folded
from lipkit.errors import NotCertifiable

RULES = {
    **elementwise.RULES,
    **layout.RULES,
    **linear.RULES,
    **ml.RULES,
    **pooling.RULES,
    **resize.RULES,
    **roots.RULES,
}
REASONS = {
    **dict.fromkeys(
        ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "Attention"),
        elementwise.SLOPE,
    ),
    **dict.fromkeys(("Equal", "ThresholdedRelu"), elementwise.CHOICE),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "If", "Loop", "Scan"), "loops are not covered"),
    **ml.REASONS,
}


class Walk(Builder):
    """The nodes found so far, and the value of each name of the file."""

    def __init__(self, file, opset, batch, dtype):
        super().__init__()
        self.file, self.opset, self.batch, self.dtype = file, opset, batch, dtype
        self.rewritten: list[str] = []
        self.pending: set[int] = set()  # nodes that are, or depend on, a `Pending`
        self.values: dict = {}

    def read(self, model, shapes, outputs) -> g.Graph:
        """The graph of a model's outputs on inputs of these shapes, by name."""
        self.values.update(initializers(model))
        for name, shape in shapes.items():
            self.values[name] = Tensor(self.add(g.Input(), (), name, "Input", shape))
        for node in needed(model.graph.node, outputs):
            self.node(node)
        indices = []
        for name in outputs:
            value = self.values.get(name)
            if not isinstance(value, Tensor) or value.ahead or (value.merged and self.batch != 1):
                raise refusals.refusal(
                    f"ONNX file {self.file!r}",
                    f"its output {name!r} does not hold outputs, one for each input.",
                )
            indices.append(value.node)
        graph = self.graph(indices)
        for node in graph.nodes:
            if isinstance(node.op, Pending):
                raise node.op.refusal
        return graph

    def node(self, node):
        """Find the values of a node's outputs."""
        try:
            results = self._results(node)
        except NotCertifiable:
            raise
        except Exception as error:  # of NumPy or onnx, for operands that do not fit
            raise refusal(node, self.file, f"its operands do not fit ({error})") from None
        self.values.update(zip(node.output, results, strict=False))

    def _results(self, node):
        """Those that are covered, in order."""
        from onnx import defs, helper

        operands = [self.values.get(name) if name else None for name in node.input]
        for name, operand in zip(node.input, operands, strict=True):
            if name and operand is None:
                raise refusal(node, self.file, f"it reads {name!r}, an output that is not covered")
        if node.domain not in ("", "ai.onnx", ml.DOMAIN):
            raise refusal(node, self.file, f"its domain {node.domain!r} is not covered")
        if "" in node.input:  # ONNX Runtime reads what is not there, and dies
            formal = defs.get_schema(node.op_type, self.opset, node.domain).inputs
            for i, name in enumerate(node.input):
                kind = formal[min(i, len(formal) - 1)].option
                if not name and kind != defs.OpSchema.FormalParameterOption.Optional:
                    raise refusal(node, self.file, f"its operand {i} is missing")
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        tensors = [o for o in operands if isinstance(o, Tensor)]
        if not tensors:
            return self._constants(node, operands)
        if node.op_type == "Shape":
            return [self._shape(tensors[0], **attributes)]
        call = Call(node, attributes, operands, self.nodes, self)
        if call.ahead and node.op_type not in ahead.OPERATORS:
            raise call.refusal("an earlier Unsqueeze has put axes before the batch's")
        if call.ahead == 2 and node.op_type in ahead.WINDOWS:
            index = self.chain(ahead.images(call.shapes[0]), [call.sources[0].node], *call.title)
            operands, attributes = ahead.moved(call, operands, attributes, Tensor(index))
            moved = Call(node, attributes, operands, self.nodes, self)
            index = self._translated(node, moved)[0].node
            shape = self.nodes[index].shape
            return [Tensor(self.chain(ahead.back(shape), [index], *call.title), ahead=2)]
        return self._translated(node, call)

    def _constants(self, node, operands):
        results = folded(node, operands, self.opset)
        if results is None:
            raise refusal(node, self.file, "computing it from constants or sizes is not covered")
        if results.rounded:
            self.rewritten.append(node.name or node.output[0])
        return results.values

    def _shape(self, tensor, start=0, end=None):
        shape = self.nodes[tensor.node].shape
        first = batch_size(*shape[: tensor.merged], batch=self.batch)
        sizes = (*[1] * tensor.ahead, first, *shape[tensor.merged :])
        return np.array(sizes[start:end], dtype="int64")

    def _translated(self, node, call) -> list[Any]:
        rule = RULES.get(node.op_type) or elementwise.PARTS.get(node.op_type)
        if rule is None:
            names = ", ".join(sorted(RULES))
            reason = f"it has no rule. Write it with operators that have one: {names}"
            raise refusal(node, self.file, REASONS.get(node.op_type, reason))
        chains = rule(call)
        call.finish()
        if call.rewritten:
            self.rewritten.append(call.title[0])
        chains = chains if isinstance(chains, tuple) else (chains,)
        return [
            None  # a label
            if chain is None
            else Tensor(self._found(chain, call), call.merged, call.ahead)
            for chain in chains
        ]

    def _found(self, chain, call):
        """The node of a chain of operations, or that of a known function which they complete."""
        inputs, first = [source.node for source in call.sources], len(self.nodes)
        if isinstance(chain, Pending):
            if len(set(call.shapes)) > 1:
                raise chain.refusal
            index = self.add(chain, inputs, *call.title, call.shapes[0])
        else:
            index = self.chain(chain, inputs, *call.title)
        for i in range(first, len(self.nodes)):
            node = self.nodes[i]
            if isinstance(node.op, Pending) or self.pending.intersection(node.inputs):
                self.pending.add(i)
        if index in self.pending:
            known = recognised(self.nodes, index, FORMATS[self.dtype].unit)
            if known is not None:
                base, ops, same = known
                index = self.chain(ops, [base], *call.title)
                self.rewritten += [] if same else call.title[:1]
        return index


def initializers(model):
    """The stored weights of a model, by name."""
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def needed(nodes, outputs):
    """The nodes, in order, that these outputs are computed from."""
    names, kept = set(outputs), []
    for node in reversed(nodes):
        if names & set(node.output):
            names.update(filter(None, node.input))
            kept.append(node)
    return kept[::-1]

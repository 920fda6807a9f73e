"""Walk the nodes of an ONNX graph: constants are folded, the rest is translated by rules."""

import numpy as np

from lipkit.certify import graph as g
from lipkit.certify.reader.builder import Builder
from lipkit.certify.reader.onnx import elementwise, layout, linear, ml, roots
from lipkit.certify.reader.onnx.call import Call, Tensor, refusal
from lipkit.certify.reader.onnx.folding import batch_size, folded
from lipkit.errors import NotCertifiable

RULES = {**elementwise.RULES, **layout.RULES, **linear.RULES, **roots.RULES, **ml.RULES}
_CHOICE = "it chooses between values, so it may jump"
REASONS = {
    **dict.fromkeys(("Exp", "Log", "Reciprocal"), roots.SLOPE),
    **dict.fromkeys(
        ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "Attention"),
        roots.SLOPE,
    ),
    **dict.fromkeys(("Where", "Greater", "Less", "Equal", "ThresholdedRelu", "Sign"), _CHOICE),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "If", "Loop", "Scan"), "loops are not covered"),
    **ml.REASONS,
    "Mul": elementwise.PRODUCT,
    "LogSoftmax": "export the model that ends with the logits",
    "Erf": "GELU is one operator from opset 20 on, so export with opset_version=20",
}


class Walk(Builder):
    """The nodes found so far, and the value of each name of the file."""

    def __init__(self, file, opset, batch, dtype):
        super().__init__()
        self.file, self.opset, self.batch, self.dtype = file, opset, batch, dtype
        self.rewritten: list[str] = []
        self.values: dict = {}

    def read(self, model, shapes, outputs) -> g.Graph:
        """The graph of a model's outputs on inputs of these shapes, by name."""
        from onnx import numpy_helper

        for tensor in model.graph.initializer:
            self.values[tensor.name] = numpy_helper.to_array(tensor)
        for name, shape in shapes.items():
            self.values[name] = Tensor(self.add(g.Input(), (), name, "Input", shape))
        for node in needed(model.graph.node, outputs):
            self.node(node)
        indices = []
        for name in outputs:
            value = self.values.get(name)
            if not isinstance(value, Tensor) or value.merged:
                raise NotCertifiable(
                    f"ONNX file {self.file!r} cannot be certified: its output {name!r} does not "
                    "hold outputs, one for each input."
                )
            indices.append(value.node)
        graph = self.graph(indices)
        for node in graph.nodes:
            if roots.is_waiting(node.op):
                reason = REASONS.get(node.kind, roots.SLOPE)
                raise NotCertifiable(
                    f"Node {node.layer!r} ({node.kind}) of {self.file!r} cannot be certified: "
                    f"{reason}."
                )
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
        from onnx import helper

        operands = [self.values.get(name) if name else None for name in node.input]
        for name, operand in zip(node.input, operands, strict=True):
            if name and operand is None:
                raise refusal(node, self.file, f"it reads {name!r}, an output that is not covered")
        if node.domain not in ("", "ai.onnx", ml.DOMAIN):
            raise refusal(node, self.file, f"its domain {node.domain!r} is not covered")
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        tensors = [o for o in operands if isinstance(o, Tensor)]
        if not tensors:
            return self._constants(node, operands)
        if node.op_type == "Shape":
            return [self._shape(tensors[0], **attributes)]
        return self._translated(node, Call(node, attributes, operands, self.nodes, self))

    def _constants(self, node, operands):
        results = folded(node, operands, self.opset)
        if results is None:
            raise refusal(node, self.file, "computing it from constants or sizes is not covered")
        if results.rounded:
            self.rewritten.append(node.name or node.output[0])
        return results.values

    def _shape(self, tensor, start=0, end=None):
        shape = self.nodes[tensor.node].shape
        sizes = (batch_size(*shape[: tensor.merged]), *shape[tensor.merged :])
        return np.array(sizes[start:end], dtype="int64")

    def _translated(self, node, call):
        if node.op_type not in RULES:
            names = ", ".join(sorted(RULES))
            reason = f"it has no rule. Write it with operators that have one: {names}"
            raise refusal(node, self.file, REASONS.get(node.op_type, reason))
        chains = RULES[node.op_type](call)
        call.finish()
        inputs = [source.node for source in call.sources]
        name = node.name or node.output[0]
        return [
            None
            if chain is None  # a label
            else Tensor(self.chain(chain, inputs, name, node.op_type), call.merged)
            for chain in (chains if isinstance(chains, tuple) else (chains,))
        ]


def needed(nodes, outputs):
    """The nodes, in order, that these outputs are computed from."""
    names, kept = set(outputs), []
    for node in reversed(nodes):
        if names & set(node.output):
            names.update(filter(None, node.input))
            kept.append(node)
    return kept[::-1]

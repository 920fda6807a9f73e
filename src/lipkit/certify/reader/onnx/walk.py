"""Walk the nodes of an ONNX graph: constants are folded, the rest is translated by rules."""

import numpy as np

from lipkit.certify import graph as g
from lipkit.certify.reader.builder import Builder
from lipkit.certify.reader.onnx import elementwise, layout, linear
from lipkit.certify.reader.onnx.call import Call, Tensor
from lipkit.certify.reader.onnx.folding import BATCH, MERGED, folded
from lipkit.errors import NotCertifiable

RULES = {**elementwise.RULES, **layout.RULES, **linear.RULES}
_SLOPE = "its slope has no bound over all inputs"
_CHOICE = "it chooses between values, so it may jump"
REASONS = {
    **dict.fromkeys(("Exp", "Log", "Pow", "Sqrt", "Reciprocal"), _SLOPE),
    **dict.fromkeys(
        ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "Attention"), _SLOPE
    ),
    **dict.fromkeys(("Where", "Greater", "Less", "Equal", "ThresholdedRelu", "Sign"), _CHOICE),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "If", "Loop", "Scan"), "loops are not covered"),
    "LogSoftmax": "export the model that ends with the logits",
    "Erf": "GELU is one operator from opset 20 on, so export with opset_version=20",
}


class Walk(Builder):
    """The nodes found so far, and the value of each name of the file."""

    def __init__(self, file, opset, batch):
        super().__init__()
        self.file, self.opset, self.batch = file, opset, batch
        self.rewritten: list[str] = []
        self.values: dict = {}
        self._known: dict = {}

    def read(self, model, shapes, outputs) -> g.Graph:
        """The graph of a model's outputs on inputs of these shapes, by name."""
        from onnx import numpy_helper

        for tensor in model.graph.initializer:
            self.values[tensor.name] = numpy_helper.to_array(tensor)
        for name, shape in shapes.items():
            self.values[name] = Tensor(self.add(g.Input(), (), name, "Input", shape))
        for node in _needed(model.graph.node, outputs):
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
        return self.graph(indices)

    def add(self, op, inputs, layer, kind, shape=None):
        """`Builder.add`, once for operations without weights that read the same."""
        key = (type(op), *inputs, *vars(op).values())
        try:
            known = self._known.get(key)
        except TypeError:  # with arrays
            return super().add(op, inputs, layer, kind, shape)
        if known is None or isinstance(op, g.Input):
            known = self._known[key] = super().add(op, inputs, layer, kind, shape)
        return known

    def node(self, node):
        """Find the values of a node's outputs."""
        from onnx import helper

        operands = [self.values.get(name) for name in node.input]
        for name, operand in zip(node.input, operands, strict=True):
            if name and operand is None:
                raise self._refusal(node, f"it reads {name!r}, an output that is not covered")
        if node.domain not in ("", "ai.onnx"):
            raise self._refusal(node, f"it is of the domain {node.domain!r}, which is not covered")
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        tensors = [o for o in operands if isinstance(o, Tensor)]
        if not tensors:
            results = self._constants(node, operands)
        elif node.op_type == "Shape":
            results = [self._shape(tensors[0], **attributes)]
        else:
            call = Call(node, attributes, operands, self.nodes, self.file, self.batch)
            results = self._translated(node, call)
        self.values.update(zip(node.output, results, strict=False))

    def _refusal(self, node, reason):
        name = node.name or node.output[0]
        return NotCertifiable(
            f"Node {name!r} ({node.op_type}) of {self.file!r} cannot be certified: {reason}."
        )

    def _constants(self, node, operands):
        try:
            results = folded(node, operands, self.opset)
        except Exception as error:  # whatever onnx's evaluator meets
            raise self._refusal(node, f"its constants cannot be computed ({error})") from None
        if results is None:
            raise self._refusal(node, "it computes with sizes or weights, and has no rule for that")
        if results.rounded:
            self.rewritten.append(node.name or node.output[0])
        return results.values

    def _shape(self, tensor, start=0, end=None):
        sizes = list(self.nodes[tensor.node].shape)
        sizes = [MERGED, *sizes[1:]] if tensor.merged else [BATCH, *sizes]
        return np.array(sizes[start:end], dtype="int64")

    def _translated(self, node, call):
        if node.op_type not in RULES:
            reason = REASONS.get(node.op_type, f"it has no rule. Rules: {', '.join(sorted(RULES))}")
            raise self._refusal(node, reason)
        chains = RULES[node.op_type](call)
        call.finish()
        inputs = [source.node for source in call.sources]
        return [
            Tensor(self.chain(chain, inputs, call.name, call.op), call.merged)
            for chain in (chains if isinstance(chains, tuple) else (chains,))
        ]


def _needed(nodes, outputs):
    """The nodes that these outputs are computed from."""
    names, kept = set(outputs), []
    for node in reversed(nodes):
        if names & set(node.output):
            names.update(filter(None, node.input))
            kept.append(node)
    return reversed(kept)

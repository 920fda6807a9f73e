"""Walk a Functional or Sequential model and compare what was read with what the model computes."""

from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import ops as kops

from lipkit.certify import evaluate, rounding
from lipkit.certify import graph as g
from lipkit.certify.reader import layers, operations, registry, windows  # noqa: F401 (register)
from lipkit.errors import NotCertifiable
from lipkit.layers import LipschitzKernel


@dataclass(frozen=True)
class Reading:
    """A graph, the arithmetic of the program and the layers whose kernel is computed on the fly."""

    graph: g.Graph
    dtype: str
    parametrized: tuple[str, ...]


class _Walk:
    """The nodes found so far."""

    def __init__(self):
        self.nodes: list[g.Node] = []
        self.dtypes: dict[str, str] = {}
        self.parametrized: list[str] = []

    def add(self, op, inputs, layer, kind, shape=None):
        """Append a node, its shape found by evaluating it on zeros; return its index."""
        if shape is None:
            given = [np.zeros((1, *self.nodes[i].shape)) for i in inputs]
            shapes = {x.shape for x in given}
            if isinstance(op, (g.Sum, g.Maximum)) and len(shapes) > 1:
                raise NotCertifiable(
                    f"{layer!r} ({kind}) cannot be certified: it broadcasts inputs of shapes "
                    f"{sorted(x.shape[1:] for x in given)}. Give them one shape."
                )
            with np.errstate(all="ignore"):
                shape = evaluate.evaluate(op, *given).shape[1:]
            if isinstance(op, (g.Diagonal, g.Elementwise)) and shape != given[0].shape[1:]:
                raise NotCertifiable(
                    f"{layer!r} ({kind}) cannot be certified: it broadcasts {given[0].shape[1:]} "
                    f"to {shape}. Repeat the values explicitly."
                )
        self.nodes.append(g.Node(op, tuple(inputs), tuple(map(int, shape)), layer, kind))
        return len(self.nodes) - 1

    def chain(self, given, inputs, layer, kind):
        """Append operations one after the other; return the last index."""
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        if len(inputs) > 1 and not isinstance(
            given[0] if given else None, (g.Sum, g.Concat, g.Maximum)
        ):
            raise NotCertifiable(
                f"Layer {layer!r} ({kind}) cannot be certified: it reads {len(inputs)} tensors."
            )
        for op in given:
            inputs = [self.add(*self._fused(op, inputs), layer, kind)]
        return inputs[0]

    def _relu_pair(self, op, inputs):
        """The node x of concat(relu(x), relu(-x)), or None."""
        if not isinstance(op, g.Concat) or len(inputs) != 2:
            return None
        first, second = (self.nodes[i] for i in inputs)
        if not all(
            isinstance(n.op, g.Elementwise) and n.op.name == "relu" and not n.op.parameters
            for n in (first, second)
        ):
            return None
        negative = self.nodes[second.inputs[0]]
        is_negative = isinstance(negative.op, g.Elementwise) and negative.op.name == "negative"
        source = first.inputs[0]
        return source if is_negative and negative.inputs == (source,) else None

    def _rows(self, index, source, axis):
        """The matrix along `axis` that takes node `source` to node `index`, or None."""
        node = self.nodes[index]
        if index == source:
            return np.eye(node.shape[axis])
        if isinstance(node.op, g.AxisMaps) and node.inputs == (source,):
            axes, matrices = zip(*node.op.matrices, strict=True)
            return matrices[0] if axes == (axis,) else None
        return None

    def _stacked(self, op, inputs):
        """Padding written as a concatenation of parts of one node: that node and one matrix."""
        if not isinstance(op, g.Concat):
            return None
        first = self.nodes[inputs[0]]
        axis = op.axis % len(first.shape)
        for source in (inputs[0], *first.inputs):
            rows = [self._rows(i, source, axis) for i in inputs]
            if all(r is not None for r in rows):
                return source, g.AxisMaps(((axis, np.concatenate(rows)),))
        return None

    def _fused(self, op, inputs):
        """An operation and its inputs, or what says the same of a node before, with less."""
        if (source := self._relu_pair(op, inputs)) is not None:
            return g.ConcatReLU(op.axis), [source]
        if (stacked := self._stacked(op, inputs)) is not None:
            return stacked[1], [stacked[0]]
        return op, inputs

    def layer(self, layer, node, inputs):
        """Append what a layer or an operation computes at one of its calls."""
        arguments, kwargs = node.arguments.args, node.arguments.kwargs
        shapes = [self.nodes[i].shape for i in inputs]
        kind = type(layer).__name__
        if not isinstance(layer, keras.layers.Layer):
            given = operations.rule_of(layer)(layer, [*arguments, *kwargs.values()], shapes)
            return self.chain(given, inputs, layer.name, kind)
        if kwargs.get("training"):
            raise NotCertifiable(
                f"Layer {layer.name!r} ({kind}) cannot be certified: the model calls it with "
                "training=True."
            )
        dtype = layer.compute_dtype
        if dtype not in rounding.FORMATS or dtype != layer.variable_dtype:
            raise NotCertifiable(
                f"Layer {layer.name!r} ({kind}) cannot be certified: it computes in {dtype}. "
                "Copy the weights to a model with dtype='float32' and certify that one."
            )
        self.dtypes[layer.name] = dtype
        rule = registry.rule_of(layer)
        self._check_weights(layer)
        if isinstance(layer, LipschitzKernel):
            self.parametrized.append(layer.name)
        return self.chain(rule(layer, *shapes), inputs, layer.name, kind)

    @staticmethod
    def _check_weights(layer):
        for weight in layer.weights:
            values = kops.convert_to_numpy(weight)
            bad = np.argwhere(~np.isfinite(values))
            if len(bad):
                raise NotCertifiable(
                    f"Layer {layer.name!r} ({type(layer).__name__}): its {weight.name} has "
                    f"{len(bad)} non-finite values, first at {tuple(map(int, bad[0]))}. If "
                    "training diverged, restore an earlier checkpoint."
                )

    def model(self, model, inputs):
        """Append a model's layers; return the indices of its outputs."""
        _check_model(model)
        known = {id(t): i for t, i in zip(model.inputs, inputs, strict=True)}
        nested: dict = {}
        stack = list(model.outputs)
        while stack:
            tensor = stack[-1]
            if id(tensor) in known:
                stack.pop()
                continue
            history = tensor._keras_history
            node = history.operation._inbound_nodes[history.node_index]
            waiting = [t for t in node.input_tensors if id(t) not in known]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            sources = [known[id(t)] for t in node.input_tensors]
            if isinstance(history.operation, keras.Model):
                key = (id(history.operation), history.node_index)
                if key not in nested:
                    nested[key] = self.model(history.operation, sources)
                known[id(tensor)] = nested[key][history.tensor_index]
            else:
                known[id(tensor)] = self.layer(history.operation, node, sources)
        return [known[id(t)] for t in model.outputs]


def _check_model(model):
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a Keras model. Received: {type(model).__name__}")
    if not getattr(model, "inputs", None):
        raise NotCertifiable(
            f"Model {model.name!r} cannot be read: it must be a Functional model, or a Sequential "
            "model that has been built. Call it on data, or start it with keras.Input."
        )
    functional = type(keras.Model(model.inputs, model.outputs)).call
    if type(model).call not in (functional, keras.Sequential.call):
        raise NotCertifiable(
            f"Model {model.name!r} ({type(model).__name__}) cannot be read: it overrides `call`. "
            "Build it from keras.Input and keras.Model(inputs, outputs)."
        )


def _shapes(model, input_shape):
    shapes = [tuple(t.shape[1:]) for t in model.inputs]
    if input_shape is not None:
        given = input_shape if isinstance(input_shape, list) else [input_shape]
        fits = len(given) == len(shapes) and all(
            len(a) == len(b) and all(m in (None, n) for m, n in zip(b, a, strict=True))
            for a, b in zip(given, shapes, strict=True)
        )
        if not fits:
            raise ValueError(
                f"`input_shape` must fit the model's {shapes} (a list for several inputs). "
                f"Received: input_shape={input_shape!r}"
            )
        shapes = [tuple(shape) for shape in given]
    if any(n is None for shape in shapes for n in shape):
        raise ValueError(
            f"Model {model.name!r} has inputs of unknown size {shapes}, and bounds depend on the "
            "size: give `input_shape`, without the batch axis."
        )
    return shapes


def read(model, input_shape=None) -> Reading:
    """Lower a model to a graph.

    Args:
        model: built Sequential or Functional model, nested ones included.
        input_shape: sizes of the input without the batch axis, where the model leaves them open.

    Raises:
        NotCertifiable: naming the layer that has no rule, or if the model's outputs on random
            inputs are not those of the graph.
    """
    _check_model(model)
    walk = _Walk()
    inputs = [
        walk.add(g.Input(), (), tensor.name, "Input", shape)
        for tensor, shape in zip(model.inputs, _shapes(model, input_shape), strict=True)
    ]
    outputs = walk.model(model, inputs)
    dtypes = set(walk.dtypes.values()) or {"float32"}
    if len(dtypes) > 1:
        raise NotCertifiable(
            f"Model {model.name!r} mixes dtypes, which is not covered: {walk.dtypes}"
        )
    return Reading(_pruned(walk.nodes, outputs), dtypes.pop(), tuple(walk.parametrized))


def _pruned(nodes, outputs):
    """The graph without nodes that no output depends on; all inputs stay."""
    needed = set(outputs)
    for index in reversed(range(len(nodes))):
        if index in needed or isinstance(nodes[index].op, g.Input):
            needed.update([index, *nodes[index].inputs])
    place = {old: new for new, old in enumerate(sorted(needed))}
    kept = [
        replace(nodes[i], inputs=tuple(place[j] for j in nodes[i].inputs)) for i in sorted(needed)
    ]
    return g.Graph(tuple(kept), tuple(place[i] for i in outputs))


def compare(model, reading, bounds):
    """Run the model on random inputs: a misread layer or unusual arithmetic must show here.

    Raises:
        NotCertifiable: if the model's outputs differ from the graph's by more than rounding can.
    """
    graph, arithmetic = reading.graph, rounding.FORMATS[reading.dtype]
    rng = np.random.default_rng(0)
    probes = [
        rng.uniform(-2, 2, (3, *graph.nodes[i].shape)).astype(t.dtype).astype("float64")
        for i, t in zip(graph.inputs, model.inputs, strict=True)
    ]
    values = evaluate.run(graph, *probes)
    reach = [rounding.norms(v) for v in values]
    local = rounding.local_errors(graph, arithmetic)
    errors, overflow = rounding.forward_errors(graph, bounds.own, local, reach, arithmetic)
    given = [
        kops.convert_to_tensor(p.astype(t.dtype)) for p, t in zip(probes, model.inputs, strict=True)
    ]
    outputs = model(given if len(given) > 1 else given[0], training=False)
    for index, output in zip(graph.outputs, keras.tree.flatten(outputs), strict=True):
        expected = values[index]
        got = kops.convert_to_numpy(output).astype("float64").reshape(expected.shape)
        allowed = errors[index]
        if reading.parametrized:  # kernels computed anew at each call
            allowed = allowed + 1e-5 * (1 + reach[index])
        allowed = np.where(np.isfinite(allowed), allowed, 1e-3 * (1 + reach[index]))
        difference = rounding.norms(got - expected)
        if not ((difference <= allowed + 1e-100) | overflow).all():  # `norms` is never 0
            raise NotCertifiable(
                f"Model {model.name!r} does not compute what its layers say: on random inputs its "
                f"outputs differ by {difference.max():.2g} from float64, and rounding explains "
                f"{allowed.max():.2g}. Is the arithmetic TF32, or a layer's `call` overridden?"
            )

"""Walk a Functional or Sequential model and compare what was read with what the model computes."""

from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import ops as kops

from lipkit.certify import evaluate, rounding
from lipkit.certify import graph as g
from lipkit.certify.reader import layers, operations, registry, windows  # noqa: F401 (register)
from lipkit.certify.reader.fusion import fused
from lipkit.errors import NotCertifiable
from lipkit.export.vanilla import inputs_outputs
from lipkit.layers import LipschitzKernel


@dataclass(frozen=True)
class Reading:
    """A graph, the arithmetic of the program and the layers that compute it in another way.

    Those have the graph's real function, but neither its weights nor its order of operations.
    """

    graph: g.Graph
    dtype: str
    rewritten: tuple[str, ...]


class _Walk:
    """The nodes found so far."""

    def __init__(self):
        self.nodes: list[g.Node] = []
        self.dtypes: dict[str, str] = {}
        self.rewritten: list[str] = []

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
            inputs = [self.add(*fused(self.nodes, op, inputs), layer, kind)]
        return inputs[0]

    def layer(self, layer, node, inputs, owner=None):
        """Append what a layer, or an operation of its `owner`, computes at one of its calls."""
        arguments, kwargs = node.arguments.args, node.arguments.kwargs
        shapes = [self.nodes[i].shape for i in inputs]
        kind = type(layer).__name__
        if not isinstance(layer, keras.layers.Layer):
            given = operations.rule_of(layer)(layer, [*arguments, *kwargs.values()], shapes)
            if owner is None:
                return self.chain(given, inputs, layer.name, kind)
            if hasattr(owner, "inner"):  # its operations do not follow one another
                return self.chain(given, inputs, f"{owner.name}/{layer.name}", kind)
            return self.chain(given, inputs, owner.name, type(owner).__name__)
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
        if isinstance(layer, LipschitzKernel) or rule is registry.as_exported:
            self.rewritten.append(layer.name)
        if rule is registry.as_exported:
            return self.exported(layer, inputs)
        return self.chain(rule(layer, *shapes), inputs, layer.name, kind)

    def exported(self, layer, inputs):
        """Append a layer's plain operations, with the layers of its inner model if it has one."""
        x = keras.Input(self.nodes[inputs[0]].shape, dtype=layer.compute_dtype)
        known, seen = {id(x): inputs[0]}, []

        def inner(tensor):
            seen.append(tensor)  # alive, so that its id stays its own
            (index,) = self.model(layer.inner, self.tensors([tensor], known, layer))
            y = keras.Input(self.nodes[index].shape, dtype=layer.compute_dtype)
            known[id(y)] = index
            return y

        parts = [inner] if hasattr(layer, "inner") else []
        return self.tensors([layer.to_vanilla(x, *parts)], known, layer)[0]

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
        check_model(model)
        known = {id(t): i for t, i in zip(model.inputs, inputs, strict=True)}
        return self.tensors(model.outputs, known)

    def tensors(self, outputs, known, owner=None):
        """Append all that symbolic tensors are computed from; return their indices.

        `known` has the index of each tensor that is there already, by id.
        """
        nested: dict = {}
        stack = list(outputs)
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
                known[id(tensor)] = self.layer(history.operation, node, sources, owner)
        return [known[id(t)] for t in outputs]


def check_model(model):
    """Refuse what is no built graph, or computes something else than its graph."""
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
    check_model(model)
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
    return Reading(_pruned(walk.nodes, outputs), dtypes.pop(), tuple(walk.rewritten))


def chained(given, shapes, name, kind) -> g.Graph:
    """The graph of a layer's operations on inputs of these shapes."""
    walk = _Walk()
    inputs = [walk.add(g.Input(), (), name, "Input", shape) for shape in shapes]
    output = walk.chain(given, inputs, name, kind)
    return g.Graph(tuple(walk.nodes), (output,))


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
    outputs = model(keras.tree.pack_sequence_as(inputs_outputs(model)[0], given), training=False)
    for index, output in zip(graph.outputs, keras.tree.flatten(outputs), strict=True):
        expected = values[index]
        got = kops.convert_to_numpy(output).astype("float64").reshape(expected.shape)
        allowed = errors[index]
        if reading.rewritten:
            allowed = allowed + 1e-5 * (1 + reach[index])
        allowed = np.where(np.isfinite(allowed), allowed, 1e-3 * (1 + reach[index]))
        difference = rounding.norms(got - expected)
        if not ((difference <= allowed + 1e-100) | overflow).all():  # `norms` is never 0
            raise NotCertifiable(
                f"Model {model.name!r} does not compute what its layers say: on random inputs its "
                f"outputs differ by {difference.max():.2g} from float64, and rounding explains "
                f"{allowed.max():.2g}. Is the arithmetic TF32, or a layer's `call` overridden?"
            )

"""Walk a Functional or Sequential model."""

from types import SimpleNamespace

import keras
import numpy as np
from keras import layers as kl
from keras import ops as kops

from lipkit._keras import calls
from lipkit._keras.graphs import inputs_outputs
from lipkit.certifier import graph as g
from lipkit.certifier.arithmetic import FORMATS
from lipkit.certifier.reader import (  # noqa: F401 (they register rules)
    layers,
    operands,
    registry,
    resizing,
    shaping,
    structures,
    windows,
)
from lipkit.certifier.reader.builder import Builder
from lipkit.certifier.reader.formats import check_format
from lipkit.certifier.reader.reading import Reading, sizes
from lipkit.certifier.reader.refusals import refusal
from lipkit.certifier.reader.repeated import repeated
from lipkit.errors import NotCertifiable
from lipkit.layers import LipschitzKernel


class _Walk(Builder):
    """The nodes found so far, the dtypes of their layers and which have a function of their own."""

    def __init__(self):
        super().__init__()
        self.dtypes: dict[str, str] = {}
        self.rewritten: list[str] = []

    def layer(self, layer, node, inputs, owner=None, place=0):
        """Append what a layer, or an operation of its `owner`, computes at one of its calls.

        `place` is that of the output in question, among several.
        """
        kind = type(layer).__name__
        if resizing.interpolates(layer):
            self.rewritten.append(layer.name)
        if not isinstance(layer, keras.layers.Layer):
            given, inputs = self._call(layer, node, inputs, place)
            if owner is None:
                return self.chain(given, inputs, layer.name, kind)
            if owner.vanilla_inner:  # its operations do not follow one another
                return self.chain(given, inputs, f"{owner.name}/{layer.name}", kind)
            return self.chain(given, inputs, owner.name, type(owner).__name__)
        dtype = layer.compute_dtype
        if dtype not in FORMATS or dtype != layer.variable_dtype:
            raise refusal(
                layer,
                f"it computes in {dtype}. Copy the weights to a model with dtype='float32' and "
                "certify that one.",
            )
        self.dtypes[layer.name] = dtype
        self._check_weights(layer)
        exported = registry.is_exported(layer)
        if isinstance(layer, LipschitzKernel) or exported:
            self.rewritten.append(layer.name)
        if exported or registry.is_wrapper(layer):
            operands.check_call(layer, node)
            return (self.exported if exported else self.wrapped)(layer, inputs)
        given, inputs = self._call(layer, node, inputs)
        return self.chain(given, inputs, layer.name, kind)

    def _call(self, layer, node, inputs, place=0):
        given, inputs = operands.call_of(self, layer, node, inputs)
        if type(layer).__name__ in shaping.SEVERAL:
            given = given[place]
        check_format(layer, node, given, [self.nodes[i].shape for i in inputs], place)
        return given, inputs

    def exported(self, layer, inputs):
        """Append a layer's plain operations, with the layers of its inner model if it has one."""
        x = keras.Input(self.nodes[inputs[0]].shape, dtype=layer.compute_dtype)
        known, seen = {id(x): inputs[0]}, []

        def inner(tensor):
            seen.append(tensor)  # alive, so that its id stays its own
            (index,) = self.model(layer.vanilla_inner, self.tensors([tensor], known, layer))
            y = keras.Input(self.nodes[index].shape, dtype=layer.compute_dtype)
            known[id(y)] = index
            return y

        parts = [inner] if layer.vanilla_inner else []
        return self.tensors([layer.to_vanilla(x, *parts)], known, layer)[0]

    def wrapped(self, layer, inputs):
        """Append what a wrapper makes of the layer or model in it."""
        if isinstance(layer, kl.SpectralNormalization):  # at inference the kernel is as stored
            return self.inside(layer, inputs)
        steps, *shape = self.nodes[inputs[0]].shape
        single = _Walk()
        start = single.add(g.Input(), (), layer.name, "Input", tuple(shape))
        graph = single.graph([single.inside(layer, [start])])
        self.dtypes.update(single.dtypes)
        self.rewritten += single.rewritten
        places = list(inputs)
        for node in graph.nodes[1:]:
            name = f"{layer.name}/{node.layer}"
            if isinstance(node.op, g.Custom):
                raise refusal(
                    f"Layer {name!r} ({node.kind})",
                    "its rule is for single samples, not for the steps of a TimeDistributed. "
                    "Register a rule for the layer around it.",
                )
            sources = [places[i] for i in node.inputs]
            places.append(self.add(repeated(node.op, steps), sources, name, node.kind))
        return places[graph.outputs[0]]

    def inside(self, wrapper, inputs):
        """Append the layer or model in a wrapper, as it is called on nodes."""
        layer = wrapper.layer
        if isinstance(layer, keras.Model):
            outputs = self.model(layer, inputs)
            if len(outputs) != 1:
                raise refusal(wrapper, f"the model in it has {len(outputs)} outputs.")
            return outputs[0]
        call = [keras.KerasTensor((None, *self.nodes[i].shape)) for i in inputs]
        arguments = SimpleNamespace(args=call, kwargs={})
        node = SimpleNamespace(arguments=arguments, input_tensors=call, outputs=call)
        return self.layer(layer, node, inputs)

    @staticmethod
    def _check_weights(layer):
        for weight in layer.weights:
            values = kops.convert_to_numpy(weight)
            bad = np.argwhere(~np.isfinite(values))
            if len(bad):
                raise refusal(
                    layer,
                    f"its {weight.name} has {len(bad)} non-finite values, first at "
                    f"{tuple(map(int, bad[0]))}. If training diverged, restore an earlier "
                    "checkpoint.",
                )

    def nested(self, model, node, known):
        """Append a model's layers at one of its calls; return the indices of its outputs."""
        operands.check_call(model, node)
        given, _ = calls.inputs_and_others(model, node.arguments.args, node.arguments.kwargs)
        tensors = keras.tree.flatten(structures.batches(model, given))
        return self.model(model, [known[id(tensor)] for tensor in tensors])

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
                    nested[key] = self.nested(history.operation, node, known)
                known[id(tensor)] = nested[key][history.tensor_index]
            else:
                place = history.tensor_index
                known[id(tensor)] = self.layer(history.operation, node, sources, owner, place)
        return [known[id(t)] for t in outputs]


def check_model(model):
    """Refuse anything but a built graph that computes what the graph says."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            "`model` must be a Keras model or the path of an ONNX file. "
            f"Received: {type(model).__name__}"
        )
    if not getattr(model, "inputs", None):
        raise NotCertifiable(
            f"Model {model.name!r} cannot be read: it must be a Functional model, or a Sequential "
            "model that has been built. Call it on data, or start it with keras.Input."
        )
    registry.check_methods(model)
    functional = type(keras.Model(model.inputs, model.outputs)).call
    if type(model).call not in (functional, keras.Sequential.call):
        raise NotCertifiable(
            f"Model {model.name!r} ({type(model).__name__}) cannot be read: it overrides `call`. "
            "Build it from keras.Input and keras.Model(inputs, outputs)."
        )


def shapes_of(model):
    """The shapes of a model's inputs without the batch axis; None where a size is open."""
    return [tuple(t.shape[1:]) for t in model.inputs]


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
    resizing.check_training(model)
    walk = _Walk()
    inputs = [
        walk.add(g.Input(), (), tensor.name, "Input", shape)
        for tensor, shape in zip(
            model.inputs, sizes(model.name, shapes_of(model), input_shape), strict=True
        )
    ]
    outputs = walk.model(model, inputs)
    dtypes = set(walk.dtypes.values()) or {"float32"}
    if len(dtypes) > 1:
        raise NotCertifiable(
            f"Model {model.name!r} mixes dtypes, which is not covered. Build it in one. Received: "
            f"{walk.dtypes}"
        )
    return Reading(
        graph=walk.graph(outputs),
        dtype=dtypes.pop(),
        program=keras.backend.backend(),
        rewritten=tuple(walk.rewritten),
        name=model.name,
        inputs=tuple(t.dtype for t in model.inputs),
        run=lambda arrays: _run(model, arrays),
    )


def _run(model, arrays):
    """The model's outputs, in order, as NumPy arrays."""
    given = [kops.convert_to_tensor(array) for array in arrays]
    try:
        outputs = model(
            keras.tree.pack_sequence_as(inputs_outputs(model)[0], given), training=False
        )
    except MemoryError:
        raise
    except Exception as error:  # of Keras or the backend
        raise NotCertifiable(
            f"Model {model.name!r} does not run on a batch of {len(arrays[0])} random inputs: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    return [kops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]

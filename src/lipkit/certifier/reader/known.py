"""Constants of single layers and operations, and which are 1-Lipschitz on inputs of every size."""

import math

import keras
from keras import layers as kl

from lipkit import layers as ll
from lipkit.certifier import bounding
from lipkit.certifier import graph as g
from lipkit.certifier.reader import builder, operands, registry
from lipkit.certifier.reader.refusals import refusal
from lipkit.errors import NotCertifiable


def _ranks(*names):
    return [getattr(kl, f"{name}{n}D") for name in names for n in (1, 2, 3)]


# whatever their arguments; noise and dropout do nothing at inference
_AT_MOST_1 = {
    *(kl.InputLayer, kl.Identity, kl.Flatten, kl.Reshape, kl.Permute, kl.Softmax),
    *(kl.Dropout, kl.AlphaDropout, kl.GaussianDropout, kl.GaussianNoise, kl.ActivityRegularization),
    *_ranks("SpatialDropout", "ZeroPadding", "Cropping", "GlobalAveragePooling"),
    *_ranks("GlobalMaxPooling"),
    *(ll.InvertibleDownSampling, ll.InvertibleUpSampling),
}
_WINDOWS = set(_ranks("MaxPooling", "AveragePooling"))
_POINTWISE = {kl.Activation, kl.ReLU, kl.LeakyReLU, kl.ELU, kl.Rescaling}


def doubt(layer):
    """Why a layer is not known to be 1-Lipschitz on inputs of every size, or None where it is.

    Known are: layers of lipkit with `k_coef_lip` of at most 1 and an activation of proven slope at
    most 1; weightless layers of Keras whose rule gives at most 1 at every size; a `Sequential` of
    known layers. Subclasses with a `call` of their own are not: they may compute anything.
    """
    try:
        registry.check_methods(layer)
    except NotCertifiable as error:
        return error.reason
    if isinstance(layer, keras.Sequential):
        reasons = ((inner.name, doubt(inner)) for inner in layer.layers)
        return next((f"holds {name!r}: {reason}" for name, reason in reasons if reason), None)
    if isinstance(layer, ll.LipschitzLayer):
        return _doubt_lipschitz(layer)
    if type(layer) in _AT_MOST_1:
        return None
    if type(layer) in _WINDOWS:
        apart = all(
            p <= s for p, s in zip(_axes(layer.pool_size), _axes(layer.strides), strict=True)
        )
        return None if apart else "its windows overlap: `pool_size` is larger than `strides`"
    try:
        registry.rule_of(layer)
        if type(layer) not in _POINTWISE:
            return "its constant depends on its weights, its inputs' size or their number"
        constant = _chained(registry.operations_of(layer, (2,)), (2,))
    except NotCertifiable as error:
        return error.reason
    return None if constant <= 1 else f"its constant is {constant:.6g}"


def _axes(value):
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _chained(ops, shape):
    """The product of constants of pointwise operations."""
    return math.prod(bounding.lipschitz(op, shape)[0] for op in ops)


def _doubt_lipschitz(layer):
    try:
        registry.rule_of(layer)  # none for a subclass with a function of its own
    except NotCertifiable as error:
        return error.reason
    if layer.k_coef_lip > 1:
        return f"it has k_coef_lip={layer.k_coef_lip!r}"
    if isinstance(layer, ll.FrobeniusDense) and layer.disjoint_neurons and layer.units > 1:
        return "each output alone is 1-Lipschitz, not all together; use `disjoint_neurons=False`"
    if isinstance(layer, ll.BatchLipNorm) and (layer.max_scale or math.inf) > 1:
        return f"it may scale by more than 1: max_scale={layer.max_scale!r}"
    if inner := layer.vanilla_inner:
        return doubt(inner)
    try:
        slope = activation_constant(layer)
    except NotCertifiable as error:
        return error.reason
    return None if slope <= 1 else f"its activation has the slope {slope:.6g}"


def activation_constant(layer):
    """The proven slope of `layer.activation`, 1 for layers that are known and for none."""
    activation = getattr(layer, "activation", None)
    if isinstance(activation, keras.layers.Layer):
        if (reason := doubt(activation)) is None:
            return 1.0
        raise refusal(layer, f"in its activation {type(activation).__name__}, {reason}")
    return _chained(registry.activation_ops(layer, (2,)), (2,))


def constant_at(operation, node, sources):
    """The proven constant of a weightless layer or operation at one of its calls.

    Args:
        operation: layer, or operation of `keras.ops`.
        node: the call.
        sources: for each input tensor, the set of what it depends on: tensors that share something
            change together.

    Raises:
        NotCertifiable: without a rule, or where the rule needs sizes that are open.
    """
    # merges have the same constant at any size, but none where a size of 1 is repeated
    shapes = [tuple(n or 2 for n in t.shape[1:]) for t in node.input_tensors]
    if len(shapes) == 1 and None in node.input_tensors[0].shape[1:]:
        raise refusal(operation, "its constant depends on the size of its inputs, which is open")
    nodes = builder.Builder()
    inputs = [nodes.add(g.Input(), (), operation.name, "Input", shape) for shape in shapes]
    ops, used = operands.call_of(nodes, operation, node, inputs)
    if used != inputs:
        raise refusal(
            operation,
            "it merges constants, or inputs of several shapes, so its constant depends on their "
            "sizes",
        )
    kind = type(operation).__name__
    graph = builder.chained(ops, shapes, operation.name, kind)
    own = bounding.compose(graph).own
    if len(shapes) > 1:
        own.append(bounding.merge(graph.nodes[len(shapes)].op, [(1.0, s) for s in sources]))
    return math.prod(own)

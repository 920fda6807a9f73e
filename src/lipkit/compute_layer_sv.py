"""Extreme singular values of layers: of the explicit matrix in float64, and of slopes."""

import math
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from lipkit._keras import calls
from lipkit.certifier import bounding, evaluate
from lipkit.certifier import graph as g
from lipkit.certifier.reader import read
from lipkit.certifier.reader.registry import as_exported, inherited_rule_of
from lipkit.errors import NotCertifiable

LARGEST = 2**26  # entries of an explicit matrix
UNKNOWN: Any = (None, None)
_MATRICES = (g.Dense, g.Einsum, g.Conv, g.ConvTranspose, g.AxisMaps, g.Center)
_ISOMETRIES = (g.Permute, g.Reshape)


class _Linear:
    """A layer as its rule sees it, without bias and activation."""

    bias = activation = None

    def __init__(self, layer):
        self._layer = layer

    @property
    def __class__(self):  # type: ignore[override]
        return type(self._layer)  # for `isinstance`

    def __getattr__(self, name):
        return getattr(self._layer, name)


def compute_layer_sv(layer, supplementary_type2sv=None, input_shape=None):
    """Smallest and largest singular value of a layer; nothing is changed by asking.

    Of a linear layer: those of its explicit matrix, without bias and activation, by a float64
    decomposition of the kernel as it is used. Of an activation: the range of its slope, that of
    the norms of its Jacobians' directions. An `Add` of n inputs taken as one vector has sqrt(n).
    The values are exact up to float64 rounding, but prove nothing: `lipkit.lipschitz_bound` does.

    Args:
        layer: a built Keras layer. A subclass counts as its base if it has the same `call`.
        supplementary_type2sv: dict from classes to functions (layer, input_shape) -> (min, max),
            asked first, for subclasses too.
        input_shape: of one sample, or a list of several inputs' shapes; None: those that the layer
            was called with, or built for. If they are several, the range covers all of them.

    Returns:
        (min, max), or (None, None) for layers that no rule is known for, for input layers, and for
        layers that a model calls with more than inputs, such as training=True.

    Raises:
        ValueError: the layer is not built, its sizes are not known, or its matrix is too large.

    Example:
    >>> low, high = lipkit.compute_layer_sv.compute_layer_sv(model.layers[0])
    >>> round(low, 3), round(high, 3)
    (1.0, 1.0)
    """
    if isinstance(layer, keras.layers.InputLayer) or calls.called_with(layer):
        return UNKNOWN  # no map, or none of `layer` as it is at inference
    if not layer.built:
        raise ValueError(f"Layer {layer.name!r} is not built: call it on data first.")
    given = _input_shapes(layer) if input_shape is None else [_as_list(input_shape)]
    supplement = supplementary_type2sv or {}
    for cls in type(layer).__mro__:
        if cls in supplement:
            ranges = [supplement[cls](layer, _single(shapes)) for shapes in given]
            break
    else:
        ranges = [_range(layer, shapes) for shapes in given]
    if UNKNOWN in ranges:
        return UNKNOWN
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def compute_model_sv(model, supplementary_type2sv=None):
    """`compute_layer_sv` of all layers: a dict from names to (min, max).

    Layers of a nested model are named "inner/layer"; input layers are left out.

    Args:
        model: a built Keras model.
        supplementary_type2sv: as in `compute_layer_sv`.

    Returns:
        {name: (min, max)}.

    Example:
    >>> table = lipkit.compute_layer_sv.compute_model_sv(model)
    >>> [round(high, 3) for low, high in table.values()]
    [1.0, 1.0, 1.0]
    """
    table = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            inner = compute_model_sv(layer, supplementary_type2sv)
            table.update({f"{layer.name}/{name}": values for name, values in inner.items()})
        elif not isinstance(layer, keras.layers.InputLayer):
            table[layer.name] = compute_layer_sv(layer, supplementary_type2sv)
    return table


def _as_list(shape):
    several = isinstance(shape, list) and all(isinstance(s, (list, tuple)) for s in shape)
    return [tuple(s) for s in shape] if several else [tuple(shape)]


def _single(shapes):
    return shapes[0] if len(shapes) == 1 else shapes


def _input_shapes(layer):
    """The shapes of the inputs at each call, without the batch axis, each list once."""
    found = [
        [tuple(tensor.shape[1:]) for tensor in node.input_tensors] for node in layer._inbound_nodes
    ]
    if not found:
        config = layer.get_build_config() or {}
        shape = config.get("input_shape")
        if shape is None:
            raise ValueError(
                f"The input shape of layer {layer.name!r} is not known: give `input_shape`."
            )
        several = isinstance(shape[0], (list, tuple))
        found = [[tuple(s[1:]) for s in (shape if several else [shape])]]
    return [call for i, call in enumerate(found) if call not in found[:i]]


def _range(layer, shapes):
    rule = inherited_rule_of(layer)
    if rule is None:
        return UNKNOWN
    try:
        ops = _exported(layer, *shapes) if rule is as_exported else _read(rule, layer, shapes)
    except NotCertifiable:
        return UNKNOWN
    if any(isinstance(op, _MATRICES) for op in ops):
        return _of_matrix(layer, ops, shapes)
    low = high = 1.0
    for op in ops:
        if isinstance(op, _ISOMETRIES):
            continue
        one = _of_op(op, shapes)
        if one == UNKNOWN:
            return UNKNOWN
        low, high = low * one[0], high * one[1]
    return low, high


def _read(rule, layer, shapes):
    """The operations of a layer, of its linear part where it has an activation besides."""
    is_activation = isinstance(layer, keras.layers.Activation)
    read = rule(layer if is_activation else _Linear(layer), *shapes)
    return list(read) if isinstance(read, (list, tuple)) else [read]


def _exported(layer, shape):
    """The operations of a layer that is read through its export, if each reads the one before."""
    if layer.vanilla_inner:
        raise NotCertifiable(f"{layer.name!r} is more than one layer.")
    _check_known(layer, shape)
    x = keras.Input(shape, dtype=layer.compute_dtype)
    nodes = read(keras.Model(x, layer.to_vanilla(x)), shape).graph.nodes
    if any(node.inputs != (i,) for i, node in enumerate(nodes[1:])):
        raise NotCertifiable(f"{layer.name!r} has branches.")
    return [node.op for node in nodes[1:]]


def _check_known(layer, shape):
    if None in shape:
        raise ValueError(
            f"The singular values of layer {layer.name!r} depend on its input's size, and {shape} "
            "leaves it open: give `input_shape`, or build the model with known sizes."
        )


def _of_op(op, shapes):
    """The range of one operation that is not a matrix, or unknown."""
    if isinstance(op, g.Diagonal):
        factors = np.abs(op.scale)
        return float(factors.min()), float(factors.max())
    if isinstance(op, g.Sum):
        return (math.sqrt(len(shapes)),) * 2
    if isinstance(op, (g.Sort, g.ConcatReLU, g.Concat)):
        return 1.0, 1.0
    if isinstance(op, g.Elementwise):
        return _least_slope(op), bounding.lipschitz(op, *shapes)[0]
    if isinstance(op, (g.Softmax, g.Norm)):
        return 0.0, bounding.lipschitz(op, *shapes)[0]
    if isinstance(op, g.MaxPool):
        high = bounding.lipschitz(op, *shapes)[0]
        return (1.0 if high == 1.0 else 0.0), high
    return UNKNOWN


def _least_slope(op):
    """The infimum of |f'|: 0 for functions that saturate or turn."""
    if op.name in ("linear", "negative", "abs"):
        return 1.0
    if op.name == "relu":
        negative, top = (*op.parameters, *(0.0, math.inf)[len(op.parameters) :])
        return float(min(1.0, np.min(np.abs(negative)))) if top == math.inf else 0.0
    return 0.0


def _of_matrix(layer, ops, shapes):
    if not all(isinstance(op, (*_MATRICES, *_ISOMETRIES, g.Diagonal)) for op in ops):
        return UNKNOWN
    if len(ops) == 1 and isinstance(ops[0], g.Dense):  # the other axes repeat the same matrix
        return _extremes(ops[0].kernel)
    if len(ops) == 1 and isinstance(ops[0], g.Einsum):
        return _extremes(bounding.einsum_matrix(ops[0]))
    return _extremes(_matrix(layer, ops, shapes[0]))


def _extremes(matrix):
    sigmas = np.linalg.svd(matrix, compute_uv=False)
    return float(sigmas[-1]), float(sigmas[0])


def _matrix(layer, ops, shape):
    """Outputs of all unit inputs: (n inputs, n outputs)."""
    _check_known(layer, shape)
    size = math.prod(shape)
    outputs = math.prod(tuple(layer.compute_output_shape((1, *shape)))[1:])
    if size * outputs > LARGEST:
        raise ValueError(
            f"The matrix of layer {layer.name!r} has {size} x {outputs} entries, more than "
            f"{LARGEST}: give a smaller `input_shape`, or use lipkit.lipschitz_bound."
        )
    x = np.eye(size).reshape(-1, *shape)
    for op in ops:
        if isinstance(op, g.Diagonal):
            op = replace(op, shift=np.zeros(()))
        x = evaluate.evaluate(op, x)
    return x.reshape(size, -1)

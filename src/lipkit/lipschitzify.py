"""From a plain Keras model to its Lipschitz twin, with a report of what had to change."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import keras
from keras import layers as kl

from lipkit import layers as ll
from lipkit._table import table
from lipkit.certify.reader import known, traversal
from lipkit.errors import NotCertifiable
from lipkit.export.vanilla import as_functional, cloned, filled, inputs_outputs
from lipkit.layers.base import check_constant
from lipkit.models import Model


class Change(NamedTuple):
    """One row of a report."""

    layer: str
    kind: str
    action: str
    reason: str


@dataclass(frozen=True)
class Report:
    """What `lipschitzify` did to each layer; printed, it is a table.

    Actions are "replaced" (by a twin of another class), "scaled" (kept, its output times a factor),
    "kept" and "refused" (kept, and then the model may have no constant).
    """

    changes: tuple[Change, ...]

    @property
    def refused(self) -> tuple[Change, ...]:
        """The rows of layers that have no Lipschitz twin."""
        return tuple(change for change in self.changes if change.action == "refused")

    def __str__(self):
        return "\n".join(table(("layer", "class", "action", "reason"), self.changes))


class _Plan(NamedTuple):
    """What happens to a layer, why, and how to make what stands for it."""

    action: str
    reason: str
    make: Callable[[], Any]


_KERNELS: dict = {
    twin.vanilla_class: twin
    for twin in (
        *(ll.SpectralDense, ll.SpectralConv1D, ll.SpectralConv2D, ll.SpectralConv3D),
        *(ll.SpectralConv1DTranspose, ll.SpectralConv2DTranspose, ll.SpectralConv3DTranspose),
        *(ll.SpectralDepthwiseConv1D, ll.SpectralDepthwiseConv2D),
    )
}
_AVERAGES = {
    getattr(kl, f"{kind}Pooling{n}D"): getattr(ll, f"Scaled{kind}Pooling{n}D")
    for kind in ("Average", "GlobalAverage")
    for n in (1, 2, 3)
}
_RECTIFIERS = {
    getattr(keras.activations, name)
    for name in ("relu", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish")
}
_RECTIFIER_CLASSES = {"ReLU", "LeakyReLU", "ELU", "PReLU"}  # layers
_RECTIFIER_CLASSES |= {
    "Relu",
    "LeakyRelu",
    "Elu",
    "Selu",
    "Celu",
    "Gelu",
    "Silu",
    "Mish",
}  # operations
_ROUNDING = 1e-12  # proven constants are rounded up
_PREPROCESSING = (kl.Rescaling, kl.Normalization)


def _copy(layer, layer_class=None, **changed):
    """A new layer with the configuration, up to changes, and the weights of another."""
    new = (layer_class or type(layer)).from_config({**layer.get_config(), **changed})
    return filled(new, layer, layer.get_weights())


def _kept(operation, action="kept", reason="1-Lipschitz"):
    is_layer = isinstance(operation, keras.layers.Layer)
    return _Plan(action, reason, lambda: _copy(operation) if is_layer else operation)


def _unmasked(twin):
    """A twin without the argument that Keras passes to the original."""
    return lambda *args, mask=None, **kwargs: twin(*args, **kwargs)


def _times(tensor, factor):
    return kl.Rescaling(factor, dtype=tensor.dtype)(tensor)


def _scaled(operation, constant):
    def make():
        inner = _kept(operation).make()
        return lambda *args, **kwargs: _times(inner(*args, **kwargs), 1 / constant)

    return _Plan("scaled", f"times {1 / constant:.6g}: its constant is {constant:.6g}", make)


def _ancestors(node):
    """For each input tensor of a call, the operations that it is computed by."""
    for tensor in node.input_tensors:
        found, stack = {}, [tensor]
        while stack:
            history = stack.pop()._keras_history
            key = (id(history.operation), history.node_index)
            if key not in found:
                found[key] = history.operation
                stack += history.operation._inbound_nodes[history.node_index].input_tensors
        yield found.values()


def _sources(node, nested):
    """For each input tensor of a call, the model's inputs that it depends on."""
    if nested:  # whose inputs may be the same tensor
        return [{"outer"} for _ in node.input_tensors]
    return [
        {id(operation) for operation in operations if isinstance(operation, kl.InputLayer)}
        for operations in _ancestors(node)
    ]


def _constant(operation, nested):
    return max(
        known.constant_at(operation, n, _sources(n, nested)) for n in operation._inbound_nodes
    )


def _preprocesses(layer, nested):
    """Whether only constants stand between a layer and the model's inputs."""
    return not nested and all(
        isinstance(operation, (kl.InputLayer, *_PREPROCESSING))
        for node in layer._inbound_nodes
        for operations in _ancestors(node)
        for operation in operations
    )


def _sortable(operation):
    """Whether the outputs of all calls have an even number of channels, on the last axis."""
    last = getattr(operation, "data_format", "channels_last") != "channels_first"
    sizes = [t.shape[-1] for node in operation._inbound_nodes for t in node.output_tensors]
    return last and all(size is not None and size % 2 == 0 for size in sizes)


def _tiles(pooling):
    """Whether windows lie side by side, or there is one."""
    sizes = (getattr(pooling, name, None) for name in ("pool_size", "strides"))
    return getattr(pooling, "padding", "valid") == "valid" and len(set(sizes)) == 1


def _kernel_plan(layer, sorts):
    """A layer with a kernel: constrained, and divided by the slope of its activation."""
    twin = _KERNELS[type(layer)]
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        return _kept(layer, "refused", "it is quantized or has a LoRA kernel")
    changed, reason = {}, f"{twin.__name__}; its weights are the start"
    if sorts and layer.activation in _RECTIFIERS and _sortable(layer):
        changed["activation"] = ll.GroupSort2()
        reason += f"; {layer.activation.__name__} -> GroupSort2"
    elif (slope := known.activation_constant(layer)) > 1:
        changed["k_coef_lip"] = 1 / slope
        reason += f"; k_coef_lip={1 / slope:.6g} for the slope of its activation"
    return _Plan("replaced", reason, lambda: _copy(layer, twin, **changed))


def _centering(layer):
    """The twin of a batch normalization, with its means and offsets."""
    keys = ("name", "dtype", "axis", "momentum")
    config = {key: value for key, value in layer.get_config().items() if key in keys}
    new = ll.BatchCentering.from_config({**config, "use_bias": layer.center})
    weights = [layer.beta] * layer.center + [layer.moving_mean]
    return filled(new, layer, [keras.ops.convert_to_numpy(w) for w in weights])


def _plan(operation, nested, sorts):
    """The first of the rules that applies."""
    kind = type(operation)
    is_layer = isinstance(operation, keras.layers.Layer)
    rectifies = kind.__name__ in _RECTIFIER_CLASSES or (
        kind is kl.Activation and operation.activation in _RECTIFIERS
    )
    if any(n.arguments.kwargs.get("mask") is not None for n in operation._inbound_nodes):
        return _kept(operation, "refused", "it is called with a mask")
    if kind in _KERNELS:
        return _kernel_plan(operation, sorts)
    if sorts and rectifies and kind.__module__.startswith("keras.") and _sortable(operation):
        return _Plan("replaced", "GroupSort2", lambda: ll.GroupSort2(name=operation.name))
    if kind in _AVERAGES and _tiles(operation):
        twin = _AVERAGES[kind]
        return _Plan("replaced", twin.__name__, lambda: _unmasked(_copy(operation, twin)))
    if kind is kl.BatchNormalization:
        reason = "BatchCentering: no division; its means and offsets are the start"
        return _Plan("replaced", reason, lambda: _unmasked(_centering(operation)))
    if kind in _PREPROCESSING and _preprocesses(operation, nested):
        constant = _constant(operation, nested)
        return _kept(operation, reason=f"of the inputs, with constant {constant:.6g} of its own")
    if is_layer and (reason := known.doubt(operation)) is None:
        return _kept(operation)
    if is_layer and operation.weights and kind is not kl.Normalization:
        return _kept(operation, "refused", reason)
    constant = _constant(operation, nested)
    return _kept(operation) if constant <= 1 + _ROUNDING else _scaled(operation, constant)


def _survey(model, sorts, plans, nested=False):
    """Plan all layers of a built graph; nested models are planned by layer too."""
    traversal.check_model(model)
    for operation in as_functional(model, model.name).operations:
        if isinstance(operation, kl.InputLayer):
            continue
        try:
            if isinstance(operation, keras.Model):
                yield from _survey(operation, sorts, plans, nested=True)
                make = partial(_cloned, operation, plans)
                plans[id(operation)] = cache(make)
                continue
            plan = _plan(operation, nested, sorts)
        except NotCertifiable as error:
            plan = _kept(operation, "refused", known.reason_of(error))
        plans[id(operation)] = cache(plan.make)  # shared by models, too
        yield Change(operation.name, type(operation).__name__, plan.action, plan.reason)


def _cloned(model, plans):
    return cloned(as_functional(model, model.name), lambda operation: plans[id(operation)]())


def lipschitzify(model, k_coef_lip=1.0, *, activation=None, refused="raise"):
    """The Lipschitz twin of a plain Keras model, and a report of what was changed.

    Every layer becomes one of constant at most 1, so that the whole has constant `k_coef_lip`:

    - Dense, convolutions: lipkit's Spectral layers, whose free kernels start at the model's. An
      activation of larger slope, such as gelu, divides `k_coef_lip` of its layer.
    - average pooling: the scaled one, of norm 1; batch normalization: `BatchCentering`.
    - what has no weights and a larger constant c by the certifier's rule: its output times 1 / c.
      That is 1 / n for the sum of n tensors, 1 / sqrt(n) for a concatenation of n tensors of the
      same inputs, and the overlap of windows for max pooling.
    - Rescaling and Normalization of the inputs are kept, with their own constants: these come on
      top of `k_coef_lip`, and the report states them.
    - all else that is not known to be 1-Lipschitz is refused.

    The function changes, since its kernels do: train the twin, or train it on.

    Args:
        model: built Sequential or Functional Keras model, nested ones included; it is not changed.
        k_coef_lip: constant of the twin; a last `Rescaling` multiplies by it.
        activation: None, to keep the activations, or `"groupsort2"`: `GroupSort2` in the place of
            relu and its kin (gelu, elu, silu...) wherever the channels are even and come last.
        refused: what to do with layers that have no twin: `"raise"`, or `"keep"` to copy them as
            they are, listed in the report.

    Returns:
        `(twin, report)`: a `lipkit.Model` that is not compiled, and a `Report`.

    Raises:
        ValueError: listing all layers that are refused, with reasons.
        NotCertifiable: (a ValueError) if `model` is not a built graph.

    Example:
    >>> twin, report = lipkit.lipschitzify(model, activation="groupsort2")
    >>> print(report, lipkit.lipschitz_bound(twin))
    """
    k_coef_lip = check_constant(k_coef_lip)
    if activation not in (None, "groupsort2"):
        raise ValueError(
            f"`activation` must be None or 'groupsort2'. Received: activation={activation!r}"
        )
    if refused not in ("raise", "keep"):
        raise ValueError(f"`refused` must be 'raise' or 'keep'. Received: refused={refused!r}")
    plans: dict = {}
    changes = list(_survey(model, activation is not None, plans))
    rows = Report(tuple(changes)).refused
    if rows and refused == "raise":
        lines = [f"- {row.layer!r} ({row.kind}): {row.reason}" for row in rows]
        raise ValueError(
            f"Model {model.name!r} has no Lipschitz twin because of {len(rows)} of its layers:\n"
            + "\n".join(lines)
            + "\nReplace them, or give refused='keep' to leave them as they are."
        )
    inputs, outputs = inputs_outputs(_cloned(model, plans))
    factor = k_coef_lip / len(model.outputs) ** 0.5
    if factor != 1:
        reason = f"times {factor:.6g}: k_coef_lip, divided by the root of the number of outputs"
        changes.append(Change("(outputs)", "", "scaled", reason))
        outputs = keras.tree.map_structure(lambda y: _times(y, factor), outputs)
    return Model(inputs, outputs, name=model.name), Report(tuple(changes))

"""What stands for one layer or operation of a plain model in its Lipschitz twin, and why."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import layers as kl

from lipkit import layers as ll
from lipkit._keras import calls
from lipkit._keras.graphs import filled
from lipkit.certifier.activations import ACTIVATIONS
from lipkit.certifier.reader import known, registry


class Plan(NamedTuple):
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
_RECTIFYING = [name for name, function in ACTIVATIONS.items() if function.rectifies]
_RECTIFIERS = {
    keras.activations.leaky_relu,
    *(registry.FUNCTIONS[name] for name in _RECTIFYING if name in registry.FUNCTIONS),
}
_RECTIFIER_CLASSES = {
    *("ReLU", "LeakyReLU", "ELU", "PReLU"),  # layers
    *("LeakyRelu", *map(registry.operation_class, _RECTIFYING)),  # operations
}
_ROUNDING = 1e-12  # proven constants are rounded up
_PREPROCESSING = (kl.Rescaling, kl.Normalization)


def _copy(layer, layer_class=None, **changed):
    """A new layer with the configuration, up to changes, and the weights of another."""
    new = (layer_class or type(layer)).from_config({**layer.get_config(), **changed})
    return filled(new, layer, layer.get_weights())


def keep(operation, action="kept", reason="1-Lipschitz"):
    """The plan of a copy with the same weights; operations have none."""
    is_layer = isinstance(operation, keras.layers.Layer)
    return Plan(action, reason, lambda: _copy(operation) if is_layer else operation)


def _unmasked(twin):
    """A twin without the argument that Keras passes to the original."""
    return lambda *args, mask=None, **kwargs: twin(*args, **kwargs)


def times(tensor, factor):
    """A symbolic tensor times a number, as a layer."""
    return kl.Rescaling(factor, dtype=tensor.dtype)(tensor)


def _scaled(operation, constant):
    def make():
        inner = keep(operation).make()
        return lambda *args, **kwargs: times(inner(*args, **kwargs), 1 / constant)

    return Plan("scaled", f"times {1 / constant:.6g}: its constant is {constant:.6g}", make)


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
        return keep(layer, "refused", "it is quantized or has a LoRA kernel")
    changed, reason = {}, f"{twin.__name__}; its weights are the start"
    if sorts and layer.activation in _RECTIFIERS and _sortable(layer):
        changed["activation"] = ll.GroupSort2()
        reason += f"; {layer.activation.__name__} -> GroupSort2"
    elif (slope := known.activation_constant(layer)) > 1:
        changed["k_coef_lip"] = 1 / slope
        reason += f"; k_coef_lip={1 / slope:.6g} for the slope of its activation"
    return Plan("replaced", reason, lambda: _copy(layer, twin, **changed))


def _centering(layer):
    """The twin of a batch normalization, with its means and offsets."""
    keys = ("name", "dtype", "axis", "momentum")
    config = {key: value for key, value in layer.get_config().items() if key in keys}
    new = ll.BatchCentering.from_config({**config, "use_bias": layer.center})
    weights = [layer.beta] * layer.center + [layer.moving_mean]
    return filled(new, layer, [keras.ops.convert_to_numpy(w) for w in weights])


def plan(operation, nested, sorts):
    """The first of the rules that applies."""
    kind = type(operation)
    is_layer = isinstance(operation, keras.layers.Layer)
    rectifies = kind.__name__ in _RECTIFIER_CLASSES or (
        kind is kl.Activation and operation.activation in _RECTIFIERS
    )
    if is_layer and (others := calls.called_with(operation)):
        return keep(operation, "refused", f"it is called with {others}")
    if kind in _KERNELS:
        return _kernel_plan(operation, sorts)
    if sorts and rectifies and kind.__module__.startswith("keras.") and _sortable(operation):
        return Plan("replaced", "GroupSort2", lambda: ll.GroupSort2(name=operation.name))
    if kind in _AVERAGES and _tiles(operation):
        twin = _AVERAGES[kind]
        return Plan("replaced", twin.__name__, lambda: _unmasked(_copy(operation, twin)))
    if kind is kl.BatchNormalization:
        reason = "BatchCentering: no division; its means and offsets are the start"
        return Plan("replaced", reason, lambda: _unmasked(_centering(operation)))
    if kind in _PREPROCESSING and _preprocesses(operation, nested):
        constant = _constant(operation, nested)
        return keep(operation, reason=f"of the inputs, with constant {constant:.6g} of its own")
    reason = known.doubt(operation) if is_layer else ""
    if reason is None:
        return keep(operation)
    if is_layer and operation.weights and kind is not kl.Normalization:
        return keep(operation, "refused", reason)
    constant = _constant(operation, nested)
    return keep(operation) if constant <= 1 + _ROUNDING else _scaled(operation, constant)

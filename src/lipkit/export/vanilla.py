"""Replace every lipkit layer by the plain Keras layer or operations of the same function."""

from typing import Any

import keras
from keras import ops

from lipkit._keras import calls
from lipkit._keras.graphs import as_functional, cloned, filled
from lipkit.layers.exported import as_layer, as_operations, is_own

# Keras layers that apply their activation last, so that its operations may stand behind them
ACTIVATION_LAST = {
    getattr(keras.layers, name)
    for name in (
        *("Activation", "Dense", "EinsumDense"),
        *(f"Conv{n}D{suffix}" for n in (1, 2, 3) for suffix in ("", "Transpose")),
        *(f"{kind}Conv{n}D" for n in (1, 2) for kind in ("Depthwise", "Separable")),
    )
}


def _inlined_activation(layer):
    """The activation of lipkit that is exported as operations behind the layer, or None."""
    last = as_layer(layer) or type(layer) in ACTIVATION_LAST
    activation = getattr(layer, "activation", None)
    return activation if last and as_operations(type(activation)) else None


def _as_called(layer, x):
    """The input as the layer's `call` gets it, after the cast that Keras does before."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    if keras.backend.is_float_dtype(dtype) and dtype != layer.compute_dtype:
        x = ops.cast(x, layer.compute_dtype)
    return x


def _pads_inputs(layer):
    """Whether operations stand before the plain layer."""
    return as_layer(layer) and layer.pad_mode is not None


def _inlined(layer):
    """A layer's operations, behind the cast that Keras does before its call."""
    parts = []
    if inner := layer.vanilla_inner:  # a block, whose operations surround those of a model
        parts.append(_renamed(inner, f"{layer.name}_{inner.name}"))

    def plain(*args, **kwargs):
        x: Any
        x, others = calls.inputs_and_others(layer, args, kwargs)
        if others:
            raise ValueError(
                f"Layer {layer.name!r} ({type(layer).__name__}) cannot be exported: the model "
                f"calls it with {calls.listing(others)}, and its export is that of inference."
            )
        if not layer.built:  # an activation: Keras builds those at the first call on data
            layer.build(x.shape)
        return layer.to_vanilla(_as_called(layer, x), *parts)

    return plain


def _plain(layer):
    """What replaces a layer or operation in a model: itself, or plain layers and operations."""
    if own := calls.own_methods(layer):
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} cannot be exported: its "
            f"{', '.join(map(repr, own))} was replaced, which a copy would not have."
        )
    if isinstance(layer, keras.Model):
        return vanilla_model(layer)
    if isinstance(layer, keras.layers.InputLayer) or not isinstance(layer, keras.layers.Layer):
        return layer
    if as_operations(type(layer)):
        return _inlined(layer)
    plain, activation = _plain_copy(layer), _inlined_activation(layer)
    after = _inlined(activation) if activation else lambda x: x
    if _pads_inputs(layer):
        return lambda x: after(plain(layer.vanilla_inputs(_as_called(layer, x))))
    return (lambda *args, **kwargs: after(plain(*args, **kwargs))) if activation else plain


def vanilla_layer(layer):
    """A plain copy of a layer, built and filled.

    Args:
        layer: a built layer of lipkit with a kernel, or one of Keras. Its activation must be plain,
            and it must not pad by repeating samples: neither is part of a plain layer.

    Returns:
        A layer of Keras with the constrained kernel.

    Raises:
        ValueError: if the layer is not built, or no plain layer is the same.

    Example:
    >>> plain = lipkit.export.vanilla_layer(model.layers[0])
    >>> type(plain).__module__.startswith("keras."), plain.units
    (True, 8)
    """
    if _pads_inputs(layer):
        raise ValueError(
            f"Layer {layer.name!r} has padding={layer.pad_mode!r}, which no plain Keras layer has. "
            "Export the model instead: operations before the layer will pad its inputs."
        )
    if activation := _inlined_activation(layer):
        raise ValueError(
            f"Layer {layer.name!r} has the activation {type(activation).__name__} of lipkit, which "
            "is not part of a plain Keras layer. Export the model instead, or put the activation "
            "behind the layer as a layer of its own."
        )
    return _plain_copy(layer)


def _plain_copy(layer):
    """A plain copy of a layer, without its activation if that one is to be inlined."""
    if not layer.built:
        raise ValueError(
            f"Layer {layer.name!r} is not built: it has no weights to export yet. Call it, or the "
            "model it belongs to, on data first."
        )
    said = as_layer(layer)
    config = layer.vanilla_config() if said else layer.get_config()
    activation = _inlined_activation(layer)
    if activation:
        config["activation"] = "linear"
    plain = (layer.vanilla_class if said else type(layer)).from_config(config)
    for inner in plain._flatten_layers():
        if any(map(is_own, type(inner).__mro__)):
            raise ValueError(
                f"Layer {layer.name!r} ({type(layer).__name__}) cannot be exported: it would still "
                f"hold lipkit's {type(inner).__name__} {inner.name!r}. Use the layers of lipkit "
                "directly in the model, not inside other layers."
            )
    if _pads_inputs(layer):
        plain.build(layer.vanilla_input_shape(layer.get_build_config()["input_shape"]))
    weights = layer.vanilla_weights() if said else layer.get_weights()
    if activation:  # its weights are the last
        weights = weights[: len(weights) - len(activation.weights)]
    return filled(plain, layer, weights)


def vanilla_model(model: keras.Model) -> keras.Model:
    """A plain Keras model of the same function: no lipkit class, no lipkit import to load it.

    Works on Sequential and Functional models, nested ones, shared layers, masks and operations
    that are not layers included.

    Args:
        model: a built Sequential or Functional Keras model.

    Returns:
        A new `keras.Model` with the same structure of inputs and outputs; `model` is unchanged.

    Raises:
        ValueError: if the model is not built, is not a graph, or has a layer of lipkit where it
            cannot be replaced: inside a wrapper such as `keras.layers.TimeDistributed`.

    Example:
    >>> plain = lipkit.export.vanilla_model(model)
    >>> any(type(layer).__module__.startswith("lipkit") for layer in plain.layers)
    False
    >>> bool(ops.max(ops.abs(plain(x) - model(x))) < 1e-4)
    True
    """
    return _renamed(model, model.name)


def _renamed(model, name):
    """`vanilla_model` under a name, which has to be unique among a model's layers."""
    return cloned(as_functional(model, name), _plain)

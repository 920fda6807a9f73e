"""Replace every lipkit layer by the plain Keras layer or operations of the same function."""

import keras
from keras import ops


def _is_stateless(layer):
    return hasattr(layer, "to_vanilla")


def vanilla_layer(layer):
    """A plain, built and filled copy of a layer whose activation is plain too."""
    if not layer.built:
        raise ValueError(
            f"Layer {layer.name!r} is not built: it has no weights to export yet. Call it, or the "
            "model it belongs to, on data first."
        )
    lipschitz = hasattr(layer, "vanilla_class")
    if lipschitz:
        config = layer.vanilla_config()
        if _is_stateless(layer.activation):
            config["activation"] = "linear"  # inlined behind the layer by `vanilla_model`
        plain = layer.vanilla_class.from_config(config)
    else:
        plain = type(layer).from_config(layer.get_config())
    plain.build_from_config(layer.get_build_config())
    # through NumPy: on JAX an assigned variable would be an alias of a buffer that `fit` donates
    if lipschitz:
        plain._kernel.assign(ops.convert_to_numpy(ops.cast(layer.kernel, layer.variable_dtype)))
        if layer.bias is not None:
            plain.bias.assign(ops.convert_to_numpy(layer.bias))
    else:
        plain.set_weights(layer.get_weights())
    plain.trainable = layer.trainable
    return plain


def vanilla_model(model):
    """A plain Keras model of the same function: no lipkit class, no lipkit import to load it.

    Works on Sequential and Functional models, nested ones and shared layers included.

    Args:
        model: a built Sequential or Functional Keras model.

    Returns:
        A new `keras.Model`; `model` is unchanged.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"Model {model.name!r} cannot be exported: it must be a Functional model, or a "
            "Sequential model that has been built. Call it on data, or start it with keras.Input."
        )
    activations = {}

    def clone(layer):
        if isinstance(layer, keras.Model):
            return vanilla_model(layer)
        if _is_stateless(layer) or isinstance(layer, keras.layers.InputLayer):
            return layer
        plain = vanilla_layer(layer)
        activation = getattr(layer, "activation", None)
        if hasattr(layer, "vanilla_class") and _is_stateless(activation):
            activations[plain.name] = activation
        return plain

    def call(layer, *args, **kwargs):
        if _is_stateless(layer):
            return layer.to_vanilla(*args)
        outputs = layer(*args, **kwargs)
        activation = activations.get(layer.name)
        return outputs if activation is None else activation.to_vanilla(outputs)

    functional = keras.Model(model.inputs, model.outputs, name=model.name)
    return keras.models.clone_model(functional, clone_function=clone, call_function=call)

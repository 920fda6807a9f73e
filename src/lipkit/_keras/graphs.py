"""Copies of Keras's models and layers: what is in a graph, and a graph with other nodes."""

import re

import keras


def filled(new, layer, weights):
    """A new layer, built for the inputs of another one and given weights."""
    if not new.built:
        new.build_from_config(layer.get_build_config())
    # NumPy arrays: on JAX an assigned variable would be an alias of a buffer that `fit` donates
    new.set_weights(weights)
    new.trainable = layer.trainable
    return new


def as_functional(model, name):
    """A Functional model of the same layers, whose configuration is not needed."""
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"Model {model.name!r} cannot be exported: it must be a Functional model, or a "
            "Sequential model that has been built. Call it on data, or start it with keras.Input."
        )
    return keras.Model(*inputs_outputs(model), name=name)


def cloned(functional, replace):
    """A copy of a graph with what `replace` gives for each layer or operation: a callable."""
    _reserve_names(functional.operations)
    return keras.models.clone_model(
        functional,
        clone_function=replace,
        call_function=lambda new, *args, **kwargs: new(*args, **kwargs),
    )


def inputs_outputs(model):
    """The symbolic inputs and outputs, in the structure that the model is called with."""
    if isinstance(model, keras.Sequential):  # its `input` has the single one in a list
        return model.inputs[0], model.outputs[0] if len(model.outputs) == 1 else model.outputs
    return model.input, model.output


def _reserve_names(operations):
    """Keep Keras from naming the new operations like these, whose model may be from a file."""
    for operation in operations:
        prefix, *number = re.split(r"_(\d{1,4})$", operation.name)
        while keras.backend.get_uid(prefix) <= int(number[0] if number else 0):
            pass

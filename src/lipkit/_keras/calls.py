"""What a layer is called with inside a model, and whether the call is that of its class."""

import inspect

import keras

# what Keras wraps in every layer, and all that belongs to training
_NOT_CALLED = {"build", "quantize"} | (set(dir(keras.Model)) - set(dir(keras.layers.Layer)))


def inputs_and_others(layer, args, kwargs):
    """The inputs of a call, and {name: value} of all else that may change the layer's function.

    No value, anywhere in a nested one, and `training=False` are those of inference.
    """
    bound = dict(inspect.signature(layer.call).bind(*args, **kwargs).arguments)
    inputs = bound.pop(next(iter(bound))) if bound else None  # an input layer is called with none
    return inputs, {name: value for name, value in bound.items() if _matters(layer, name, value)}


def _matters(layer, name, value):
    if name == "training" and isinstance(layer, keras.layers.Resizing):
        return False  # its `call` has the default True, and does not use it
    if name == "training" and value is False:
        return False
    return any(part is not None for part in keras.tree.flatten(value))


def own_methods(operation):
    """The methods that this object alone has in place of its class's, as by `layer.call = f`."""
    return [
        name
        for name in vars(operation)
        if name not in _NOT_CALLED and inspect.isroutine(getattr(type(operation), name, None))
    ]


def listing(others):
    """Arguments as text, for messages."""
    plain = (bool, int, float, str)
    return ", ".join(
        f"{name}={value!r}" if isinstance(value, plain) else f"a {name}"
        for name, value in others.items()
    )


def called_with(layer):
    """The arguments besides inputs of the first call of a layer that has any, as text, or ""."""
    calls = (node.arguments for node in layer._inbound_nodes)
    others = (inputs_and_others(layer, call.args, call.kwargs)[1] for call in calls)
    return listing(next(filter(None, others), {}))

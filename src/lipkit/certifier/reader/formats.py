"""Whether Keras computes in float64: its promotion of types makes float32 of it in places."""

from typing import Any

import keras
from keras import ops

from lipkit.certifier import bounding
from lipkit.certifier.reader.builder import chained
from lipkit.certifier.reader.reading import Reading, compare
from lipkit.certifier.reader.refusals import refusal
from lipkit.errors import NotCertifiable


def check_format(operation, node, given, shapes, place=0):
    """Compare a call in float64 alone with its reading, where nothing can hide what it rounds.

    Args:
        operation: layer, or operation of `keras.ops`.
        node: the call.
        given: the operations that it was read as.
        shapes: of each input, without the batch axis.
        place: of the output that was read, among several.

    Raises:
        NotCertifiable: where it does not compute in float64.
    """
    is_layer = isinstance(operation, keras.layers.Layer)
    dtype = operation.compute_dtype if is_layer else node.input_tensors[0].dtype
    if dtype != "float64" or len(shapes) != len(node.input_tensors):
        return
    name, kind = operation.name, type(operation).__name__

    def run(arrays):
        tensors = map(ops.convert_to_tensor, arrays)
        arguments: Any = keras.tree.map_structure(
            lambda value: next(tensors) if isinstance(value, keras.KerasTensor) else value,
            (node.arguments.args, node.arguments.kwargs),
        )
        args, kwargs = arguments
        outputs = keras.tree.flatten(operation(*args, **kwargs))
        return [ops.convert_to_numpy(outputs[place])]

    graph = chained(given, shapes, name, kind)
    program = keras.backend.backend()
    reading = Reading(graph, dtype, program, (), name, (dtype,) * len(shapes), run)
    try:
        compare(reading, bounding.compose(graph))
    except NotCertifiable as error:
        raise refusal(
            f"{name!r} ({kind})",
            f"Keras does not compute all of it in {dtype} "
            f"on {program}, or rounds a number that it was given to float32. Certify a float32 "
            f"copy of the model. ({error})",
        ) from None

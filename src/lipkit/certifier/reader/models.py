"""What is certified: a Keras model or an ONNX file, with all of its outputs or one of them."""

import os

import keras

from lipkit._keras.graphs import inputs_outputs
from lipkit.certifier.reader.onnx import OnnxFile
from lipkit.certifier.reader.outputs import chosen
from lipkit.certifier.reader.traversal import check_model


def opened(model, output):
    """An ONNX file, or a Keras model, with this one of its outputs; with all of them for None."""
    if isinstance(model, (str, os.PathLike)):
        return OnnxFile(model, output)
    if output is None:
        return model
    check_model(model)
    index = chosen(output_names(model), output, model.name)
    return keras.Model(inputs_outputs(model)[0], model.outputs[index], name=model.name)


def output_names(model):
    """The names of all outputs of a file or model, in order; keys of a dictionary of outputs."""
    if isinstance(model, OnnxFile):
        return [value.name for value in model.model.graph.output]
    outputs = inputs_outputs(model)[1]
    if isinstance(outputs, dict):
        keys = {id(tensor): key for key, tensor in outputs.items()}
        return [keys[id(tensor)] for tensor in model.outputs]
    return [tensor._keras_history.operation.name for tensor in model.outputs]

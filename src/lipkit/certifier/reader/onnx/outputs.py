"""The outputs of an ONNX file: which hold real numbers, and what of the file they need."""

from lipkit.certifier.reader.onnx.walk import needed

REAL = ("float", "double", "float16", "bfloat16", "undefined")


def kind_of(kind):
    """What an output holds, by its type: "float", "int64", "string", ..."""
    from onnx import TensorProto

    if kind.HasField("sequence_type"):  # of ZipMap: a dictionary for each input
        kind = kind.sequence_type.elem_type.map_type.value_type
    return TensorProto.DataType.Name(kind.tensor_type.elem_type).lower()


def tensor_of(graph, name):
    """What holds the numbers of an output: the output, or what ZipMap makes dictionaries of."""
    from onnx import TensorProto, helper

    for node in graph.node:
        if node.op_type == "ZipMap" and name in node.output:
            (labels,) = (helper.get_attribute_value(attribute) for attribute in node.attribute)
            shape = None, len(labels)
            return helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, shape)
    return next(value for value in graph.output if value.name == name)


def only(model, tensors):
    """A model with these outputs, in order, and the nodes that they need."""
    from onnx import ModelProto

    part = ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:]
    part.graph.node.extend(needed(model.graph.node, [tensor.name for tensor in tensors]))
    part.graph.output.extend(tensors)
    return part

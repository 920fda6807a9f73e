"""Damaged ONNX files: other attributes, operands and weights, other bytes."""

import copy


def damaged(rng, model):
    """The bytes of a model that something happened to."""
    model = copy.deepcopy(model)
    for _ in range(int(rng.integers(1, 3))):
        change = CHANGES[rng.integers(len(CHANGES))]
        change(rng, model)
    data = bytearray(model.SerializeToString())
    if rng.random() < 0.25:
        for _ in range(int(rng.integers(1, 4))):
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    if rng.random() < 0.05:
        del data[rng.integers(len(data)) :]
    return bytes(data)


def _one(rng, values):
    return values[rng.integers(len(values))] if len(values) else None


def _attribute(rng, model):
    """Another value of an attribute."""
    nodes = [node for node in model.graph.node if node.attribute]
    if not nodes:
        return
    attribute = _one(rng, _one(rng, nodes).attribute)
    if attribute.ints:
        place = rng.integers(len(attribute.ints))
        attribute.ints[place] = int(rng.choice([-1, 0, 1, 2, 3, 100, 2**40]))
        if rng.random() < 0.2:
            del attribute.ints[-1]
    elif attribute.s:
        attribute.s = rng.choice([b"SAME_UPPER", b"VALID", b"", b"edge", b"nothing"])
    elif attribute.type == attribute.FLOAT:
        attribute.f = float(rng.choice([0.0, -1.0, 1e30, float("nan")]))
    else:
        attribute.i = int(rng.choice([-3, -1, 0, 1, 2, 7, 2**40]))


def _operand(rng, model):
    """A node reads something else, or nothing."""
    node = _one(rng, [node for node in model.graph.node if node.input])
    place = int(rng.integers(len(node.input)))
    names = [t.name for t in model.graph.initializer] + [n.output[0] for n in model.graph.node]
    kind = rng.integers(4)
    if kind == 0:
        node.input[place] = _one(rng, [*names, "x"])
    elif kind == 1:
        node.input[place] = ""
    elif kind == 2:
        del node.input[place]
    else:
        node.input.append(_one(rng, names))


def _operator(rng, model):
    """A node of another operator."""
    nodes = model.graph.node
    _one(rng, nodes).op_type = rng.choice(
        [_one(rng, nodes).op_type, "Relu", "Flatten", "Sum", "Softmax", "Shape", "Nothing"]
    )


def _weights(rng, model):
    """A constant of another shape or format, or with values that are not finite."""
    tensor = _one(rng, model.graph.initializer)
    if tensor is None:
        return
    kind = rng.integers(4)
    if kind == 0 and tensor.dims:
        tensor.dims[rng.integers(len(tensor.dims))] = int(rng.integers(0, 5))
    elif kind == 1:
        tensor.dims.insert(0, 1)
    elif kind == 2:
        tensor.data_type = int(rng.choice([1, 6, 7, 10, 11, 16]))
    elif tensor.raw_data:
        tensor.raw_data = b"\xff" * len(tensor.raw_data)


def _input(rng, model):
    """An input of another shape, or one that is not read."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    kind = rng.integers(3)
    if kind == 0:
        dims[rng.integers(len(dims))].dim_value = int(rng.integers(0, 5))
    elif kind == 1:
        del dims[-1]
    else:
        model.graph.input.append(copy.deepcopy(model.graph.input[0]))
        model.graph.input[-1].name = "unread"


def _output(rng, model):
    """An output is another tensor, or there are two."""
    name = _one(rng, [n.output[0] for n in model.graph.node])
    if rng.random() < 0.5:
        model.graph.output[0].name = name
    else:
        model.graph.output.append(copy.deepcopy(model.graph.output[0]))
        model.graph.output[-1].name = name


CHANGES = [_attribute, _attribute, _operand, _operator, _weights, _weights, _input, _output]

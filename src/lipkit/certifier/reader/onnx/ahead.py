"""Windows over tensors with two axes of size 1 before the batch axis: pooling as JAX writes it.

There the batch is the first axis that windows slide along, and one of 1 alone is allowed there; so
each sample is an image of one channel by itself.
"""

from lipkit.certifier import graph as g
from lipkit.certifier.reader.onnx.call import Tensor

WINDOWS = ("Conv", "MaxPool", "AveragePool")
OPERATORS = (*WINDOWS, "Unsqueeze", "Squeeze")


def images(shape):
    """Samples as images of one channel."""
    return [g.Reshape((1, *shape))]


def back(shape):
    """And back."""
    return [g.Reshape(shape[1:])]


def moved(call, operands, attributes, image: Tensor):
    """Operands and attributes for the axes behind the batch's alone."""
    size, rest = len(call.shapes[0]) + 1, dict(attributes)
    _, *constants = operands
    weights = [w for w in constants if w is not None and w.ndim > 1]
    given = [rest[name] for name in ("kernel_shape", "strides", "dilations") if name in rest]
    pads = rest.get("pads", [0] * 2 * size)
    fits = all(len(value) == size and value[0] == 1 for value in given[:2]) and (
        len(pads) == 2 * size and pads[0] == pads[size] == 0 and rest.get("group", 1) == 1
    )
    fits = fits and all(w.ndim == size + 2 and w.shape[:3] == (1, 1, 1) for w in weights)
    if not fits:
        raise call.refusal("its windows mix the samples of a batch")
    for name in ("kernel_shape", "strides", "dilations"):
        if name in rest:
            rest[name] = rest[name][1:]
    rest["pads"] = [*pads[1:size], *pads[size + 1 :]]
    constants = [w[:, :, 0] if w is not None and w.ndim > 1 else w for w in constants]
    return [image, *constants], rest

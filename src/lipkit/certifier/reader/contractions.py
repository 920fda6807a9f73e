"""Rules of products of a tensor with a constant matrix: `matmul`, `dot`, `tensordot`, `einsum`."""

import string

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.reader.constants import is_tensor, numbers
from lipkit.certifier.reader.layers import contraction, sample_axis
from lipkit.certifier.reader.shaping import refusal, without


def _constant(op, arguments):
    """The constant factor of the only tensor, and whether it comes first."""
    constants = [a for a in arguments if not is_tensor(a)]
    if len(arguments) != 2 or len(constants) != 1:
        raise refusal(op, "a product of two tensors has no Lipschitz constant.")
    return numbers(op, constants[0]), not is_tensor(arguments[0])


def _matmul(op, arguments, shapes):
    matrix, first = _constant(op, arguments)
    (shape,) = shapes
    if first and len(shape) > 1 and matrix.ndim == 2 and type(op).__name__ == "Matmul":
        return g.AxisMaps(((len(shape) - 2, matrix),))
    if first and len(shape) > 1 and matrix.ndim == 1:
        axis = len(shape) - 2
        return [g.AxisMaps(((axis, matrix[None]),)), g.Reshape(without(shape, (axis,)))]
    if first or matrix.ndim not in (1, 2):
        raise refusal(
            op,
            f"its constant of shape {matrix.shape} mixes the samples of a batch, or differs "
            "between them. Only products x @ A, or A @ x on the last two axes of a sample, are.",
        )
    if matrix.ndim == 1:
        return [g.Dense(matrix[:, None]), g.Reshape(shape[:-1])]
    return g.Dense(matrix)


def _tensordot(op, arguments, shapes):
    kernel, first = _constant(op, arguments)
    (shape,) = shapes
    axes = op.axes
    if isinstance(axes, int):
        axes = (range(len(shape) + 1 - axes, len(shape) + 1), range(axes))
    own, its = ([a] if isinstance(a, int) else list(a) for a in axes)
    if first or not own:
        raise refusal(op, "only the contraction of some axes of x with a second, constant one is.")
    own = [sample_axis(op, axis, shape) for axis in own]
    letters = iter(string.ascii_letters)
    inputs = [next(letters) for _ in shape]
    inner = dict(zip(np.arange(kernel.ndim)[list(its)].tolist(), own, strict=True))
    others = [inputs[inner[i]] if i in inner else next(letters) for i in range(kernel.ndim)]
    kept = [letter for i, letter in enumerate(inputs) if i not in own]
    output = kept + [letter for i, letter in enumerate(others) if i not in inner]
    return g.Einsum(f"{''.join(inputs)},{''.join(others)}->{''.join(output)}", kernel)


def _einsum(op, arguments, shapes):
    kernel, first = _constant(op, arguments)
    left, arrow, output = op.subscripts.replace(" ", "").partition("->")
    if not arrow:
        raise refusal(op, f"its equation {op.subscripts!r} must say its output.")
    a, b = left.split(",")
    return contraction(op, f"{b},{a}->{output}" if first else f"{a},{b}->{output}", kernel)


RULES = {"Matmul": _matmul, "Dot": _matmul, "Tensordot": _tensordot, "Einsum": _einsum}

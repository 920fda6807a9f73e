"""The ONNX operators of each operation of the certifier's graph: `lower(op, program, shapes, *xs)`.

In float32 these are the operators that runtimes have fast kernels for; in float64 those that ONNX
Runtime has kernels for at all, so convolutions are products with gathered windows.
"""

import math
from functools import singledispatch

import numpy as np

from lipkit.certifier import bounding, evaluate
from lipkit.certifier import graph as g
from lipkit.errors import NotCertifiable
from lipkit.export.onnx.activations import activation


def write(graph: g.Graph, program, inputs, last):
    """Append the nodes up to `last`; return its name. `inputs` are the names of the inputs."""
    given, names = iter(inputs), []
    for node in graph.nodes[: last + 1]:
        if isinstance(node.op, g.Input):
            names.append(next(given))
            continue
        if isinstance(node.op, g.Custom):
            raise NotCertifiable(
                f"Layer {node.layer!r} ({node.kind}) cannot be exported to ONNX: the rule that is "
                "registered for it has no ONNX operators. Replace it by layers of Keras or lipkit."
            )
        program.nodes.scope = f"{program.dtype}/{node.layer}"
        shapes = [graph.nodes[i].shape for i in node.inputs]
        names.append(lower(node.op, program, shapes, *(names[i] for i in node.inputs)))
    program.nodes.scope = "certificate"
    return names[last]


@singledispatch
def lower(op, program, shapes, *xs) -> str:
    """Append the operators of `op` on `xs`, samples of these shapes; return the result's name."""
    raise NotImplementedError(f"No ONNX operators of {type(op).__name__}.")


@lower.register
def _dense(op: g.Dense, p, shapes, x):
    return p.plus(p("MatMul", x, p.weights(op.kernel)), op.bias)


@lower.register
def _einsum(op: g.Einsum, p, shapes, x):
    inputs, kernel, output = op.equation.replace("->", ",").split(",")
    inner = [inputs.index(letter) for letter in kernel if letter in inputs]
    kept = [i for i in range(len(inputs)) if i not in inner]
    new = [i for i, letter in enumerate(kernel) if letter not in inputs]
    matrix = bounding.einsum_matrix(op)
    x = p.permute(x, (*kept, *inner))
    x = p.reshape(x, (*(shapes[0][i] for i in kept), len(matrix)))
    x = p("MatMul", x, p.weights(matrix))
    x = p.reshape(x, (*(shapes[0][i] for i in kept), *(op.kernel.shape[i] for i in new)))
    letters = [*(inputs[i] for i in kept), *(kernel[i] for i in new)]
    return p.plus(p.permute(x, [letters.index(letter) for letter in output]), op.bias)


def _pads(padding):
    return [*(low for low, _ in padding), *(high for _, high in padding)]


def _geometry(op: g.Conv):
    return {"strides": op.strides, "dilations": op.dilation, "group": op.groups}


@lower.register
def _conv(op: g.Conv, p, shapes, x):
    shape = list(shapes[0])
    for axis, samples in enumerate(op.shown or []):
        shape[axis] = len(samples)
        x = p("Gather", x, p.integers(*samples), axis=axis + 1)
    if p.double:
        taps = math.prod(op.kernel.shape[:-2])
        kernel = op.kernel.reshape(taps, op.kernel.shape[-2], op.groups, -1).transpose(2, 0, 1, 3)
        return p.plus(_gathered(p, shape, x, _reads(op, shape[:-1]), kernel), op.bias)
    weights = [p.weights(np.moveaxis(op.kernel, (-1, -2), (0, 1)))]
    weights += [] if op.bias is None else [p.weights(op.bias)]
    arguments = {**_geometry(op), "pads": _pads(op.padding)}
    return p.channels_first(x, len(shape), lambda y: p("Conv", y, *weights, **arguments))


@lower.register
def _conv_transpose(op: g.ConvTranspose, p, shapes, x):
    conv, (*counts, channels) = op.conv, shapes[0]
    if p.double:
        reads = _reads(conv, op.size)  # transposed: the window that holds a sample as its tap
        windows, taps = math.prod(counts), math.prod(conv.kernel.shape[:-2])
        index = np.zeros((math.prod(op.size) + 1, taps), dtype=int)
        index[reads.reshape(windows, taps), np.arange(taps)] = np.arange(1, windows + 1)[:, None]
        kernel = conv.kernel.reshape(taps, -1, conv.groups, channels // conv.groups)
        kernel = kernel.transpose(2, 0, 3, 1)
        index = index[1:].reshape(*op.size, taps)
        return p.plus(_gathered(p, shapes[0], x, index, kernel), op.bias)
    high, extra = [], []
    for i, (m, size) in enumerate(zip(counts, op.size, strict=True)):
        reach = (conv.kernel.shape[i] - 1) * conv.dilation[i] + 1
        total = (m - 1) * conv.strides[i] + reach - size - conv.padding[i][0]
        high.append(max(total, 0))
        extra.append(max(-total, 0))
    pads = [*(low for low, _ in conv.padding), *high]
    weights = [p.weights(np.moveaxis(conv.kernel, (-1, -2), (0, 1)))]
    weights += [] if op.bias is None else [p.weights(op.bias)]
    arguments = {**_geometry(conv), "pads": pads, "output_padding": extra}
    return p.channels_first(
        x, len(shapes[0]), lambda y: p("ConvTranspose", y, *weights, **arguments)
    )


def _reads(op: g.Conv, size):
    """1 + the sample that each window reads with each tap, 0 for the padding: (m_1..m_d, taps)."""
    d = len(size)
    samples = np.arange(1, math.prod(size) + 1).reshape(1, *size, 1)
    taken = evaluate.windows(samples, op.kernel.shape[:d], op.strides, op.dilation, op.padding)
    return taken.astype(int).reshape(*taken.shape[1 : d + 1], -1)


def _gathered(p, shape, x, index, kernel):
    """Sums over taps of samples times kernel: index (m_1..m_d, taps), kernel (groups, taps, c, k).

    An index counts from 1 over the spatial axes; 0 is a zero.
    """
    *counts, taps = index.shape
    groups, _, channels, filters = kernel.shape
    x = p.reshape(x, (math.prod(shape[:-1]), shape[-1]))
    zero = p.nodes.constant(np.zeros((), p.dtype))
    x = p("Pad", x, p.integers(1, 0), zero, p.integers(1))
    x = p("Gather", x, p.nodes.constant(index.reshape(-1, taps)), axis=1)  # (windows, taps, c)
    windows = math.prod(counts)
    x = p.permute(p.reshape(x, (windows, taps, groups, channels)), (2, 0, 1, 3))
    x = p.reshape(x, (groups, windows, taps * channels))
    x = p("MatMul", x, p.weights(kernel.reshape(groups, taps * channels, filters)))
    return p.reshape(p.permute(x, (1, 0, 2)), (*counts, groups * filters))


@lower.register
def _axis_maps(op: g.AxisMaps, p, shapes, x):
    rank = len(shapes[0])
    for axis, matrix in op.matrices:
        last = (*(i for i in range(rank) if i != axis), axis)
        x = p("MatMul", p.permute(x, last), p.weights(matrix.T))
        x = p.permute(x, np.argsort(last))
    return x


@lower.register
def _center(op: g.Center, p, shapes, x):
    axes = p.integers(*(axis + 1 for axis in op.axes))
    return p("Sub", x, p("ReduceMean", x, axes, keepdims=1))


@lower.register
def _diagonal(op: g.Diagonal, p, shapes, x):
    x = x if (op.scale == 1).all() else p.times(x, op.scale)
    return p.plus(x, op.shift) if op.shift.any() else x


@lower.register
def _elementwise(op: g.Elementwise, p, shapes, x):
    return activation(p, op.name, x, *op.parameters)


def _place(axis, shape):
    return axis % len(shape) + 1


@lower.register
def _softmax(op: g.Softmax, p, shapes, x):
    return p("Softmax", x, axis=_place(op.axis, shapes[0]))


@lower.register
def _log_softmax(op: g.LogSoftmax, p, shapes, x):
    return p("LogSoftmax", x, axis=_place(op.axis, shapes[0]))


@lower.register
def _sort(op: g.Sort, p, shapes, x):
    size = p.integers(shapes[0][op.axis])
    return p("TopK", x, size, outputs=2, axis=_place(op.axis, shapes[0]), largest=0, sorted=1)


@lower.register
def _concat_relu(op: g.ConcatReLU, p, shapes, x):
    both = p("Relu", x), p("Relu", p("Neg", x))
    return p("Concat", *both, axis=_place(op.axis, shapes[0]))


@lower.register
def _max_pool(op: g.MaxPool, p, shapes, x):
    arguments = {"kernel_shape": op.window, "strides": op.strides, "pads": _pads(op.padding)}
    arguments |= {} if op.dilation is None else {"dilations": op.dilation}
    return p.channels_first(x, len(shapes[0]), lambda y: p("MaxPool", y, **arguments))


@lower.register
def _norm(op: g.Norm, p, shapes, x):
    axes = p.integers(*(_place(axis, shapes[0]) for axis in op.axes))
    return p("ReduceL2", x, axes, keepdims=0)


@lower.register
def _root_of_squares(op: g.RootOfSquares, p, shapes, x):
    x = lower(g.AxisMaps(op.matrices), p, shapes, p("Mul", x, x))
    x = x if op.scale == 1 else p.times(x, op.scale)
    return p("Sqrt", p.plus(x, np.float64(op.shift)) if op.shift else x)


@lower.register
def _reshape(op: g.Reshape, p, shapes, x):
    return p.reshape(x, op.shape)


@lower.register
def _permute(op: g.Permute, p, shapes, x):
    return p.permute(x, op.axes)


@lower.register
def _slice(op: g.Slice, p, shapes, x):
    bounds = op.start, op.stop, _place(op.axis, shapes[0]), op.step
    return p("Slice", x, *(p.integers(n) for n in bounds))


@lower.register
def _rounded(op: g.Rounded, p, shapes, x):
    return x


@lower.register
def _sum(op: g.Sum, p, shapes, first, *rest):
    sign, *signs = op.signs or (1,) * (1 + len(rest))
    total = first if sign == 1 else p("Neg", first)
    for sign, x in zip(signs, rest, strict=True):
        total = p("Add" if sign == 1 else "Sub", total, x)
    return total


@lower.register
def _concat(op: g.Concat, p, shapes, *xs):
    return p("Concat", *xs, axis=_place(op.axis, shapes[0]))


@lower.register
def _maximum(op: g.Maximum, p, shapes, *xs):
    return p("Max" if op.sign == 1 else "Min", *xs)

"""Operations that have a smaller constant together than one after the other."""

from dataclasses import replace

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.parts import selects
from lipkit.certifier.reader.windows import mean_matrix


def fused(nodes, op, inputs):
    """The operation and its inputs, or what says the same of earlier nodes with more structure."""
    source = _relu_pair(nodes, op, inputs)
    if source is not None:
        return g.ConcatReLU(op.axis), [source]
    if (stacked := _stacked(nodes, op, inputs) or _padded(nodes, op, inputs)) is not None:
        return stacked[1], [stacked[0]]
    slopes = _slopes(nodes, op, inputs)
    if slopes is not None:
        return g.Elementwise("relu", (slopes,)), inputs[:1]
    if (biased := _biased(nodes, op, inputs)) is not None:
        return biased, list(nodes[inputs[0]].inputs)
    if _minus_tanh(nodes, op, inputs):
        return g.Elementwise("tanh_shrink"), inputs[:1]
    axes = _mean_axes(nodes, op, inputs)
    return (g.Center(axes), inputs[:1]) if axes else (op, inputs)


def _relu_pair(nodes, op, inputs):
    """The node x of concat(relu(x), relu(-x)), or None."""
    if not isinstance(op, g.Concat) or len(inputs) != 2:
        return None
    first, second = (nodes[i] for i in inputs)
    if not all(
        isinstance(n.op, g.Elementwise) and n.op.name == "relu" and not n.op.parameters
        for n in (first, second)
    ):
        return None
    negative = nodes[second.inputs[0]]
    is_negative = isinstance(negative.op, g.Elementwise) and negative.op.name == "negative"
    source = first.inputs[0]
    return source if is_negative and negative.inputs == (source,) else None


def _rows(nodes, index, source, axis):
    """The matrix along `axis` that takes node `source` to node `index`, or None."""
    node = nodes[index]
    if index == source:
        return np.eye(node.shape[axis])
    if isinstance(node.op, g.AxisMaps) and node.inputs == (source,):
        axes, matrices = zip(*node.op.matrices, strict=True)
        return matrices[0] if axes == (axis,) else None
    if isinstance(node.op, g.Slice) and node.inputs == (source,) and node.op.axis == axis:
        return np.eye(nodes[source].shape[axis])[node.op.start : node.op.stop : node.op.step]
    return None


def _stacked(nodes, op, inputs):
    """Padding written as a concatenation of parts of one node: that node and one matrix."""
    if not isinstance(op, g.Concat) or all(isinstance(nodes[i].op, g.Slice) for i in inputs):
        return None  # disjoint parts are isometries together, without a matrix
    first = nodes[inputs[0]]
    if not first.shape:
        return None
    axis = op.axis % len(first.shape)
    for source in (inputs[0], *first.inputs):
        rows = [r for i in inputs if (r := _rows(nodes, i, source, axis)) is not None]
        if len(rows) == len(inputs):
            matrix = np.concatenate(rows)
            return None if selects(matrix) else (source, g.AxisMaps(((axis, matrix),)))
    return None


def _padded(nodes, op, inputs):
    """What a convolution behind repeated samples reads, and one that repeats them; or None."""
    if not isinstance(op, g.Conv):
        return None
    shown, (index,) = {}, inputs
    while isinstance(before := nodes[index].op, g.AxisMaps):
        found = {axis: _repeated(matrix) for axis, matrix in before.matrices}
        if any(samples is None for samples in found.values()) or found.keys() & shown.keys():
            break
        shown.update(found)
        (index,) = nodes[index].inputs
    *sizes, _ = nodes[index].shape
    if not shown or not all(axis < len(sizes) for axis in shown):
        return None
    samples = tuple(shown.get(axis, np.arange(n)) for axis, n in enumerate(sizes))
    return index, replace(op, shown=samples)


def _repeated(matrix):
    """The sample at each position, of a matrix that puts copies around all of them; or None."""
    size = matrix.shape[1]
    samples = matrix.argmax(axis=1)
    whole = range(len(samples) - size + 1)
    if any((samples[i : i + size] == np.arange(size)).all() for i in whole) and (
        np.array_equal(matrix, np.eye(size)[samples])
    ):
        return samples
    return None


def _mean_axes(nodes, op, inputs):
    """The axes of x - mean(x), a mean over some axes of the same node, or ()."""
    if not isinstance(op, g.Sum) or op.signs != (1, -1):
        return ()
    mean = nodes[inputs[1]]
    if not isinstance(mean.op, g.AxisMaps) or mean.inputs != (inputs[0],):
        return ()
    matrices = mean.op.matrices
    if not all(np.array_equal(matrix, mean_matrix(matrix.shape[1])) for _, matrix in matrices):
        return ()
    return tuple(axis for axis, _ in matrices)


def _slopes(nodes, op, inputs):
    """The a <= 1 of max(x, a x) for one node x, or None."""
    if not isinstance(op, g.Maximum) or op.sign != 1 or len(inputs) != 2:
        return None
    other = nodes[inputs[1]]
    if not isinstance(other.op, g.Diagonal) or other.inputs != (inputs[0],):
        return None
    return other.op.scale if not other.op.shift.any() and (other.op.scale <= 1).all() else None


def _biased(nodes, op, inputs):
    """A bias that is added behind a dense layer without one, as part of it, or None."""
    dense = nodes[inputs[0]].op if inputs else None
    if not isinstance(op, g.Diagonal) or not isinstance(dense, g.Dense) or dense.bias is not None:
        return None
    added = (op.scale == 1).all() and np.array_equal(op.magnitude, np.abs(op.shift))
    shift, units = op.shift, dense.kernel.shape[1]
    if not added or shift.size not in (1, units) or (shift.size > 1 and shift.shape[-1] != units):
        return None
    return g.Dense(dense.kernel, np.broadcast_to(shift.reshape(-1), (units,)))


def _minus_tanh(nodes, op, inputs):
    """Whether it is x - tanh(x) for one node x."""
    if not isinstance(op, g.Sum) or op.signs != (1, -1):
        return False
    node = nodes[inputs[1]]
    is_tanh = isinstance(node.op, g.Elementwise) and node.op.name == "tanh"
    return is_tanh and node.inputs == (inputs[0],)

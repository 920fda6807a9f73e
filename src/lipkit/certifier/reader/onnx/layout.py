"""Rules of operators that move values, sort them, or reduce axes."""

import math

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.reader.onnx.folding import batch_size, rows_of
from lipkit.certifier.reader.pairs import taken
from lipkit.certifier.reader.windows import mean_matrix
from lipkit.padding import padding_matrix


def _flatten(call):
    rank = len(call.inner) + 1
    axis = call.attribute("axis", 1)
    axis += rank * (axis < 0)
    if call.batch == 1:
        return _alone(call, [math.prod(call.whole[:axis]), math.prod(call.whole[axis:])])
    if axis < 1 or (call.merged and axis > 1):
        raise call.refusal(f"axis={axis} puts several samples in one row")
    outer, rest = math.prod(call.inner[: axis - 1]), math.prod(call.inner[axis - 1 :])
    return _arranged(call, call.outer[0] if call.merged else outer, [rest])


def _alone(call, shape):
    """The one sample of a file whose batch has the size 1, in a shape of the file."""
    call.merged = len(shape) > 0 and shape[0] != 1
    return [g.Reshape(tuple(shape[not call.merged :]))]


def _target(call):
    """The sizes that a Reshape asks for, its zeros replaced by the sizes that they copy."""
    target = [int(n) for n in call.constant(1)]
    known = [batch_size(*call.outer, batch=call.batch), *call.inner]
    if call.attribute("allowzero", 0):
        return target
    return [n or known[i] if i < len(known) else n for i, n in enumerate(target)]


def _rows(call, first):
    """How many rows each sample has, where the first axis gets this size; None: what remains."""
    if first > 0 and call.batch:
        return first / call.batch  # not an integer where rows hold parts of several samples
    return None if first == -1 else rows_of(first) or 0


def _reshape(call):
    first, *rest = _target(call)
    size, outer = math.prod(call.shapes[0]), _rows(call, first)
    known = math.prod(n for n in rest if n != -1)
    if outer is None:
        outer = size / max(known, 1)
    elif -1 in rest:
        rest[rest.index(-1)] = int(size / max(outer * known, 1))
    whole = outer == int(outer) > 0 and min(rest, default=1) > 0
    if not whole or outer * math.prod(rest) != size:
        raise call.refusal("its target shape mixes the samples of a batch")
    return _arranged(call, int(outer), rest)


def _arranged(call, outer, rest):
    """Samples as rows of this shape, several of them for each sample in the batch axis."""
    call.merged = outer > 1
    return [g.Reshape((outer, *rest) if call.merged else tuple(rest))]


def _transpose(call):
    rank = len(call.inner) + 1
    order = call.attribute("perm", list(range(rank))[::-1])
    if call.alone:
        return [g.Permute(tuple(order))]
    if order[0] != 0:
        raise call.refusal("it must keep the batch axis first")
    return [g.Permute((*range(call.merged), *(call.axis(k) for k in order[1:])))]


def _squeeze(call):
    given, whole = call.integers("axes", 1), call.whole
    if given is None:
        if not call.batch:
            raise call.refusal("it must name its axes, other than the batch's")
        given = [axis for axis, n in enumerate(whole) if n == 1]
    axes = {axis + len(whole) * (axis < 0) for axis in given}
    if not axes <= set(range(len(whole))) or any(whole[axis] not in (1, None) for axis in axes):
        raise call.refusal("it drops an axis of another size than 1")
    kept = [n for axis, n in enumerate(whole) if axis not in axes]
    if call.batch == 1:
        return _alone(call, kept)
    if call.ahead in axes:
        raise call.refusal("it must keep the batch axis")
    call.ahead -= sum(axis < call.ahead for axis in axes)
    return [g.Reshape((*call.outer, *kept[call.ahead + 1 :]))]


def _unsqueeze(call):
    given, whole = call.integers("axes", 1), list(call.whole)
    rank = len(whole) + len(given)
    places = sorted(axis + rank * (axis < 0) for axis in given)
    if not set(places) <= set(range(rank)):
        raise call.refusal(f"it has no axes {given}")
    batch = call.ahead
    for place in places:
        whole.insert(place, 1)
        batch += place <= batch
    if call.batch == 1:
        return _alone(call, whole)
    if batch and call.merged:
        raise call.refusal("it must keep the batch axis first")
    call.ahead = batch
    return [g.Reshape((*call.outer, *whole[batch + 1 :]))]


def _concat(call):
    axis = call.axis(call.attribute("axis"))
    return [g.Concat(axis)] if len(call.sources) > 1 else []


def _taken(call, axis, indices):
    """Some entries of an axis, in any order."""
    size = call.shapes[0][axis]
    indices = np.asarray(indices)
    if not len(indices) or (indices < -size).any() or (indices >= size).any():
        raise call.refusal(f"it takes entries {indices} of an axis of size {size}")
    return taken(axis, size, indices % size)


def _split(call):
    axis = call.axis(call.attribute("axis", 0))
    outputs = len(call.node.output)
    count = call.attribute("num_outputs", outputs)
    size = call.shapes[0][axis]
    parts = call.integers("split", 1)
    if parts is None:  # equal ones, the last may be smaller
        part = -(-size // count)
        parts = [min(part, size - i * part) for i in range(count)]
    ends = np.cumsum(parts)
    if count != outputs or ends[-1] != size:
        raise call.refusal(f"its parts {parts} do not add up to {size}")
    pairs = zip(ends - parts, ends, strict=True)
    return tuple(_taken(call, axis, np.arange(*pair)) for pair in pairs)


def _slice(call):
    starts, ends = call.integers("starts", 1), call.integers("ends", 2)
    axes, steps = call.integers("axes", 3) or range(len(starts)), call.constant(4)
    steps = [1] * len(starts) if steps is None else steps.tolist()
    ops = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if axis == 0 and (start, step) == (0, 1) and end >= (call.batch or 2**31 - 1):
            continue  # all samples
        place = call.axis(axis)
        indices = range(*slice(start, end, step).indices(call.shapes[0][place]))
        ops += _taken(call, place, indices)
    return ops


def _gather(call):
    axis, indices = call.attribute("axis", 0), call.constant(1)
    if axis in (0, -1 - len(call.inner)) and call.batch == 1 and not call.merged:
        if indices.shape or indices not in (0, -1):
            raise call.refusal("it repeats the batch")
        return _alone(call, call.inner)
    axis = call.axis(axis)
    if indices.ndim > 1:
        raise call.refusal("only a list of indices is covered")
    ops = _taken(call, axis, indices.reshape(-1))
    shape = call.shapes[0]
    return ops if indices.ndim else [*ops, g.Reshape((*shape[:axis], *shape[axis + 1 :]))]


_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _pad(call):
    mode, value = call.attribute("mode", "constant"), call.either("value", 2)
    pads, axes = call.integers("pads", 1), call.constant(3)
    axes = range(len(call.inner) + 1) if axes is None else axes.tolist()
    if mode == "constant" and value is not None and np.any(value):
        raise call.refusal("it pads with another value than zero")
    matrices = []
    for axis, low, high in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        if (low, high) == (0, 0):
            continue
        place = call.axis(axis)
        size = call.shapes[0][place]
        if mode == "constant":  # negative widths crop
            matrix = np.eye(max(size + low + high, 0), size, -low)
        elif min(low, high) < 0 or mode not in _MODES:
            raise call.refusal(f"pads {(low, high)} in mode {mode!r} are not covered")
        else:
            matrix = padding_matrix(_MODES[mode], size, low, high)
        matrices.append((place, matrix))
    return [g.AxisMaps(tuple(matrices))] if matrices else []


def _blocks(call):
    """Channels, spatial sizes and the size of blocks of an image."""
    shape, block = call.samples(), call.attribute("blocksize")
    if len(shape) != 3:
        raise call.refusal("it needs images")
    return *shape, block


def _depth_to_space(call):
    channels, high, wide, block = _blocks(call)
    rest, mode = channels // block**2, call.attribute("mode", "DCR")
    split, order = {
        "DCR": ((block, block, rest, high, wide), (2, 3, 0, 4, 1)),
        "CRD": ((rest, block, block, high, wide), (0, 3, 1, 4, 2)),
    }[mode]
    return [g.Reshape(split), g.Permute(order), g.Reshape((rest, high * block, wide * block))]


def _space_to_depth(call):
    channels, high, wide, block = _blocks(call)
    high, wide = high // block, wide // block
    split = g.Reshape((channels, high, block, wide, block))
    return [split, g.Permute((2, 4, 0, 1, 3)), g.Reshape((channels * block**2, high, wide))]


def _top_k(call):
    axis, size = call.axis(call.attribute("axis", -1)), int(np.reshape(call.either("k", 1), ()))
    whole = call.shapes[0][axis]
    if not 0 < size <= whole or not call.attribute("sorted", 1):
        raise call.refusal(f"only sorted entries of {whole} are covered. Received: k={size}")
    if not call.attribute("largest", 1):
        return [g.Sort(axis), *_taken(call, axis, np.arange(size))]
    return [g.Sort(axis), g.AxisMaps(((axis, np.eye(whole)[::-1][:size]),))]


def _reduction(make):
    """A rule from the operations on some axes, of which one entry is left."""

    def rule(call):
        call.attribute("noop_with_empty_axes")
        axes = call.axes("axes", 1)
        kept = tuple(n for i, n in enumerate(call.shapes[0]) if i not in axes)
        ops = make(call.shapes[0], axes)
        return ops if call.attribute("keepdims", 1) else [*ops, g.Reshape(kept)]

    return rule


def _mean(shape, axes):
    return [g.AxisMaps(tuple((i, mean_matrix(shape[i])) for i in axes))]


def _total(shape, axes):
    return [g.AxisMaps(tuple((i, np.ones((1, shape[i]))) for i in axes))]


def _length(shape, axes):
    return [
        g.Norm(tuple(axes)),
        g.Reshape(tuple(1 if i in axes else n for i, n in enumerate(shape))),
    ]


def _last(shape, axes):
    return [op for i in axes for op in (g.Sort(i), g.Slice(i, shape[i] - 1, shape[i]))]


def _first(shape, axes):
    return [op for i in axes for op in (g.Sort(i), g.Slice(i, 0, 1))]


RULES = {
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Pad": _pad,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "TopK": _top_k,
    "ReduceMean": _reduction(_mean),
    "ReduceSum": _reduction(_total),
    "ReduceL2": _reduction(_length),
    "ReduceMax": _reduction(_last),
    "ReduceMin": _reduction(_first),
}

"""Rules of poolings: of windows, and of all entries."""

import numpy as np

from lipkit.certify import graph as g
from lipkit.certify.reader.onnx.linear import Windows
from lipkit.certify.reader.windows import channels_first, mean_matrix


def _pool(call):
    """The geometry of a pooling, and by how much the last window exceeds the padded input."""
    at = Windows(call, tuple(call.attribute("kernel_shape")))
    fill = [0] * len(at.sizes)
    ceil = call.attribute("ceil_mode", 0)
    for i, (n, (low, high)) in enumerate(zip(at.sizes, at.padding, strict=True)):
        reach, stride = at.reach[i], at.strides[i]
        if at.auto.startswith("SAME") and n - reach - (-(-n // stride) - 1) * stride > 1:
            raise call.refusal(
                f"auto_pad={at.auto!r} with strides {at.strides} leaves out more than one entry "
                "between windows, and runtimes do not agree which"
            )
        if not ceil:
            continue
        count = -(-(n + low + high - reach) // stride) + 1
        count -= (count - 1) * stride >= n + low  # it would start behind the input
        fill[i] = max((count - 1) * stride + reach - (n + low + high), 0)
    return at, fill


def _max_pool(call):
    at, fill = _pool(call)
    if call.attribute("storage_order", 0):
        raise call.refusal("storage_order=1 has no rule")
    padding = tuple((low, high + e) for (low, high), e in zip(at.padding, fill, strict=True))
    op = g.MaxPool(at.window, at.strides, padding, at.dilation)
    return channels_first([op], len(call.shapes[0]))


def _taps(at, fill):
    """For each axis the entry that each tap of each window reads: (windows, taps).

    -1 where it reads padding, -2 where it reads behind that.
    """
    for i, (n, (low, high)) in enumerate(zip(at.sizes, at.padding, strict=True)):
        starts = np.arange(0, n + low + high + fill[i] - at.reach[i] + 1, at.strides[i])
        places = starts[:, None] + at.dilation[i] * np.arange(at.window[i]) - low
        yield np.where(places >= n + high, -2, np.where(places >= n, -1, np.maximum(places, -1)))


def _average_pool(call):
    """Means of windows; with `count_include_pad` the padding counts, what is behind it does not."""
    at, fill = _pool(call)
    least = -1 if call.attribute("count_include_pad", 0) else 0
    matrices = []
    for i, taps in enumerate(_taps(at, fill)):
        sums = (taps[..., None] == np.arange(at.sizes[i])).sum(axis=1)
        counts = (taps >= least).sum(axis=1, keepdims=True)
        matrices.append((i + 1, sums / np.maximum(counts, 1)))
    return [g.AxisMaps(tuple(matrices))]


def _norms(call, axes, apart, shape):
    """The p-norm over some axes of what operations take apart, in this shape."""
    p = call.attribute("p", 2)
    if p == 1:
        sums = tuple((i, np.ones((1, n))) for i, n in axes)
        return [*apart, g.Elementwise("abs"), g.AxisMaps(sums), g.Reshape(shape)]
    if p != 2:
        raise call.refusal(f"only p=1 and p=2 are covered. Received: p={p}")
    return [*apart, g.Norm(tuple(i for i, _ in axes)), g.Reshape(shape)]


def _lp_pool(call):
    at, fill = _pool(call)
    channels, *_ = call.shapes[0]
    matrices, apart, axes, kept = [], [channels], [], [channels]
    for i, taps in enumerate(_taps(at, fill)):
        rows = (taps.reshape(-1, 1) == np.arange(at.sizes[i])).astype("float64")
        matrices.append((i + 1, rows))
        kept.append(len(taps))
        axes.append((len(apart) + 1, at.window[i]))
        apart += [len(taps), at.window[i]]
    ops = [g.AxisMaps(tuple(matrices)), g.Reshape(tuple(apart))]
    return _norms(call, axes, ops, tuple(kept))


def _global_lp(call):
    channels, *sizes = call.samples()
    axes = list(enumerate(sizes, start=1))
    return _norms(call, axes, [], (channels, *[1] * len(sizes)))


def _global_average(call):
    return [g.AxisMaps(tuple((i, mean_matrix(n)) for i, n in enumerate(call.samples()) if i))]


def _global_max(call):
    sizes = call.samples()[1:]
    op = g.MaxPool(sizes, (1,) * len(sizes), ((0, 0),) * len(sizes))
    return channels_first([op], len(sizes) + 1)


RULES = {
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "LpPool": _lp_pool,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "GlobalLpPool": _global_lp,
}

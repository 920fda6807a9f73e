"""Rules of poolings: of windows, and of all entries."""

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.reader.onnx.linear import Windows
from lipkit.certifier.reader.windows import channels_first, mean_matrix


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


def _sums(at, taps):
    """The matrices of sums over windows, one for each axis."""
    return tuple(
        (i, (t[..., None] == np.arange(n)).sum(axis=1).astype("float64"))
        for i, (t, n) in enumerate(zip(taps, at.sizes, strict=True), start=1)
    )


def _average_pool(call):
    """Means of windows; with `count_include_pad` the padding counts, what is behind it does not."""
    at, fill = _pool(call)
    least, taps = -1 if call.attribute("count_include_pad", 0) else 0, list(_taps(at, fill))
    counts = [np.maximum((t >= least).sum(axis=1, keepdims=True), 1) for t in taps]
    sums = zip(_sums(at, taps), counts, strict=True)
    return [g.AxisMaps(tuple((i, matrix / count) for (i, matrix), count in sums))]


def _norms(call, sums):
    """P-norms of what is summed along each of some axes."""
    p = call.attribute("p", 2)
    if p not in (1, 2):
        raise call.refusal(f"only p=1 and p=2 are covered. Received: p={p}")
    return [g.RootOfSquares(sums)] if p == 2 else [g.Elementwise("abs"), g.AxisMaps(sums)]


def _lp_pool(call):
    at, fill = _pool(call)
    return _norms(call, _sums(at, list(_taps(at, fill))))


def _global_lp(call):
    sizes = enumerate(call.samples()[1:], start=1)
    return _norms(call, tuple((i, np.ones((1, n))) for i, n in sizes))


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

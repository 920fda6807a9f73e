"""Bounds of convolutions against the singular values of an operator written out by loops."""

import itertools
import math

import numpy as np
import pytest

from lipkit.certifier import convolutions as conv

pytestmark = pytest.mark.once  # the core computes in NumPy

ROUNDED = 1 + 1e-13  # the singular values of the truth


class Operator:
    """Where each entry of a kernel stands in the matrix (outputs, inputs): by definition."""

    def __init__(self, kernel_shape, input_shape, strides, dilation, padding, groups, shown=None):
        *taps, c_in, c_out = kernel_shape
        samples = [list(a) for a in shown] if shown else [list(range(n)) for n in input_shape]
        axes = list(zip(samples, padding, taps, strides, dilation, strict=True))
        starts = [range(0, len(a) + sum(zs) - d * (k - 1), s) for a, zs, k, s, d in axes]
        pixel = {p: i for i, p in enumerate(itertools.product(*map(range, input_shape)))}
        index, entries = np.arange(math.prod(kernel_shape)).reshape(kernel_shape), []
        for window, start in enumerate(itertools.product(*starts)):
            for *tap, c, o in itertools.product(*map(range, kernel_shape)):
                place = zip(start, tap, dilation, padding, samples, strict=True)
                place = [(j + d * p - low, a) for j, p, d, (low, _), a in place]
                if all(0 <= i < len(a) for i, a in place):
                    where = pixel[tuple(a[i] for i, a in place)]
                    column = (where * groups + o // (c_out // groups)) * c_in + c
                    entries.append((window * c_out + o, column, index[(*tap, c, o)]))
        self.rows, self.columns, self.index = np.array(entries, int).reshape(-1, 3).T
        self.shape = (math.prod(map(len, starts)) * c_out, len(pixel) * c_in * groups)

    def matrix(self, kernel):
        matrix = np.zeros(self.shape)
        np.add.at(matrix, (self.rows, self.columns), kernel.ravel()[self.index])
        return matrix

    def norm(self, kernel):
        return np.linalg.norm(self.matrix(kernel), 2)

    def aligned(self, kernel, project):
        """Alternating maximisation over vectors and kernels: the norm at its worst."""
        x = np.ones(self.shape[1])
        for _ in range(15):
            y = self.matrix(kernel) @ x
            weights = y[self.rows] * x[self.columns]
            kernel = project(np.bincount(self.index, weights, kernel.size).reshape(kernel.shape))
            x = self.matrix(kernel).T @ y
            x /= np.linalg.norm(x) + 1e-9
        return kernel


def polar(kernel):
    """Orthonormal when unfolded."""
    w = kernel.reshape(-1, kernel.shape[-1])
    u, _, vt = np.linalg.svd(w + 1e-9, full_matrices=False)
    return (u @ vt).reshape(kernel.shape)


def kernels(rng, shape, operator):
    yield np.ones(shape)
    yield np.eye(math.prod(shape[:-1]), shape[-1]).reshape(shape)
    yield rng.standard_normal(shape).astype("float32")
    yield polar(rng.standard_normal(shape))
    yield operator.aligned(rng.standard_normal(shape), lambda k: k / (np.linalg.norm(k) + 1e-9))
    yield operator.aligned(rng.standard_normal(shape), polar)


def geometries(rng, axes, sizes, taps, count):
    """`count` random (kernel shape, input shape, strides, dilation, padding, groups)."""
    while count:
        k, n = rng.choice(taps, axes), rng.choice(sizes, axes)
        d, s = rng.choice([1, 1, 2, 3], axes), rng.choice([1, 1, 2, 3, 4], axes)
        reach = d * (k - 1)
        near, far = reach // 2, reach - reach // 2
        paddings = [(0 * d, 0 * d), (near, far), (far, near), (reach, reach), (near, d)]
        low, high = paddings[rng.integers(5)]
        groups = int(rng.choice([1, 1, 2, 3]))
        kernel_shape = (*k.tolist(), int(rng.integers(1, 4)), groups * int(rng.integers(1, 4)))
        padding = zip(low.tolist(), high.tolist(), strict=True)
        geometry = [tuple(per_axis) for per_axis in (n.tolist(), s.tolist(), d.tolist(), padding)]
        if all(map(len, conv._positions(np.zeros(kernel_shape), *geometry))):
            count -= 1
            yield kernel_shape, (*geometry, groups)


SMALL = {  # axes: sizes of the input, sizes of the kernel, number of geometries
    1: ([1, 2, 5, 7, 11, 16], [1, 2, 3, 4, 5, 7], 160),
    2: ([1, 2, 3, 5, 7], [1, 2, 3, 5], 60),
    3: ([1, 2, 3, 4], [1, 2, 3], 25),
}
LARGE = {1: ([31, 47], [2, 3, 5], 20), 2: ([8, 11], [2, 3, 5], 12), 3: ([5, 6], [2, 3], 6)}


@pytest.mark.parametrize("axes", SMALL)
def test_every_rule_is_a_bound(axes):
    rng = np.random.default_rng(axes)
    lowest = np.inf
    for shape, geometry in geometries(rng, axes, *SMALL[axes]):
        operator = Operator(shape, *geometry)
        for kernel in kernels(rng, shape, operator):
            truth, matrix = operator.norm(kernel), conv.conv_matrix(kernel, *geometry)
            np.testing.assert_array_equal(matrix, operator.matrix(kernel))
            explicit = conv.toeplitz_bound(kernel, *geometry)
            symbol = conv.symbol_bound(kernel, *geometry[1:3], geometry[4])
            bounds = explicit, symbol, conv.patch_bound(kernel, *geometry)
            bound, rule = conv.conv_norm_bound(kernel, *geometry)
            assert truth <= min(bound, *bounds) * ROUNDED, (kernel, geometry, bounds)
            assert bound <= truth * (1 + 1e-11)
            assert rule in ("toeplitz", "patch") if operator.index.size else rule == "empty"
            if truth:
                lowest = np.minimum(lowest, np.divide(bounds, truth))
    assert np.max(lowest) <= 1 + 1e-11  # each rule is sharp somewhere


@pytest.mark.parametrize("axes", LARGE)
def test_the_rules_for_large_inputs(axes, monkeypatch):
    monkeypatch.setattr(conv, "MATRIX_COST", 0)
    rng = np.random.default_rng(10 + axes)
    ratios = []
    for shape, geometry in geometries(rng, axes, *LARGE[axes]):
        operator = Operator(shape, *geometry)
        for kernel in kernels(rng, shape, operator):
            bound, rule = conv.conv_norm_bound(kernel, *geometry)
            truth = operator.norm(kernel)
            assert rule in ("symbol", "patch") and truth <= bound * ROUNDED, (kernel, geometry)
            ratios.append(bound / truth if truth else 1)
    assert np.median(ratios) <= 1.3


BORDERS = ("wrap", "symmetric", "reflect", "edge", "too far")


def bordered(rng, mode, axes, sizes, taps, count):
    """Geometries with samples repeated behind the borders, mostly as wide as keeps the size."""
    while count:
        for shape, (sizes_, s, d, _, groups) in geometries(rng, axes, sizes, taps, 1):
            reach = [d_ * (k - 1) for d_, k in zip(d, shape, strict=False)]
            widths = [(r // 2, r - r // 2) for r in reach]
            if mode == "too far":  # around the circle, but windows start at some samples twice
                widths = [(low + 1, high + 1) for low, high in widths]
            if all(max(w) < n for w, n in zip(widths, sizes_, strict=True)):
                how = "wrap" if mode == "too far" else mode
                pairs = zip(sizes_, widths, strict=True)
                shown = tuple(np.pad(np.arange(n), w, how) for n, w in pairs)
                zeros = ((0, 0),) * axes if rng.random() < 0.8 else ((1, 0),) * axes
                yield shape, (sizes_, s, d, zeros, groups, shown)
                count -= 1


@pytest.mark.parametrize("axes", SMALL)
@pytest.mark.parametrize("mode", BORDERS)
def test_repeated_samples_are_counted_exactly(mode, axes):
    rng = np.random.default_rng([axes, *mode.encode()])
    for shape, geometry in bordered(rng, mode, axes, *SMALL[axes][:2], 8):
        operator = Operator(shape, *geometry)
        for kernel in kernels(rng, shape, operator):
            truth = operator.norm(kernel)
            bound, rule = conv.conv_norm_bound(kernel, *geometry)
            assert truth <= bound * ROUNDED and bound <= truth * (1 + 1e-11), (kernel, geometry)
            assert truth <= conv.patch_bound(kernel, *geometry) * ROUNDED
            assert rule in ("toeplitz", "patch") if operator.index.size else rule == "empty"


@pytest.mark.parametrize("mode", BORDERS)
def test_repeated_samples_of_large_inputs(mode, monkeypatch):
    monkeypatch.setattr(conv, "MATRIX_COST", 0)
    rng, ratios = np.random.default_rng([*mode.encode()]), []
    for axes, count in ((1, 12), (2, 4), (3, 1)):
        for shape, geometry in bordered(rng, mode, axes, *LARGE[axes][:2], count):
            operator = Operator(shape, *geometry)
            for kernel in kernels(rng, shape, operator):
                bound, rule = conv.conv_norm_bound(kernel, *geometry)
                truth = operator.norm(kernel)
                assert rule in ("symbol", "patch") and truth <= bound * ROUNDED, (kernel, geometry)
                ratios.append(bound / truth)
    assert np.median(ratios) <= 1.3


def test_the_sum_of_taps_on_one_sample_is_rounded_up():
    """1 + 2^17 / 2^54 in 2^17 steps, each of which float64 rounds to 1."""
    count = 2**17
    kernel = np.full((count + 1, 1, 1), 2.0**-54)
    kernel[0] = 1.0
    shown = [np.zeros(count + 1, dtype=int)]
    bound = conv.toeplitz_bound(kernel, (1,), (1,), (1,), ((0, 0),), shown=shown)
    assert 1 + count * 2.0**-54 <= bound <= 1 + 4 * count * 2.0**-53


def test_around_a_circle_the_symbol_is_the_norm(monkeypatch):
    """Whether the stride divides the circle or not, and where windows start twice at a sample."""
    monkeypatch.setattr(conv, "MATRIX_COST", 0)
    kernel = np.random.default_rng(0).standard_normal((3, 4, 2))
    for n, stride, width, most in (
        (30, 1, 1, 1.01),
        (30, 2, 1, 1.01),
        (31, 2, 1, 1.5),
        (30, 1, 2, 2),
    ):
        shown = (np.pad(np.arange(n), width, "wrap"),)
        geometry = ((n,), (stride,), (1,), ((0, 0),), 1, shown)
        bound, rule = conv.conv_norm_bound(kernel, *geometry)
        truth = Operator(kernel.shape, *geometry).norm(kernel)
        assert rule == "symbol" and truth <= bound * ROUNDED <= most * truth


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2, 3, 4, 6])
def test_symbol_is_the_limit_of_large_inputs(stride, dilation):
    kernel = np.random.default_rng(0).standard_normal((5, 2, 3))
    padding = ((4 * dilation, 4 * dilation),)
    operator = Operator(kernel.shape, (stride * dilation * 40,), (stride,), (dilation,), padding, 1)
    truth = operator.norm(kernel)
    assert truth <= conv.symbol_bound(kernel, (stride,), (dilation,)) * ROUNDED <= truth * 1.02


@pytest.mark.parametrize("degree", [1, 2, 5])
@pytest.mark.parametrize("cost", [1, 1e4, 3e4, 1e5, 1e6])
def test_what_the_grid_misses_is_covered(degree, cost, monkeypatch):
    """The worst case: the symbol I + R(angle) exp(i m w) peaks in the middle of the grid's gaps."""
    monkeypatch.setattr(conv, "SYMBOL_COST", cost)
    _, density = conv._density((degree + 1, 1, 2, 2))
    angle = np.pi / density
    kernel = np.zeros((degree + 1, 2, 2))
    kernel[0] = np.eye(2)
    kernel[-1] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert 2 <= conv.symbol_bound(kernel, (1,), (1,)) <= 2 * (1 + 1e-12)


@pytest.mark.parametrize("shape", [(3, 3, 2, 2), (5, 2, 3, 1), (3, 3, 3, 1, 2), (9, 1, 1)])
def test_a_coarse_grid_is_a_bound(shape, monkeypatch):
    monkeypatch.setattr(conv, "SYMBOL_COST", 1)
    axes = tuple(range(len(shape) - 2))
    for kernel in np.random.default_rng(0).standard_normal((20, *shape)):
        symbols = np.moveaxis(np.fft.fftn(kernel, [32] * len(axes), axes), axes, range(len(axes)))
        truth = np.linalg.norm(symbols, 2, axis=(-2, -1)).max()
        bound = conv.symbol_bound(kernel, (1,) * len(axes), (1,) * len(axes))
        assert truth <= bound <= truth * 1.1 ** len(axes)


@pytest.mark.parametrize("power", [-1060, -100, 1000])
def test_bounds_scale_with_the_kernel(power):
    kernel = np.random.default_rng(0).integers(-4, 5, (3, 3, 2, 4)).astype("float64")
    geometry = (5, 7), (2, 1), (1, 2), ((1, 1), (0, 2)), 2
    rules = conv.toeplitz_bound, conv.patch_bound, lambda k, *g: conv.symbol_bound(k, *g[1:3])
    for rule in rules:
        one, two = rule(kernel, *geometry), rule(np.ldexp(kernel, power), *geometry)
        assert math.ldexp(one, power) * (1 - 1e-12) <= two <= math.ldexp(one, power) * 1.001


EMPTY = [(0, 1, (5, 5)), (2, 1, (1, 1)), (3, 10, (5, 0)), (1, 10, (3, 9))]


@pytest.mark.parametrize(("size", "stride", "padding"), EMPTY)
def test_no_output_or_windows_that_only_see_padding(size, stride, padding):
    arguments = np.ones((2, 1, 2)), (size,), (stride,), (10 // stride,), (padding,)
    assert conv.conv_norm_bound(*arguments) == (0.0, "empty")
    assert conv.toeplitz_bound(*arguments) == 0
    assert conv.patch_bound(*arguments) < 1e-300


def test_either_side_of_the_patches_can_be_the_sharp_one():
    kernel = np.ones((3, 1, 2))  # two groups of one channel
    gathered = kernel, (9,), (3,), (1,), ((0, 0),), 2  # each sample read once
    spread = kernel, (1,), (1,), (1,), ((2, 2),), 2  # each output written once
    assert conv.patch_bound(*gathered) == pytest.approx(math.sqrt(3), rel=1e-12)
    assert conv.patch_bound(*spread) == pytest.approx(math.sqrt(3), rel=1e-12)


def test_groups_are_bounded_one_by_one(monkeypatch):
    monkeypatch.setattr(conv, "MATRIX_COST", 0)
    geometry = (50,), (1,), (1,), ((1, 1),), 2
    wave = np.array([1.0, 0, -1]).reshape(3, 1, 1).repeat(2, axis=-1)
    bound, rule = conv.conv_norm_bound(wave, *geometry)
    assert rule == "symbol" and bound == pytest.approx(2, rel=1e-3)
    point = np.array([0, 1.0, 0]).reshape(3, 1, 1).repeat(2, axis=-1)
    flat = np.ones((1, 1, 2)), *geometry[:3], ((0, 0),), 2
    assert conv.conv_norm_bound(flat[0], *flat[1:]) == (pytest.approx(1, rel=1e-12), "patch")
    assert conv.symbol_bound(point, (1,), (1,), 2) == pytest.approx(1, rel=1e-3)
    assert conv.symbol_bound(0 * point, (1,), (1,), 2) == 0


LIMITS = [  # kernel, input size, stride, groups; outputs and inputs of a group
    ((3, 2, 6), 30, 2, 2, 42, 60),
    ((2, 1, 9), 12, 1, 3, 33, 12),
    ((5, 4, 2), 20, 1, 1, 32, 80),
]


@pytest.mark.parametrize(("shape", "size", "stride", "groups", "outputs", "inputs"), LIMITS)
def test_explicit_matrices_within_the_limits(
    shape, size, stride, groups, outputs, inputs, monkeypatch
):
    """Wherever the limits on memory and time allow it, and nowhere else."""
    kernel = np.random.default_rng(0).standard_normal(shape)
    arguments = kernel, (size,), (stride,), (1,), ((0, 0),), groups
    short, long = sorted((outputs, inputs))
    limits = {
        "ENTRIES": groups * outputs * inputs,
        "MATRIX_COST": groups * (short + 64) ** 2 * (long + 5 * (short + 64)),
    }
    for name, limit in limits.items():
        for allowed, others in ((limit, ("toeplitz",)), (limit - 1, ("symbol", "patch"))):
            with monkeypatch.context() as patch:
                patch.setattr(conv, name, allowed)
                assert conv.conv_norm_bound(*arguments)[1] in others


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 2, 4), (2, 3, 2, 2)])
def test_rounding_of_the_symbol_is_in_the_bound(shape, monkeypatch):
    """In an arithmetic of a coarse unit u the symbols are wrong by 2 (taps + 40) u |sum of |K||."""
    kernel, axes = np.random.default_rng(0).integers(-4, 5, shape).astype("float64"), len(shape) - 2
    groups = 2 if shape[-1] == 4 else 1
    arguments = kernel, (1,) * axes, (1,) * axes, groups
    exact, unit = conv.symbol_bound(*arguments), 2.0**-10
    monkeypatch.setattr(conv, "U", unit)
    blocks = np.split(np.abs(kernel).reshape(-1, *shape[-2:]).sum(axis=0), groups, axis=-1)
    taps = math.prod(shape[:-2])
    size = max(np.linalg.norm(block) for block in blocks)
    missed = math.cos(math.pi / (2 * conv.FINEST)) ** axes
    expected = exact + 2 * (taps + 40) * unit * size / missed
    assert conv.symbol_bound(*arguments) == pytest.approx(expected, rel=1e-9)


BAD = [
    ({"kernel": np.ones((3, 2))}, "shape"),
    ({"kernel": np.ones((3, 3, 2, 4))}, "n entries"),
    ({"kernel": np.ones((3, 2, 4)) * 1j}, "real"),
    ({"strides": (0,)}, "positive"),
    ({"groups": 3}, "divide"),
    ({"input_shape": (5, 5)}, "n entries"),
    ({"strides": (1, 1)}, "n entries"),
    ({"dilation": (1, 1)}, "n entries"),
    ({"padding": ((0, 0), (0, 0))}, "n entries"),
    ({"dilation": (0,)}, "be positive"),
    ({"groups": 0}, "be positive"),
    ({"kernel": np.ones((0, 1, 1))}, "be positive"),
]
RULES = conv.conv_norm_bound, conv.conv_matrix, conv.toeplitz_bound, conv.patch_bound


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_arguments(changes, message, rule):
    good = {"input_shape": (5,), "strides": (1,), "dilation": (1,), "padding": ((0, 0),)}
    with pytest.raises(ValueError, match=message):
        rule(**{"kernel": np.ones((3, 2, 4)), **good, **changes})

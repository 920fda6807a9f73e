"""Proven upper bounds on the spectral norm of a convolution of one zero-padded input.

y[j] = sum_p K_p x[s j + d p - low] along each axis, with x = 0 outside: the cross-correlation of
Keras, with stride s, dilation d and padding (low, high). Inputs and outputs have channels last. A
transposed convolution is the adjoint of such an operator, so it has the same norm.

Every function takes the same arguments:
    kernel: (k_1, ..., k_n, c_in / groups, c_out), n in {1, 2, 3}, of a type `matrix_norm_bound`
        takes. The output channels of each group form a block.
    input_shape: the n spatial sizes of the input.
    strides, dilation: n positive integers each.
    padding: n pairs (low, high), the numbers of zeros before and after the input.
    shown: None, or, where windows see samples again behind the borders, the sample at each position
        of each axis: n arrays, which stand for the input between the zeros.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lipkit.certifier import norms
from lipkit.certifier.norms import U, inflate, matrix_norm_bound, mul_up, sqrt_up

Sizes = Sequence[int]
Padding = Sequence[tuple[int, int]]
Shown = Sequence[np.ndarray] | None

ENTRIES = 2**23  # explicit matrices have no more: 64 MiB
MATRIX_COST = 6e10  # some 2 seconds on one core
SYMBOL_COST = 1e11  # some 3 seconds on one core
COARSEST, FINEST = 4, 64  # grid points per degree of the symbol: +8 % and +0.03 % per axis
CHUNK = 2**16  # entries of the symbols that are treated together: what a cache holds


def conv_norm_bound(
    kernel: Any,
    input_shape: Sizes,
    strides: Sizes,
    dilation: Sizes,
    padding: Padding,
    groups: int = 1,
    shown: Shown = None,
) -> tuple[float, str]:
    """The least bound, and its rule: "toeplitz" if feasible, "symbol", "patch" or "empty" (0)."""
    geometry = (input_shape, strides, dilation, padding)
    kernel = _checked(kernel, groups, strides, dilation, input_shape, padding)
    positions = _positions(kernel, *geometry, shown)
    if not all((position >= 0).any() for position in positions):
        return 0.0, "empty"
    bounds = [(patch_bound(kernel, *geometry, groups, shown), "patch")]
    pixels = math.prod(map(len, positions))
    outputs, inputs = pixels * kernel.shape[-1] // groups, math.prod(input_shape) * kernel.shape[-2]
    short, long = sorted((outputs, inputs))
    cost = groups * (short + 64) ** 2 * (long + 5 * (short + 64))
    if groups * short * long <= ENTRIES and cost <= MATRIX_COST:
        bounds.append((toeplitz_bound(kernel, *geometry, groups, shown), "toeplitz"))
    else:  # without copies never lower than the norm of the explicit matrix
        copies, steps = _copies(kernel, *geometry, shown)
        bound = symbol_bound(kernel, steps, dilation, groups)
        bounds.append((float(mul_up(sqrt_up(copies), bound)) if copies > 1 else bound, "symbol"))
    return min(bounds)


def conv_matrix(
    kernel: Any,
    input_shape: Sizes,
    strides: Sizes,
    dilation: Sizes,
    padding: Padding,
    groups: int = 1,
) -> np.ndarray:
    """The operator as a dense float64 matrix (outputs, inputs), both flattened, channels last."""
    kernel = _checked(kernel, groups, strides, dilation, input_shape, padding)
    *taps, c_in, c_out = kernel.shape
    dense = np.zeros((*taps, groups, c_in, groups, c_out // groups))
    for group, block in enumerate(_by_group(kernel, groups)):
        dense[..., group, :, group, :] = block
    return _explicit(dense.reshape(*taps, -1, c_out), input_shape, strides, dilation, padding, 1)[0]


def toeplitz_bound(
    kernel: Any,
    input_shape: Sizes,
    strides: Sizes,
    dilation: Sizes,
    padding: Padding,
    groups: int = 1,
    shown: Shown = None,
) -> float:
    """`matrix_norm_bound` of the explicit matrix of each group."""
    geometry = (input_shape, strides, dilation, padding)
    kernel = _checked(kernel, groups, strides, dilation, input_shape, padding)
    bound = matrix_norm_bound(_explicit(kernel, *geometry, groups, shown))
    if shown is None:
        return bound
    # a window may see a sample through several taps: then an entry is their sum, and rounded
    sums = _explicit(np.abs(kernel), *geometry, groups, shown)
    taps = math.prod(kernel.shape[:-2])
    size = inflate(np.max(norms.vector_norm_bound(sums.reshape(groups, -1))), taps)
    return float(inflate(bound + taps * U * size, 2))


def patch_bound(
    kernel: Any,
    input_shape: Sizes,
    strides: Sizes,
    dilation: Sizes,
    padding: Padding,
    groups: int = 1,
    shown: Shown = None,
) -> float:
    """Norm of the unfolded kernel times the root of how often a sample is read, or written.

    The operator extracts windows, with squared norm max_sample #(window, tap that reads it), then
    applies K as (taps c_in, c_out). Or it applies K as (c_in, taps c_out), then adds up windows,
    with squared norm at most max_output #(taps inside the input) times how many outputs read one
    sample through one tap: 1 without copies. Counts are products over the axes.
    """
    kernel = _checked(kernel, groups, strides, dilation, input_shape, padding)
    reads = writes = 1
    for position in _positions(kernel, input_shape, strides, dilation, padding, shown):
        inside = position >= 0
        reads *= _most(position)
        writes *= int(inside.sum(axis=1).max(initial=0)) * max(map(_most, position.T))
    blocks = _by_group(kernel, groups)  # (groups, k_1, ..., k_n, c_in, c_out)
    gather = blocks.reshape(groups, -1, blocks.shape[-1])
    spread = np.moveaxis(blocks, -2, 1).reshape(groups, blocks.shape[-2], -1)
    pairs = ((reads, gather), (writes, spread))
    return min(float(mul_up(sqrt_up(n), matrix_norm_bound(matrix))) for n, matrix in pairs)


def symbol_bound(kernel: Any, strides: Sizes, dilation: Sizes, groups: int = 1) -> float:
    """Bound for every input size and padding: the largest norm of the symbol over frequencies.

    A zero-padded convolution is a compression of the one on l²(Z^n), which strides turn into an
    ordinary one with more channels, of norm sup_w |C(w)|, C(w) = sum_p K_p exp(i p·w). For a unit
    vector v, f = |C v|² is a trigonometric polynomial of degree m = k - 1 per axis, with values
    in [0, M]. Riesz' lemma for f - M / 2 says f >= M cos²(m x / 2) at the distance x <= pi / m
    from a maximum, and x <= pi / N for some of N > m grid points. So, per axis, the norm is at
    most that on the grid divided by cos(pi m / 2 N).

    Reference: Ehlich and Zeller, Math. Z. 86 (1964), for f instead of f - M / 2.
    """
    kernel, exponent = norms.scale(_checked(kernel, groups, strides, dilation))
    taps = _polyphase(_by_group(kernel, groups), strides, dilation)
    if not taps.any():
        return 0.0
    count, waves, density = math.prod(taps.shape[:-3]), *_density(taps.shape)
    bound = 0.0
    for symbols in _symbols(taps, density):
        bound = max(bound, matrix_norm_bound(symbols, at_least=bound))
    # Both parts of a symbol are inner products of the taps with cosines that are wrong by 32 u:
    # 3 roundings of an angle below 2 pi, then 4 units in the last place (sin, cos).
    total = np.abs(taps).reshape(count, taps.shape[-3], -1).sum(axis=0)  # (groups, entries)
    size = inflate(np.max(norms.vector_norm_bound(total)), count)
    bound = inflate(bound + 2 * (count + 40) * U * size, 4)
    missed = math.cos(math.pi / (2 * density)) ** waves
    return float(norms.unscale(inflate(bound / missed, 64), exponent.item()))


def _polyphase(taps: np.ndarray, strides: Sizes, dilation: Sizes) -> np.ndarray:
    """Taps of an ordinary convolution of the same norm: (t_1, ..., t_n, groups, s c_in, c_out).

    With g = gcd(s, d) the taps meet only every g-th sample: stride s / g, dilation d / g. Without
    a common divisor, tap p = s a + b reads phase d b mod s, another one for each b < s, at the
    shift d a plus a constant: the symbol of the taps a at the frequency d w.
    """
    taps = np.moveaxis(taps, 0, -3)
    for axis, (s, d) in enumerate(zip(strides, dilation, strict=True)):
        phases = min(s // math.gcd(s, d), taps.shape[axis])
        zeros = [(0, -taps.shape[axis] % phases if i == axis else 0) for i in range(taps.ndim)]
        taps = np.pad(taps, zeros)
        taps = taps.reshape(*taps.shape[:axis], -1, phases, *taps.shape[axis + 1 :])
        taps = np.moveaxis(taps, axis + 1, -3)  # (..., groups, phases, c_in, c_out)
        taps = taps.reshape(*taps.shape[:-3], -1, taps.shape[-1])
    return taps


def _density(shape: tuple[int, ...]) -> tuple[int, int]:
    """Number of axes with waves, and grid points per degree that `SYMBOL_COST` pays for."""
    (groups, *channels), degrees = shape[-3:], [t - 1 for t in shape[:-3] if t > 1]
    short, long = sorted(channels)
    cost = 4 * groups * (short + 24) ** 2 * (long + 2 * short + 20)  # of half of the grid
    density = (SYMBOL_COST / cost / math.prod(degrees)) ** (1 / max(1, len(degrees)))
    return len(degrees), int(min(max(density, COARSEST), FINEST))


def _symbols(taps: np.ndarray, density: int) -> Iterator[np.ndarray]:
    """Yield (points, groups, c_in, c_out) on half of the grid: -w gives the complex conjugate."""
    channels, grid = taps.shape[-3:], [max(1, density * (t - 1)) for t in taps.shape[:-3]]
    half, period = [*grid[:-1], grid[-1] // 2 + 1], math.lcm(*grid)
    tap = np.indices(taps.shape[:-3]).reshape(len(grid), -1)  # (n, taps)
    taps = taps.reshape(tap.shape[1], -1)
    total, part = math.prod(half), max(1, CHUNK // max(taps.shape))
    for start in range(0, total, part):
        point = np.unravel_index(np.arange(start, min(start + part, total)), half)
        step = np.stack(point, axis=-1) * (period // np.array(grid)) @ tap % period  # exact
        angle = 2 * math.pi / period * step
        yield (np.cos(angle) @ taps + 1j * (np.sin(angle) @ taps)).reshape(-1, *channels)


def _by_group(kernel: np.ndarray, groups: int) -> np.ndarray:
    """(k_1, ..., k_n, c_in, c_out) -> (groups, k_1, ..., k_n, c_in, c_out / groups)."""
    return np.moveaxis(kernel.reshape(*kernel.shape[:-1], groups, -1), -2, 0)


def _positions(
    kernel: np.ndarray,
    input_shape: Sizes,
    strides: Sizes,
    dilation: Sizes,
    padding: Padding,
    shown: Shown = None,
) -> list[np.ndarray]:
    """Per axis (outputs, k): the sample that an output reads through a tap; -1 for a zero."""
    samples = shown or [np.arange(n) for n in input_shape]
    padded = [np.pad(a, pair, constant_values=-1) for a, pair in zip(samples, padding, strict=True)]
    axes = zip(padded, kernel.shape[:-2], strides, dilation, strict=True)
    return [
        a[s * np.arange(max(0, (len(a) - d * (k - 1) - 1) // s + 1))[:, None] + d * np.arange(k)]
        for a, k, s, d in axes
    ]


def _most(samples: np.ndarray) -> int:
    """How often the most frequent sample occurs."""
    return int(np.bincount(samples[samples >= 0], minlength=1).max())


def _copies(
    kernel: np.ndarray,
    input_shape: Sizes,
    strides: Sizes,
    dilation: Sizes,
    padding: Padding,
    shown: Shown,
) -> tuple[int, tuple[int, ...]]:
    """Squared norm of the map to `shown`, and strides at which the symbol bounds the rest.

    Samples that follow one another around a circle do not count as copies: windows that start at
    each sample once are a convolution on the circle, whose frequencies are some of the symbol's. A
    stride divides it as it divides the line if it divides the circle, and else drops outputs.
    """
    copies, steps = 1, list(strides)
    axes = zip(shown or (), input_shape, kernel.shape, dilation, padding, strict=False)
    for axis, (samples, n, k, d, zeros) in enumerate(axes):
        circle = (np.diff(samples) % n == 1 % n).all() and len(samples) <= n + d * (k - 1)
        if not circle or any(zeros):
            copies *= _most(samples)
        elif len(samples) > n and n % strides[axis]:
            steps[axis] = 1
    return copies, tuple(steps)


def _explicit(
    kernel: np.ndarray,
    input_shape: Sizes,
    strides: Sizes,
    dilation: Sizes,
    padding: Padding,
    groups: int,
    shown: Shown = None,
) -> np.ndarray:
    """(groups, outputs c_out, inputs c_in). Exact where a window sees each sample once."""
    matrix, n = _by_group(kernel, groups), len(input_shape)
    positions = _positions(kernel, input_shape, strides, dilation, padding, shown)
    for axis, position in enumerate(positions):
        blocks = np.moveaxis(matrix, 2 * axis + 1, 0)
        matrix = np.zeros((len(position), input_shape[axis], *blocks.shape[1:]))
        for samples, block in zip(position.T, blocks, strict=True):
            output = np.flatnonzero(samples >= 0)
            matrix[output, samples[output]] += block
        matrix = np.moveaxis(matrix, (0, 1), (2 * axis + 1, 2 * axis + 2))
    # now (groups, outputs_1, inputs_1, ..., outputs_n, inputs_n, c_in, c_out)
    matrix = np.moveaxis(matrix, [*range(1, 2 * n, 2), -1], range(1, n + 2))
    return matrix.reshape(groups, *map(math.prod, (matrix.shape[1 : n + 2], matrix.shape[n + 2 :])))


def _checked(
    kernel: Any, groups: int, strides: Sizes, dilation: Sizes, *sizes: Sequence[Any]
) -> np.ndarray:
    """The kernel in float64, if the arguments fit together."""
    kernel = norms.exact_float64(kernel, "kernel")
    n = kernel.ndim - 2 if np.isrealobj(kernel) else 0
    fits = n > 0 and all(len(values) == n for values in (strides, dilation, *sizes))
    if not fits or min(*strides, *dilation, groups, kernel.size) < 1 or kernel.shape[-1] % groups:
        raise ValueError(
            "kernel must be real of shape (k_1, ..., k_n, c_in / groups, c_out), the sizes have n "
            "entries each, strides, dilation and groups be positive, and groups divide c_out. "
            f"Received: kernel.shape={kernel.shape}, {groups=}, {strides=}, {dilation=}, {sizes=}."
        )
    return kernel

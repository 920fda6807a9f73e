"""Proven upper bounds on norms: the rounding errors of the proof are part of the bound.

Everything is float64 rounded to nearest. Assumed: IEEE binary64 with gradual underflow, products
that form every inner product (no Strassen, no complex 3M) in any order, with or without FMA.
Nothing is assumed of LAPACK: eigenvalues and Cholesky factors are guesses that are checked.

References: Rump, "Verified bounds for singular values", BIT 51 (2011), for the Cholesky test;
Higham, "Accuracy and Stability of Numerical Algorithms", SIAM 2002, theorem 10.3, for why it
passes; Jeannerod and Rump, SIAM J. Matrix Anal. Appl. 34 (2013), for n u |x|·|y|, the error of an
inner product of length n in any order.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

U = 2.0**-53  # unit roundoff of float64
Real = Any  # a float64, or an array of them
PROBES = 16  # members of a family whose eigenvalues are computed first


def up(x: Real) -> Real:
    """The next float64 above, elementwise: an upper bound on what was rounded to x."""
    return np.nextafter(x, np.inf)


def mul_up(x: Real, y: Real) -> Real:
    """Upper bound on x y."""
    return up(x * y)


def sqrt_up(x: Real) -> Real:
    """Upper bound on the square root of x >= 0."""
    return up(np.sqrt(x))


def inflate(x: Real, roundings: int) -> Real:
    """Upper bound on every y >= 0 that was computed as x >= (1 - `roundings` u) y.

    1 / (1 - n u) <= 1 + 2 n u, and one more 2 u pays for this product. The u x that remains pays
    for underflow (some 1e-300) wherever x is not tiny: hence the scaling below.
    """
    return x * (1 + 2 * (roundings + 1) * U)


def deflate(x: Real, roundings: int) -> Real:
    """Lower bound on every y >= 0 that was computed as x <= (1 + u)^`roundings` y.

    y >= (1 - n u) x, and one more 2 u pays for this product. Negative x stay negative.
    """
    return x * (1 - 2 * (roundings + 1) * U)


def exact_float64(a: Any, name: str) -> np.ndarray:
    """The same numbers in float64 or complex128; `ValueError` where that is impossible."""
    a = np.asarray(a)
    wide = np.dtype(np.complex128 if a.dtype.kind == "c" else np.float64)
    if a.dtype.kind not in "fc" or a.dtype.itemsize > wide.itemsize:
        raise ValueError(
            f"{name} must be of type float16, float32, float64, complex64 or complex128, which "
            f"float64 holds exactly. Received: {a.dtype}. Convert it first."
        )
    if not np.isfinite(a).all():
        raise ValueError(f"{name} must be finite. Received: NaN or infinite entries.")
    return a.astype(wide)


def scale(a: np.ndarray, axis: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(b, e) with a = 2^e b and the largest |part| of b in [1/2, 1); e has the reduced axes as 1.

    Entries below 2^-1022 of the largest may lose 2^-1073 each; everything else is exact.
    """
    parts = np.ascontiguousarray(a).view(np.float64)  # of a complex number: both, side by side
    largest = np.max(np.abs(parts), axis=axis, keepdims=True, initial=0.0)
    exponent = np.frexp(largest)[1]
    half = exponent // 2  # 2^-exponent alone may overflow
    return (parts * np.ldexp(1.0, -half) * np.ldexp(1.0, half - exponent)).view(a.dtype), exponent


def unscale(bound: Real, exponent: Any) -> Real:
    """Upper bound on 2^e `bound`, and of what `scale` lost; infinite above the largest float64."""
    with np.errstate(over="ignore", under="ignore"):
        return up(np.ldexp(bound, exponent))


def vector_norm_bound(v: Any) -> np.ndarray:
    """Upper bound on the Euclidean norms over the last axis: (..., n) -> (...); of 0 it is 0."""
    v, exponent = scale(exact_float64(v, "v"), axis=-1)
    square = _square_sum(v, -1)
    return np.where(square > 0, unscale(sqrt_up(square), exponent[..., 0]), 0.0)


def matrix_norm_bound(a: Any, at_least: float = 0.0) -> float:
    """Upper bound on the spectral norm, proven, of the matrices (..., m, n): the largest of them.

    It is some (m n + 16) u too large, relatively (1.2e-10 for 1024 x 1024), and costs less than
    the singular values. A family costs one batched Cholesky factorisation, not its eigenvalues.

    Args:
        a: (..., m, n), real or complex, of at most 64 bits per part. Its entries count as exact.
        at_least: no effort is made to prove less than this.

    Returns:
        A float: 0 for zero or empty matrices, infinite if the norm may exceed float64.
    """
    a = exact_float64(a, "a")
    if a.ndim < 2:
        raise ValueError(f"a must have the shape (..., m, n). Received: shape {a.shape}.")
    if not a.any():
        return 0.0
    a, exponent = scale(a.reshape(-1, *a.shape[-2:]))
    exponent = exponent.item()
    if a.shape[-2] < a.shape[-1]:
        a = np.swapaxes(a, -1, -2)
    absolute = np.abs(a.real) + np.abs(a.imag)
    frobenius = _square_sum(a, (-2, -1))  # (b,)
    schur = np.max(absolute.sum(-1), -1) * np.max(absolute.sum(-2), -1)  # (b,), norm_inf norm_1
    cheap = np.max(np.minimum(frobenius, inflate(schur, sum(a.shape[-2:]) + 4)))
    if unscale(sqrt_up(cheap), exponent) <= at_least:
        return at_least
    enough = float(np.ldexp(at_least, -exponent)) ** 2
    square = np.fmin(cheap, _spectral_square(a, np.max(frobenius), enough))  # fmin drops NaN
    return float(unscale(sqrt_up(square), exponent))


def _square_sum(a: np.ndarray, axis: int | tuple[int, ...]) -> Real:
    """Upper bound on the sum of |a|² over `axis`: inner products of real and imaginary parts."""
    square = np.sum(np.square(np.real(a)) + np.square(np.imag(a)), axis=axis)
    return inflate(square, 2 * a.size // max(square.size, 1))


def _rounding(a: np.ndarray, length: int) -> float:
    """Factor f: a product of matrices with inner products of `length` is wrong by f |A|_F |B|_F.

    For complex numbers the real and imaginary parts have 2 `length` terms each; together the
    modulus of the error is at most 2 sqrt(2) `length` u |x|·|y|.
    """
    return (3 if np.iscomplexobj(a) else 1) * length * U


def _spectral_square(a: np.ndarray, frobenius: float, enough: float) -> float:
    """Upper bound on |A|² for the worst of (b, m, n), m >= n; `frobenius` bounds each |A|_F².

    G is the computed AᴴA, S the computed tI - G, L any matrix. Then, exactly,
    tI - AᴴA = LLᴴ + (S - LLᴴ) + (tI - G - S) + (G - AᴴA), and LLᴴ is positive semidefinite, so
    |A|² <= t + |S - LLᴴ| + |tI - G - S| + |G - AᴴA|. The last term is at most m u |A|_F². A
    Cholesky factor L of S makes the others as small; t grows until there is one.
    """
    g = np.matmul(np.swapaxes(a, -1, -2).conj(), a)
    error = inflate(_rounding(a, a.shape[-2]) * frobenius, 4)
    with contextlib.suppress(np.linalg.LinAlgError):  # eigenvalues that do not converge
        for t in _candidates(g, error, enough):
            distance = _distance_to_semidefinite(g, t)
            if np.isfinite(distance):
                return inflate(t + error + distance, 4)
    return np.inf


def _candidates(g: np.ndarray, slack: float, enough: float) -> Iterator[float]:
    """Yield estimates of the largest eigenvalue in a Hermitian family (b, n, n), cheap ones first.

    Of many members, power iteration picks those whose eigenvalues are worth computing.
    """
    if enough > 0:
        yield enough
    if len(g) > PROBES:
        x = np.random.default_rng(0).standard_normal((g.shape[-1], 1))
        size = np.ones(1)
        for _ in range(8):
            x = np.matmul(g, x / np.maximum(size, 1e-30))
            size = np.sqrt(np.sum(np.abs(x) ** 2, axis=(-2, -1), keepdims=True))
        promising = g[np.argpartition(size.ravel(), -PROBES)[-PROBES:]]
        yield np.max(np.linalg.eigvalsh(promising)) + slack
    largest = np.max(np.linalg.eigvalsh(g))
    while slack < largest:
        yield largest + slack
        slack *= 64


def _distance_to_semidefinite(g: np.ndarray, t: float) -> float:
    """Upper bound on |S - LLᴴ| + |tI - G - S| for the worst of (b, n, n); infinite without L."""
    n = g.shape[-1]
    s = -g
    diagonal = np.einsum("...ii->...i", s)  # a view
    diagonal += t
    try:
        factor = np.linalg.cholesky(s)
    except np.linalg.LinAlgError:
        return np.inf
    product = np.matmul(factor, np.swapaxes(factor, -1, -2).conj())
    difference = sqrt_up(np.max(_square_sum(s - product, (-2, -1))))
    subtraction = U * (np.max(np.abs(diagonal)) + difference)
    multiplication = _rounding(g, n) * np.max(_square_sum(factor, (-2, -1)))
    return inflate(difference + subtraction + multiplication, 8)

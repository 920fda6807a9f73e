"""Every bound is compared with the truth in rational arithmetic, so no tolerance hides a gap."""

import functools
from fractions import Fraction

import numpy as np
import pytest

from lipkit.certifier import norms
from lipkit.certifier.norms import matrix_norm_bound, vector_norm_bound

pytestmark = pytest.mark.once  # the core computes in NumPy

HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], "float64")


def orthogonal(rng, m, n):
    u, _, vt = np.linalg.svd(rng.standard_normal((m, n)), full_matrices=False)
    return u @ vt


KINDS = {
    "gaussian": lambda rng, m, n: rng.standard_normal((m, n)),
    "gaussian float16": lambda rng, m, n: rng.standard_normal((m, n)).astype("float16"),
    "orthogonal": orthogonal,
    "orthogonal float32": lambda rng, m, n: orthogonal(rng, m, n).astype("float32"),
    "hadamard": lambda rng, m, n: HADAMARD[: min(m, 4), : min(n, 4)],
    "rank one": lambda rng, m, n: np.outer(rng.standard_normal(m), rng.standard_normal(n)),
    "zero": lambda rng, m, n: np.zeros((m, n)),
    "graded": lambda rng, m, n: rng.standard_normal((m, n)) * 10 ** rng.uniform(-30, 30, (m, 1)),
    "very graded": lambda rng, m, n: rng.standard_normal((m, n)) * 10 ** rng.uniform(-290, 290, n),
    "subnormal": lambda rng, m, n: rng.standard_normal((m, n)) * 1e-310,
    "smallest": lambda rng, m, n: rng.integers(-3, 4, (m, n)) * 5e-324,
    "subnormal float32": lambda rng, m, n: (1e-42 * rng.standard_normal((m, n))).astype("float32"),
    "huge": lambda rng, m, n: 1.7e308 * rng.uniform(-1, 1, (m, n)),
    "large float32": lambda rng, m, n: (1e37 * rng.standard_normal((m, n))).astype("float32"),
    "ones": lambda rng, m, n: np.ones((m, n)),
    "permutation": lambda rng, m, n: np.eye(max(m, n))[rng.permutation(max(m, n))],
    "integer": lambda rng, m, n: rng.integers(-3, 4, (m, n)).astype("float64"),
    "clustered": lambda *args: orthogonal(*args) + 1e-13 * args[0].standard_normal(args[1:]),
}


def is_semidefinite(s):
    """Exact LDLᵀ of a symmetric matrix of rational numbers."""
    while s:
        pivot, *rest = s[0]
        if pivot < 0 or (pivot == 0 and any(rest)):
            return False
        s = [row[1:] for row in s[1:]]
        for row, first in zip(s, rest, strict=True):
            row[:] = [x - first / pivot * y if y else x for x, y in zip(row, rest, strict=True)]
    return True


def is_bound(bound, a):
    """Whether |A| <= bound, decided exactly: bound² I - AᵀA is positive semidefinite."""
    if bound == np.inf:
        return True
    if np.iscomplexobj(a):
        a = np.block([[a.real, -a.imag], [a.imag, a.real]])
    a = a if len(a) < len(a.T) else a.T
    rows = [[Fraction(x) for x in row] for row in a.tolist()]
    gap = [[-sum(x * y for x, y in zip(p, q, strict=True)) for q in rows] for p in rows]
    for i, row in enumerate(gap):
        row[i] += Fraction(float(bound)) ** 2
    return bound >= 0 and is_semidefinite(gap)


def cases(kind, rounds):
    rng = np.random.default_rng([len(kind), *kind.encode()])
    for i in range(rounds):
        m, n = ((1, 8), (8, 1), (1, 1))[i] if i < 3 else rng.integers(1, 9, 2)
        yield KINDS[kind](rng, m, n)


def singular_value(a):
    return float(np.linalg.svd(a.astype("float64"), compute_uv=False)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_bound_holds_exactly(kind):
    for a in cases(kind, 300):
        bound = matrix_norm_bound(a)
        assert is_bound(bound, a), a
        assert (bound == 0) == (not a.any())
        if 1e-300 < float(np.max(np.abs(a))) < 1e307:
            assert bound <= singular_value(a) * (1 + 3e-14)


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("subnormal", "smallest", "huge")])
def test_what_is_just_too_small_is_caught(kind):
    for a in cases(kind, 30):
        assert a.any() != is_bound(matrix_norm_bound(a) * (1 - 1e-9), a)


def test_the_exact_test_catches_estimates():
    caught = {"power iteration": 0, "singular value": 0}
    for a in cases("gaussian", 200):
        x = np.ones(a.shape[1])
        for _ in range(10):
            x = a.T @ (a @ x)
            x /= np.linalg.norm(x)
        caught["power iteration"] += not is_bound(np.linalg.norm(a @ x), a)
        caught["singular value"] += not is_bound(singular_value(a), a)
    assert min(caught.values()) > 40, caught


@pytest.mark.parametrize("size", [1, 5, 40])
def test_bound_of_a_complex_family_holds_exactly(size):
    rng = np.random.default_rng(size)
    for m, n in rng.integers(1, 4, (10, 2)):
        family = rng.standard_normal((2, size, m, n)) * 10 ** rng.uniform(-2, 0, (size, 1, 1))
        family = family[0] + 1j * family[1]
        bound = matrix_norm_bound(family)
        truth = np.linalg.svd(family, compute_uv=False).max()
        assert bound <= truth * (1 + 1e-13)
        for at_least in (0.5 * truth, truth, 3 * truth):
            early = matrix_norm_bound(family, at_least=at_least)
            assert early <= max(at_least, bound) * (1 + 1e-13)
            assert all(is_bound(early, a) for a in family)
        assert all(is_bound(bound, a) for a in family)
        assert not all(is_bound(bound * (1 - 1e-9), a) for a in family)


def test_a_family_whose_largest_member_is_overlooked():
    """Its first singular vector is orthogonal to where the power iteration starts."""
    x = np.random.default_rng(0).standard_normal((4, 1))
    v = np.linalg.svd(x)[0][:, 1:2]
    family = np.tile(0.9 * np.eye(4), (60, 1, 1))
    family[33] = 0.901 * v @ v.T + 0.5 * x @ x.T / np.sum(x * x)
    for at_least in (0.0, 0.9):
        bound = matrix_norm_bound(family, at_least=at_least)
        assert is_bound(bound, family[33]) and bound <= 0.901 * (1 + 1e-12)


@pytest.mark.parametrize("names", ["cholesky", "eigvalsh", "cholesky, eigvalsh"])
@pytest.mark.parametrize("factor", [None, np.nan, np.inf, 0.0, 0.5, 1.001, -1.0])
def test_the_proof_does_not_rest_on_lapack(names, factor, monkeypatch):
    def broken(function, s):
        if factor is None:
            raise np.linalg.LinAlgError("broken on purpose")
        return factor * function(s)

    for name, function in {"cholesky": np.tril, "eigvalsh": np.linalg.eigvalsh}.items():
        if name in names:
            monkeypatch.setattr(np.linalg, name, functools.partial(broken, function))
    with np.errstate(invalid="ignore", over="ignore"):
        for kind, a in ((k, a) for k in KINDS for a in cases(k, 10)):
            bound = matrix_norm_bound(a)
            assert is_bound(bound, a) and (bound < np.inf or kind == "huge")


@pytest.mark.parametrize("shape", [(1024, 1024), (300, 500)])
def test_large_orthogonal_matrix(shape):
    w = orthogonal(np.random.default_rng(0), *shape).astype("float32")
    assert 1 - 1e-13 <= matrix_norm_bound(w) / singular_value(w) <= 1 + 5e-10


@pytest.mark.parametrize("entry", [1.0, 1 / 3, 0.1, np.pi, 1.1e-200, 7e-310, 1e300])
def test_large_hadamard_matrices(entry):
    """Of known norm, a power of two times the entry, and with inexact products."""
    block = HADAMARD
    for size in (16, 64, 256):
        block = np.kron(HADAMARD, block)
        truth = float(np.sqrt(size)) * entry
        assert truth <= matrix_norm_bound(block * entry) <= truth * (1 + 1e-10)


def test_empty_and_bad_matrices():
    for shape in ((0, 3), (3, 0), (0, 0), (0, 2, 2)):
        assert matrix_norm_bound(np.zeros(shape)) == 0
    for entry in (np.nan, -np.inf):
        with pytest.raises(ValueError, match="^a must be finite"):
            matrix_norm_bound(np.array([[1.0, entry]]))
    for dtype in ("int64", "bool"):
        with pytest.raises(ValueError, match=f"Received: {np.dtype(dtype)}"):
            matrix_norm_bound(np.eye(2, dtype=dtype))
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        matrix_norm_bound(np.ones(3))


@pytest.mark.parametrize("power", [-323, -310, -200, -3, 0, 150, 300, 307])
def test_vector_norms_hold_exactly(power):
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 7, 100):
        v = rng.standard_normal((30, n)) * 10.0**power * 10.0 ** rng.uniform(-9, 0, (30, n))
        for bound, row in zip(vector_norm_bound(v).tolist(), v.tolist(), strict=True):
            square = sum(Fraction(x) ** 2 for x in row)
            assert bound == np.inf or square <= Fraction(bound) ** 2
            assert abs(power) > 150 or Fraction(bound) ** 2 <= square * (1 + Fraction(1, 10**13))
    assert not vector_norm_bound(np.zeros((2, 3))).any()


def test_rounding_upwards():
    rng = np.random.default_rng(0)
    for x, y in np.exp(rng.uniform(-40, 40, (500, 2))).tolist():
        assert Fraction(float(norms.mul_up(x, y))) > Fraction(x) * Fraction(y)
        assert Fraction(float(norms.sqrt_up(x))) ** 2 > Fraction(x)
        for n in (0, 1, 10**3, 10**9):
            small = Fraction(norms.inflate(x, n)) * (1 - n * Fraction(1, 2**53))
            assert small > Fraction(x)

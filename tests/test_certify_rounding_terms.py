"""What pays for the rounding of a proof, read off the bounds with a coarse unit roundoff."""

import functools

import numpy as np
import pytest

from lipkit.certifier import norms
from lipkit.certifier.norms import matrix_norm_bound, vector_norm_bound

pytestmark = pytest.mark.once  # the core computes in NumPy

COARSE = 2.0**-12
close = functools.partial(pytest.approx, rel=1e-12)  # what U itself is worth is far below


def coarse(bound, roundings):
    return bound * (1 + 2 * (roundings + 1) * COARSE)


@pytest.fixture
def coarse_unit(monkeypatch):
    """Every term that pays for rounding is large enough to be read from the bounds."""
    monkeypatch.setattr(norms, "U", COARSE)


@pytest.mark.usefixtures("coarse_unit")
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_what_pays_for_the_sums(dtype):
    a = np.arange(1, 25, dtype=dtype).reshape(2, 3, 4) / 32
    squares = np.square(np.abs(a))
    for axis, terms in ((-1, 4), ((-2, -1), 12)):
        expected = coarse(squares.sum(axis), 2 * terms)
        np.testing.assert_allclose(norms._square_sum(a, axis), expected, rtol=1e-12)
    assert norms._square_sum(np.zeros((2, 0)), -1).tolist() == [0, 0]
    norm = np.sqrt(coarse(squares.sum(-1), 8))
    np.testing.assert_allclose(vector_norm_bound(a), norm, rtol=1e-12)
    assert norms._rounding(a, 7) == 7 * COARSE * (3 if dtype == "complex128" else 1)


@pytest.mark.usefixtures("coarse_unit")
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_what_pays_for_the_cholesky_test(dtype, monkeypatch):
    """t I - G = S = diag(4, 9, 1) for the worst member, and L is exact or off by a known matrix."""
    g = 16 * np.eye(3, dtype=dtype) - np.stack([np.eye(3), np.diag([4, 9, 1])])
    factors = np.stack([np.eye(3), np.diag([2, 3, 1])]).astype(dtype)
    kind = 3 if dtype == "complex128" else 1
    product = kind * 3 * COARSE * coarse(14, 18)
    exact = coarse(COARSE * 9 + product, 8)
    assert norms._distance_to_semidefinite(g, 16.0) == close(exact)
    off = factors.copy()
    off[0, 0, 0] = 3  # S - LLᴴ has one entry, 1 - 9
    monkeypatch.setattr(np.linalg, "cholesky", lambda s: off)
    difference = np.sqrt(coarse(64, 18))
    expected = coarse(difference + COARSE * (9 + difference) + product, 8)
    assert norms._distance_to_semidefinite(g, 16.0) == close(expected)


@pytest.mark.usefixtures("coarse_unit")
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("rows", [4, 6])
def test_what_pays_for_the_gram_matrix(dtype, rows, monkeypatch):
    a = np.zeros((2, rows, 3), dtype)
    a[1, [0, 1, 3], [0, 1, 2]] = [1, 0.5, 0.25]
    seen = []

    def candidates(g, slack, enough):
        seen.extend((g, slack, enough))
        return iter((0.5, 1.5, 8.0))

    distance = {0.5: np.inf, 1.5: 0.125, 8.0: 0.0}
    monkeypatch.setattr(norms, "_candidates", candidates)
    monkeypatch.setattr(norms, "_distance_to_semidefinite", lambda g, t: distance[t])
    error = coarse(rows * COARSE * (3 if dtype == "complex128" else 1) * 5, 4)
    assert norms._spectral_square(a, 5.0, 0.25) == close(coarse(1.5 + error + 0.125, 4))
    np.testing.assert_array_equal(seen[0], np.stack([np.zeros((3, 3)), np.diag([1, 0.25, 0.0625])]))
    assert seen[1] == close(error) and seen[2] == 0.25
    distance.update({1.5: np.nan, 8.0: np.inf})
    assert norms._spectral_square(a, 5.0, 0.25) == np.inf


@pytest.mark.usefixtures("coarse_unit")
def test_what_pays_for_the_cheap_bounds(monkeypatch):
    monkeypatch.setattr(norms, "_spectral_square", lambda *arguments: np.inf)
    ones, flat = np.ones((4, 2)), np.array([[0.5, 0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]])
    schur, frobenius = coarse(8, 4 + 2 + 4), coarse(8, 16)
    assert schur < frobenius and matrix_norm_bound(ones) == close(np.sqrt(schur))
    assert matrix_norm_bound(1j * ones.T) == close(np.sqrt(schur))
    slim = np.array([[1.0, 0], [1.0, 0], [0, 1.0], [0.5, 0]])  # |.|_1 |.|_inf = 2.5 < |.|_F² = 3.25
    assert matrix_norm_bound(slim) == close(np.sqrt(coarse(2.5, 10)))
    family = np.stack([0.25 * ones, flat, np.diag([0.5, 0.25])[[0, 1, 0, 1]]])
    assert matrix_norm_bound(family) == close(np.sqrt(coarse(2, 10)))
    wide = np.array([[1.0, 1.0, 1.0], [0, 0, 1.0]])  # here |.|_F² = 4 is less
    assert matrix_norm_bound(wide) == close(np.sqrt(coarse(4, 12)))
    assert matrix_norm_bound(wide, at_least=2.5) == 2.5


def test_what_is_proven_is_what_was_asked_for(monkeypatch):
    """`enough` is at_least² in the scale of the matrix; the Frobenius norm is the family's."""
    seen = []
    monkeypatch.setattr(norms, "_spectral_square", lambda a, *rest: seen.extend((a, *rest)) or 0.25)
    family = np.stack([np.diag([24.0, 16, 8]), 8 * np.eye(3)])
    assert matrix_norm_bound(family, at_least=16.0) == close(16)  # sqrt(0.25) in units of 32
    np.testing.assert_array_equal(seen[0], family / 32)
    assert seen[1] == close((24**2 + 16**2 + 8**2) / 1024) and seen[2] == 0.25


def test_candidates_come_cheap_ones_first():
    rng = np.random.default_rng(0)
    family = rng.standard_normal((40, 3, 3))
    family = np.matmul(np.swapaxes(family, -1, -2), family)
    family[27] *= 4
    largest = np.linalg.eigvalsh(family).max()
    few, many = (list(norms._candidates(g, 1e-9, 0.0)) for g in (family[20:36], family))
    assert many[0] == pytest.approx(largest + 1e-9, abs=1e-13 * largest)
    slack = np.array(few) - largest
    np.testing.assert_allclose(slack, 1e-9 * 64.0 ** np.arange(len(few)), rtol=1e-3)
    np.testing.assert_allclose(many[1:], few, rtol=1e-15)
    assert slack[-1] < largest <= 64 * slack[-1]
    assert list(norms._candidates(family[:1], largest, 0.0)) == []
    assert next(norms._candidates(family, 1e-9, 0.5)) == 0.5


def test_vectors_of_any_scale_are_apart():
    """What keeps squares in range is each row's own."""
    v = np.array([[[3e-300, 4e-300], [3e300, 4e300]]])
    np.testing.assert_allclose(vector_norm_bound(v), [[5e-300, 5e300]], rtol=1e-12)
    with pytest.raises(ValueError, match="^v must be finite"):
        vector_norm_bound(np.array([np.nan]))

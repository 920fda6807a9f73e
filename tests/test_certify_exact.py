"""Bounds and radii against the same formulas in rational numbers: never on the wrong side."""

from fractions import Fraction

import numpy as np
import pytest

from lipkit.attacks.result import within
from lipkit.certifier import bounding, certificate, evaluate, interval, norms, rounding, weights
from lipkit.certifier import graph as g
from lipkit.certifier.arithmetic import DOUBLE, FORMATS

pytestmark = pytest.mark.once
F32 = FORMATS["float32"]
UNIT = Fraction(1, 2**53)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def exact(array):
    """The same numbers as rational ones, in an array of objects."""
    return np.array([Fraction(v) for v in np.ravel(array).tolist()]).reshape(np.shape(array))


def test_what_is_deflated_is_below(rng):
    for x in np.exp(rng.uniform(-40, 40, 500)).tolist():
        for n in (0, 1, 10**3, 10**9):
            low = Fraction(norms.deflate(x, n))
            assert low < Fraction(x) * (1 - n * UNIT)
            assert low > Fraction(x) * (1 - (2 * n + 4) * UNIT)
    assert norms.deflate(-1.0, 3) < 0


def sums(rng):
    """A graph with a sum of five branches, and a Dense behind it."""
    nodes = [g.Node(g.Input(), (), (3,), "x", "Input")]
    for _ in range(5):
        kernel = rng.standard_normal((3, 3))
        nodes.append(g.Node(g.Dense(kernel, rng.standard_normal(3)), (0,), (3,), "a", "b"))
    nodes.append(g.Node(g.Sum(), (1, 2, 3, 4, 5), (3,), "a", "b"))
    nodes.append(g.Node(g.Dense(rng.standard_normal((3, 2)), None), (6,), (2,), "a", "b"))
    return g.Graph(nodes, (7,))


def recursion(own, local, reach, arithmetic, initial):
    """`rounding.forward_errors` of `sums` for one sample, in rational numbers."""
    tiny, unit = Fraction(arithmetic.tiny), Fraction(arithmetic.unit)
    root_3 = Fraction(np.nextafter(np.sqrt(3.0), 0))  # below it
    own, reach = [Fraction(float(v)) for v in own], [Fraction(float(v[0])) for v in reach]
    local = [(Fraction(a), Fraction(b)) for a, b in local]
    errors = [Fraction(initial) * reach[0] + tiny * root_3]
    for i in range(1, 6):
        m = reach[0] + errors[0]
        errors.append(own[i] * errors[0] + local[i][0] * m + local[i][1])
    m = sum(reach[i] + errors[i] for i in range(1, 6))
    errors.append(sum(errors[1:]) + 5 * (unit * m + tiny * root_3))
    errors.append(own[7] * errors[6] + local[7][0] * (reach[6] + errors[6]) + local[7][1])
    return errors


@pytest.mark.parametrize("counted", [True, False])
def test_forward_errors_are_above_those_of_rational_numbers(counted, rng, monkeypatch):
    if not counted:  # the control: without the count of roundings some are below
        monkeypatch.setattr(rounding, "inflate", lambda x, roundings: x)
    below = 0
    for _ in range(30):
        graph = sums(rng)
        bounds = bounding.compose(graph)
        x = rng.standard_normal((1, 3)) * np.exp(rng.uniform(-20, 20))
        reach = [rounding.norms(value) for value in evaluate.run(graph, x)]
        for arithmetic in (F32, DOUBLE):
            local = rounding.local_errors(graph, arithmetic)
            given = (bounds.own, local, reach, arithmetic, arithmetic.unit)
            got, _ = rounding.forward_errors(graph, *given)
            for error, least in zip(got, recursion(*given), strict=True):
                below += Fraction(float(error[0])) < least
                assert Fraction(float(error[0])) < least * (1 + 1000 * UNIT)
    assert (below == 0) == counted


def test_radii_are_below_those_of_rational_numbers(rng):
    logits = rng.standard_normal((2000, 2)) * np.exp(rng.uniform(-30, 30, (2000, 1)))
    margins = np.abs(logits[:, :1] - logits[:, 1:])
    constants = np.exp(rng.uniform(-3, 3, (2000, 1)))
    error = margins[:, 0] * rng.choice([0.0, 1e-12, 0.1, 0.7], 2000)
    radii = certificate.Certifier._radii(margins, constants, error)
    for (a, b), (r,), (c,), e in zip(logits.tolist(), radii, constants, error, strict=True):
        left = abs(Fraction(a) - Fraction(b)) - Fraction(float(r)) * Fraction(float(c))
        assert left >= 0 and left**2 >= 2 * Fraction(float(e)) ** 2
    sharp = margins / constants - np.sqrt(2) * error[:, None] / constants
    far = error < 0.5 * margins[:, 0]
    np.testing.assert_allclose(radii[far], sharp[far], rtol=1e-14)


def test_merged_constants_are_above_those_of_rational_numbers(rng):
    for count in (2, 3, 9):
        for _ in range(200):
            values = np.exp(rng.uniform(-20, 20, count)).tolist()
            assert sum(map(Fraction, values)) <= Fraction(bounding._add_up(values))
            squares = sum(Fraction(v) ** 2 for v in values)
            assert squares <= Fraction(bounding._root_of_squares(values)) ** 2


def test_constants_of_weighted_averages_are_above_those_of_rational_numbers(rng):
    for taps in (2, 7, 40):
        matrix = rng.uniform(0, 1, (3, taps)) / 3
        scale = float(rng.uniform(0.1, 2))
        op = g.RootOfSquares(((0, matrix),), scale, 0.0)
        column = max(sum(column) for column in exact(matrix).T)
        bound, _ = bounding.lipschitz(op, (taps,))
        assert Fraction(scale) * column <= Fraction(bound) ** 2


def test_weights_of_features_hold_in_rational_numbers(rng):
    for _ in range(300):
        w = np.exp(rng.uniform(-9, 9, 4))
        scale = rng.standard_normal(4)
        op = g.Diagonal(scale, np.zeros(4), np.zeros(4))
        nodes = [
            g.Node(g.Input(), (), (4,), "x", "Input"),
            g.Node(op, (0,), (4,), "scale", "Diagonal"),
        ]
        own = Fraction(bounding.lipschitz(op, (4,))[0])
        stretch = max(abs(s) / v for s, v in zip(exact(scale), exact(w), strict=True))
        assert Fraction(weights.factor(g.Graph(nodes, (1,)), w)) * own >= stretch
        raw = Fraction(weights.factor(g.Graph(nodes[:1], (0,)), w))  # nothing scales the input
        assert raw >= max(1 / v for v in exact(w))


def test_intervals_hold_in_rational_numbers(rng, monkeypatch):
    kernel, bias = rng.standard_normal((3, 1)), rng.standard_normal(1)
    nodes = [
        g.Node(g.Input(), (), (3,), "x", "Input"),
        g.Node(g.Dense(kernel, bias), (0,), (1,), "dense", "Dense"),
    ]
    graph = g.Graph(nodes, (1,))

    class Reading:
        pass

    Reading.graph = graph
    monkeypatch.setattr(interval, "analyse", lambda model: (Reading, bounding.compose(graph)))
    x, radius = rng.standard_normal((50, 3)), np.exp(rng.uniform(-20, 3, 50))
    low, high = interval.output_interval(None, x, radius)
    column = exact(kernel[:, 0])
    square = sum(v * v for v in column)
    for row, r, a, b in zip(exact(x), exact(radius), exact(low), exact(high), strict=True):
        value = sum(row * column) + Fraction(float(bias[0]))
        for end in (value - a.item(), b.item() - value):
            assert end >= 0 and end**2 >= square * r * r


def test_distances_are_those_of_rational_numbers(rng, monkeypatch):
    """Float64 alone never says that a point at the very end of its radius is inside, or outside."""
    x = rng.standard_normal((200, 5))
    points = x + rng.standard_normal((200, 5)) * np.exp(rng.uniform(-5, 1, (200, 1)))
    length = np.linalg.norm(points - x, axis=1)
    for factor in (1 - 2.0**-52, 1, 1 + 2.0**-52, 1 - 2.0**-30, 1 + 2.0**-30):
        radius = length * factor
        squares = [sum((exact(p) - exact(q)) ** 2) for p, q in zip(points, x, strict=True)]
        inside = [s <= Fraction(float(r)) ** 2 for s, r in zip(squares, radius, strict=True)]
        assert list(within(x, points, radius)) == inside


@pytest.mark.parametrize("arithmetic", [F32, DOUBLE], ids=lambda a: a.name)
def test_rounding_of_roots_of_squares_term_by_term(arithmetic):
    rows = np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 1.0, 2.0, 0.5]])  # at most 3 terms, of sum 3.5
    columns = np.array([[1.0, 0.25]])  # 2 terms, of sum 1.25
    u, tiny = Fraction(arithmetic.unit), Fraction(arithmetic.tiny)
    for scale, shift, row in ((2.0, 0.25, Fraction(35, 8)), (0.5, 0.0, Fraction(35, 8))):
        op = g.RootOfSquares(((0, rows), (1, columns)), scale, shift)
        slope, offset = rounding.local_error(op, arithmetic, (4, 2), (2, 1))
        relative = (3 * 2 + 6 + 32) * u
        square = Fraction(scale) * Fraction(2)  # columns of sum 2 and 1 at most
        assert (
            (relative**2 * square)
            <= Fraction(slope) ** 2
            <= (relative**2 * square) * (1 + 200 * UNIT)
        )
        lost = tiny * ((2 * 6 + 2) * Fraction(scale) * row + 4)
        expected = np.sqrt(2) * (float(relative) * np.sqrt(shift) + np.sqrt(float(lost)))
        assert offset == pytest.approx(expected, rel=1e-12, abs=0)
    small = g.RootOfSquares(((0, np.full((2, 4), 0.01)),), 1.0, 0.0)  # a row of sum below 1
    _, offset = rounding.local_error(small, arithmetic, (4,), (2,))
    assert offset == pytest.approx(np.sqrt(2 * arithmetic.tiny * (2 * 4 + 2 + 4)), rel=1e-12, abs=0)


def test_rounding_that_a_program_states():
    op = g.Rounded(3.0, 5.0)
    relative, absolute = rounding.local_error(op, F32, (4,), (4,))
    assert (relative, absolute) == (3 * F32.unit, 5 * F32.tiny * 2)


@pytest.mark.parametrize(
    ("op", "factor"),
    [
        (g.Norm((0,)), 1.0),
        (g.RootOfSquares(((0, np.full((2, 4), 0.5)),), 0.25, 0.0), 1.0),
        (g.RootOfSquares(((0, np.full((2, 4), 3.0)),), 0.25, 0.0), 3.0),
        (g.RootOfSquares(((0, np.full((2, 4), 3.0)), (1, np.full((1, 1), 2.0))), 5.0, 0.0), 30.0),
    ],
)
def test_squares_that_overflow_are_foreseen(op, factor):
    """A sum of squares may be too large where neither the values nor their norm are."""
    nodes = [g.Node(g.Input(), (), (4, 1), "x", "Input"), g.Node(op, (0,), (2, 1), "norm", "Norm")]
    graph, local = g.Graph(nodes, (1,)), [(0.0, 0.0), (0.0, 0.0)]
    edge = np.sqrt(F32.largest / 4 / factor)
    for size, expected in ((edge * (1 - 1e-9), False), (edge * (1 + 1e-9), True)):
        reach = [np.array([size]), np.array([1.0])]
        _, overflow = rounding.forward_errors(graph, [1.0, 1.0], local, reach, F32)
        assert overflow[0] == expected

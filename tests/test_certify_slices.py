"""The certifier's core on slices of one node: what changes independently, and what does not."""

import math

import numpy as np
import pytest

from lipkit.certifier import bounding, evaluate, rounding
from lipkit.certifier import graph as g
from lipkit.certifier.arithmetic import FORMATS

pytestmark = pytest.mark.once  # the core computes in NumPy


class Builder:
    """A graph of linear operations over one input of shape (6,), node by node."""

    def __init__(self):
        self.nodes = [g.Node(g.Input(), (), (6,), "input", "Input")]

    def add(self, op, *inputs):
        x = [np.zeros((1, *self.nodes[i].shape)) for i in inputs]
        shape = evaluate.evaluate(op, *x).shape[1:]
        self.nodes.append(g.Node(op, inputs, shape, f"layer {len(self.nodes)}", type(op).__name__))
        return len(self.nodes) - 1

    def scaled(self, factor, source):
        return self.add(g.Diagonal(np.float64(factor), np.float64(0), np.float64(0)), source)

    def piece(self, start, stop, factor=1.0, source=1):
        return self.scaled(factor, self.add(g.Slice(0, start, stop), source))

    def bounds(self):
        """(The bound of the last node, the norm of its explicit matrix)."""
        values = []
        for node in self.nodes:
            inputs = [values[i] for i in node.inputs]
            values.append(evaluate.evaluate(node.op, *inputs) if inputs else np.eye(6))
        truth = np.linalg.norm(values[-1].reshape(6, -1), 2)
        return bounding.compose(g.Graph(tuple(self.nodes), (len(self.nodes) - 1,))).total[-1], truth


@pytest.fixture
def built():
    builder = Builder()
    builder.scaled(2.0, 0)
    return builder


DISJOINT = [(4, 6, 3.0), (0, 2, 4.0), (2, 4, 1.0)]
LAPPING = [(0, 3, 3.0), (2, 5, 4.0)]
EQUAL = [(0, 2, 3.0), (0, 2, 4.0)]


@pytest.mark.parametrize(
    ("op", "pieces", "expected"),
    [
        (g.Concat(), DISJOINT, 8.0),
        (g.Sum(), DISJOINT, 2 * math.sqrt(26)),
        (g.Concat(), LAPPING, 10.0),
        (g.Sum(), [(0, 3, 3.0), (2, 5, -4.0)], 14.0),
        (g.Concat(), EQUAL, 10.0),
        (g.Sum(), EQUAL, 14.0),
        (g.Concat(), [*EQUAL, (2, 6, 4.5)], 10.0),
    ],
)
def test_pieces_of_one_node(built, op, pieces, expected):
    built.add(op, *(built.piece(*piece) for piece in pieces))
    bound, truth = built.bounds()
    assert truth <= bound == pytest.approx(expected, rel=1e-12)


def test_a_merge_of_pieces_of_a_piece_is_that_piece(built):
    half = built.add(g.Slice(0, 0, 4), 1)
    inner = built.add(g.Concat(), *(built.piece(i, i + 2, 3.0, half) for i in (2, 0)))
    other = built.piece(4, 6, 2.0)
    assert built.nodes[inner].shape == (4,)
    built.add(g.Concat(), inner, other)
    bound, truth = built.bounds()
    assert truth <= bound == pytest.approx(6, rel=1e-12)


def test_a_sum_with_its_own_piece_stays_in_that_piece(built):
    piece = built.piece(0, 2, 3.0)
    inner = built.add(g.Sum(), piece, built.scaled(0.5, piece))
    built.add(g.Concat(), inner, built.piece(2, 6, 4.0))
    bound, truth = built.bounds()
    assert truth <= bound == pytest.approx(9, rel=1e-12)


def test_a_merge_of_pieces_is_no_piece(built):
    """Both halves together change with the whole: no more independent of a third piece."""
    whole = built.add(g.Concat(), built.piece(0, 3, 3.0), built.piece(3, 6, 3.0))
    built.add(g.Concat(), whole, built.piece(0, 2, 4.0))
    bound, truth = built.bounds()
    assert truth <= bound == pytest.approx(10, rel=1e-12)


@pytest.mark.parametrize("factor", [3.0, 4.0])
def test_what_else_shares_the_input_is_not_independent(built, factor):
    built.add(g.Concat(), built.piece(0, 2, 3.0), built.scaled(factor, 1))
    bound, truth = built.bounds()
    assert truth <= bound == pytest.approx(2 * math.hypot(3, factor), rel=1e-12)


def test_pieces_of_different_nodes_are_not_independent(built):
    """The second node is the first one with its halves exchanged."""
    swap = built.add(g.Dense(np.roll(np.eye(6), 3, axis=1)), 0)
    built.add(g.Sum(), built.piece(0, 3, 1.5), built.piece(3, 6, 4.0, swap))
    bound, truth = built.bounds()
    assert truth <= bound == pytest.approx(7, rel=1e-9)


def test_pieces_along_different_axes_are_not_independent(built):
    square = built.add(g.Reshape((2, 3)), 1)
    row = built.add(g.Slice(0, 0, 1), square)
    column = built.add(g.Permute((1, 0)), built.add(g.Slice(1, 2, 3), square))
    column = built.add(g.AxisMaps(((1, np.eye(3, 2)),)), column)
    built.add(g.Sum(), row, column)
    bound, truth = built.bounds()
    assert truth <= bound == pytest.approx(4, rel=1e-12)


def test_slices_and_centers():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    np.testing.assert_array_equal(evaluate.evaluate(g.Slice(1, 1, 3), x), x[:, :, 1:3])
    centered = evaluate.evaluate(g.Center((0, 2)), x)
    np.testing.assert_allclose(centered, x - x.mean((1, 3), keepdims=True), rtol=1e-15)
    assert bounding.lipschitz(g.Slice(1, 1, 3), (3, 4)) == (1.0, "projection")
    assert bounding.lipschitz(g.Center((0,)), (3, 4)) == (1.0, "projection")


@pytest.mark.parametrize("arithmetic", FORMATS.values())
def test_what_a_center_rounds(arithmetic):
    """Inner products of 3 * 5 + 2 terms, of numbers of norm at most 2 |x|."""
    terms = 3 * 5 + 2
    relative, absolute = rounding.local_error(g.Center((0, 2)), arithmetic, (3, 4, 5), (3, 4, 5))
    assert relative == pytest.approx(2 * (terms + 2) * arithmetic.unit, rel=1e-12)
    assert absolute == pytest.approx((terms + 2) * arithmetic.tiny * math.sqrt(60), rel=1e-12)
    assert rounding.local_error(g.Slice(0, 0, 2), arithmetic, (3,), (2,)) == (0.0, 0.0)


def test_rows_of_any_scale_are_apart():
    """What keeps exponentials and squares in range is each row's own."""
    logits = np.array([[0.0, math.log(3)], [1e3, 1e3]])
    np.testing.assert_allclose(
        evaluate.evaluate(g.Softmax(0), logits), [[0.25, 0.75], [0.5, 0.5]], rtol=1e-15
    )
    pairs = np.array([[3e-200, 4e-200], [3e200, 4e200]])
    np.testing.assert_allclose(
        evaluate.evaluate(g.Norm((1,)), pairs[None]), [[5e-200, 5e200]], rtol=1e-15
    )


def test_groups_of_channels_are_apart():
    """Each output sees one input: factors 3 and 4 are not a column of norm 5."""
    op = g.Conv(np.array([[[3.0, 4.0]]]), None, (1,), (1,), ((0, 0),), groups=2)
    assert bounding.lipschitz(op, (7, 2))[0] == pytest.approx(4, rel=1e-9)

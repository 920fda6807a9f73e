"""The certifier's core without Keras: each operation against loops and explicit formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lipkit.certifier import bounding, certificate, evaluate, rounding
from lipkit.certifier import graph as g
from lipkit.certifier.activations import ACTIVATIONS
from lipkit.certifier.arithmetic import DOUBLE, FORMATS
from lipkit.errors import NotCertifiable

pytestmark = pytest.mark.once  # the core computes in NumPy

F32, F64 = FORMATS["float32"], DOUBLE
SLACK = 1 + 2.0**-20


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def apply(op, *xs):
    return evaluate.evaluate(op, *(np.asarray(x, "float64") for x in xs))


def conv_by_loops(x, kernel, bias, strides, dilation, padding, groups):
    """Two-dimensional cross-correlation, entry by entry."""
    x = np.pad(x, (*padding, (0, 0)))
    kh, kw, c, out = kernel.shape
    rows = (x.shape[0] - (kh - 1) * dilation[0] - 1) // strides[0] + 1
    columns = (x.shape[1] - (kw - 1) * dilation[1] - 1) // strides[1] + 1
    y = np.zeros((rows, columns, out))
    for i, j, o in np.ndindex(y.shape):
        first = o // (out // groups) * c
        for a, b, ch in np.ndindex(kh, kw, c):
            place = (i * strides[0] + a * dilation[0], j * strides[1] + b * dilation[1], first + ch)
            y[i, j, o] += x[place] * kernel[a, b, ch, o]
    return y + bias


CONVS = [
    ((2, 3), (1, 1), (1, 1), ((0, 0), (0, 0)), 1),
    ((3, 2), (2, 1), (1, 2), ((1, 2), (0, 1)), 1),
    ((2, 2), (1, 3), (2, 1), ((0, 1), (2, 0)), 2),
]


def conv_op(rng, case, bias=True):
    window, strides, dilation, padding, groups = case
    kernel = rng.standard_normal((*window, 4 // groups, 6))
    return g.Conv(
        kernel, rng.standard_normal(6) if bias else None, strides, dilation, padding, groups
    )


@pytest.mark.parametrize("case", CONVS)
def test_convolutions(case, rng):
    op = conv_op(rng, case)
    x = rng.standard_normal((2, 6, 7, 4))
    expected = [
        conv_by_loops(s, op.kernel, op.bias, op.strides, op.dilation, op.padding, op.groups)
        for s in x
    ]
    np.testing.assert_allclose(apply(op, x), expected, atol=1e-12)
    shown = (np.array([1, 0, 1, 2, 3, 3]), np.array([2, 0, 1, 2, 0, 1, 2]))
    small = x[:, :4, :3]
    copies = apply(op, small[:, shown[0]][:, :, shown[1]])
    np.testing.assert_array_equal(apply(replace(op, shown=shown), small), copies)


@pytest.mark.parametrize("case", CONVS[:2])
def test_transposed_convolutions_are_adjoint(case, rng):
    conv = conv_op(rng, case, bias=False)
    x = rng.standard_normal((3, 6, 7, 4))
    y = apply(conv, x)
    z = rng.standard_normal(y.shape)
    back = apply(g.ConvTranspose(conv, (6, 7)), z)
    assert back.shape == x.shape
    np.testing.assert_allclose((y * z).sum((1, 2, 3)), (x * back).sum((1, 2, 3)), rtol=1e-10)
    shift = rng.standard_normal(4)
    np.testing.assert_allclose(apply(g.ConvTranspose(conv, (6, 7), shift), z), back + shift)
    assert bounding.lipschitz(g.ConvTranspose(conv, (6, 7)), y.shape[1:]) == bounding.lipschitz(
        conv, (6, 7, 4)
    )


def test_pools(rng):
    x = -np.abs(rng.standard_normal((2, 5, 3)))
    pool = g.MaxPool((3,), (2,), ((1, 1),))
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)), constant_values=-np.inf)
    expected = [padded[:, i : i + 3].max(1) for i in (0, 2, 4)]
    np.testing.assert_array_equal(apply(pool, x), np.stack(expected, 1))
    # an entry lies in up to 2 windows of 3 with stride 2, in 3 with stride 1, in 1 with stride 3
    for stride, count in ((1, 3), (2, 2), (3, 1)):
        bound, rule = bounding.lipschitz(g.MaxPool((3,), (stride,), ((1, 1),)), (9, 3))
        assert bound == pytest.approx(math.sqrt(count), rel=1e-15)
        assert count <= bound**2 * (1 + 1e-15) and rule == "window overlap"
    assert bounding.lipschitz(g.MaxPool((3,), (3,), ((0, 0),)), (9, 3))[0] == 1.0


def test_norms_of_groups(rng):
    x = rng.standard_normal((2, 3, 4, 5))
    op = g.Norm((0, -1))
    np.testing.assert_allclose(apply(op, x), np.sqrt((x**2).sum((1, 3))))
    for size in (1e-200, 1e200):
        np.testing.assert_allclose(apply(op, size * x), size * apply(op, x))
    assert (apply(op, 0 * x) == 0).all()
    assert bounding.lipschitz(op, (3, 4, 5)) == (1.0, "norms of groups")


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding"),
    [(5, 3, 1, (0, 0)), (5, 3, 2, (1, 1)), (2, 4, 1, (3, 3)), (7, 2, 3, (0, 1)), (3, 5, 1, (0, 0))],
)
def test_overlap_counts_windows(size, window, stride, padding):
    low, high = padding
    starts = range(-low, size + high - window + 1, stride)
    counts = [sum(s <= i < s + window for s in starts) for i in range(size)]
    assert evaluate.overlap(size, window, stride, padding) == max(counts)


def test_shapes_sorts_and_merges(rng):
    x = rng.standard_normal((2, 3, 4))
    y = rng.standard_normal((2, 3, 4))
    np.testing.assert_array_equal(apply(g.Reshape((4, 3)), x), x.reshape(2, 4, 3))
    np.testing.assert_array_equal(apply(g.Permute((1, 0)), x), x.transpose(0, 2, 1))
    np.testing.assert_array_equal(apply(g.Sort(0), x), np.sort(x, 1))
    np.testing.assert_array_equal(apply(g.Sort(), x), np.sort(x, 2))
    relus = [np.maximum(x, 0), np.maximum(-x, 0)]
    np.testing.assert_array_equal(apply(g.ConcatReLU(), x), np.concatenate(relus, 2))
    np.testing.assert_array_equal(apply(g.ConcatReLU(0), x), np.concatenate(relus, 1))
    np.testing.assert_array_equal(apply(g.Concat(0), x, y), np.concatenate([x, y], 1))
    np.testing.assert_array_equal(apply(g.Concat(-1), x, y), np.concatenate([x, y], 2))
    np.testing.assert_array_equal(apply(g.Sum(), x, y, x), x + y + x)
    np.testing.assert_array_equal(apply(g.Sum((1, -1)), x, y), x - y)
    np.testing.assert_array_equal(apply(g.Maximum(), x, y), np.maximum(x, y))
    np.testing.assert_array_equal(apply(g.Maximum(-1), x, y), np.minimum(x, y))
    np.testing.assert_array_equal(apply(g.Diagonal(2.0, 1.0, 1.0), x), 2 * x + 1)
    e = np.exp(x)
    np.testing.assert_allclose(apply(g.Softmax(), x), e / e.sum(2, keepdims=True))
    np.testing.assert_allclose(apply(g.Softmax(0), x), e / e.sum(1, keepdims=True))
    assert apply(g.Softmax(), x + 1000).sum() == pytest.approx(6)
    np.testing.assert_array_equal(apply(g.Custom(lambda v: v > 0, 1.0), x), 1.0 * (x > 0))


def test_matrices_along_axes(rng):
    x = rng.standard_normal((2, 3, 4, 5))
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((6, 4))
    op = g.AxisMaps(((0, a), (1, b)))
    np.testing.assert_allclose(apply(op, x), np.einsum("ia,jb,nabc->nijc", a, b, x))
    bound, rule = bounding.lipschitz(op, (3, 4, 5))
    assert bound == pytest.approx(np.linalg.norm(a, 2) * np.linalg.norm(b, 2), rel=1e-8)
    assert rule == "product over axes"


def test_einsum_is_a_matrix(rng):
    kernel = rng.standard_normal((4, 2, 3))
    op = g.Einsum("abc,cde->adbe", kernel, rng.standard_normal(3))
    x = rng.standard_normal((2, 5, 6, 4))
    np.testing.assert_allclose(
        apply(op, x), np.einsum("nabc,cde->nadbe", x, kernel) + op.bias, atol=1e-12
    )
    bound, rule = bounding.lipschitz(op, (5, 6, 4))
    assert bound == pytest.approx(np.linalg.norm(kernel.reshape(4, 6), 2), rel=1e-8)
    assert rule == "matrix norm"


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_slopes_are_suprema(name):
    """Scan f' where it lives: never above the claim, and within 1e-4 of it."""
    activation = ACTIVATIONS[name]
    parameters = (-1.0, 2.0) if name == "clip" else ()
    x = np.linspace(-30, 30, 600_001)
    steepest = np.abs(np.diff(activation.function(x, *parameters)) / np.diff(x)).max()
    claim = bounding.lipschitz(g.Elementwise(name, parameters), (3,))[0]
    assert claim * (1 - 2e-4) <= steepest <= claim * (1 + 1e-9)


def test_slopes_with_parameters():
    def slope(*args):
        return bounding.lipschitz(g.Elementwise(*args), (3,))

    assert slope("relu", (0.2,)) == (1.0, "slope")
    assert slope("relu", (-3.0, 6.0))[0] == 3.0
    assert slope("relu", (np.array([0.1, -2.0, 0.5]),))[0] == 2.0
    assert slope("elu", (0.5,))[0] == 1.0 and slope("elu", (-2.5,))[0] == 2.5
    x = np.array([-2.0, 0.5, 9.0])
    np.testing.assert_allclose(apply(g.Elementwise("relu", (0.1, 6.0)), x), [-0.2, 0.5, 6])
    np.testing.assert_allclose(apply(g.Elementwise("elu", (2.0,)), x), [2 * math.expm1(-2), 0.5, 9])
    np.testing.assert_allclose(
        apply(g.Elementwise("celu", (2.0,)), x), [2 * math.expm1(-1), 0.5, 9]
    )
    np.testing.assert_allclose(apply(g.Elementwise("soft_shrink", (1.0,)), x), [-1, 0, 8])


def test_simple_constants():
    assert bounding.lipschitz(g.Softmax(), (3,)) == (0.5, "slope")
    assert bounding.lipschitz(g.Sort(), (3,)) == (1.0, "isometry")
    assert bounding.lipschitz(g.Custom(abs, 2), (3,)) == (2.0, "given by its author")
    bound, method = bounding.lipschitz(g.Diagonal(np.array([0.5, -3.0]), 0.0, 0.0), (2,))
    assert 3 < bound <= 3 * (1 + 2**-48) and method == "largest factor"
    assert bounding.lipschitz(g.Sum(), (3,), (3,)) == (1.0, "sum of branches")
    assert bounding.lipschitz(g.Concat(), (3,), (3,)) == (1.0, "root of the sum of squares")
    with pytest.raises(NotImplementedError, match="No Lipschitz constant for Op"):
        bounding.lipschitz(g.Op(), (3,))
    with pytest.raises(NotImplementedError, match="float64 evaluation of Op"):
        apply(g.Op(), np.ones(3))
    with pytest.raises(NotImplementedError, match="rounding rule for Op"):
        rounding.local_error(g.Op(), F32, (3,), (3,))


def node(op, inputs, shape, layer=None):
    return g.Node(op, inputs, shape, layer or f"layer {type(op).__name__}", type(op).__name__)


def test_merges_of_shared_and_separate_inputs():
    a, b, c = frozenset("a"), frozenset("b"), frozenset("c")
    cases = [
        (g.Sum(), [(1.0, a), (2.0, a)], 3.0),
        (g.Sum(), [(3.0, a), (4.0, b)], 5.0),
        (g.Sum(), [(3.0, a), (1.0, b), (3.0, b)], 5.0),
        (g.Concat(), [(3.0, a), (4.0, a)], 5.0),
        (g.Concat(), [(3.0, a), (4.0, b)], 4.0),
        (g.Maximum(), [(3.0, a), (4.0, a), (0.0, a)], 5.0),
        (g.Concat(), [(3.0, a), (1.0, c), (4.0, a | b), (0.0, b)], 5.0),
        (g.Sum(), [(1.0, a), (1.0, b), (1.0, a | b)], 3.0),
        (g.Sum(), [(1.0, a | c), (1.0, a | b), (1.0, c)], 3.0),
        (g.Concat(), [(0.0, a), (0.0, a)], 0.0),
        (g.Concat(), [(1e200, a), (1e200, a)], math.sqrt(2) * 1e200),
    ]
    for op, branches, expected in cases:
        bound = bounding.merge(op, branches)
        assert expected <= bound <= expected * (1 + 1e-14), (op, branches)


def small_graph(rng):
    """Residual: concat(W x + b, relu(x)) -> sum with itself scaled."""
    dense = g.Dense(rng.standard_normal((3, 3)), rng.standard_normal(3))
    half = g.Diagonal(np.float64(0.5), np.float64(1.0), np.float64(1.0))
    return g.Graph(
        (
            node(g.Input(), (), (3,)),
            node(dense, (0,), (3,), "one"),
            node(g.Elementwise("relu"), (1,), (3,), "one"),
            node(g.Concat(), (0, 2), (6,), "two"),
            node(half, (3,), (6,), "three"),
            node(g.Sum(), (3, 4), (6,), "four"),
        ),
        (5,),
    )


def test_compose_a_graph(rng):
    graph = small_graph(rng)
    bounds = bounding.compose(graph)
    norm = np.linalg.norm(graph.nodes[1].op.kernel, 2)
    joint = math.hypot(1, norm)
    np.testing.assert_allclose(bounds.own, [1, norm, 1, 1, 0.5, 1], rtol=1e-8)
    np.testing.assert_allclose(
        bounds.total, [1, norm, norm, joint, 0.5 * joint, 1.5 * joint], rtol=1e-8
    )
    assert bounds.total[1] >= norm * (1 - 1e-15)
    assert bounding.output_bound(graph, bounds) == bounds.total[5]
    rows = bounds.layers
    assert [(r.name, r.kind, r.method) for r in rows] == [
        ("one", "Dense", "matrix norm, slope"),
        ("two", "Concat", "root of the sum of squares"),
        ("three", "Diagonal", "largest factor"),
        ("four", "Sum", "sum of branches"),
    ]
    assert rows[0].bound == bounds.own[1] and rows[0].input_shape == (3,)
    both = g.Graph(graph.nodes, (3, 5))
    assert bounding.output_bound(both, bounds) == pytest.approx(
        joint * math.hypot(1, 1.5), rel=1e-8
    )


def chain(*ops):
    nodes = [node(g.Input(), (), (3,))]
    for op in ops:
        nodes.append(node(op, (len(nodes) - 1,), (3,), "layer"))
    return g.Graph(tuple(nodes), (len(ops),))


def test_rows_of_one_layer_are_joined():
    half, third = (g.Custom(abs, c) for c in (0.5, 1 / 3))
    (row,) = bounding.compose(chain(g.Sort(), half, g.Sort(), third)).layers
    assert row.method == "given by its author, given by its author"
    assert row.bound == math.nextafter(0.5 / 3, 1)
    (row,) = bounding.compose(chain(g.Sort(), g.Reshape((3,)))).layers
    assert row.method == "isometry" and row.bound == 1.0


def test_products_round_up_unless_exact():
    half = g.Custom(abs, 0.5)
    assert bounding.compose(chain(half, g.Sort())).total[-1] == 0.5
    assert bounding.compose(chain(half, half)).total[-1] == math.nextafter(0.25, 1)


def random_graph(rng):
    """A random DAG of 6-vectors over two inputs, its last node the output."""
    nodes = [node(g.Input(), (), (6,)), node(g.Input(), (), (6,))]
    for _ in range(rng.integers(2, 9)):
        short = [i for i, n in enumerate(nodes) if n.shape == (6,)]
        some = [int(i) for i in rng.choice(short, size=rng.integers(1, 4))]
        several = len(some) > 1
        scale = 10.0 ** rng.integers(-3, 2)
        if several:
            kind = rng.integers(3)
            op = (g.Sum((1, -1, 1)[: len(some)]), g.Concat(), g.Maximum(-1))[kind]
        else:
            kind = rng.integers(5)
            op = (
                g.Dense(scale * rng.standard_normal((6, 6)), rng.standard_normal(6)),
                g.Elementwise(str(rng.choice(["relu", "gelu", "tanh", "abs"]))),
                g.Diagonal(scale * rng.standard_normal(6), np.zeros(6), np.zeros(6)),
                g.Sort(),
                g.AxisMaps(((0, scale * rng.standard_normal((6, 6))),)),
            )[kind]
        size = 6 * len(some) if isinstance(op, g.Concat) else 6
        nodes.append(node(op, tuple(some), (size,)))
        if size != 6:
            back = g.Dense(rng.standard_normal((size, 6)))
            nodes.append(node(back, (len(nodes) - 1,), (6,)))
    return g.Graph(tuple(nodes), (len(nodes) - 1,))


def test_no_sampled_slope_of_a_random_graph_exceeds_its_bound(rng):
    tightest = 0.0
    for _ in range(150):
        graph = random_graph(rng)
        bounds = bounding.compose(graph)
        bound = bounding.output_bound(graph, bounds)
        x = rng.standard_normal((300, 12))
        step = rng.standard_normal((300, 12)) * rng.choice([1e-3, 1.0])
        first, second = (
            evaluate.run(graph, z[:, :6], z[:, 6:])[graph.outputs[0]] for z in (x, x + step)
        )
        slope = np.linalg.norm(second - first, axis=1) / np.linalg.norm(step, axis=1)
        assert np.isfinite(bound) and slope.max() <= bound * (1 + 1e-9) + 1e-12
        tightest = max(tightest, slope.max() / bound if bound else 0)
    assert tightest > 0.5


def test_inputs_are_found(rng):
    graph = small_graph(rng)
    assert graph.inputs == (0,)
    x = rng.standard_normal((4, 3))
    values = evaluate.run(graph, x)
    dense = graph.nodes[1].op
    hidden = np.concatenate([x, np.maximum(x @ dense.kernel + dense.bias, 0)], 1)
    np.testing.assert_allclose(values[5], 1.5 * hidden + 1)


def test_norms_are_upper_bounds(rng):
    values = rng.standard_normal((50, 7, 3)) * 10.0 ** rng.integers(-100, 100, (50, 1, 1))
    bound = rounding.norms(values)
    exact = np.array([math.hypot(*sample.ravel()) for sample in values])
    assert (bound >= exact).all() and (bound <= exact * (1 + 1e-13)).all()
    assert rounding.norms(np.full((1, 4), 1e-200))[0] >= 2e-200
    assert rounding.norms(np.ones((1, 4)))[0] == 2 * (1 + 12 * 2.0**-53)
    assert rounding.norms(np.zeros((1, 4)))[0] < 1e-150


def linear_error(arithmetic, terms, norm, bias_norm, size):
    relative, flushed = (terms + 2) * arithmetic.unit, (terms + 2) * flush(arithmetic, size)
    return relative * norm + flushed, relative * bias_norm + flushed


def flush(arithmetic, size):
    """The 2-norm of this many entries that were the smallest normal number and are lost."""
    return arithmetic.tiny * math.sqrt(size)


@pytest.mark.parametrize("arithmetic", [F32, F64])
def test_rounding_of_linear_operations(arithmetic, rng):
    kernel, bias = rng.standard_normal((5, 4)), rng.standard_normal(4)
    norm = np.linalg.norm(np.abs(kernel), 2)
    expected = linear_error(arithmetic, 5, norm, np.linalg.norm(bias) * math.sqrt(3), 12)
    got = rounding.local_error(g.Dense(kernel, bias), arithmetic, (3, 5), (3, 4))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    expected = linear_error(arithmetic, 5, norm, 0, 12)
    got = rounding.local_error(g.Dense(kernel), arithmetic, (3, 5), (3, 4))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    got = rounding.local_error(g.Dense(0 * kernel), arithmetic, (3, 5), (3, 4))
    np.testing.assert_allclose(got, linear_error(arithmetic, 5, 0, 0, 12), rtol=1e-12)
    assert got[0] > 0

    op = g.Einsum("ac,cd->ad", kernel, bias)
    expected = linear_error(arithmetic, 5, norm, np.linalg.norm(bias) * math.sqrt(3), 12)
    got = rounding.local_error(op, arithmetic, (3, 5), (3, 4))
    np.testing.assert_allclose(got, expected, rtol=1e-5)

    conv = conv_op(rng, CONVS[2])
    total = np.abs(conv.kernel).sum((0, 1))
    norm = max(np.linalg.norm(total[:, :3], 2), np.linalg.norm(total[:, 3:], 2))
    shift = np.linalg.norm(conv.bias) * math.sqrt(20)
    got = rounding.local_error(conv, arithmetic, (6, 7, 4), (4, 5, 6))
    np.testing.assert_allclose(got, linear_error(arithmetic, 8, norm, shift, 120), rtol=1e-5)
    shown = (np.array([0, 1, 1, 0, 1, 1]), np.array([0, 1, 2, 1, 0, 2, 1]))  # 4 and 3 times
    got = rounding.local_error(replace(conv, shown=shown), arithmetic, (2, 3, 4), (4, 5, 6))
    copied = linear_error(arithmetic, 8, math.sqrt(12) * norm, shift, 120)
    np.testing.assert_allclose(got, copied, rtol=1e-5)

    conv = conv_op(rng, CONVS[0], bias=False)
    norm = np.linalg.norm(np.abs(conv.kernel).sum((0, 1)), 2)
    op = g.ConvTranspose(conv, (6, 7), rng.standard_normal(4))
    shift = np.linalg.norm(op.bias) * math.sqrt(42)
    got = rounding.local_error(op, arithmetic, (5, 5, 6), (6, 7, 4))
    np.testing.assert_allclose(got, linear_error(arithmetic, 36, norm, shift, 168), rtol=1e-5)


@pytest.mark.parametrize("arithmetic", [F32, F64])
def test_rounding_of_other_operations(arithmetic, rng):
    def error(op, shape, out_shape):
        return rounding.local_error(op, arithmetic, shape, out_shape)

    u, tiny = arithmetic.unit, arithmetic.tiny
    for op in (g.Reshape((3,)), g.Permute((0,)), g.Sort(), g.ConcatReLU()):
        assert error(op, (3,), (3,)) == (0.0, 0.0)
    assert error(g.MaxPool((2,), (2,), ((0, 0),)), (4, 1), (2, 1)) == (0.0, 0.0)
    crop = g.AxisMaps(((0, np.eye(2, 3)),))
    assert error(crop, (3, 2), (2, 2)) == (0.0, 0.0)
    mean = np.full((1, 4), 0.25)
    expected = linear_error(arithmetic, 4 * 4 + 5, 0.25, 0, 3)
    got = error(g.AxisMaps(((0, mean), (1, mean))), (4, 4, 3), (1, 1, 3))
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    got = error(g.AxisMaps(((0, np.ones((1, 2))),)), (2, 3), (1, 3))
    np.testing.assert_allclose(got, linear_error(arithmetic, 4, math.sqrt(2), 0, 3), rtol=1e-4)
    op = g.Diagonal(np.array([1.0, -2.0]), np.zeros(2), np.array([3.0, 4.0]))
    got = error(op, (5, 2), (5, 2))
    expected = (16 * u, 8 * u * 5 * math.sqrt(5) + 8 * tiny * math.sqrt(10))
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    nothing = g.Diagonal(np.zeros(2), np.zeros(2), np.zeros(2))
    got = error(nothing, (5, 2), (5, 2))
    np.testing.assert_allclose(got, (tiny, 8 * tiny * math.sqrt(10)), rtol=1e-12)
    for exact in (
        g.Elementwise("abs"),
        g.Elementwise("relu"),
        g.Elementwise("clip", (0.5, np.inf)),
    ):
        assert error(exact, (4,), (4,)) == (0.0, 0.0)
    got = error(g.Elementwise("clip", (-np.inf, np.array([0.1, 0.75]))), (2, 2), (2, 2))
    assert got == (0.0, 0.1 * u * 2 if arithmetic is F32 else 0.0)
    got = error(g.Elementwise("sigmoid"), (4,), (4,))
    np.testing.assert_allclose(got, (16 * u * 1.25, 16 * u * 1.5 * 2 + 8 * tiny * 2), rtol=1e-12)
    got = error(g.Elementwise("elu", (3.0,)), (4,), (4,))
    np.testing.assert_allclose(got, (48 * u * 4, 48 * u * 2 + 8 * tiny * 2), rtol=1e-12)
    got = error(g.Softmax(), (2, 3), (2, 3))
    np.testing.assert_allclose(got, (2 * u * math.sqrt(6), 23 * u * math.sqrt(6)), rtol=1e-12)
    got = error(g.Norm((0,)), (3, 2), (2,))
    np.testing.assert_allclose(got, (7 * u, math.sqrt(3 * tiny * 2)), rtol=1e-12)
    assert error(g.Custom(abs, 1.0), (2,), (2,)) == (0.0, math.inf)
    assert error(g.Custom(abs, 1.0, lambda unit: (unit, 3.0)), (2,), (2,)) == (u, 3.0)


def test_formats():
    assert (F32.name, F32.unit, F32.tiny) == ("float32", 2.0**-24, 2.0**-126)
    assert (F64.name, F64.unit, F64.tiny) == ("float64", 2.0**-53, 2.0**-1022)
    assert F32.largest == float(np.finfo("float32").max)


def test_forward_errors_of_a_graph(rng):
    """The recursion, term by term."""
    graph = small_graph(rng)
    bounds = bounding.compose(graph)
    local = rounding.local_errors(graph, F32)
    assert local[0] == local[3] == local[5] == (0.0, 0.0) and local[1][0] > 0
    reach = [np.array([1.0, 2.0]) * (i + 1) for i in range(6)]
    errors, overflow = rounding.forward_errors(graph, bounds.own, local, reach, F32, initial=1e-7)
    e0 = 1e-7 * reach[0]
    e1 = bounds.own[1] * e0 + local[1][0] * (reach[0] + e0) + local[1][1]
    e2 = e1 + local[2][0] * (reach[1] + e1) + local[2][1]
    e3 = np.sqrt(e0**2 + e2**2)
    e4 = bounds.own[4] * e3 + local[4][0] * (reach[3] + e3) + local[4][1]
    e5 = e3 + e4 + 2 * F32.unit * (reach[3] + e3 + reach[4] + e4)
    for got, expected in zip(errors, (e0, e1, e2, e3, e4, e5), strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5)
        assert (got >= expected).all()
    assert not overflow.any()
    nothing = [np.zeros(1)] * 6
    errors, _ = rounding.forward_errors(graph, bounds.own, [(0.0, 0.0)] * 6, nothing, F32)
    lost = flush(F32, math.prod(graph.nodes[0].shape))
    np.testing.assert_allclose(errors[0], lost, rtol=1e-5)
    last = errors[3] + errors[4] + 2 * flush(F32, math.prod(graph.nodes[5].shape))
    np.testing.assert_allclose(errors[5], last, rtol=1e-5)


def test_overflow_is_foreseen(rng):
    graph = small_graph(rng)
    bounds = bounding.compose(graph)
    local = rounding.local_errors(graph, F32)

    def overflows(*sizes, graph=graph, bounds=bounds, local=local):
        reach = [np.array(sizes, float)] * len(graph.nodes)
        return rounding.forward_errors(graph, bounds.own, local, reach, F32)[1].tolist()

    assert overflows(1.0, 1e36, 2e38, np.inf, np.nan) == [False, False, True, True, True]
    pool = g.Graph((node(g.Input(), (), (4, 1)), node(g.Norm((1,)), (0,), (4,))), (1,))
    squares = bounding.compose(pool)
    given = {"graph": pool, "bounds": squares, "local": rounding.local_errors(pool, F32)}
    assert overflows(1e18, 1e20, **given) == [False, True]
    # |W| can overflow where the result does not
    wide = g.Dense(np.array([[1e38], [-1e38]]))
    difference = g.Graph((node(g.Input(), (), (2,)), node(wide, (0,), (1,))), (1,))
    given = {
        "graph": difference,
        "bounds": bounding.Bounds([1.0, 0.1], [1.0, 0.1], ()),
        "local": rounding.local_errors(difference, F32),
    }
    assert overflows(0.01, 10.0, **given) == [False, True]


def test_one_node_near_overflow_is_enough(rng):
    graph = small_graph(rng)
    bounds = bounding.compose(graph)
    local = rounding.local_errors(graph, F32)
    reach = [np.array([1.0])] * len(graph.nodes)
    reach[2] = np.array([F32.largest / 4])
    assert rounding.forward_errors(graph, bounds.own, local, reach, F32)[1].all()
    reach[2] = np.array([F32.largest / 4.5])
    assert not rounding.forward_errors(graph, bounds.own, local, reach, F32)[1].any()


def float32_run(graph, x):
    """The graph as a float32 program."""
    values = []
    for n in graph.nodes:
        given = [values[i] for i in n.inputs]
        if isinstance(n.op, g.Input):
            values.append(x.astype("float32"))
        elif isinstance(n.op, g.Dense):
            kernel, bias = n.op.kernel.astype("float32"), n.op.bias.astype("float32")
            values.append(given[0] @ kernel + bias)
        elif isinstance(n.op, g.Diagonal):
            values.append(np.float32(0.5) * given[0] + np.float32(1.0))
        else:
            values.append(evaluate.evaluate(n.op, *given))
            assert values[-1].dtype == "float32"
    return values


def test_programs_stay_within_their_errors(rng):
    for _ in range(20):
        graph = small_graph(rng)
        dense = graph.nodes[1].op
        dense.kernel[:] = dense.kernel.astype("float32")
        dense.bias[:] = dense.bias.astype("float32")
        x = rng.standard_normal((100, 3)) * 10
        values = evaluate.run(graph, x)
        reach = [rounding.norms(v) for v in values]
        bounds = bounding.compose(graph)
        errors, _ = rounding.forward_errors(
            graph, bounds.own, rounding.local_errors(graph, F32), reach, F32, initial=F32.unit
        )
        program = float32_run(graph, x)
        for value, computed, error in zip(values, program, errors, strict=True):
            difference = np.linalg.norm(computed - value, axis=1)
            assert (difference <= error).all()
        assert (difference > 1e-3 * error).any()


def head_graph(kernel, bias, *final):
    nodes = [node(g.Input(), (), (len(kernel),)), node(g.Dense(kernel, bias), (0,), bias.shape)]
    for op in final:
        nodes.append(node(op, (len(nodes) - 1,), bias.shape))
    return g.Graph(tuple(nodes), (len(nodes) - 1,))


def certify(graph, x, arithmetic=None, task=None):
    return certificate.Certifier(graph, bounding.compose(graph), arithmetic, task)(
        np.asarray(x, float)
    )


def test_heads_and_tasks(rng):
    kernel, bias = rng.standard_normal((4, 3)), rng.standard_normal(3)

    def head(*final, task=None, arithmetic=None, columns=3):
        graph = head_graph(kernel[:, :columns], bias[:columns], *final)
        found, task = certificate.find_head(graph, task, arithmetic)
        return found.node, found.features, found.kernel is not None, task

    assert head() == (1, 0, True, "multiclass")
    assert head(columns=1) == (1, 0, True, "binary")
    assert head(g.Softmax()) == (1, 0, True, "multiclass")
    assert head(g.Elementwise("sigmoid"), task="multilabel") == (1, 0, True, "multilabel")
    assert head(g.Elementwise("sigmoid"), columns=1) == (1, 0, True, "binary")
    assert head(g.Elementwise("tanh")) == (2, 1, False, "multiclass")
    assert head(g.Reshape((3,))) == (1, 0, True, "multiclass")
    with pytest.raises(NotCertifiable, match="final softmax saturates to ties in float32"):
        head(g.Softmax(), arithmetic=F32)
    with pytest.raises(NotCertifiable, match="needs one logit"):
        head(task="binary")
    with pytest.raises(NotCertifiable, match="a vector of at least 2 logits"):
        head(task="multiclass", columns=1)
    with pytest.raises(NotCertifiable, match="a vector of at least 2 logits"):
        head(g.Softmax(), columns=1)
    with pytest.raises(ValueError, match="`task` must be one of"):
        head(task="none")
    sequence = g.Graph(
        (node(g.Input(), (), (2, 4)), node(g.Dense(kernel, bias), (0,), (2, 3))), (1,)
    )
    with pytest.raises(NotCertifiable, match=r"Outputs of shape \(2, 3\)"):
        certificate.find_head(sequence, None, None)


def test_a_final_sigmoid_is_seen_through_reshapes(rng):
    kernel, bias = rng.standard_normal((4, 3)), rng.standard_normal(3)
    plain, tanh, sigmoid = (
        head_graph(kernel, bias, *final)
        for final in ((), (g.Elementwise("tanh"),), (g.Elementwise("sigmoid"),))
    )
    column = node(g.Reshape((3, 1)), (2,), (3, 1))
    reshaped = g.Graph((*sigmoid.nodes, column), (3,))
    found, task = certificate.find_head(reshaped, "multilabel", None)
    assert (found.node, found.features, task) == (1, 0, "multilabel")
    message = (
        "Model 'm' ends with a sigmoid, whose values cannot be scaled without a change of "
        r"decisions\. Finalize the model that ends with the logits\."
    )
    for graph in (sigmoid, reshaped, g.Graph(sigmoid.nodes, (1, 2))):
        with pytest.raises(NotCertifiable, match=message):
            certificate.refuse_sigmoid(graph, "m")
    for graph in (plain, tanh):
        certificate.refuse_sigmoid(graph, "m")


def test_radii_term_by_term(rng):
    kernel, bias = rng.standard_normal((4, 3)), rng.standard_normal(3)
    graph = head_graph(kernel, bias)
    x = rng.standard_normal((20, 4))
    label, radius, margin, constant, status = certify(graph, x)
    logits = x @ kernel + bias
    np.testing.assert_array_equal(label, logits.argmax(1))
    ordered = np.sort(logits, 1)
    assert set(status) == {"certified"}
    np.testing.assert_allclose(radius, margin / constant, rtol=1e-9)
    assert (radius < margin / constant).all()
    assert (margin >= (ordered[:, 2] - ordered[:, 1]) * (1 - 1e-12)).all()
    lengths = np.linalg.norm(kernel[:, :, None] - kernel[:, None, :], axis=0)
    assert all(
        (np.abs(lengths[c] / k - 1) < 1e-12).any() for c, k in zip(label, constant, strict=True)
    )
    # in float32: the errors of both logits come off the margin
    _, deployed, _, _, _ = certify(graph, x, F32)
    bounds = bounding.compose(graph)
    values = evaluate.run(graph, x)
    ball = [rounding.norms(v) + b * radius for v, b in zip(values, bounds.total, strict=True)]
    local = rounding.local_errors(graph, F32)
    errors, _ = rounding.forward_errors(graph, bounds.own, local, ball, F32, initial=F32.unit)
    expected = radius - math.sqrt(2) * errors[1] / constant
    np.testing.assert_allclose(deployed, expected, rtol=1e-6)


def test_real_radii_take_off_the_float64_error():
    kernel, bias = np.ones((3, 1)), np.zeros(1)
    graph = head_graph(kernel, bias)
    x = np.array([[1e10, -1e10, 1e-3], [1e10, -1e10, 1e-7], [0.0, 0.0, 0.0]])
    label, radius, margin, _, status = certify(graph, x)
    assert list(status) == ["certified", "margin within the rounding error", "tie"]
    error = 5 * F64.unit * math.sqrt(3) * math.sqrt(2) * 1e10
    assert radius[0] == pytest.approx((1e-3 - math.sqrt(2) * error) / math.sqrt(3), rel=1e-3)
    assert list(radius[1:]) == [0, 0] and list(label) == [1, 1, 0]
    assert label.dtype.kind == "i"
    assert margin[2] == 0


def test_statuses_have_an_order(rng):
    graph = head_graph(np.ones((2, 2)) * [1.0, -1.0], np.zeros(2))
    x = [[np.nan, 1], [1e308, 1e308], [1e200, 0], [0, 0], [1, 1]]
    label, radius, margin, constant, status = certify(graph, x)
    assert list(status) == [
        "non-finite input",
        "non-finite output",
        "possible overflow",
        "tie",
        "certified",
    ]
    assert list(label) == [-1, -1, 0, 0, 0]
    assert list(radius > 0) == [False] * 4 + [True]
    for values in (radius, margin, constant):
        assert np.isfinite(values).all()
    assert list(margin[:2]) == [0, 0]


def test_radii_are_shrunk_by_a_few_roundings():
    margins, constants = np.array([[3.0, 0.1, 7.0]]), np.array([[1.0, 3.0, 1.1]])
    radii = certificate.Certifier._radii(margins, constants, np.array([0.0]))
    loss = 1 - radii / (margins / constants)
    assert (loss > 8 * F64.unit).all() and (loss < 14 * F64.unit).all()
    error = np.array([1e-3])
    radii = certificate.Certifier._radii(margins, constants, error)
    exact = (margins - math.sqrt(2) * error) / constants
    assert (radii < exact).all() and (radii > exact * (1 - 2**-45)).all()
    assert (certificate.Certifier._radii(margins, constants, np.array([10.0])) == 0).all()


def test_programs_that_squash_are_refused(rng):
    graph = head_graph(rng.standard_normal((4, 3)), np.zeros(3), g.Softmax())
    assert (certify(graph, np.ones((1, 4)))[4] == "certified").all()
    with pytest.raises(NotCertifiable, match="saturates"):
        certify(graph, np.ones((1, 4)), F32)


def test_multilabel_margins(rng):
    kernel, bias = rng.standard_normal((4, 3)), rng.standard_normal(3)
    x = rng.standard_normal((20, 4))
    label, radius, margin, constant, _ = certify(head_graph(kernel, bias), x, task="multilabel")
    logits = x @ kernel + bias
    np.testing.assert_array_equal(label, (logits > 0).astype(int))
    assert label.dtype.kind == "i"
    distances = np.abs(logits) / np.linalg.norm(kernel, axis=0)
    np.testing.assert_allclose(radius, distances.min(1), rtol=1e-9)
    np.testing.assert_allclose(margin / constant, distances.min(1), rtol=1e-9)


def test_joint_constants_of_nonlinear_heads(rng):
    kernel, bias = rng.standard_normal((4, 3)), rng.standard_normal(3)
    norm = np.linalg.norm(kernel, 2)
    graph = head_graph(kernel, bias, g.Elementwise("tanh"))
    x = rng.standard_normal((5, 4))
    assert certify(graph, x)[3] == pytest.approx(math.sqrt(2) * norm, rel=1e-9)
    assert certify(graph, x, task="multilabel")[3] == pytest.approx(norm, rel=1e-9)


def test_constant_logits():
    graph = head_graph(np.zeros((2, 2)), np.array([0.0, 1.0]))
    label, radius, *_ = certify(graph, [[0.0, 0.0]])
    assert label[0] == 1 and 1e150 < radius[0] <= 1e300

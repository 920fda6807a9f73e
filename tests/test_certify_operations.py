"""Log softmax, maxima with holes and grouped adjoints in the certifier's core; sharp slopes."""

import numpy as np
import pytest

from lipkit.certifier import bounding, evaluate, rounding
from lipkit.certifier import graph as g
from lipkit.certifier.activations import ACTIVATIONS
from lipkit.certifier.arithmetic import FORMATS

pytestmark = pytest.mark.once  # the core computes in NumPy

F32 = FORMATS["float32"]


def jacobian(p):
    """Of log softmax where the softmax is p."""
    return np.eye(len(p)) - np.outer(np.ones(len(p)), p)


def test_log_softmax_has_the_root_of_the_number_of_classes_as_its_constant(rng):
    for n in (1, 2, 5, 30):
        bound, rule = bounding.lipschitz(g.LogSoftmax(1), (3, n))
        logits = rng.standard_normal((200, n)) * rng.choice([0.1, 3, 30], (200, 1))
        p = np.exp(logits - logits.max(1, keepdims=True))
        norms = np.linalg.norm([jacobian(q / q.sum()) for q in p], 2, axis=(1, 2))
        assert norms.max() <= bound * (1 + 1e-12) and rule == "slope"
        if n > 1:
            assert norms.max() >= bound * (1 - 1e-6)  # where one class is all
        assert bound == pytest.approx(np.sqrt(n), rel=1e-15)


def test_values_and_rounding_of_log_softmax(rng):
    for shape, axis in (((7,), 0), ((4, 50), 1), ((50, 4), -2)):
        op = g.LogSoftmax(axis)
        relative, absolute = rounding.local_error(op, F32, shape, shape)
        x = rng.standard_normal((200, *shape)) * rng.choice(
            [1e-3, 1, 50, 1e4], (200,) + (1,) * len(shape)
        )
        x = x.astype("float32")
        real = evaluate.evaluate(op, x.astype("float64"))
        place = axis % len(shape) + 1
        np.testing.assert_allclose(np.exp(real).sum(place), 1, rtol=1e-12)
        z = x - x.max(place, keepdims=True)
        program = z - np.log(np.exp(z).sum(place, keepdims=True, dtype="float32"))
        assert program.dtype == "float32"
        error = rounding.norms(program - real)
        allowed = relative * rounding.norms(x.astype("float64")) + absolute
        assert (error <= allowed).all() and (error > allowed / 1e3).any()
    # of one class: every step counts
    unit, n = F32.unit, 7
    relative, absolute = rounding.local_error(g.LogSoftmax(0), F32, (n,), (n,))
    assert relative == 6 * unit * np.sqrt(n)
    assert absolute == pytest.approx((2 * n + 40 + 21 * np.log(n)) * unit * np.sqrt(n), rel=1e-12)


PEAKS = {"gelu": 1.4142, "gelu_tanh": 1.4185, "silu": 2.3994, "mish": 1.4906}


def test_slopes_are_suprema_to_a_part_in_a_million():
    for name, place in PEAKS.items():
        f = ACTIVATIONS[name].function
        x, h = np.linspace(place - 1e-2, place + 1e-2, 401), 1e-4
        # differences of order 4: their error is some 1e-12 here
        slope = (8 * (f(x + h) - f(x - h)) - f(x + 2 * h) + f(x - 2 * h)) / (12 * h)
        claim = bounding.lipschitz(g.Elementwise(name), (3,))[0]
        assert claim * (1 - 1e-6) <= slope.max() <= claim


def test_coefficients_of_gelu_tanh_that_files_round_keep_its_slope():
    x = np.linspace(1.3, 1.6, 30_001)
    for cubic in (0.044715 - 1e-7, 0.044715 + 1e-7):
        values = ACTIVATIONS["gelu_tanh"].function(x, cubic)
        claim = bounding.lipschitz(g.Elementwise("gelu_tanh", (cubic,)), (3,))[0]
        assert (np.diff(values) / np.diff(x)).max() <= claim


def test_maxima_with_holes(rng):
    op = g.MaxPool((2, 3), (1, 2), ((1, 0), (0, 2)), (2, 3))
    x = rng.standard_normal((2, 5, 7, 1))
    got = evaluate.evaluate(op, x)
    padded = np.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)), constant_values=-np.inf)
    for i, j in np.ndindex(*got.shape[1:3]):
        window = padded[:, i : i + 3 : 2, 2 * j : 2 * j + 7 : 3]
        np.testing.assert_array_equal(got[:, i, j], window.max((1, 2)))
    assert got.shape == (2, 4, 2, 1)
    # an entry is the first of one window and the second of another, along the first axis alone
    assert bounding.lipschitz(op, (5, 7, 1))[0] == pytest.approx(np.sqrt(2), rel=1e-15)
    assert evaluate.overlap(9, 3, 1, (0, 0), 2) == 3 and evaluate.overlap(5, 3, 1, (0, 0), 2) == 1


def test_grouped_transposed_convolutions_are_adjoints(rng):
    kernel = rng.standard_normal((3, 2, 2, 6))  # 3 groups: of 2 channels each, to 2 each
    conv = g.Conv(kernel, None, (2, 1), (1, 2), ((1, 0), (0, 1)), 3)
    op = g.ConvTranspose(conv, (7, 5), rng.standard_normal(6))
    x = rng.standard_normal((1, 7, 5, 6))
    y = evaluate.evaluate(conv, x)
    z = rng.standard_normal(y.shape)
    back = evaluate.evaluate(op, z) - op.bias
    assert back.shape == x.shape
    assert np.sum(back * x) == pytest.approx(np.sum(y * z), rel=1e-12)
    relative, _ = rounding.local_error(op, F32, y.shape[1:], x.shape[1:])
    total = np.abs(kernel).sum((0, 1))
    largest = max(np.linalg.norm(part, 2) for part in np.split(total, 3, axis=1))
    assert relative == pytest.approx((3 * 2 * 2 + 2) * F32.unit * largest, rel=1e-5)

"""A few random graphs of `benchmarks/fuzz.py`, its results, and that it finds what is wrong."""

import json
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from fuzzing import keras_graphs, onnx_graphs, tally
from fuzzing.checks import check
from fuzzing.function import gaps
from fuzzing.subject import computing_in
from fuzzing.sums import adversarial, one_sided

import lipkit

pytestmark = pytest.mark.compiled

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
GRAPHS = {"jax": 16, "tensorflow": 40, "torch": 40}[keras.backend.backend()]


@pytest.fixture(autouse=True)
def _any_values():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values overflow here on purpose
        yield


@pytest.mark.parametrize(
    ("draw", "graphs"), [(keras_graphs.draw, GRAPHS), (onnx_graphs.draw, 60)], ids=["keras", "onnx"]
)
def test_nothing_claimed_of_random_graphs_is_refuted(draw, graphs):
    found = tally.run(draw, 7, range(graphs))
    assert found.violations == []
    assert found.graphs == graphs
    # neither is everything refused, nor are the attacks weak
    assert found.bounded > graphs / 2
    assert found.certificates > graphs
    assert found.attained_caught >= 0.9 * found.attained > 0


def attained_graphs(count):
    """Subjects whose bounds are attained, with their random numbers."""
    for number in range(count):
        rng = np.random.default_rng([3, number])
        with computing_in("float32"):
            subject = keras_graphs.attained(rng)
            if subject is not None and lipkit.lipschitz_bound(subject.model) > 1e-6:
                yield subject, rng


def test_a_bound_3_percent_too_small_is_found(monkeypatch):
    right = lipkit.lipschitz_bound
    monkeypatch.setattr(lipkit, "lipschitz_bound", lambda *args: 0.97 * right(*args))
    found = [bool(check(*case).violations) for case in attained_graphs(8)]
    assert len(found) > 3
    assert np.mean(found) >= 0.9


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda run: lambda xs: [1.001 * y for y in run(xs)], "another function"),
        (lambda run: lambda xs: [y[..., :-1] for y in run(xs)], "has the outputs"),
    ],
)
def test_a_program_that_is_read_wrongly_is_found(wrong, word):
    subject, rng = next(attained_graphs(20))
    subject.run = wrong(subject.run)
    (violation,) = check(subject, rng).violations
    assert word in violation


def test_an_exception_other_than_a_refusal_is_found(monkeypatch):
    def fail(model):
        raise IndexError("of no layer")

    case = next(attained_graphs(20))
    monkeypatch.setattr(lipkit, "lipschitz_bound", fail)
    (violation,) = check(*case).violations
    assert "IndexError: of no layer" in violation


def classifier():
    """A float32 program that adds 144 values, one after another on every backend, and a bias."""
    with computing_in("float32"):
        x = keras.Input((12, 12, 1))
        y = keras.layers.Dense(1, kernel_initializer="ones")(keras.layers.Flatten()(x))
        model = keras.Model(x, y)
        subject = keras_graphs.subject(model, model.layers[-1], "float32")

    def run(arrays):
        sums = np.cumsum(arrays[0].reshape(len(arrays[0]), -1), axis=1, dtype="float32")
        return [sums[:, -1:] + subject.bias().astype("float32")]

    subject.run = run
    return subject


def test_a_label_that_rounding_changes_is_found(monkeypatch):
    """With the errors of the program left out, sums that are rounded to one side are enough."""
    honest = lipkit.certify

    class Certify:
        def __call__(self, model, x, arithmetic="real"):
            result = honest(model, x)
            object.__setattr__(result, "arithmetic", arithmetic)
            return result

    outcome = check(classifier(), np.random.default_rng(0))
    assert outcome.violations == []
    assert outcome.certificates > 0
    monkeypatch.setattr(lipkit, "certify", Certify())
    found = check(classifier(), np.random.default_rng(0)).violations
    assert any("float32" in text for text in found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("down", [True, False])
def test_sums_are_rounded_to_one_side(dtype, down):
    n = 200
    values = one_sided(n, dtype, down=down)
    total = np.dtype(dtype).type(0)
    for value in values.astype(dtype):
        total = total + value
    exact = np.sum(values.astype("longdouble"))
    unit = np.finfo(dtype).eps / 2
    error = float((np.longdouble(total) - exact) / exact / unit)
    assert (-error if down else error) > 0.25 * n  # of n at most


def test_samples_keep_their_shape_and_format(rng):
    for shape in [(7,), (4, 3), (4, 5, 2)]:
        x = adversarial(shape, "float32", rng, weights=np.ones(np.prod(shape)), count=4)
        assert x.shape == (4, *shape)
        assert np.isfinite(x).all()


def test_gaps_are_those_to_the_other_labels():
    logits = np.array([[1.0, 4.0, 2.0]])
    np.testing.assert_array_equal(gaps(logits, np.array([1])), [[3.0, np.inf, 2.0]])
    np.testing.assert_array_equal(gaps(logits[:, :1], np.array([0])), [[-1.0]])


def test_tallies_add_up_and_are_read_again():
    a = tally.run(onnx_graphs.draw, 7, range(3))
    b = tally.run(onnx_graphs.draw, 7, range(3, 6))
    both = tally.run(onnx_graphs.draw, 7, range(6))
    assert a + b == both
    assert tally.Tally.load(json.loads(json.dumps(both.report()))) == both


def test_committed_results_have_no_violations():
    for path in RESULTS.glob("fuzz_*.json"):
        found = json.loads(path.read_text())
        assert found["violations"] == [], path
        assert found["graphs"] >= 5000
        assert found["attained_caught"] >= 0.9 * found["attained"] > 0

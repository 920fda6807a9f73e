import keras
import numpy as np
import pytest
from keras import ops
from reference import ORTHOGONAL, RULES, array, polar, singular_values

from lipkit import layers, linalg, parametrizations

SHAPES = [(2, 256), (256, 128), (64, 64), (1, 7), (7, 1), (1, 1), (5, 3), (31, 37), (3, 20, 10)]


def awkward_matrices():
    rng = np.random.default_rng(1)
    normal = rng.standard_normal((30, 20))
    rotation = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    return {
        "zero": np.zeros((30, 20)),
        "ones": np.ones((30, 20)),
        "rank one": np.outer(normal[:, 0], normal[0]),
        "rank three": normal[:, :3] @ normal[:3],
        "graded columns": normal * np.logspace(-30, 30, 20),
        "graded spectrum": rotation * np.logspace(-8, 0, 20) @ rotation.T,
        "one dominant": np.diag([1.0] + 19 * [1e-3]),
        "huge": normal * 1e37,
        "tiny": normal * 1e-36,
        "subnormal": normal * 1e-42,
        "permutation": np.eye(20)[::-1],
        "nilpotent": np.eye(20, k=1),
    }


def constrained(rule, w):
    return array(parametrizations.get(rule)(ops.convert_to_tensor(np.asarray(w, "float32"))))


def test_functions_take_what_operations_of_keras_take(rng):
    """Symbolic tensors, names of arguments, options that are lists or tensors."""
    symbol = keras.Input((6, 4))
    assert linalg.spectral_normalize(symbol, 6).shape == (None, 6, 4)
    w = ops.convert_to_tensor(rng.standard_normal((6, 4)).astype("float32"))
    for got, expected in (
        (linalg.polar(w=w, iterations=7), linalg.polar(w, 7)),
        (linalg.frobenius_normalize(w, [-2, -1]), linalg.frobenius_normalize(w)),
        (linalg.bjorck(w, 9, ops.convert_to_tensor(0.5)), linalg.bjorck(w, 9, 0.5)),
        (linalg.near_polar(keras.Variable(w)), linalg.near_polar(w)),
    ):
        np.testing.assert_allclose(array(got), array(expected), atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the others compile no parts")
def test_compiled_parts_on_jax_know_the_types_of_options(rng):
    import jax

    w = ops.convert_to_tensor(rng.standard_normal((6, 4)).astype("float32"))
    linalg.polar(w, 7)
    with pytest.raises(TypeError):
        linalg.polar(w, 7.0)  # equal to the option of the call before, but no count
    assert jax.jit(lambda t: linalg.retract(w, t))(1e-5).shape == (6, 4)  # a traced option
    with pytest.raises(ValueError, match="Cholesky"):
        linalg.cholesky(ops.full((6, 4), np.nan))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_norm_is_at_most_one(rule, shape, scale, rng):
    assert singular_values(constrained(rule, scale * rng.standard_normal(shape))).max() <= 1 + 1e-5


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", awkward_matrices())
def test_awkward_matrices_give_finite_kernels_of_norm_at_most_one(rule, name):
    k = constrained(rule, awkward_matrices()[name])
    assert np.isfinite(k).all()
    assert singular_values(k).max() <= 1 + 1e-5
    if name not in ("zero", "subnormal"):
        reached = np.linalg.norm(k) if rule == "frobenius" else singular_values(k).max()
        assert reached >= 0.9  # it constrains, it does not destroy


@pytest.mark.parametrize("rule", ORTHOGONAL)
@pytest.mark.parametrize("shape", [(2, 256), (256, 128), (1, 7), (7, 1), (1, 1), (3, 20, 10)])
def test_well_conditioned_kernels_become_orthogonal(rule, shape, rng):
    assert singular_values(constrained(rule, rng.standard_normal(shape))).min() >= 1 - 1e-3


@pytest.mark.parametrize("condition", [1, 4, 20, 40])
def test_polar_is_the_polar_factor(condition, rng):
    u = np.linalg.qr(rng.standard_normal((30, 20)))[0]
    v = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    w = (u * np.geomspace(1, condition, 20)) @ v.T
    np.testing.assert_allclose(constrained("polar", w), polar(w), atol=2e-4)
    np.testing.assert_allclose(constrained("polar", w.T), polar(w.T), atol=2e-4)


@pytest.mark.parametrize("n", [20, 256])
@pytest.mark.parametrize("iterations", [4, 5, 40])
def test_polar_is_orthogonal_as_far_as_its_page_says(iterations, n, rng):
    # condition 48 / n^(1/8), where the bound of the norm is the worst
    sigma = np.r_[np.ones(n - 1), n**0.125 / 48]
    w = np.diag(sigma) @ np.linalg.qr(rng.standard_normal((n, n)))[0]
    got = singular_values(constrained(parametrizations.Polar(iterations=iterations), w))
    assert got.min() > 1 - 2e-6 and got.max() < 1 + 1e-6


@pytest.mark.parametrize("iterations", [1, 2, 3, 5, 12, 40])
def test_no_number_of_iterations_lifts_rounding_errors(iterations, rng):
    half = rng.standard_normal((64, 32)) @ rng.standard_normal((32, 64))
    for w in (half, np.ones((64, 64)), rng.standard_normal((64, 64)) * np.logspace(-9, 0, 64)):
        got = singular_values(constrained(parametrizations.Polar(iterations=iterations), w))
        assert got.max() < 1 + 1e-6


@pytest.mark.parametrize("rule", ORTHOGONAL)
def test_an_orthogonal_kernel_is_a_fixed_point(rule, rng):
    q = np.linalg.qr(rng.standard_normal((64, 32)))[0]
    np.testing.assert_allclose(constrained(rule, q), q, atol=1e-5)


def test_spectral_norm_bound_is_above_and_close(rng):
    for shape in SHAPES:
        w = rng.standard_normal(shape).astype("float32")
        bound = array(linalg.spectral_norm_bound(ops.convert_to_tensor(w), 10)).ravel()
        true = singular_values(w).max(axis=-1).ravel()
        assert (bound >= true * (1 - 1e-6)).all() and (bound <= true * 1.003).all()


def test_spectral_norm_bound_is_close_at_the_smallest_normal_numbers(rng):
    w = (2e-38 * rng.standard_normal((6, 4))).astype("float32")  # some entries may count as 0
    bound = float(array(linalg.spectral_norm_bound(ops.convert_to_tensor(w), 10)).squeeze())
    true = singular_values(w).max()
    assert true * (1 - 1e-6) <= bound <= 1.1 * true


def gradient(function, w):
    """Gradient of sum(weights * function(w)) through a real training step of plain SGD."""

    class Probe(keras.layers.Layer):
        def build(self, _):
            self.w = self.add_weight(shape=w.shape, initializer="zeros")

        def call(self, x):
            return ops.sum(x * function(self.w), axis=(1, 2))

    model = keras.Sequential([keras.Input(w.shape), Probe()])
    model.set_weights([w])
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, f: f)
    weights = np.random.default_rng(5).standard_normal((1, *w.shape)).astype("float32")
    model.fit(weights, np.zeros(1), verbose=0)
    return w - model.get_weights()[0], weights[0].astype("float64")


@pytest.mark.parametrize("rule", [*RULES, parametrizations.UnitColumns()])
@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (1, 1)])
def test_gradient_at_a_zero_kernel_is_finite_and_not_zero(rule, shape):
    step, _ = gradient(parametrizations.get(rule), np.zeros(shape, "float32"))
    assert np.isfinite(step).all() and 1e-3 < np.abs(step).max() < 1e5


def test_norm_of_a_zero_matrix_is_zero():
    zero = ops.zeros((2, 3, 4))
    np.testing.assert_array_equal(array(linalg.spectral_norm_bound(zero, 6)), np.zeros((2, 1, 1)))


def finite_difference(function, w, weights, h=1e-5):
    g = np.zeros_like(w, "float64")
    for i in np.ndindex(w.shape):
        e = np.zeros_like(w, "float64")
        e[i] = h
        g[i] = np.sum(weights * (function(w + e) - function(w - e))) / (2 * h)
    return g


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5)])
@pytest.mark.parametrize("rule", ["polar", "bjorck"])
def test_gradient_is_that_of_the_polar_factor(rule, shape, rng):
    # at an orthogonal kernel both gradients are exact
    w = polar(rng.standard_normal(shape)).astype("float32")
    got, weights = gradient(parametrizations.get(rule), w)
    np.testing.assert_allclose(got, finite_difference(polar, w, weights), atol=2e-4)


def test_polar_gradient_holds_the_inverse_root(rng):
    # away from the manifold it is the gradient of w -> polar(w z) with z = (wᵀw)^(-1/2) held
    w = rng.standard_normal((9, 4)).astype("float32")
    values, vectors = np.linalg.eigh(w.T.astype("float64") @ w)
    z = (vectors / np.sqrt(values)) @ vectors.T
    got, weights = gradient(parametrizations.get("polar"), w)
    expected = finite_difference(lambda a: polar(a @ z), w, weights)
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_cholesky_gradient_against_finite_differences(rng):
    def reference(a):
        return a @ np.linalg.inv(np.linalg.cholesky(a.T @ a)).T

    w = rng.standard_normal((9, 4)).astype("float32")
    got, weights = gradient(parametrizations.get("cholesky"), w)
    np.testing.assert_allclose(got, finite_difference(reference, w, weights), atol=2e-3)


def test_bjorck_gradient_against_finite_differences(rng):
    """Through all of its steps, at a kernel that is far from orthogonal."""
    w = (rng.standard_normal((9, 4)) * [8, 4, 2, 1]).astype("float32")
    bound = float(array(linalg.spectral_norm_bound(ops.convert_to_tensor(w), 6)).squeeze())

    def reference(a):
        a = a / bound
        for _ in range(6):
            a = 1.5 * a - 0.5 * a @ a.T @ a
        return a

    got, weights = gradient(parametrizations.Bjorck(iterations=6), w)
    np.testing.assert_allclose(got, finite_difference(reference, w, weights), atol=1e-3)


@pytest.mark.parametrize("beta", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("iterations", [1, 2, 15])
def test_bjorck_with_any_beta_and_few_steps_stays_below_one(beta, iterations, rng):
    rule = parametrizations.Bjorck(iterations=iterations, beta=beta)
    spread = np.linalg.qr(rng.standard_normal((32, 32)))[0] * np.append(np.ones(31), 100)
    for w in (rng.standard_normal((64, 64)), spread, 1e3 * np.eye(8), np.ones((9, 5))):
        sigma = singular_values(rule(ops.convert_to_tensor(w.astype("float32"))))
        assert 0.5 < sigma.max() <= 1 + 1e-5


def test_configuration_round_trip_and_errors():
    for rule in (parametrizations.Bjorck(iterations=3, beta=0.25), parametrizations.get("polar")):
        assert parametrizations.get(parametrizations.serialize(rule)) == rule
        assert parametrizations.get(rule) is not rule
    with pytest.raises(ValueError, match="`parametrization` must be one of.*'nope'"):
        parametrizations.get("nope")
    with pytest.raises(ValueError, match="`beta` must be a number in .*beta=0.6"):
        parametrizations.Bjorck(beta=0.6)
    with pytest.raises(ValueError, match="`beta` must be a number.*beta='a'"):
        parametrizations.Bjorck(beta="a")
    with pytest.raises(ValueError, match="`iterations` must be an integer >= 1.*=0"):
        parametrizations.Polar(iterations=0)


@parametrizations.register
class Halved(parametrizations.Parametrization):
    name = "halved"

    def __call__(self, w):
        return 0.5 * parametrizations.Polar()(w)


def test_rules_of_users_are_found_by_name_and_in_files(tmp_path):
    layer = layers.SpectralDense(4, parametrization="halved")
    model = keras.Sequential([keras.Input((4,)), layer])
    assert singular_values(layer.kernel) == pytest.approx(0.5 * np.ones(4), abs=1e-5)
    model.save(tmp_path / "m.keras")
    assert keras.models.load_model(tmp_path / "m.keras").layers[-1].parametrization == Halved()
    with pytest.raises(ValueError, match="`name` must be new.*'polar'"):
        parametrizations.register(type("Other", (Halved,), {"name": "polar"}))

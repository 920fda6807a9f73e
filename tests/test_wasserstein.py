"""Wasserstein distances against closed forms, exact optimal transport and coverage."""

import math
import os
import pickle

import keras
import numpy as np
import pytest

import lipkit
from lipkit.wasserstein import WassersteinDistance, wasserstein_distance
from lipkit.wasserstein.betting import lower_mean

QUICK = {"epochs": 3, "steps": 60, "batch_size": 128}


def exact(x, y):
    """Exact W1 between two finite samples, by POT's network simplex."""
    for name in ("JAX", "TENSORFLOW", "PYTORCH"):  # it would import them all
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{name}", "1")
    import ot

    cost = ot.dist(x.astype("float64"), y.astype("float64"), metric="euclidean")
    return ot.emd2([], [], cost, numItermax=10**6)


def gaussians(n, d, shift, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, n, d))
    return x + shift / math.sqrt(d), y


def linear(shape, w, bias=0.0):
    w = np.asarray(w, "float32").reshape(-1, 1)
    flatten = [keras.layers.Flatten()] * (len(shape) > 1)
    model = keras.Sequential([keras.Input(shape), *flatten, keras.layers.Dense(1)])
    model.set_weights([w, np.array([bias], "float32")])
    return model


def stack(*units):
    layers = [keras.layers.Dense(n, kernel_initializer="ones") for n in units]
    return keras.Sequential([keras.Input((2,)), *layers])


# The bound of a mean ----------------------------------------------------------------------------


def bound_by_scan(values, limit, error):
    """The definition, one bet after the other, for each m of a grid."""
    u = [(z / limit + 1) / 2 for z in values]
    best = 0.0
    for m in np.linspace(1e-3, 1, 2000):
        capital, total, squares = 1.0, 0.5, 0.25
        for t, value in enumerate(u, start=1):
            bet = math.sqrt(2 * math.log(1 / error) / (len(u) * squares / t))
            capital *= 1 + min(bet, 0.75 / m) * (value - m)
            total += value
            squares += (value - total / (t + 1)) ** 2
        best = m if capital >= 1 / error else best
    return (2 * best - 1) * limit


@pytest.mark.once
@pytest.mark.parametrize(("n", "error"), [(3, 0.5), (40, 0.05), (150, 0.01)])
def test_bound_of_a_mean_is_its_definition(n, error):
    values = 3 * np.random.default_rng(n).uniform(-1, 1, n) ** 3 + 0.5
    expected = bound_by_scan(values, 4.0, error)
    assert abs(lower_mean(values, 4.0, error) - expected) <= 8 / 1999


DRAWS = {
    "bernoulli": lambda rng, n: rng.choice([-1.0, 1.0], n, p=[0.3, 0.7]),
    "rare": lambda rng, n: rng.choice([-1.0, 1.0], n, p=[0.995, 0.005]),
    "rarely low": lambda rng, n: rng.choice([-1.0, 1.0], n, p=[0.005, 0.995]),
    "narrow": lambda rng, n: rng.normal(0.2, 0.05, n).clip(-1, 1),
}


@pytest.mark.once
@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("n", [10, 200])
def test_bound_of_a_mean_holds_as_often_as_it_says(name, n):
    """With 2,000 repetitions: 20 % may be wrong, 2.7 % is three standard deviations."""
    rng = np.random.default_rng(1)
    truth = {"bernoulli": 0.4, "rare": -0.99, "rarely low": 0.99, "narrow": 0.2}[name]
    wrong = [lower_mean(DRAWS[name](rng, n), 1.0, 0.2) > truth for _ in range(2000)]
    assert np.mean(wrong) <= 0.227


@pytest.mark.once
def test_bound_of_a_mean_is_sharp():
    z = np.random.default_rng(2).normal(0.3, 0.15, 2000).clip(-1, 1)
    expected = z.mean() - z.std() * math.sqrt(2 * math.log(20) / 2000)
    assert abs(lower_mean(z, 1.0, 0.05) - expected) <= 0.1 * (z.mean() - expected)
    assert lower_mean(z, 1.0, 0.001) < lower_mean(z, 1.0, 0.05)
    assert lower_mean(np.zeros(5), 0.0, 0.05) == 0.0


# Distances --------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr("lipkit.wasserstein.critics.WIDTHS", (32,))


@pytest.mark.parametrize("d", [2, 10])
def test_shifted_gaussians(d, small):
    x, y = gaussians(8000, d, 3.0)
    result = wasserstein_distance(x, y, **QUICK)
    print(result)
    assert abs(result - 3) <= 0.09
    assert result.interval[0] <= 3 and result.interval[0] < result < result.interval[1]
    assert 2.8 <= result.lower_bound <= 3
    assert result.interval[0] < result.lower_bound  # one side against two
    assert list(result.history) == ["loss"] and len(result.history["loss"]) == 3


def test_moons_against_exact_transport(monkeypatch):
    monkeypatch.setattr("lipkit.wasserstein.critics.WIDTHS", (64, 64))
    points, labels = lipkit.data.moons(1600, noise=0.05, seed=0)
    x, y = points[labels > 0], points[labels < 0]
    result = lipkit.wasserstein.wasserstein_distance(x, y, epochs=4, steps=60)
    truth = exact(x, y)
    print(result, truth)
    assert 0.985 * truth <= result.empirical_lower_bound <= truth
    assert abs(result - truth) <= 0.03 * truth
    # nobody has to believe the numbers: the critic says them
    values = [result.critic.predict(a, verbose=0) for a in (x, y)]
    gap = (values[0].mean() - values[1].mean()) / lipkit.lipschitz_bound(result.critic)
    assert abs(gap - result.empirical_lower_bound) <= 1e-4
    assert "lipkit" not in str(result.critic.get_config())


def test_what_was_learnt_by_heart_proves_nothing(small):
    """40 samples in 60 dimensions: the samples are far apart, the distributions are one."""
    x, y = np.random.default_rng(0).standard_normal((2, 40, 60))
    result = wasserstein_distance(x, y, **QUICK)
    assert result.empirical_lower_bound > 2
    assert result.lower_bound == 0
    assert abs(result) < 1.5 and result.interval[0] < 0 < result.interval[1]
    keras.utils.set_random_seed(7)  # is of no importance
    again = wasserstein_distance(4 * x, 4 * y, **QUICK)  # in another unit
    np.testing.assert_allclose(float(again), 4 * float(result), rtol=1e-5)
    np.testing.assert_allclose(again.interval, 4 * np.array(result.interval), rtol=1e-5)
    assert again.lipschitz_bound == pytest.approx(result.lipschitz_bound / 4, rel=1e-5)


def test_points_that_are_all_equal(small):
    x = np.full((60, 3), 2.5)
    y = x - np.array([0.0, 3.0, 4.0])
    same = wasserstein_distance(x, x, epochs=0)
    assert same == 0 and same.lower_bound == same.empirical_lower_bound == 0
    assert np.allclose(same.interval, 0, atol=1e-12)
    apart = wasserstein_distance(x, y, critic=linear((3,), [0, 3, 4]), epochs=0)
    np.testing.assert_allclose([apart, apart.empirical_lower_bound, apart.interval[1]], 5)
    assert apart.lower_bound == pytest.approx(lower_mean(np.ones(30), 1.0, 0.025) * 5)


# A critic that is given -------------------------------------------------------------------------


def test_linear_critic_in_closed_form():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(1, 2, (50, 4, 3, 1)), rng.uniform(0, 1, (31, 4, 3, 1))
    w = rng.standard_normal(12).astype("float32") + 1
    result = wasserstein_distance(x, y, critic=linear((4, 3, 1), w, 7.0), epochs=0, folds=3)
    w = w.astype("float64")
    rng = np.random.default_rng(0)
    parts = [
        np.array_split(rng.permutation(s).reshape(len(s), -1) @ w / np.linalg.norm(w), 3)
        for s in (x, y)
    ]
    means, lower, low, high = [], [], [], []
    for held in range(3):
        seen = [part for sample in parts for i, part in enumerate(sample) if i != held]
        least, most = min(map(min, seen)), max(map(max, seen))
        a, b = (sample[held].clip(least, most) for sample in parts)
        means.append(a.mean() - b.mean())
        pairs = np.array([part.mean() for part in np.array_split(a, len(b))]) - b
        lower.append(lower_mean(pairs, most - least, 0.05 / 3))
        low.append(lower_mean(pairs, most - least, 0.05 / 6))
        high.append(-lower_mean(-pairs, most - least, 0.05 / 6))
    np.testing.assert_allclose(float(result), np.mean(means), rtol=1e-9)
    a, b = map(np.concatenate, parts)
    np.testing.assert_allclose(result.empirical_lower_bound, a.mean() - b.mean(), rtol=1e-9)
    np.testing.assert_allclose(result.lower_bound, max(lower), rtol=1e-6)
    np.testing.assert_allclose(result.interval, (np.mean(low), np.mean(high)), rtol=1e-6)
    assert 0 < result.lower_bound < result.empirical_lower_bound
    assert result.empirical_lower_bound <= exact(x.reshape(50, -1), y.reshape(31, -1))
    assert result.history == {}


def test_outliers_that_the_critic_never_saw_are_cut_off():
    x = np.concatenate([np.linspace(0, 1, 99), [1e3]])[:, None]
    result = wasserstein_distance(x, x * 0, critic=linear((1,), [1.0]), epochs=0)
    assert 0.45 <= result <= 0.55  # and not 10, the difference of the means


def test_critic_is_copied_and_its_constant_is_taken_off():
    x, y = gaussians(300, 2, 3.0)
    layers = [lipkit.layers.SpectralDense(16), lipkit.layers.GroupSort2()]
    layers += [lipkit.layers.FrobeniusDense(1)]
    critic = lipkit.Sequential([keras.Input((2,)), *layers], k_coef_lip=9.0)
    before = critic.get_weights()
    result = wasserstein_distance(x, y, critic=critic, epochs=2, steps=40, batch_size=64)
    for a, b in zip(critic.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert result.critic is not critic
    assert result.lipschitz_bound == pytest.approx(9, rel=1e-4)
    assert 2.6 <= result.empirical_lower_bound <= exact(x, y)


# The result and bad arguments -------------------------------------------------------------------


def test_result_is_a_number():
    result = WassersteinDistance(1.25, 1.0, (0.5, 2.0), 1.125, 0.9, 1.0, None, {"loss": [0.5]})
    assert 2 * result == 2.5 and f"{result:.1f}" == "1.2" and sorted([2, result])[0] is result
    assert str(result).splitlines() == [
        "Wasserstein-1 distance: about 1.25 (estimate; 90 % interval of its noise 0.5 ... 2)",
        "  of the distributions: at least 1 with 90 % confidence",
        "  of the two samples:   at least 1.125 (proven)",
    ]
    copy = pickle.loads(pickle.dumps(result))
    assert copy == result and vars(copy) == vars(result)
    with pytest.raises(AttributeError):
        result.estimate = 0.0


GOOD = np.random.default_rng(0).standard_normal((20, 2))
HOLE = np.where(np.arange(40).reshape(20, 2) == 7, np.nan, GOOD)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": HOLE}, r"`x` must be.*finite.*missing.*\(20, 2\).*1 rows with NaN.*row 3"),
        ({"y": GOOD + np.inf}, "`y` must be.*20 rows with NaN or infinity, the first is row 0"),
        ({"x": GOOD.astype(str)}, "`x` must be an array.*encode text.*<U"),
        ({"y": GOOD.astype(object)}, "`y` must be.*dtype object"),
        ({"x": 3.0}, r"`x` must be an array \(n, ...\).*shape \(\)"),
        ({"y": GOOD[:, :1]}, r"same features.*x.shape=\(20, 2\), y.shape=\(20, 1\)"),
        ({"x": GOOD[:, :0], "y": GOOD[:, :0]}, r"at least one.*\(20, 0\)"),
        ({"x": GOOD[:3]}, "`x` must have at least 4 samples, 2 for each of 2 folds.*3 samples"),
        ({"y": GOOD[:9], "folds": 5}, "`y` must have at least 10 samples.*9 samples"),
        ({"folds": 1}, "`folds` must be an integer >= 2.*1"),
        ({"confidence": 95}, r"`confidence` must be a number in \(0, 1\).*95"),
        ({"epochs": -1}, "`epochs` must be an integer >= 0.*-1"),
        ({"steps": 0}, "`steps` must be an integer >= 1"),
        ({"batch_size": 3}, "`batch_size` must be even"),
        ({"seed": None}, "`seed` must be an integer >= 0.*None"),
        ({"learning_rate": 0}, "`learning_rate` must be a number > 0"),
        ({"x": GOOD + 1e6, "y": GOOD + 1e6}, "subtract a common point.*up to 1e.06 that differ"),
        ({"x": GOOD * 1e200}, "do not fit float32.*e.200 that differ by inf"),
        ({"critic": linear((3,), np.ones(3))}, r"`critic` must read.*\(2,\).*\[\(3,\)\]"),
        (
            {"critic": keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])},
            r"one number.*\[4\]",
        ),
    ],
)
def test_bad_arguments(changed, message):
    with pytest.raises(ValueError, match=message):
        wasserstein_distance(**{"x": GOOD, "y": GOOD, **changed})


def test_critic_without_a_rule_is_refused_before_training():
    critic = keras.Sequential(
        [keras.Input((2,)), keras.layers.Lambda(lambda x: x**2), keras.layers.Dense(1)]
    )
    with pytest.raises(lipkit.NotCertifiable, match="[Ll]ambda"):
        wasserstein_distance(GOOD, GOOD, critic=critic)


def test_training_that_diverges_is_an_error():
    with pytest.raises(ValueError, match="If training diverged"):
        wasserstein_distance(GOOD, GOOD, critic=stack(8, 1), epochs=1, steps=5, learning_rate=1e38)
    large = stack(*[1] * 8)
    large.set_weights([np.full_like(w, 1e38) for w in large.get_weights()])
    with pytest.raises(ValueError, match="overflow float32.*at most 1.*e.304.*diverged"):
        wasserstein_distance(1e5 * GOOD, 1e5 * GOOD, critic=large, epochs=0)

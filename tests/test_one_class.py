"""`OneClassLipschitz` and the mining of its negatives."""

import pickle

import numpy as np
import pytest

import lipkit
from lipkit.recipes import one_class

pytest.importorskip("sklearn")

from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from lipkit.estimators import OneClassLipschitz

FAST = {"recipe": "linear", "epochs": 1, "learning_rate": 0.1, "batch_size": 64}


@pytest.mark.once
@parametrize_with_checks([OneClassLipschitz(**FAST)])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def ring(n, seed=0):
    """Points within 0.1 of the unit circle, the first axis in thousandths."""
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, n), rng.uniform(0.9, 1.1, n)
    return np.stack([np.cos(angle) * 1e-3, np.sin(angle)], 1) * radius[:, None]


WEIGHTS = np.array([1e3, 1.0])


@pytest.fixture(scope="module")
def detector():
    return OneClassLipschitz(eps=0.05, epochs=80, feature_weights=WEIGHTS, random_state=0).fit(
        ring(300)
    )


def test_score_is_a_signed_distance(detector):
    test = ring(200, seed=1)
    assert np.mean(detector.predict(test) == 1) > 0.9
    away = WEIGHTS**-1 * np.array([[0.0, 0.0], [0.2, 0.1], [2.5, 0.0], [0.0, -3.0], [2.0, 2.0]])
    assert (detector.predict(away) == -1).all()
    truth = np.abs(np.linalg.norm(away * WEIGHTS, axis=1) - 1) - 0.1  # to the ring, outside of it
    score = detector.decision_function(away)
    assert (-score <= truth + 0.1).all()  # no farther than it is, but for what was not sampled
    assert (-score >= 0.3 * truth).all()


def test_score_is_1_lipschitz_and_radii_hold(detector):
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(-2, 2, (500, 2)) / WEIGHTS for _ in range(2))
    moved = np.linalg.norm((a - b) * WEIGHTS, axis=1)
    change = np.abs(detector.score_samples(a) - detector.score_samples(b))
    assert (change <= moved * (1 + 1e-9)).all()
    radius = detector.predict_radius(a)
    np.testing.assert_allclose(radius, np.abs(detector.decision_function(a)), rtol=1e-6)
    angle = rng.uniform(0, 2 * np.pi, (50, 500))
    for step in np.stack([np.cos(angle), np.sin(angle)], -1) * radius[:, None] / WEIGHTS:
        np.testing.assert_array_equal(detector.predict(a + step), detector.predict(a))
    raw = lipkit.certify(detector.model_, a)
    result = lipkit.attacks.falsify(detector.model_.vanilla_export(), a, raw)
    assert result.attacked.sum() > 490 and not result.broken.any()


def test_certified_share_of_right_predictions(detector):
    x = np.concatenate([ring(50, seed=2), np.zeros((50, 2)) + 1e-6])
    y = np.repeat([1, -1], 50)
    certificates = detector.certify(x, y)
    np.testing.assert_array_equal(np.where(certificates.label == 1, 1, -1), detector.predict(x))
    assert detector.score_certified(x, y, 0.0) == np.mean(detector.predict(x) == y) > 0.9
    assert detector.score_certified(x, y, 0.3) == pytest.approx(0.5)  # the hole is wider than that


@pytest.mark.once
@pytest.mark.parametrize("share", [0.05, 0.25])
def test_contamination(share):
    x = ring(200)
    detector = OneClassLipschitz(share, **FAST, random_state=0).fit(x)
    assert np.mean(detector.predict(x) == -1) == share
    np.testing.assert_allclose(
        detector.score_samples(x) - detector.offset_, detector.decision_function(x)
    )
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.decision_function(x), detector.decision_function(x))


@pytest.mark.parametrize("share", [0.0, 0.6, "all", None])
def test_contamination_out_of_range(share):
    with pytest.raises(ValueError, match="`contamination` must be"):
        OneClassLipschitz(share, **FAST).fit(ring(20))


def test_digits_that_were_never_seen():
    x, y = load_digits(return_X_y=True)
    zero = y == 0
    detector = OneClassLipschitz(epochs=30, random_state=0).fit(x[zero][:120])
    rest = np.concatenate([x[zero][120:], x[~zero]])
    truth = np.r_[np.ones(zero.sum() - 120), np.zeros((~zero).sum())]
    assert roc_auc_score(truth, detector.score_samples(rest)) > 0.98


def test_mined_negatives_lie_between_the_box_and_the_level_set():
    """For f = 1 - |z| the level set f = -1 is the sphere of radius 2, which Newton's step meets."""

    def gradient(z):
        length = np.linalg.norm(z, axis=1)
        return 1 - length, -z / length[:, None]

    low, high = np.full(3, -5.0), np.full(3, 5.0)
    rng, again = (np.random.default_rng(0) for _ in range(2))
    start = again.uniform(low, high, (500, 3))
    z = one_class.mined(gradient, low, high, 1.0, 500, rng)
    assert z.dtype == np.float32 and (np.abs(z) <= 5).all()
    outside = np.linalg.norm(start, axis=1) > 2
    np.testing.assert_allclose(z[~outside], start[~outside], rtol=1e-6)
    before, after = (np.linalg.norm(v[outside], axis=1) - 2 for v in (start, z))
    share = 1 - after / before  # of the way to the sphere: uniform in [0, 1]
    np.testing.assert_allclose(
        np.quantile(share, [0, 0.1, 0.5, 0.9, 1]), [0, 0.1, 0.5, 0.9, 1], atol=0.07
    )

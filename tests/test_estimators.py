"""scikit-learn estimators: predictions, radii and intervals that attacks and searches respect."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lipkit
from lipkit.estimators import LipschitzClassifier, LipschitzRegressor, OneClassLipschitz

SHORT = {"epochs": 20, "random_state": 0}


@pytest.fixture(scope="module", params=[load_breast_cancer, load_wine])
def classified(request):
    """(a trained classifier, held-out samples and their labels, as strings)."""
    data = request.param()
    x, y = data.data, data.target_names[data.target]
    x, x_test, y, y_test = train_test_split(x, y, random_state=0, stratify=y)
    return LipschitzClassifier(feature_weights="std", **SHORT).fit(x, y), x_test, y_test


def test_classifier_is_accurate_and_no_radius_is_broken(classified):
    classifier, x, y = classified
    assert set(classifier.predict(x)) <= set(classifier.classes_)
    assert classifier.score(x, y) > 0.9
    certificates = classifier.certify(x, y)
    weights = np.asarray(classifier.settings_["feature_weights"])
    np.testing.assert_array_equal(classifier.classes_[certificates.label], classifier.predict(x))
    radius = classifier.predict_radius(x)
    np.testing.assert_array_equal(radius, certificates.radius)
    assert np.mean(radius > 0) > 0.95
    # random steps of almost that length, and steps along the way to other samples
    rng = np.random.default_rng(0)
    for step in (rng.standard_normal(x.shape), (x[rng.permutation(len(x))] - x) * weights):
        step *= 0.999 * (radius / np.maximum(np.linalg.norm(step, axis=1), 1e-30))[:, None]
        np.testing.assert_array_equal(classifier.predict(x + step / weights), classifier.predict(x))
    exact = lipkit.certify(classifier.model_, x)
    assert lipkit.attacks.falsify(classifier.model_, x, exact).broken.sum() == 0
    # radii are not idle: some decision changes within 30 of them
    far = 30 * (radius / np.maximum(np.linalg.norm(step, axis=1), 1e-30))[:, None] * step
    assert (classifier.predict(x + far / weights) != classifier.predict(x)).any()


def test_certified_scores(classified):
    classifier, x, y = classified
    scores = [classifier.score_certified(x, y, eps) for eps in (0.0, 0.1, 1.0, 1e6)]
    assert scores == sorted(scores, reverse=True) and scores[-1] == 0
    assert scores[0] == pytest.approx(classifier.score(x, y), abs=0.02)
    assert classifier.score_certified(x, np.full(len(y), "unheard of"), 0.0) == 0


def test_pickles_clones_and_random_states(classified):
    classifier, x, _ = classified
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict(x), classifier.predict(x))
    np.testing.assert_allclose(again.predict_radius(x), classifier.predict_radius(x), rtol=1e-12)
    assert clone(classifier).get_params() == classifier.get_params()
    small = {"epochs": 2, "recipe": "linear", "random_state": 3}
    y = classifier.predict(x)
    values = [LipschitzClassifier(**small).fit(x, y).decision_function(x) for _ in range(2)]
    np.testing.assert_array_equal(*values)


def test_pipelines_and_cross_validation():
    x, y = load_wine(return_X_y=True)
    classifier = LipschitzClassifier("linear", epochs=150, random_state=0)
    pipeline = make_pipeline(StandardScaler(), classifier)
    assert cross_val_score(pipeline, x, y, cv=2).min() > 0.85


@pytest.mark.parametrize("lipschitz", [None, 0.5])
def test_regressor_stays_in_its_intervals(lipschitz):
    x, y = load_diabetes(return_X_y=True)
    x, y = 20 * x, (y - y.mean()) / y.std()
    regressor = LipschitzRegressor(lipschitz=lipschitz, **SHORT).fit(x, y)
    assert regressor.score(x, y) > 0.3
    assert lipschitz is None or regressor.lipschitz_ <= lipschitz * (1 + 1e-5)
    rng = np.random.default_rng(0)
    lower, upper = regressor.predict_interval(x, radius=0.1)
    assert (lower < regressor.predict(x)).all() and (regressor.predict(x) < upper).all()
    step = rng.standard_normal(x.shape)
    moved = regressor.predict(x + 0.1 * step / np.linalg.norm(step, axis=1, keepdims=True))
    assert ((lower <= moved) & (moved <= upper)).all()
    np.testing.assert_allclose(upper - lower, 0.2 * regressor.lipschitz_, rtol=1e-3)


def test_outliers():
    rng = np.random.default_rng(0)
    x = 0.3 * rng.standard_normal((300, 2))
    detector = OneClassLipschitz(contamination=0.1, **SHORT).fit(x)
    assert np.mean(detector.predict(x) == -1) == pytest.approx(0.1, abs=0.02)
    far = np.array([[4.0, 4.0], [-5.0, 0.0]])
    np.testing.assert_array_equal(detector.predict(far), -1)
    scores = detector.score_samples(x)
    np.testing.assert_allclose(detector.decision_function(x), scores - detector.offset_, atol=1e-9)
    step = rng.standard_normal(x.shape)
    step *= 0.2 / np.linalg.norm(step, axis=1, keepdims=True)
    assert np.abs(detector.score_samples(x + step) - scores).max() <= 0.2 * (1 + 1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, np.zeros(len(y))), "at least 2 classes"),
        (lambda x, y: (np.where(x > 14, np.nan, x), y), "NaN"),
        (lambda x, y: (x[:, :0], y), "0 feature"),
        (lambda x, y: (x, y[:-1]), "inconsistent numbers of samples"),
    ],
)
def test_bad_data_is_refused(change, message):
    x, y = load_wine(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        LipschitzClassifier("linear", epochs=1).fit(*change(x, y))

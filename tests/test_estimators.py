"""The estimators for scikit-learn: its own checks, certificates, and life in its tools."""

import pickle

import numpy as np
import pytest

import lipkit

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.datasets import load_breast_cancer, load_digits, load_wine  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.frozen import FrozenEstimator  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split  # noqa: E402
from sklearn.multioutput import MultiOutputClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from lipkit.estimators import LipschitzClassifier, LipschitzRegressor  # noqa: E402

FAST = {"recipe": "linear", "epochs": 8, "learning_rate": 1.0, "batch_size": 64}


def not_equivalent(estimator):
    """Batches are drawn by row: a row twice, or left out, is another order of the others."""
    kinds = ("dense", "sparse")
    checks = [f"check_sample_weight_equivalence_on_{kind}_data" for kind in kinds]
    return dict.fromkeys(checks, "weights are of rows in random batches")


@pytest.mark.once
@parametrize_with_checks(
    [LipschitzClassifier(**FAST), LipschitzRegressor(**FAST)], expected_failed_checks=not_equivalent
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def halves(load, **options):
    x, y = load(return_X_y=True, **options)
    return train_test_split(x, y, random_state=0, stratify=y)


@pytest.fixture(scope="module")
def cancer():
    """A classifier of named classes, and its test data."""
    x, test, y, truth = halves(load_breast_cancer)
    names = np.array(["malignant", "benign"])
    options = {"recipe": "mlp", "feature_weights": "std", "random_state": 0}
    classifier = LipschitzClassifier(eps=0.3, epochs=60, **options)
    return classifier.fit(x, names[y]), test, names[truth]


def test_certified_scores(cancer):
    classifier, x, y = cancer
    assert classifier.classes_.tolist() == ["benign", "malignant"]
    certificates = classifier.certify(x, y)
    accuracy = classifier.score(x, y)
    assert accuracy > 0.93
    sure = certificates.status == "certified"
    assert sure.all()
    assert classifier.score_certified(x, y, 0.0) == accuracy
    np.testing.assert_array_equal(classifier.classes_[certificates.label], classifier.predict(x))
    radius = classifier.predict_radius(x)
    np.testing.assert_array_equal(radius, certificates.radius)
    right = classifier.predict(x) == y
    assert classifier.score_certified(x, y, 0.3) == np.mean(right & (radius >= 0.3)) > 0.85
    scores = [classifier.score_certified(x, y, eps) for eps in np.linspace(0, 6, 20)]
    assert scores == sorted(scores, reverse=True) and scores[-1] < 0.1
    # the radius is |f| over a constant, in the units of the weights
    margin = np.abs(classifier.decision_function(x))
    np.testing.assert_allclose(radius, margin / certificates.lipschitz, rtol=1e-6)


def test_radii_cannot_be_refuted(cancer):
    classifier, x, _ = cancer
    raw = lipkit.certify(classifier.model_, x)
    plain = classifier.model_.vanilla_export()
    result = lipkit.attacks.falsify(plain, x, raw)
    assert result.attacked.all() and not result.broken.any()
    # in standard deviations: random moves to the very edge of the ball
    weights = np.asarray(classifier.settings_["feature_weights"])
    steps = np.random.default_rng(0).standard_normal((5, *x.shape))
    steps *= (classifier.predict_radius(x) / np.linalg.norm(steps, axis=-1))[..., None] / weights
    for step in steps:
        np.testing.assert_array_equal(classifier.predict(x + step), classifier.predict(x))


def test_labels_that_were_never_seen_count_as_wrong(cancer):
    classifier, x, y = cancer
    other = np.where(np.arange(len(y)) < 10, "unclear", y.astype(object))
    assert (classifier.certify(x, other).y[:10] == -2).all()
    expected = np.mean(classifier.predict(x) == other)
    assert classifier.score_certified(x, other, 0.0) == expected < classifier.score(x, y)
    with pytest.raises(ValueError, match="one label for each of 143 samples"):
        classifier.certify(x, y[:5])


def test_pickled_and_cloned(cancer):
    classifier, x, _ = cancer
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.decision_function(x), classifier.decision_function(x))
    np.testing.assert_array_equal(again.predict_radius(x), classifier.predict_radius(x))
    assert again.settings_ == classifier.settings_ and again.history_ == classifier.history_
    fresh = clone(classifier)
    assert fresh.get_params() == classifier.get_params()
    for method in (fresh.predict, fresh.predict_radius, fresh.certify):
        with pytest.raises(NotFittedError):
            method(x)


@pytest.mark.once
@pytest.mark.parametrize(("load", "bar"), [(load_wine, 0.93), (load_digits, 0.93)])
def test_accuracy_on_several_classes(load, bar):
    x, test, y, truth = halves(load)
    classifier = LipschitzClassifier(epochs=20, random_state=0).fit(x, y)
    assert classifier.score(test, truth) > bar
    assert classifier.decision_function(test).shape == (len(test), len(set(y)))
    assert classifier.score_certified(test, truth, classifier.settings_["eps"]) > bar - 0.1


@pytest.mark.once
def test_pipeline_grid_search_and_cross_validation():
    x, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LipschitzClassifier(**FAST, random_state=0))
    assert cross_val_score(pipeline, x, y, cv=2).min() > 0.85
    grid = {"lipschitzclassifier__eps": [0.1, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=2, refit=True).fit(x, y)
    assert search.best_params_["lipschitzclassifier__eps"] in (0.1, 1.0)
    assert search.score(x, y) > 0.85

    def certified(estimator, X, y):
        scaled = estimator[:-1].transform(X)
        return estimator[-1].score_certified(scaled, y, 0.2)

    scores = cross_val_score(pipeline, x, y, cv=2, scoring=certified)
    assert ((scores > 0.6) & (scores < 1)).all()


@pytest.mark.once
def test_weights_of_samples_and_of_named_classes(rng):
    x = rng.standard_normal((200, 2))
    y = np.where(x[:, 0] > 0, "sick", "well")
    wrong = np.arange(200) % 2 == 0
    noisy = np.where(wrong, np.where(y == "sick", "well", "sick"), y)
    options = {"recipe": "mlp", "epochs": 20, "random_state": 0}
    classifier = LipschitzClassifier(**options).fit(x, noisy, np.where(wrong, 0.0, 1.0))
    assert classifier.score(x, y) > 0.9
    x[:, 0] = rng.standard_normal(200)  # nothing to learn: the heavier class wins
    for heavy in ("sick", "well"):
        weighed = LipschitzClassifier(class_weight={heavy: 50.0}, **options).fit(x, y)
        assert np.mean(weighed.predict(x) == heavy) > 0.9
    with pytest.raises(ValueError, match="class_weight must be of labels in y.*'ill'"):
        LipschitzClassifier(class_weight={"ill": 2.0}, **options).fit(x, y)
    with pytest.raises(ValueError, match="200 numbers >= 0"):
        LipschitzRegressor(**options).fit(x, x[:, 0], sample_weight=[1.0])


def test_a_stream_of_batches():
    """One class comes later; the classes are named, and known from the start."""
    rng = np.random.default_rng(0)
    number = np.repeat([0, 1, 0, 1, 2], 60)
    x = rng.standard_normal((300, 2)) + 5 * np.array([(0, 0), (1, 0), (0, 1)])[number]
    y = np.array(["left", "right", "up"])[number]
    options = {"epochs": 30, "learning_rate": 0.1, "early_stopping": True, "random_state": 0}
    stream = LipschitzClassifier("linear", **options)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        stream.partial_fit(x, y)
    names = ["up", "left", "right"]
    assert stream.partial_fit(x[:120], y[:120], classes=names) is stream
    assert stream.classes_.tolist() == sorted(names)
    eps, first = stream.settings_["eps"], stream.model_
    before = stream.decision_function(x)
    for batch in np.split(rng.permutation(300), 10):
        stream.partial_fit(x[batch], y[batch])
    assert stream.settings_["eps"] == eps and stream.model_ is not first
    assert len(stream.history_["loss"]) == len(stream.history_["val_loss"]) + 10
    assert np.abs(stream.decision_function(x) - before).max() > 1e-3
    assert stream.certify(x, y).certified.all() and stream.score(x, y) > 0.6
    for options, message in (
        ({"y": np.full(300, "down")}, "y must have labels of .*'down'"),
        ({"classes": ["up", "left"]}, "classes must be those of the first call"),
        ({"X": x[:, :1]}, "X has 1 features, but LipschitzClassifier is expecting 2"),
    ):
        with pytest.raises(ValueError, match=message):
            stream.partial_fit(**{"X": x, "y": y, **options})
    with pytest.raises(ValueError, match="`y` must hold|y must have labels"):
        clone(stream).partial_fit(x, y, classes=["left", "right"])


def test_warm_start():
    x, y = load_wine(return_X_y=True)
    options = {"recipe": "linear", "epochs": 4, "learning_rate": 0.1, "random_state": 0}
    warm, cold = (LipschitzClassifier(warm_start=w, **options).fit(x, y) for w in (True, False))
    once = warm.decision_function(x)
    np.testing.assert_array_equal(once, cold.fit(x, y).decision_function(x))
    weights = warm.settings_["feature_weights"]
    assert len(warm.fit(x[y < 2], y[y < 2]).history_["loss"]) == 8
    assert np.abs(warm.decision_function(x) - once).max() > 1e-3
    assert warm.settings_["feature_weights"] == weights and len(warm.classes_) == 3
    with pytest.raises(ValueError, match="y must have labels of .*7"):
        warm.fit(x, np.where(y == 0, 7, y))


def test_a_regressor_goes_on():
    x, y = wave_samples()
    options = {"recipe": "linear", "epochs": 3, "random_state": 0, "lipschitz": 2.0}
    regressor = LipschitzRegressor(warm_start=True, learning_rate=0.1, **options).fit(x, y)
    before, constant = regressor.predict(x), regressor.lipschitz_
    regressor.fit(x, -y).partial_fit(x[:1], y[:1])
    assert len(regressor.history_["loss"]) == 7
    assert np.mean((regressor.predict(x) + y) ** 2) < np.mean((before + y) ** 2)
    assert regressor.lipschitz_ != constant and regressor.lipschitz_ <= 2
    again = LipschitzRegressor(**options).partial_fit(x, y)
    assert len(again.history_["loss"]) == 3


def test_a_radius_that_is_auto_is_that_of_the_search():
    x, y = load_wine(return_X_y=True)
    assert LipschitzClassifier().eps == LipschitzRegressor().eps == "auto"
    found = [
        LipschitzClassifier(**FAST, eps=eps, random_state=0).fit(x, y) for eps in ("auto", None)
    ]
    assert found[0].settings_ == found[1].settings_
    assert found[0].settings_["eps_source"] == "searched"
    with pytest.raises(ValueError, match="`eps` must be a number"):
        LipschitzClassifier(**FAST, eps="best").fit(x, y)


@pytest.mark.once
def test_several_labels_of_a_sample():
    x, y = load_wine(return_X_y=True)
    both = np.column_stack([y > 0, x[:, 0] > 13]).astype(int)
    with pytest.raises(ValueError, match="one label for each sample.*MultiOutputClassifier"):
        LipschitzClassifier(**FAST).fit(x, both)
    several = MultiOutputClassifier(LipschitzClassifier(**FAST, random_state=0)).fit(x, both)
    radii = [one.predict_radius(x) for one in several.estimators_]
    assert np.mean(several.predict(x) == both) > 0.85 and np.min(radii) >= 0


@pytest.mark.once
def test_probabilities_by_calibration(cancer):
    classifier, x, y = cancer
    calibrated = CalibratedClassifierCV(FrozenEstimator(classifier)).fit(x, y)
    p = calibrated.predict_proba(x)[:, 1]
    order = np.argsort(classifier.decision_function(x))
    assert (np.diff(p[order]) >= 0).all() and 0 <= p.min() < p.max() <= 1


@pytest.mark.once
def test_random_state():
    x, y = load_wine(return_X_y=True)

    def fitted(state):
        return LipschitzClassifier(**FAST, random_state=state).fit(x, y).decision_function(x)

    first = fitted(0)
    np.testing.assert_array_equal(first, fitted(0))
    np.testing.assert_array_equal(first, fitted(np.random.RandomState(0)))
    assert np.abs(first - fitted(1)).max() > 1e-3


def test_images():
    x, y = load_digits(n_class=2, return_X_y=True)
    images = x.reshape(-1, 8, 8, 1)
    classifier = LipschitzClassifier("linear", epochs=10, random_state=0).fit(images, y)
    assert classifier.score(images, y) > 0.98
    with pytest.raises(ValueError, match=r"shape \[8, 8, 1\], as in `fit`.*\(360, 8, 8\)"):
        classifier.predict(images[..., 0])


def wave_samples():
    """Samples of sin(2 a) + b / 2, with a in thousandths."""
    x = np.random.default_rng(0).uniform(-1, 1, (200, 2)) * [1e-3, 1.0]
    return x, np.sin(2e3 * x[:, 0]) + 0.5 * x[:, 1]


wave = pytest.fixture(scope="module")(wave_samples)


@pytest.mark.once
def test_regression_without_a_constant(wave):
    x, y = wave
    regressor = LipschitzRegressor(epochs=100, feature_weights=[1e3, 1.0], random_state=0)
    assert regressor.fit(x, y).score(x, y) > 0.95
    assert regressor.lipschitz_ > 1  # else it could not


@pytest.mark.once
def test_intervals_of_a_regressor(wave):
    x, y = wave
    weights = np.array([1e3, 1.0])
    regressor = LipschitzRegressor(
        lipschitz=1.0, epochs=60, feature_weights=weights, random_state=0
    ).fit(x, y)
    assert 0.9 < regressor.lipschitz_ <= 1 and regressor.score(x, y) > 0.6
    radius = np.linspace(0, 0.5, len(x))
    lower, upper = regressor.predict_interval(x, radius)
    middle = regressor.predict(x)
    np.testing.assert_allclose((lower + upper) / 2, middle)
    np.testing.assert_allclose(upper - lower, 2 * regressor.lipschitz_ * radius, atol=1e-9)
    angle = np.random.default_rng(1).uniform(0, 2 * np.pi, (50, len(x)))
    for step in np.stack([np.cos(angle), np.sin(angle)], -1) * radius[:, None] / weights:
        moved = regressor.predict(x + step)
        assert ((lower <= moved) & (moved <= upper)).all()
    with pytest.raises(ValueError, match="`radius` must be finite"):
        regressor.predict_interval(x, -1.0)


@pytest.mark.once
def test_lipkit_works_without_scikit_learn(python):
    code = "import lipkit; lipkit.recipes.train; print('imported'); lipkit.estimators"
    result = python(code, hidden=("sklearn",))
    assert result.stdout == "imported\n" and result.returncode != 0
    assert "ImportError: lipkit.estimators needs scikit-learn" in result.stderr
    assert "pip install 'lipkit[sklearn]'" in result.stderr

"""One convention of weights for every term of every loss; values against twins in float64."""

import keras
import numpy as np
import pytest
import reference
import reference_losses as truth
from keras import ops

import lipkit
from lipkit import losses
from lipkit.testing import check_loss

B = 12
BINARY = {
    "KR": {},
    "NegKR": {},
    "HingeMargin": {"min_margin": 0.3},
    "HKR": {"alpha": 3, "min_margin": 0.3},
    "TauBinaryCrossentropy": {"tau": 4},
}
MULTICLASS = {
    "MulticlassKR": {},
    "MulticlassNegKR": {},
    "MulticlassHinge": {"min_margin": 0.3},
    "MulticlassHKR": {"alpha": 3, "min_margin": 0.3},
    "MulticlassSoftHKR": {"alpha": 3, "min_margin": 0.3},
    "LseHKR": {"alpha": 3, "min_margin": 0.3, "temperature": 2.0},
    "MultiMargin": {"min_margin": 0.3},
    "CategoricalHinge": {"min_margin": 0.3},
    "TauCategoricalCrossentropy": {"tau": 4},
    "TauSparseCategoricalCrossentropy": {"tau": 4},
}
ALL = BINARY | MULTICLASS


def value(name, y, f, w=None, reduction="sum_over_batch_size"):
    loss = getattr(losses, name)(**ALL[name], reduction=reduction)
    return float(loss(y, f, w))


def sample(name, rng):
    """Labels of all classes and predictions; weights whose mean is not 1, one of them 0."""
    columns = 1 if name in BINARY else 4
    y = np.arange(B) % max(columns, 2)
    f = 2 * rng.standard_normal((B, columns)).astype("float32")
    w = rng.uniform(0.2, 3, B).astype("float32")
    w[5] = 0
    return (y[:, None].astype("float32") if name in BINARY else y), f, w


def test_every_loss_is_here():
    public = (getattr(losses, name) for name in losses.__all__)
    classes = {x.__name__ for x in public if isinstance(x, type) and issubclass(x, keras.Loss)}
    assert set(ALL) == classes


@pytest.mark.parametrize("name", ALL)
def test_weights_c_w_give_c_times_the_loss(name, rng):
    y, f, w = sample(name, rng)
    for reduction in ("sum_over_batch_size", "sum"):
        expected = value(name, y, f, w, reduction)
        for c in (0.125, 4.0):
            assert value(name, y, f, c * w, reduction) == pytest.approx(c * expected, rel=1e-5)
    unweighted = value(name, y, f)
    assert value(name, y, f, np.full(B, 4.0)) == pytest.approx(4 * unweighted, rel=1e-5)
    assert value(name, y, f, 4.0) == pytest.approx(4 * unweighted, rel=1e-5)
    relative = value(name, y, f, 7 * w, "mean_with_sample_weight")
    assert relative == pytest.approx(value(name, y, f, w) / w.mean(), rel=1e-5)
    assert value(name, y, f, 0 * w, "mean_with_sample_weight") == 0


@pytest.mark.parametrize("name", ALL)
def test_a_weight_of_2_is_the_sample_twice(name, rng):
    y, f, _ = sample(name, rng)
    times = np.array([1, 2, 3, 1, 0, 2, 1, 1, 1, 4, 1, 1])
    rows = np.repeat(np.arange(B), times)
    for reduction in ("sum", "mean_with_sample_weight"):
        weighted = value(name, y, f, times, reduction)
        assert weighted == pytest.approx(value(name, y[rows], f[rows], None, reduction), rel=1e-5)
    # the default divides by the number of samples, as everywhere in Keras
    assert B * value(name, y, f, times) == pytest.approx(
        len(rows) * value(name, y[rows], f[rows]), rel=1e-5
    )


def test_weight_4_trains_with_the_same_alpha(rng):
    """The gradient of HKR, and so the balance of its terms, is 4 times as large."""
    y, f, _ = sample("HKR", rng)

    def gradient(w):
        model = keras.Sequential([keras.Input((B,)), keras.layers.Dense(1, use_bias=False)])
        model.compile(keras.optimizers.SGD(1.0), losses.HKR(3, 0.3))
        model.set_weights([f])
        model.fit(np.eye(B, dtype="float32"), y, B, shuffle=False, verbose=0, sample_weight=w)
        return f - model.get_weights()[0]

    expected = gradient(None)
    np.testing.assert_allclose(gradient(np.full(B, 4.0)), 4 * expected, atol=1e-5)
    assert np.abs(expected).max() > 0.05


@pytest.mark.parametrize("name", ["HKR", "MulticlassHKR", "MulticlassSoftHKR"])
def test_class_weights_are_sample_weights(name, rng):
    y, f, _ = sample(name, rng)
    by_class = {0: 0.5, 1: 4.0, 2: 2.0, 3: 1.0}
    w = np.array([by_class[int(label)] for label in y.reshape(-1)])

    def fit(**weights):
        identity = keras.layers.Dense(f.shape[1], kernel_initializer="identity", use_bias=False)
        model = lipkit.Sequential([keras.Input(f.shape[1:]), identity])
        model.compile(keras.optimizers.SGD(0.0), getattr(losses, name)(**ALL[name]))
        (curve,) = model.fit(f, y, B, verbose=0, shuffle=False, **weights).history["loss"]
        return curve, model.loss

    (by_classes, loss), (by_samples, _) = fit(class_weight=by_class), fit(sample_weight=w)
    assert by_classes == pytest.approx(by_samples, rel=1e-6)
    if name == "HKR":
        expected = 3 * reference.hinge(y, f, 0.3, w) - reference.kr(y, f, w)
    elif name == "MulticlassHKR":
        expected = truth.hkr(y, f, 3, 0.3, w)
    else:  # the running mean of |f| is that of the weighted samples, too
        mean = 0.99 * 0.3 + 0.01 * np.average(np.abs(f).mean(-1), weights=w)
        assert loss.mean == pytest.approx(mean, rel=1e-5)
        expected = truth.soft_hkr(y, f, 3, 0.3, mean=mean, w=w)
    assert by_classes == pytest.approx(expected, rel=1e-5)


def test_weights_as_a_list_and_labels_as_a_tuple(rng):
    y, f, w = sample("HKR", rng)
    expected = value("HKR", y, f, w)
    assert value("HKR", tuple(y[:, 0]), f, w.tolist()) == pytest.approx(expected, rel=1e-6)
    two = losses.HKR()((0.0, 1.0), f[:2])  # two labels, not labels and weights
    assert float(two) == pytest.approx(float(losses.HKR()(y[:2], f[:2])), rel=1e-6)


@keras.saving.register_keras_serializable("tests")
class WeighsOnlyTheHinge(losses.HKR):
    """Weighted class means beside a weighted hinge."""

    def call(self, y_true, y_pred):
        y, w = y_true if isinstance(y_true, tuple) else (y_true, None)
        hinge = losses.hinge_margin(y, y_pred, 0.3, w)
        mean = 1.0 if w is None else ops.maximum(ops.mean(w), 1e-9)
        return hinge - losses.kr(y, y_pred, w) / mean


def test_the_conformance_check_finds_a_term_that_does_not_scale():
    with pytest.raises(AssertionError, match="'sample weights'.*weights 4 w, against 4 times"):
        check_loss(WeighsOnlyTheHinge)

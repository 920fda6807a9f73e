"""The provable metrics against their formulas, in every way that Keras calls a metric."""

import keras
import numpy as np
import pytest
from keras import layers as kl

import lipkit
from lipkit import layers as ll
from lipkit import metrics

BINARY = (metrics.BinaryProvableRobustAccuracy, metrics.BinaryProvableAvgRobustness)
CATEGORICAL = (metrics.CategoricalProvableRobustAccuracy, metrics.CategoricalProvableAvgRobustness)
F = np.array([[0.5, -1.0, 2.0], [3.0, 1.0, 0.0], [0.0, 0.25, 0.25], [-1.0, 4.0, 0.0]], "float32")
LABELS = np.array([2, 1, 1, 0])
MARGINS = np.array([1.5, -2.0, 0.0, -5.0])


def radius(margin, factor):
    return np.asarray(margin, "float64") / factor


@pytest.mark.parametrize("labels", [(0, 1), (-1, 1)])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
@pytest.mark.parametrize("lip_const", [1.0, 2.5])
def test_binary_values(labels, shape, lip_const):
    f = np.array([0.3, -0.2, 0.1, 4.0], "float32")
    y = np.array(labels)[[1, 1, 0, 1]]
    margins = radius([0.3, -0.2, -0.1, 4.0], lip_const)
    accuracy, average = (m(lip_const=lip_const) for m in BINARY)
    negative = metrics.BinaryProvableAvgRobustness(lip_const, negative_robustness=True)
    for metric, expected in (
        (accuracy, (margins > 36 / 255).mean()),
        (average, np.maximum(margins, 0).mean()),
        (negative, margins.mean()),
    ):
        metric.update_state(y.reshape(shape), f.reshape(shape))
        assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize(("disjoint", "factor"), [(True, 2.0), (False, 2**0.5)])
def test_categorical_values(sparse, disjoint, factor):
    y = LABELS if sparse else np.eye(3)[LABELS]
    margins = radius(MARGINS, 3 * factor)
    settings = {"lip_const": 3.0, "disjoint_neurons": disjoint}
    for metric, expected in (
        (metrics.CategoricalProvableRobustAccuracy(0.1, **settings), (margins > 0.1).mean()),
        (metrics.CategoricalProvableAvgRobustness(**settings), np.maximum(margins, 0).mean()),
        (
            metrics.CategoricalProvableAvgRobustness(**settings, negative_robustness=True),
            margins.mean(),
        ),
    ):
        metric.update_state(y, F)
        assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


def test_a_tie_has_no_radius():
    metric = metrics.CategoricalProvableRobustAccuracy(epsilon=0.0)
    metric.update_state([1], [[0.5, 0.5]])
    assert float(metric.result()) == 0


def test_samples_count_the_same_in_uneven_batches():
    metric = metrics.CategoricalProvableAvgRobustness(negative_robustness=True)
    metric.update_state(LABELS[:3], F[:3])
    metric.update_state(LABELS[3:], F[3:])
    assert float(metric.result()) == pytest.approx(MARGINS.mean() / 2)
    metric.reset_state()
    metric.update_state(LABELS[:2], F[:2], sample_weight=[3.0, 1.0])
    assert float(metric.result()) == pytest.approx((3 * 1.5 - 2.0) / 4 / 2)


def classifier(outputs):
    keras.utils.set_random_seed(0)
    head = ll.FrobeniusDense(outputs, k_coef_lip=2.0)
    return lipkit.Sequential([keras.Input((4,)), ll.SpectralDense(8), ll.GroupSort2(), head])


@pytest.mark.parametrize("outputs", [1, 3])
def test_fit_evaluate_and_the_certificate_agree(outputs, rng):
    x = rng.standard_normal((50, 4)).astype("float32")
    y = rng.integers(0, max(outputs, 2), 50)
    model = classifier(outputs)
    first, second = BINARY if outputs == 1 else CATEGORICAL
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.BinaryCrossentropy(from_logits=True)
        if outputs == 1
        else keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[first(0.1, lip_const=model), second(lip_const=model), first(0.1, name="one")],
    )
    history = model.fit(x, y, batch_size=16, epochs=2, verbose=0).history
    assert all(np.isfinite(v).all() for v in history.values()) and len(history) == 4
    values = model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True)
    certificates = lipkit.certify(model, x, y)
    right = certificates.label == certificates.y
    estimate = values[first.__name__]
    if outputs == 1:
        assert estimate == pytest.approx(certificates.certified_accuracy(0.1), abs=1e-6)
        expected = np.mean(np.where(right, certificates.radius, 0))
        assert values[second.__name__] == pytest.approx(expected, rel=1e-4)
    else:  # one constant for all pairs: never above the certificate
        assert 0 <= estimate <= certificates.certified_accuracy(0.1) + 1e-6


def test_the_models_constant_is_read_again_at_reset():
    model = keras.Sequential([keras.Input((2,)), kl.Dense(1, kernel_initializer="ones")])
    metric = metrics.BinaryProvableAvgRobustness(lip_const=model)
    metric.update_state([1], [[1.0]])
    assert float(metric.result()) == pytest.approx(1 / 2**0.5)
    model.layers[0].kernel.assign([[3.0], [4.0]])
    metric.reset_state()
    metric.update_state([1], [[1.0]])
    assert float(metric.result()) == pytest.approx(1 / 5)


@pytest.mark.parametrize("metric_class", BINARY + CATEGORICAL)
def test_configuration(metric_class, tmp_path):
    metric = metric_class(lip_const=3.0, name="robust")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is metric_class and again.get_config() == metric.get_config()
    outputs = 1 if metric_class in BINARY else 3
    model = classifier(outputs)
    model.compile("adam", "mse", metrics=[metric_class(lip_const=model)])
    model.fit(np.ones((4, 4)), np.ones((4, 1)) * np.ones(outputs), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.evaluate(np.ones((4, 4)), np.ones((4, outputs)), verbose=0)) == 2


def test_bad_arguments():
    with pytest.raises(ValueError, match="`lip_const`.*0"):
        metrics.BinaryProvableRobustAccuracy(lip_const=0)
    with pytest.raises(ValueError, match="`epsilon`.*-1"):
        metrics.CategoricalProvableRobustAccuracy(epsilon=-1)
    metric = metrics.CategoricalProvableRobustAccuracy()
    with pytest.raises(ValueError, match=r"logits of shape \(B, C\)"):
        metric.update_state([1], [[0.5]])
    with pytest.raises(ValueError, match="one-hot"):
        metric.update_state([[1, 0]], [[0.5, 1.0, 2.0]])
    with pytest.raises(lipkit.NotCertifiable, match="LayerNormalization"):
        metrics.BinaryProvableRobustAccuracy(
            lip_const=keras.Sequential([keras.Input((3,)), kl.LayerNormalization(), kl.Dense(1)])
        )

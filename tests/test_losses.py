import json
import math

import keras
import numpy as np
import pytest
import reference
from keras import ops

from lipkit import losses, metrics

LABELS = {"0/1": (0.0, 1.0), "-1/1": (-1.0, 1.0)}


def sample(kind, shape, rng):
    low, high = LABELS[kind]
    y = np.where(rng.random(shape) < 0.4, high, low).astype("float32")
    return y, rng.standard_normal(shape).astype("float32")


def test_weights_and_labels_do_not_broadcast_by_accident(rng):
    y, f = sample("0/1", (4, 1), rng)
    for shape in [(5,), (4, 4), (4, 2), (2, 4, 1)]:
        with pytest.raises(ValueError, match="`sample_weight` must have the shape"):
            losses.HKR()(y, f, sample_weight=np.ones(shape))
    logits = rng.standard_normal((4, 3)).astype("float32")
    for labels in (np.array([1]), np.eye(3)[:1], np.array([0, 1, 2, 0, 1])):
        with pytest.raises(ValueError, match="one-hot .* or integers"):
            losses.MultiMargin()(labels, logits)


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("shape", [(33,), (33, 1), (33, 4)])
def test_values(kind, shape, rng):
    y, f = sample(kind, shape, rng)
    kr, hinge = reference.kr(y, f), reference.hinge(y, f, 0.3)
    cases = {
        losses.KR(): kr,
        losses.HingeMargin(0.3): hinge,
        losses.HKR(alpha=7, min_margin=0.3): 7 * hinge - kr,
        losses.HKR(alpha=0, min_margin=0.3): -kr,
        losses.HKR(alpha=math.inf, min_margin=0.3): hinge,
    }
    for loss, expected in cases.items():
        assert float(loss(y, f)) == pytest.approx(expected, abs=1e-5), loss.name
        for dtype in ("int32", "float64"):
            assert float(loss(y.astype(dtype), f)) == pytest.approx(expected, abs=1e-5)


def test_mixed_ranks_do_not_broadcast(rng):
    y, f = sample("-1/1", (8, 1), rng)
    loss = losses.HKR(alpha=2)
    for a, b in [(y[:, 0], f), (y, f[:, 0])]:
        assert float(loss(a, b)) == pytest.approx(float(loss(y, f)), abs=1e-6)
        assert losses.hkr(a, b, alpha=2).shape == (8,)
    with pytest.raises(ValueError, match=r"same shape.*y_true.shape=\(8, 3\).*\(8, 2\)"):
        losses.kr(np.ones((8, 3)), np.ones((8, 2)))


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("shape", [(33,), (33, 1), (33, 4)])
def test_sample_weights_are_weights_of_the_class_means(kind, shape, rng):
    y, f = sample(kind, shape, rng)
    w = rng.random(33).astype("float32") / 50  # with sums below 1, too
    kr = reference.kr(y, f, w)
    hinge = reference.hinge(y, f, 0.3, w)
    cases = {
        losses.KR(): kr,
        losses.HingeMargin(0.3): hinge,
        losses.HKR(alpha=7, min_margin=0.3): 7 * hinge - kr,
        losses.HKR(alpha=math.inf, min_margin=0.3): hinge,
    }
    for weight in (w, w[:, None], w.astype("float64")):
        for loss, expected in cases.items():
            value = float(loss(y, f, sample_weight=weight))
            assert value == pytest.approx(expected, abs=1e-5), loss.name
    assert float(losses.KR()(y, np.ones_like(f), w)) == pytest.approx(0, abs=1e-5)
    assert float(losses.KR()(y, f, np.zeros(33))) == 0
    assert float(ops.mean(losses.kr(y, f, w))) == pytest.approx(kr, abs=1e-5)
    assert float(ops.mean(losses.hkr(y, f, 7, 0.3, w))) == pytest.approx(7 * hinge - kr, abs=1e-5)


@pytest.mark.parametrize("eager", [True, False])
def test_weights_in_training(eager, rng):
    y, f = sample("-1/1", (32, 1), rng)
    w = rng.random(32).astype("float32")
    by_class = {1: 3.0, -1: 0.5}
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.1), losses.HKR(2, 0.3), run_eagerly=eager)
    loss = model.evaluate(f, y, sample_weight=w, batch_size=32, verbose=0)
    expected = 2 * reference.hinge(y, f, 0.3, w) - reference.kr(y, f, w)
    assert loss == pytest.approx(expected, abs=1e-5)
    loss = model.fit(f, y, class_weight=by_class, batch_size=32, verbose=0).history["loss"][0]
    w = np.where(y[:, 0] > 0, 3, 0.5)
    expected = 2 * reference.hinge(y, f, 0.3, w) - reference.kr(y, f, w)
    assert loss == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("label", [0.0, 1.0, -1.0])
def test_missing_class_contributes_zero_and_never_nan(compiled, label, rng):
    x = rng.standard_normal((16, 3)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(
        "sgd",
        losses.HKR(alpha=1.0),
        metrics=[losses.KR()],
        run_eagerly=not compiled,
        jit_compile=compiled and keras.backend.backend() != "torch",
    )
    f = model.predict(x, verbose=0)
    y = np.full((16, 1), label, "float32")
    values = model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True)
    assert values["KR"] == pytest.approx(reference.kr(y, f), abs=1e-5)
    model.fit(x, y, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_as_metrics_class_or_instance(rng):
    y, f = sample("-1/1", (40, 1), rng)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    model.compile(
        loss=losses.HKR(),
        metrics=[losses.KR, losses.HingeMargin(0.3), metrics.HKRBinaryAccuracy],
    )
    values = model.evaluate(f, y, batch_size=40, verbose=0)
    expected = [
        10 * reference.hinge(y, f, 1) - reference.kr(y, f),
        reference.kr(y, f),
        reference.hinge(y, f, 0.3),
        np.mean((f > 0) == (y > 0)),
    ]
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_accuracy_weighs_samples_not_batches():
    metric = metrics.HKRBinaryAccuracy()
    metric.update_state(np.array([1.0, 0.0]), np.array([0.5, -0.5]))
    metric.update_state(np.array([[1.0]]), np.array([[-0.5]]))
    assert float(metric.result()) == pytest.approx(2 / 3)
    assert float(metrics.HKRBinaryAccuracy()([1.0, 0.0], [np.nan, np.nan])) == 0
    copy = metrics.HKRBinaryAccuracy.from_config(metric.get_config())
    assert copy.name == metric.name


@pytest.mark.parametrize(
    "loss", [losses.KR(), losses.HingeMargin(0.3), losses.HKR(3, 0.2), losses.HKR(math.inf)]
)
def test_configuration_is_json(loss):
    config = json.loads(json.dumps(loss.get_config(), allow_nan=False))
    assert type(loss).from_config(config).get_config() == loss.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.HKR(alpha=-1), r"`alpha` must be a number in \[0, inf\].*-1"),
        (lambda: losses.HKR(alpha=float("nan")), "`alpha`.*nan"),
        (lambda: losses.HKR(min_margin=0), "`min_margin` must be a number > 0.*=0"),
        (lambda: losses.HKR(min_margin=math.inf), "`min_margin` must be .*=inf"),
        (lambda: losses.HingeMargin("a"), "`min_margin` must be a number.*'a'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_kr_gradient_is_the_difference_of_means(rng):
    y, f = sample("0/1", (10, 1), rng)
    step = 1e-3
    base = float(ops.mean(losses.kr(y, f)))
    for i in range(10):
        moved = f.copy()
        moved[i] += step
        slope = (float(ops.mean(losses.kr(y, moved))) - base) / step
        n = (y > 0).sum() if y[i] > 0 else -(y <= 0).sum()
        assert slope == pytest.approx(1 / n, abs=2e-3)

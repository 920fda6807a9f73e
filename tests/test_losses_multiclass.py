import json
import math

import keras
import numpy as np
import pytest
import reference_losses as truth
from keras import ops

from lipkit import losses

B = 24
TABLE = {
    "MulticlassKR": ((), truth.kr),
    "MulticlassHinge": ((0.3,), truth.hinge),
    "MulticlassHKR": ((7, 0.3), truth.hkr),
    "MulticlassSoftHKR": ((7, 0.3), truth.soft_hkr),
    "LseHKR": ((7, 0.3, 2.0, 0.5), truth.lse_hkr),
    "MultiMargin": ((0.3,), truth.multi_margin),
    "CategoricalHinge": ((0.3,), truth.categorical_hinge),
    "TauCategoricalCrossentropy": ((5,), truth.crossentropy),
    "TauSparseCategoricalCrossentropy": ((5,), truth.crossentropy),
}
LABELS = {
    "one-hot": lambda c, n: truth.one_hot(c, n),
    "-1/1": lambda c, n: truth.one_hot(c, n, -1.0),
    "(B,)": lambda c, n: c,
    "(B, 1)": lambda c, n: c[:, None],
}


def make(name):
    return getattr(losses, name)(*TABLE[name][0])


def sample(rng, classes=5):
    return rng.integers(0, classes, B), rng.standard_normal((B, classes)).astype("float32")


def gradient(loss, y, f):
    """With respect to the predictions, by one step of a model whose weights they are."""
    model = keras.Sequential([keras.Input((len(f),)), keras.layers.Dense(f.shape[1], use_bias=0)])
    model.compile(keras.optimizers.SGD(1.0), loss)
    model.set_weights([f])
    model.fit(np.eye(len(f), dtype="float32"), y, batch_size=len(f), shuffle=False, verbose=0)
    return f - model.get_weights()[0]


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("name", TABLE)
def test_values_and_conventions_of_labels(name, classes, rng):
    c, f = sample(rng, classes)
    w = rng.random(B).astype("float32")
    arguments, reference = TABLE[name]
    loss = make(name)
    for kind, labels in LABELS.items():
        y = labels(c, classes)
        for weight in (None, w):
            expected = reference(c, f, *arguments, w=weight)
            assert float(loss(y, f, weight)) == pytest.approx(expected, abs=2e-5), kind
            assert float(loss(ops.array(y), f, weight)) == pytest.approx(expected, abs=2e-5), kind


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MulticlassHKR", truth.hinge),
        ("MulticlassSoftHKR", lambda *a: truth.soft_hkr(a[0], a[1], math.inf, a[2])),
        ("LseHKR", lambda *a: truth.lse_hkr(a[0], a[1], math.inf, a[2])),
    ],
)
def test_infinite_alpha_is_the_hinge_entered_and_left_at_any_time(name, expected, rng):
    c, f = sample(rng)
    loss = getattr(losses, name)(alpha=math.inf, min_margin=0.3)
    values = loss.call(c, f)
    assert values.shape == (B,)  # reduced over the classes
    assert float(loss(c, f)) == pytest.approx(expected(c, f, 0.3), abs=1e-5)
    assert np.isfinite(gradient(loss, c, f)).all()
    finite = getattr(losses, name)(alpha=4.0, min_margin=0.3)
    loss = getattr(losses, name)(alpha=math.inf, min_margin=0.3)
    loss.alpha = 4
    assert float(loss(c, f)) == pytest.approx(float(finite(c, f)), abs=1e-6)
    finite.alpha = math.inf
    assert float(finite(c, f)) == pytest.approx(expected(c, f, 0.3), abs=1e-5)


def test_kr_of_classes_is_the_mean_of_that_of_columns(rng):
    c, f = sample(rng)
    y = truth.one_hot(c, 5)
    columns = [float(losses.KR()(y[:, i], f[:, i])) for i in range(5)]
    assert float(losses.MulticlassKR()(c, f)) == pytest.approx(np.mean(columns), abs=1e-5)
    assert float(losses.KR()(y, f)) == pytest.approx(np.mean(columns), abs=1e-5)
    assert float(losses.MulticlassNegKR()(c, f)) == pytest.approx(-np.mean(columns), abs=1e-5)
    assert float(losses.NegKR()(y, f)) == pytest.approx(-np.mean(columns), abs=1e-5)


@pytest.mark.parametrize("name", TABLE)
def test_gradients_are_finite_at_ties_and_with_missing_classes(name):
    ties = np.zeros((4, 3), "float32")
    for c in (np.zeros(4, int), np.array([0, 1, 2, 0])):
        assert np.isfinite(float(make(name)(c, ties)))
        slope = gradient(make(name), c, ties)
        assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_log_sum_exp_of_two_classes_is_the_other(rng):
    c, f = sample(rng, 2)
    true, other = f[np.arange(B), c], f[np.arange(B), 1 - c]
    assert float(losses.LseHKR(0)(c, f)) == pytest.approx(np.mean(other - true), abs=1e-5)
    assert np.isfinite(gradient(losses.LseHKR(), c, f)).all()


def test_log_sum_exp_exceeds_the_maximum_by_at_most_the_penalty(rng):
    c, f = sample(rng)
    others = np.where(truth.one_hot(c, 5) > 0, -np.inf, f).max(-1)
    value = ops.convert_to_numpy(losses.lse_hkr(c, f, 0.0, 0.3, penalty=2.0))
    smooth = value + f[np.arange(B), c]
    assert np.all(smooth >= others - 1e-5) and np.all(smooth <= others + 0.6 + 1e-5)


def test_crossentropy_takes_probabilities(rng):
    f = rng.standard_normal((B, 4)).astype("float32")
    p = rng.dirichlet(np.ones(4), B)
    expected = sum(p[:, i] @ [truth.crossentropy([i], row[None], 3) for row in f] for i in range(4))
    loss = losses.TauCategoricalCrossentropy(3)
    assert float(loss(p, f)) == pytest.approx(expected / B, abs=1e-5)
    binary = losses.TauBinaryCrossentropy(3)
    both = [truth.binary_crossentropy(np.full((1, 1), s), f[:1, :1], 3) for s in (1, -1)]
    expected = 0.7 * both[0] + 0.3 * both[1]
    assert float(binary(np.array([0.7]), f[:1, 0])) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_binary_crossentropy(low, rng):
    f = rng.standard_normal((B, 1)).astype("float32")
    y, w = np.where(rng.random((B, 1)) < 0.5, 1.0, low), rng.random(B)
    loss = losses.TauBinaryCrossentropy(tau=4)
    for weight in (None, w):
        expected = truth.binary_crossentropy(y, f, 4, weight)
        assert float(loss(y[:, 0], f, weight)) == pytest.approx(expected, abs=1e-5)


BINARY = {"KR": (), "NegKR": (), "HKR": (), "HingeMargin": (), "TauBinaryCrossentropy": (2,)}
ALL = {name: make(name) for name in TABLE} | {n: getattr(losses, n)(*a) for n, a in BINARY.items()}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_predictions_of_other_dtypes(name, dtype, rng):
    c, f = sample(rng, 3)
    y = truth.one_hot(c, 3)
    loss = ALL[name]
    expected = float(loss(y, f))
    given = ops.cast(f, dtype) if keras.backend.backend() != "jax" or dtype != "float64" else f
    assert float(loss(y, given)) == pytest.approx(expected, abs=2e-2)
    if dtype == "float64" and keras.backend.backend() == "jax":
        return  # JAX has it only if told so at its start
    other = type(loss)(**{**loss.get_config(), "dtype": dtype})
    assert float(ops.cast(other(ops.array(y), given), "float32")) == pytest.approx(
        expected, rel=2e-2, abs=2e-2
    )
    if name in TABLE:
        assert float(ops.cast(other(c, given), "float32")) == pytest.approx(
            expected, rel=2e-2, abs=2e-2
        )


@pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
def test_configuration_is_complete_and_json(loss):
    config = json.loads(json.dumps(loss.get_config(), allow_nan=False))
    assert keras.losses.deserialize(keras.losses.serialize(loss)).get_config() == config
    for parameter in ("alpha", "min_margin", "tau", "temperature", "penalty", "mean"):
        if parameter in config:
            setattr(loss, parameter, 0.3)
            assert loss.get_config()[parameter] == 0.3
            setattr(loss, parameter, config[parameter])


def test_keyword_of_data_parallel_training_is_accepted(rng):
    c, f = sample(rng)
    expected = float(losses.MulticlassHKR(3)(c, f))
    assert float(losses.MulticlassHKR(3, multi_gpu=True)(c, f)) == expected


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([0, 1, 5]), "integers from 0 to 2. Received: .* 0, 1, 5"),
        (np.array([0, 1, -1]), "integers from 0 to 2. Received: .*-1, 0, 1"),
        (np.array([[0.9, 0.1, 0]] * 3), r"in \{-1, 1\}, with one class.*0, 0.1, 0.9"),
        (np.array([[1, 1, 0]] * 3), "one class in each row"),
        (np.zeros((3, 3)), "one class in each row"),
        (np.ones((3, 2)), r"one-hot \(B, C\), or integers.*\(3, 2\).*\(3, 3\)"),
        (np.ones((3, 3, 1)), r"one-hot.*\(3, 3, 1\)"),
    ],
)
def test_wrong_labels_are_errors(y, message):
    with pytest.raises(ValueError, match=message):
        losses.MulticlassHKR()(y, np.zeros((3, 3), "float32"))


def test_wrong_binary_labels_and_predictions_are_errors(rng):
    f = np.zeros((3, 1), "float32")
    for y, shown in [([0, 1, 2], "0, 1, 2"), ([0.9, 0.1, 0.9], "0.1, 0.9"), ([-1, 0, 1], "-1, 0")]:
        for loss in (losses.KR(), losses.HKR(), losses.HingeMargin()):
            for given in (y, np.array(y)):
                with pytest.raises(ValueError, match=rf"all in {{0, 1}}, or .* values {shown}"):
                    loss(given, f)
    with pytest.raises(ValueError, match=r"known C >= 2. Received: y_pred.shape=\(3, 1\)"):
        losses.MultiMargin()(np.array([0, 0, 0]), f)
    with pytest.raises(ValueError, match="300 classes are not exact in bfloat16"):
        losses.MulticlassKR(dtype="bfloat16")(np.zeros(2, int), np.zeros((2, 300)))

"""Radii against exact truths, and the three outcomes for bad input."""

import json
import math
import os
import re
import subprocess
import sys
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import lipkit
from lipkit import NotCertifiable
from lipkit import layers as ll

pytestmark = pytest.mark.compiled


def linear(kernel, bias, dtype="float32"):
    kernel = np.asarray(kernel, dtype)
    model = keras.Sequential([keras.Input(kernel.shape[:1]), kl.Dense(kernel.shape[1])])
    model.set_weights([kernel, np.asarray(bias, dtype)])
    return model


def mlp(seed=0, outputs=3, inputs=5):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((inputs,)),
            kl.Dense(8, activation="relu", bias_initializer="random_normal"),
            kl.Dense(outputs, bias_initializer="random_normal"),
        ]
    )


def exact_dot(w, x):
    return sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(w, x, strict=True)), 0)


def exceeds_distance(radius, w, b, x):
    """Whether radius > |w.x + b| / |w|, in exact rational arithmetic."""
    value = exact_dot(w, x) + Fraction(float(b))
    return Fraction(float(radius)) ** 2 * exact_dot(w, w) > value**2


def relative_loss(radius, w, b, x):
    value = exact_dot(w, x) + Fraction(float(b))
    squared = value**2 / exact_dot(w, w)
    return float(1 - Fraction(float(radius)) ** 2 / squared) / 2


def test_radii_of_linear_classifiers_are_below_the_exact_distance(rng):
    """3,000 radii of 30 classifiers; a float64 quotient as positive control."""
    wrong = control = 0
    losses = []
    for _ in range(30):
        size = int(rng.choice([2, 16, 64]))
        w = rng.standard_normal(size) * 10.0 ** rng.integers(-3, 4)
        b = rng.standard_normal()
        model = linear(w[:, None], [b])
        w, b = (a.ravel().astype("float64") for a in model.get_weights())
        x = rng.standard_normal((100, size)).astype("float32")
        certificates = lipkit.certify(model, x)
        plain = np.abs(x.astype("float64") @ w + b) / np.linalg.norm(w)
        for point, radius, naive in zip(x, certificates.radius, plain, strict=True):
            wrong += exceeds_distance(radius, w, b[0], point)
            control += exceeds_distance(naive, w, b[0], point)
            losses.append(relative_loss(radius, w, b[0], point))
        assert (certificates.status == "certified").all()
    assert wrong == 0
    assert control > 300  # the check bites
    assert np.median(losses) < 1e-9


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_radii_of_linear_multiclass_heads_are_the_nearest_boundary(rng, arithmetic):
    model = linear(rng.standard_normal((6, 4)), rng.standard_normal(4))
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    x = rng.standard_normal((50, 6)).astype("float32").astype("float64")
    logits = x @ kernel + bias
    label = logits.argmax(1)
    expected = np.empty(50)
    for i, c in enumerate(label):
        others = [j for j in range(4) if j != c]
        expected[i] = min(
            (logits[i, c] - logits[i, j]) / np.linalg.norm(kernel[:, c] - kernel[:, j])
            for j in others
        )
    certificates = lipkit.certify(model, x, arithmetic=arithmetic)
    np.testing.assert_array_equal(certificates.label, label)
    loss = expected - certificates.radius
    assert (loss >= 0).all()
    assert np.median(loss) < (1e-12 if arithmetic == "real" else 1e-4)


def test_multilabel_and_binary_tasks(rng):
    model = linear(rng.standard_normal((6, 3)), rng.standard_normal(3))
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    x = rng.standard_normal((20, 6)).astype("float32").astype("float64")
    distance = np.abs(x @ kernel + bias) / np.linalg.norm(kernel, axis=0)
    certificates = lipkit.certify(model, x, task="multilabel")
    np.testing.assert_allclose(certificates.radius, distance.min(axis=1), rtol=1e-9)
    np.testing.assert_array_equal(certificates.label, x @ kernel + bias > 0)
    y = certificates.label.copy()
    assert lipkit.certify(model, x, y, task="multilabel").certified_accuracy(0.0) == 1
    y[0, 0] = 1 - y[0, 0]
    assert lipkit.certify(model, x, y, task="multilabel").certified_accuracy(0.0) == 0.95
    with pytest.raises(NotCertifiable, match="one logit"):
        lipkit.certify(model, x, task="binary")


def test_pairwise_factors_use_the_features_constant(rng):
    """With W in front of the head, L_cj = L(W) |w_c - w_j|."""
    model = keras.Sequential([keras.Input((5,)), kl.Dense(4), kl.Dense(3)])
    first, head = (np.asarray(w, "float64") for w in model.get_weights()[::2])
    x = rng.standard_normal((9, 5)).astype("float32")
    certificates = lipkit.certify(model, x)
    logits = x.astype("float64") @ first @ head
    label = logits.argmax(1)
    constants = np.linalg.norm(first, 2) * np.linalg.norm(
        head[:, label, None] - head[:, None, :], axis=0
    )
    margins = logits[np.arange(9), label][:, None] - logits
    with np.errstate(invalid="ignore"):
        expected = np.nanmin(margins / constants, axis=1)
    np.testing.assert_allclose(certificates.radius, expected, rtol=1e-9)


def test_nonlinear_heads_use_the_joint_constant(rng):
    model = keras.Sequential([keras.Input((5,)), kl.Dense(3), ll.FullSort()])
    norm = np.linalg.norm(np.asarray(model.get_weights()[0], "float64"), 2)
    certificates = lipkit.certify(model, rng.standard_normal((9, 5)))
    np.testing.assert_allclose(certificates.lipschitz, math.sqrt(2) * norm, rtol=1e-9)


@pytest.mark.parametrize("final", ["softmax", "sigmoid"])
def test_final_squashing_is_seen_through_in_real_arithmetic_only(final, rng):
    units = 3 if final == "softmax" else 1
    x = rng.standard_normal((5, 4))
    plain = keras.Sequential([keras.Input((4,)), kl.Dense(units)])
    squashed = keras.Sequential([keras.Input((4,)), kl.Dense(units, activation=final)])
    squashed.set_weights(plain.get_weights())
    np.testing.assert_array_equal(
        lipkit.certify(squashed, x).radius, lipkit.certify(plain, x).radius
    )
    with pytest.raises(NotCertifiable, match="saturates to ties"):
        lipkit.certify(squashed, x, arithmetic="float32")


BAD = {
    "nan": (lambda x: put(x, np.nan), "non-finite input"),
    "inf": (lambda x: put(x, np.inf), "non-finite input"),
    "-inf": (lambda x: put(x, -np.inf), "non-finite input"),
    "overflow": (lambda x: put(x, 1e308), "possible overflow"),
}


def put(x, value):
    x = x.astype("float64")
    for row in range(1, len(x)):
        x[row, row - 1] = value  # at every position, one a row
    return x


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_bad_values_are_not_certified(kind, outputs, arithmetic, rng):
    spoil, reason = BAD[kind]
    x = spoil(rng.standard_normal((6, 5)).astype("float32"))
    certificates = lipkit.certify(mlp(outputs=outputs), x, np.zeros(6), arithmetic=arithmetic)
    assert certificates.status[0] == "certified" or arithmetic == "float32"
    assert set(certificates.status[1:]) <= {reason, "non-finite output", "possible overflow"}
    assert certificates.status[1] == reason
    assert (certificates.radius[1:] == 0).all()
    for values in (certificates.radius, certificates.margin, certificates.lipschitz):
        assert np.isfinite(values).all()
    assert certificates.certified_accuracy(0.0) <= 1 / 6


def test_overflow_in_float32_alone(rng):
    model = linear(np.full((4, 1), 1e38), [0.0])
    x = np.full((1, 4), 3.0)
    assert lipkit.certify(model, x).status[0] == "certified"
    assert lipkit.certify(model, x, arithmetic="float32").status[0] == "possible overflow"


def test_subnormal_numbers_may_be_flushed_to_zero():
    """JAX and TensorFlow read subnormal inputs and weights as 0, and lose the label."""
    x = keras.Input((1,))
    models = {
        "weights": (linear([[1e-39]], [0.0]), 1e37),
        "inputs": (linear([[1e37]], [0.0]), 1e-39),
        "sums": (keras.Model(x, kl.Dense(1)(x - 1.2e-38)), 1.8e-38),
        "factors": (keras.Model(x, kl.Dense(1)(kl.Rescaling(1e-39)(x))), 1e30),
    }
    for name in ("sums", "factors"):
        models[name][0].set_weights([np.array([[1e35]], "float32"), np.zeros(1, "float32")])
    for name, (model, size) in models.items():
        x = np.array([[size]], "float32")
        assert lipkit.certify(model, x).status[0] == "certified", name
        certificates = lipkit.certify(model, x, arithmetic="float32")
        assert certificates.status[0] == "margin within the rounding error", name


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_ties_are_not_certified(arithmetic):
    model = linear([[1.0, 1.0, 0.0]], [0.0, 0.0, 0.0])
    certificates = lipkit.certify(model, [[1.0], [-1.0], [0.0]], arithmetic=arithmetic)
    assert list(certificates.status) == ["tie", "certified", "tie"]
    assert certificates.label[1] == 2 and list(certificates.radius > 0) == [False, True, False]
    binary = lipkit.certify(linear([[1.0]], [0.0]), [[0.0]], arithmetic=arithmetic)
    assert binary.status[0] == "tie" and binary.radius[0] == 0


def test_margins_within_the_rounding_error_are_not_certified():
    model = linear(np.ones((1000, 1)), [0.0])
    x = np.ones((1, 1000))
    x[0, 500:] = -1
    x[0, 0] += 1e-11
    assert lipkit.certify(model, x).status[0] == "margin within the rounding error"


def test_constant_functions_have_a_finite_radius():
    certificates = lipkit.certify(linear(np.zeros((2, 3)), [0.0, 1.0, 2.0]), np.zeros((1, 2)))
    assert certificates.label[0] == 2 and 1e100 < certificates.radius[0] < np.inf


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_empty_batches(task):
    model = mlp(outputs=1 if task == "binary" else 3)
    y = np.zeros((0, 3)) if task == "multilabel" else np.zeros(0)
    certificates = lipkit.certify(model, np.zeros((0, 5)), y, task=task)
    assert len(certificates) == 0 and certificates.label.shape[0] == 0
    with pytest.raises(ValueError, match="need at least one input"):
        certificates.certified_accuracy(0.0)


DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int64", "bool", "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
def test_real_dtypes_are_read_exactly(dtype):
    x = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 0, 1]])
    expected = lipkit.certify(mlp(), x.astype("float64"))
    given = ops.cast(x, dtype) if dtype == "bfloat16" else x.astype(dtype)
    np.testing.assert_array_equal(lipkit.certify(mlp(), given).radius, expected.radius)


WRONG = {
    "strings": (np.array([["a"] * 5] * 2), "wrong dtype"),
    "objects": (np.array([[None] * 5] * 2), "wrong dtype"),
    "complex": (np.ones((2, 5), complex), "wrong dtype"),
    "large": (np.full((2, 5), 2**53 + 1), "wrong dtype"),
    "features": (np.ones((2, 4)), "wrong shape"),
    "rank 1": (np.ones(2), "wrong shape"),
    "rank 3": (np.ones((2, 5, 1)), "wrong shape"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_shapes_and_dtypes_are_not_certified(kind):
    x, reason = WRONG[kind]
    certificates = lipkit.certify(mlp(), x, np.zeros(2))
    assert all(status.startswith(reason) for status in certificates.status)
    assert (certificates.radius == 0).all() and (certificates.label == -1).all()
    assert certificates.certified_accuracy(0.0) == 0


if np.dtype(np.longdouble).itemsize > 8:  # elsewhere it is float64
    WRONG["long"] = (np.ones((2, 5), np.longdouble), "wrong dtype")

ARGUMENTS = {
    "scalar": ({"x": 3.0}, "must be a batch"),
    "arithmetic": ({"arithmetic": "float16"}, "`arithmetic` must be.*'float16'"),
    "task": ({"task": "ranking"}, "`task` must be one of.*'ranking'"),
    "batch_size": ({"batch_size": 0}, "`batch_size`.*0"),
    "scale": ({"preprocessing_scale": 0.0}, "`preprocessing_scale` must hold.*0.0"),
    "scale's shape": ({"preprocessing_scale": [1, 2]}, r"broadcasts to one input.*\(5,\).*\(2,\)"),
    "scale of many inputs": ({"preprocessing_scale": np.ones((2, 5))}, r"\(5,\).*\(2, 5\)"),
    "scale NaN": ({"preprocessing_scale": [1, 1, 1, 1, np.nan]}, "`preprocessing_scale` must hold"),
    "scale's type": ({"preprocessing_scale": "a"}, "`preprocessing_scale` must hold.*'a'"),
    "labels": ({"y": [1]}, r"`y` must have shape \(2,\), \(2, 1\) or \(2, 3\) .*\(1,\)"),
    "names": ({"y": ["a", "b"]}, "`y` must hold numbers: class indices 0 ... 2.*<U1.*np.unique"),
    "objects": ({"y": np.array(["a", None], object)}, "`y` must hold numbers.*object.*np.unique"),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_bad_arguments_are_named(kind):
    arguments, message = ARGUMENTS[kind]
    with pytest.raises(ValueError, match=message):
        lipkit.certify(mlp(), **{"x": np.ones((2, 5)), **arguments})


def test_not_a_model():
    with pytest.raises(ValueError, match="must be a Keras model.*int"):
        lipkit.certify(3, np.ones((2, 5)))
    two = keras.Model(i := keras.Input((5,)), [kl.Dense(1)(i), kl.Dense(1)(i)])
    with pytest.raises(NotCertifiable, match="2 outputs"):
        lipkit.certify(two, np.ones((2, 5)))


REWRITTEN = {
    "kernel": lambda: [ll.SpectralDense(4), ll.FrobeniusDense(1)],
    "reflection": lambda: [kl.Dense(4), ll.Householder(), kl.Dense(1)],
    "pooling": lambda: [kl.Reshape((5, 1)), ll.ScaledGlobalL2NormPooling1D(), kl.Dense(1)],
    "block": lambda: [ll.ScaledResidual(kl.Dense(5)), kl.Dense(1)],
}


@pytest.mark.parametrize("layers", REWRITTEN.values(), ids=REWRITTEN)
def test_rewritten_layers_have_no_bounded_float32_program(layers):
    """What is bounded is the export's arithmetic; these layers compute in another order."""
    model = lipkit.Sequential([keras.Input((5,)), *layers()])
    x = np.eye(5)
    real = lipkit.certify(model, x)
    with pytest.raises(NotCertifiable, match="vanilla_export"):
        lipkit.certify(model, x, arithmetic="float32")
    deployed = lipkit.certify(model.vanilla_export(), x, arithmetic="float32")
    assert (deployed.radius < real.radius).all()
    np.testing.assert_allclose(deployed.radius, real.radius, atol=1e-4)
    with pytest.raises(NotCertifiable, match="computes in float32, not in float64"):
        lipkit.certify(model.vanilla_export(), x, arithmetic="float64")


def test_radii_are_in_units_of_the_raw_input(rng):
    raw = rng.integers(0, 256, (7, 5)).astype("uint8")
    inside = keras.Sequential([keras.Input((5,)), kl.Rescaling(1 / 255), *mlp().layers])
    outside = keras.Sequential([keras.Input((5,)), *mlp().layers])
    declared = lipkit.certify(outside, raw / 255, preprocessing_scale=1 / 255)
    np.testing.assert_allclose(lipkit.certify(inside, raw).radius, declared.radius, rtol=1e-4)
    per_feature = lipkit.certify(outside, raw, preprocessing_scale=[1, 2, 3, 4, 5])
    np.testing.assert_allclose(per_feature.radius * 5, lipkit.certify(outside, raw).radius)
    column = lipkit.certify(outside, raw, preprocessing_scale=[5.0])
    np.testing.assert_array_equal(column.radius, per_feature.radius)


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e300])
def test_radii_stay_finite_in_units_of_the_raw_input(scale):
    """Of a declared scale that is next to 0, and of a constant function."""
    for model in (linear([[1.0]], [0.0]), linear([[0.0]], [1.0])):
        certificates = lipkit.certify(model, [[1.0]], preprocessing_scale=scale)
        assert certificates.status[0] == "certified" and np.isfinite(certificates.radius[0])


@pytest.mark.parametrize("dtype", ["float16", "int32"])
def test_programs_that_round_their_inputs_are_refused(dtype):
    """The program would see 1.0004 and 1.7 as 1, where its label is another one."""
    x = keras.Input((1,), dtype=dtype)
    model = keras.Model(x, kl.Dense(1, dtype="float32")(x))
    model.set_weights([np.array([[1.0]], "float32"), np.array([-1.0], "float32")])
    points = np.array([[1.0004 if dtype == "float16" else 1.7]])
    assert lipkit.certify(model, points).label[0] == 1
    assert model.predict(points, verbose=0)[0, 0] == 0
    with pytest.raises(NotCertifiable, match=f"inputs to {dtype}.*dtype='float32'"):
        lipkit.certify(model, points, arithmetic="float32")


def two_inputs():
    a, b = keras.Input((3,)), keras.Input((2,))
    return keras.Model([a, b], kl.Dense(1)(kl.Concatenate()([a, b])))


def test_several_inputs_are_one_vector(rng):
    model = two_inputs()
    joint = linear(*(np.asarray(w) for w in model.get_weights()))
    x = rng.standard_normal((6, 5))
    together = lipkit.certify(model, [x[:, :3], x[:, 3:]])
    np.testing.assert_array_equal(together.radius, lipkit.certify(joint, x).radius)
    with pytest.raises(ValueError, match="list of 2 arrays"):
        lipkit.certify(model, x)
    with pytest.raises(ValueError, match="different lengths"):
        lipkit.certify(model, [x[:2, :3], x[:, 3:]])


def test_batches_do_not_matter(rng, capsys):
    x = rng.standard_normal((50, 5))
    one, many = (lipkit.certify(mlp(), x, batch_size=n, progress=n == 3) for n in (50, 3))
    np.testing.assert_allclose(one.radius, many.radius, rtol=1e-12)
    assert "certifying" in "".join(capsys.readouterr())


def test_a_final_sigmoid_is_seen_through_reshapes(rng):
    """Sigmoids are positive: taken as logits, all of them would be of class 1."""
    x = keras.Input((3, 3, 1))
    logit = kl.Conv2D(1, 3)(x)
    logits, model = (
        keras.Model(x, kl.Flatten()(kl.Activation(name)(logit))) for name in ("linear", "sigmoid")
    )
    x = rng.standard_normal((20, 3, 3, 1)).astype("float32")
    expected, certificates = lipkit.certify(logits, x), lipkit.certify(model, x)
    assert set(expected.label) == {0, 1}
    np.testing.assert_array_equal(certificates.label, expected.label)
    np.testing.assert_array_equal(certificates.radius, expected.radius)


@pytest.mark.parametrize(
    ("task", "outputs", "y"),
    [
        ("binary", 1, np.array([0, 1, 2])),
        ("binary", 1, np.array([1, 1, 2])),
        ("binary", 1, np.zeros((3, 3))),
        ("multiclass", 3, np.array([0, 1, 3])),
        ("multiclass", 3, np.array([0, 1, -1])),
        ("multiclass", 3, np.array([0.5, 1, 2])),
        ("multiclass", 3, np.eye(4)[:3]),
        ("multiclass", 3, np.ones((3, 3))),
        ("multilabel", 3, np.array([[0], [1], [1]])),
        ("multilabel", 2, np.array([[0, 1], [1, 1], [1, 3]])),
    ],
)
def test_labels_that_do_not_fit_the_task_are_errors(task, outputs, y):
    model, x = mlp(outputs=outputs), np.zeros((3, 5))
    with pytest.raises(ValueError, match="Labels must be|`y` must have shape"):
        lipkit.certify(model, x, y, task=task)


def test_results_are_saved_and_summed_up(rng, tmp_path):
    x, y = rng.standard_normal((20, 5)), rng.integers(0, 3, 20)
    x[3, 2] = np.nan
    result = lipkit.certify(mlp(), x, y)
    one_hot = lipkit.certify(mlp(), x, np.eye(3)[y])
    right = (result.label == y) & (result.status == "certified")
    for eps in (0.0, 0.05, 0.5):
        assert result.certified_accuracy(eps) == np.mean(right & (result.radius >= eps))
        assert one_hot.certified_accuracy(eps) == result.certified_accuracy(eps)
    eps, accuracy = result.curve()
    assert accuracy[0] == right.mean() and (np.diff(accuracy) <= 0).all() and len(eps) == 101
    result.save(tmp_path / "result.json")
    loaded = type(result).load(tmp_path / "result.json")
    for name in ("label", "radius", "margin", "lipschitz", "status", "y"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(result, name))
    assert loaded.arithmetic == "real" and loaded.assumptions == result.assumptions
    assert json.loads((tmp_path / "result.json").read_text())["radius"][3] == 0
    assert "19 of 20 certified" in str(result) and "1 not certified: non-finite" in str(result)
    assert list(result.to_frame().columns)[:3] == ["label", "radius", "margin"]
    with pytest.raises(ValueError, match="true labels"):
        lipkit.certify(mlp(), x).certified_accuracy(0.1)
    with pytest.raises(ValueError, match="`eps` must be"):
        result.certified_accuracy(-1)


def test_bound_prints_as_a_table_and_counts_as_a_float():
    model = lipkit.Sequential(
        [keras.Input((5,)), ll.SpectralDense(4, name="first"), ll.FullSort(), kl.Dense(2)]
    )
    bound = lipkit.lipschitz_bound(model)
    assert isinstance(bound, float) and bound.layers[0].name == "first"
    assert len(bound.layers) == 3
    assert "matrix norm" in str(bound) and f"<= {bound:.9g}" in str(bound)
    product = math.prod(row.bound for row in bound.layers)
    assert bound == pytest.approx(product, rel=1e-12)


def residual():
    x = keras.Input((5,))
    y = kl.Dense(5, activation="relu")(x)
    return keras.Model(x, kl.Concatenate()([kl.Add()([x, y]), kl.Average()([x, y]), y - x]))


def test_merges_compose():
    model = residual()
    norm = np.linalg.norm(np.asarray(model.get_weights()[0], "float64"), 2)
    expected = math.sqrt((1 + norm) ** 2 + ((1 + norm) / 2) ** 2 + (1 + norm) ** 2)
    assert lipkit.lipschitz_bound(model) == pytest.approx(expected, rel=1e-9)
    assert lipkit.lipschitz_bound(two_inputs()) == pytest.approx(
        np.linalg.norm(np.asarray(two_inputs().get_weights()[0])), rel=1
    )


def test_branches_of_different_inputs():
    a, b = keras.Input((2,)), keras.Input((2,))
    scaled = kl.Rescaling(3.0)(a)
    for layer, expected in ((kl.Concatenate(), 4), (kl.Add(), 5), (kl.Maximum(), 4)):
        model = keras.Model([a, b], layer([scaled, kl.Rescaling(4.0)(b)]))
        assert lipkit.lipschitz_bound(model) == pytest.approx(expected, rel=1e-12)


def test_nested_and_shared_models():
    inner = mlp(outputs=5)
    x = keras.Input((5,))
    model = keras.Model(x, inner(inner(x)))
    once = lipkit.lipschitz_bound(inner)
    assert lipkit.lipschitz_bound(model) == pytest.approx(once**2, rel=1e-12)


@pytest.mark.parametrize("k", [0.5, 1.0, 3.0])
def test_finalize_bounds_and_keeps_decisions(k, rng):
    x = rng.standard_normal((30, 5))
    for model in (mlp(), keras.Sequential([keras.Input((5,)), *mlp().layers, ll.FullSort()])):
        final = lipkit.finalize(model, k)
        bound = lipkit.lipschitz_bound(final)
        assert min(k, lipkit.lipschitz_bound(model)) * (1 - 1e-6) <= bound <= k
        np.testing.assert_array_equal(
            lipkit.certify(final, x).label, lipkit.certify(model, x).label
        )
        np.testing.assert_allclose(
            lipkit.certify(final, x).radius, lipkit.certify(model, x).radius, rtol=1e-4
        )
    with pytest.raises(ValueError, match="`k` must be"):
        lipkit.finalize(model, 0)


def test_finalize_refuses_to_scale_a_sigmoid():
    """Scaled values are above 0 and, soon, below 0.5: all decisions would be the same."""
    model = keras.Sequential([*linear([[8.0]], [0.0]).layers, kl.Activation("sigmoid")])
    model.build((None, 1))
    with pytest.raises(NotCertifiable, match="ends with a sigmoid.*the logits"):
        lipkit.finalize(model, 1.0)
    assert lipkit.lipschitz_bound(lipkit.finalize(model, 3.0)) == pytest.approx(2.0)


def test_finalize_refuses_a_sigmoid_among_several_outputs():
    x = keras.Input((2,))
    both = [kl.Dense(1)(x), kl.Dense(1, activation="sigmoid")(x)]
    with pytest.raises(NotCertifiable, match="ends with a sigmoid"):
        lipkit.finalize(keras.Model(x, both), 1e-3)


@pytest.mark.parametrize("final", [[], [kl.ReLU()]], ids=["kernel", "factor"])
def test_finalize_says_when_weights_would_vanish(final):
    """A factor of 1e-54 would leave zeros: ties instead of decisions, with a bound of 0."""
    hidden = [kl.Dense(4) for _ in range(6)]
    model = keras.Sequential([keras.Input((4,)), *hidden, kl.Dense(3), *final])
    model.set_weights([1e9 * w for w in model.get_weights()])
    with pytest.raises(NotCertifiable, match="would vanish"):
        lipkit.finalize(model)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finalize_keeps_names_and_dtypes(dtype):
    if dtype == "float64" and keras.backend.backend() != "tensorflow":
        pytest.skip("Keras computes in float32 there")
    sizes = {"b": 2, "a": 3}
    x = {name: keras.Input((size,), name=name, dtype=dtype) for name, size in sizes.items()}
    z = kl.Concatenate(dtype=dtype)([x["b"], x["a"]])
    z = kl.Dense(2, kernel_initializer="ones", dtype=dtype)(z)
    final = lipkit.finalize(keras.Model(x, {"y": kl.ReLU(dtype=dtype)(z)}), 1.0)
    assert 1 - 1e-6 <= lipkit.lipschitz_bound(final) <= 1
    y = final({name: np.ones((1, size), dtype) for name, size in sizes.items()})["y"]
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    np.testing.assert_allclose(ops.convert_to_numpy(y), [[5 / 10**0.5] * 2], rtol=1e-6)


def test_finalize_leaves_bounded_models_alone():
    model = lipkit.Sequential([keras.Input((5,)), ll.SpectralDense(4), ll.FrobeniusDense(1)])
    before = model.get_weights()
    final = lipkit.finalize(model, 2.0)
    np.testing.assert_array_equal(final.get_weights()[0], model.vanilla_export().get_weights()[0])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert lipkit.lipschitz_bound(lipkit.finalize(model, 1.0)) <= 1.0


def test_the_documented_example_of_a_layer_trained_elsewhere(capsys):
    """deel-lip's factor on 14 x 14 images: exactly 3 / (3 - 2 / 14) = 1.05."""
    text = Path(__file__).parents[1].joinpath("docs/soundness.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(code, names)
    assert names["bound"] == pytest.approx(1.05, abs=1e-6)
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] in text and printed[-1].endswith("<= 1.05")
    assert 1 - 1e-6 <= lipkit.lipschitz_bound(lipkit.finalize(names["model"])) <= 1


RADII = """
import sys, keras, lipkit, numpy as np
model = keras.models.load_model(sys.argv[1] + "/model.keras")
result = lipkit.certify(model, np.load(sys.argv[1] + "/x.npy"))
np.save(sys.argv[1] + "/" + keras.backend.backend() + ".npy", result.radius)
"""


@pytest.mark.once
def test_radii_agree_across_the_backends(rng, tmp_path):
    model = lipkit.Sequential(
        [
            keras.Input((6, 6, 2)),
            kl.Conv2D(4, 3, strides=2, activation="relu"),
            kl.Flatten(),
            ll.SpectralDense(8),
            ll.GroupSort2(),
            ll.FrobeniusDense(3),
        ]
    ).vanilla_export()
    x = rng.standard_normal((20, 6, 6, 2))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    here = lipkit.certify(model, x).radius
    assert (here > 0).all()
    others = {"jax", "tensorflow", "torch"} - {keras.backend.backend()}
    for backend in [b for b in others if find_spec(b)]:
        subprocess.run(
            [sys.executable, "-c", RADII, str(tmp_path)],
            env={**os.environ, "KERAS_BACKEND": backend},
            check=True,
            capture_output=True,
        )
        np.testing.assert_allclose(np.load(tmp_path / f"{backend}.npy"), here, rtol=1e-9)

"""Saliency against finite differences, counterfactuals against projections and certificates."""

import functools

import keras
import numpy as np
import pytest
from keras import layers as kl

import lipkit
from lipkit import explain, plots
from lipkit import layers as ll
from lipkit.certifier import evaluate
from lipkit.certifier.reader import read


@functools.cache
def network(outputs):
    """Images (6, 6, 1): a convolution and orthogonal layers, with weights as they are drawn."""
    keras.utils.set_random_seed(1)
    layers = [kl.Rescaling(0.5, offset=0.1), kl.Conv2D(3, 3, strides=2, activation="elu")]
    layers += [kl.Flatten(), ll.SpectralDense(16), ll.GroupSort2(), ll.FrobeniusDense(outputs)]
    return lipkit.Sequential([keras.Input((6, 6, 1)), *layers])


def images(n=40):
    return np.random.default_rng(0).standard_normal((n, 6, 6, 1)).astype("float32")


def linear(kernel, bias=0.0):
    kernel = np.asarray(kernel, "float32")
    model = keras.Sequential([keras.Input((len(kernel),)), kl.Dense(kernel.shape[1])])
    model.set_weights([kernel, np.broadcast_to(np.float32(bias), kernel.shape[1:])])
    return model


def double(model, x):
    """The logits by NumPy in float64."""
    return evaluate.run(read(model).graph, x.astype("float64"))[-1]


def margins(logits, labels):
    """By sorting, one input after the other."""
    if logits.shape[1] == 1:
        return np.where(labels == 1, 1, -1) * logits[:, 0]
    return np.array([f[t] - max(np.delete(f, t)) for f, t in zip(logits, labels, strict=True)])


@pytest.mark.parametrize("outputs", [1, 4])
@pytest.mark.parametrize("target", [None, 0, "each"])
def test_saliency_is_the_slope_of_the_margin(outputs, target):
    model, x = network(outputs), images(8)
    decision = (model.predict(x, verbose=0)[:, 0] > 0).astype(int)
    if outputs > 1:
        decision = model.predict(x, verbose=0).argmax(axis=1)
    labels = {None: decision, 0: np.zeros(8, int), "each": np.arange(8) % max(outputs, 2)}[target]
    found = explain.saliency(model, x, labels if target == "each" else target)
    assert found.shape == x.shape
    rows = x.reshape(8, 36).astype("float64")
    step, slopes = 1e-6, np.zeros((8, 36))
    for i in range(36):
        ends = [(rows + s * step * np.eye(36)[i]).reshape(x.shape) for s in (1, -1)]
        up, down = (margins(double(model, end), labels) for end in ends)
        slopes[:, i] = (up - down) / (2 * step)
    np.testing.assert_allclose(found.reshape(8, 36), slopes, atol=2e-5)
    assert np.linalg.norm(slopes) > 0.1


def test_binary_linear_counterfactual_is_the_projection():
    """1,200 inputs: more than one batch."""
    rng = np.random.default_rng(2)
    w, x = rng.standard_normal(5), rng.standard_normal((1200, 5)).astype("float32")
    model = linear(w[:, None], 0.3)
    w = model.get_weights()[0][:, 0].astype("float64")
    f = x.astype("float64") @ w + np.float32(0.3)
    for overshoot in (1e-3, 1.0):
        result = explain.counterfactual(model, x, overshoot=overshoot)
        share = result.distance / (np.abs(f) / np.linalg.norm(w))
        clear = np.abs(f) > 1e-2  # nearer, float32 decides
        assert result.flipped[clear].all() and clear.sum() > 1100
        assert (share[clear] >= 1 + 0.98 * overshoot).all()
        assert (share[clear] <= 1 + 1.01 * overshoot + 1e-5).all()
        projected = x - (share * f / (w @ w))[:, None] * w
        np.testing.assert_allclose(result.x, projected, atol=1e-5)
        np.testing.assert_array_equal(result.before, f > 0)
        np.testing.assert_array_equal(result.label[clear], f[clear] <= 0)


def test_multiclass_linear_counterfactual_of_a_target():
    """The projection on the plane between two classes, where a third does not interfere."""
    kernel = np.array([[3.0, 0.0, -1.0], [0.0, 2.0, 0.0]])
    model = linear(kernel)
    x = np.array([[1.0, 0.2], [0.5, 0.1], [2.0, 1.0]], "float32")
    normal = kernel[:, 1] - kernel[:, 0]
    gap = -(x @ normal)
    assert (gap > 0).all()
    result = explain.counterfactual(model, x, target=1)
    expected = gap / np.linalg.norm(normal)
    np.testing.assert_allclose(result.distance, expected, rtol=1.1e-3)
    assert (result.distance > expected).all()
    np.testing.assert_array_equal(result.label, [1, 1, 1])
    at_target = explain.counterfactual(model, x, target=0)
    assert at_target.flipped.all() and not at_target.distance.any()
    np.testing.assert_array_equal(at_target.x, x)


@pytest.mark.parametrize("outputs", [1, 4])
def test_no_counterfactual_is_within_the_certified_radius(outputs):
    model, x = network(outputs), images()
    certificates = lipkit.certify(model, x)
    targets = (certificates.label + 1) % max(outputs, 2)
    for target in (None, targets):
        result = explain.counterfactual(model, x, target)
        print(result)
        assert result.flipped.mean() >= (0.9 if target is None else 0.7)
        found = result.flipped
        assert (result.distance >= certificates.radius)[found].all()
        np.testing.assert_array_equal(result.before, certificates.label)
        logits = double(model, result.x)
        decision = logits.argmax(axis=1) if outputs > 1 else (logits[:, 0] > 0).astype(int)
        np.testing.assert_array_equal(result.label, decision)
        wanted = result.label != result.before if target is None else result.label == targets
        np.testing.assert_array_equal(found, wanted)
        moved = (result.x.astype("float64") - x).reshape(len(x), -1)
        np.testing.assert_allclose(result.distance, np.linalg.norm(moved, axis=1))
    sure = explain.counterfactual(model, x, overshoot=0.5)
    before = margins(double(model, x), sure.before)
    after = margins(double(model, sure.x), sure.before)
    reached = -after >= 0.49 * before
    assert reached.mean() >= 0.8
    crossing = explain.counterfactual(model, x)
    assert (sure.distance > crossing.distance)[reached & crossing.flipped].all()


def test_what_cannot_be_flipped_is_said():
    x = np.ones((2, 2), "float32")
    constant = explain.counterfactual(linear(np.zeros((2, 1)), 1.0), x)
    assert not constant.flipped.any() and (constant.label == 1).all()
    np.testing.assert_array_equal(constant.x, x)
    assert str(constant) == "0 of 2 inputs have a counterfactual"
    never = keras.Sequential([keras.Input((2,)), kl.Dense(2), kl.ReLU(), kl.Dense(1)])
    never.set_weights([np.eye(2), np.zeros(2), np.ones((2, 1)), np.array([0.5])])
    some = explain.counterfactual(never, x)
    assert not some.flipped.any() and np.isfinite(some.x).all() and (some.distance > 0).all()
    one = explain.counterfactual(linear(np.ones((2, 1))), x)
    assert len(one) == 2 and str(one).startswith("2 of 2 inputs have a counterfactual, median dis")


def nearest_in_box(x, normal, gap, low, high):
    """The nearest point of a box where normal . x has grown by gap, by bisection of the multiplier.

    The solution of min |d|^2 is d = clip(s normal, low - x, high - x), which grows with s.
    """
    least, most = 0.0, 1e6
    for _ in range(200):
        middle = (least + most) / 2
        moved = np.clip(middle * normal, low - x, high - x)
        least, most = (middle, most) if moved @ normal < gap else (least, middle)
    return x + moved


def test_counterfactuals_of_a_linear_model_are_the_nearest_within_limits():
    rng = np.random.default_rng(3)
    w, x = rng.standard_normal(8), rng.uniform(-1, 1, (300, 8)).astype("float32")
    model = linear(w[:, None], 0.1)
    w = model.get_weights()[0][:, 0].astype("float64")
    low, high = np.full(8, -1.0), rng.uniform(0.5, 1.0, 8)
    frozen = np.isin(np.arange(8), np.argsort(-np.abs(w))[:3])  # those that matter most
    result = explain.counterfactual(model, x, low=low, high=high, frozen=frozen)
    free, outside = explain.counterfactual(model, x), x > high
    assert (free.x > np.maximum(high, x) + 1e-3).any() and outside.any()  # the limits matter
    f = x.astype("float64") @ w + np.float32(0.1)
    stopped = 0
    for i, start in enumerate(x.astype("float64")):
        normal = np.where(frozen, 0.0, -np.sign(f[i]) * w)
        ends = np.minimum(low, start), np.maximum(high, start)
        best = nearest_in_box(start, normal, 1.001 * abs(f[i]), *ends)
        reachable = np.maximum(normal * (ends[0] - start), normal * (ends[1] - start)).sum()
        if reachable < 1.01 * abs(f[i]):
            stopped += 1
            assert not result.flipped[i] or reachable > 0.999 * abs(f[i])
            continue
        if abs(f[i]) > 1e-2:  # nearer, float32 decides
            assert result.flipped[i]
            np.testing.assert_allclose(result.x[i], best, atol=2e-4)
    assert stopped > 3
    assert (result.x[:, frozen] == x[:, frozen]).all()
    assert (result.x >= np.minimum(low, x)).all()
    assert (result.x <= np.maximum(high, x).astype("float32")).all()


@pytest.mark.parametrize("outputs", [1, 4])
def test_limits_of_a_network(outputs):
    """Pixels stay in their range; frozen ones as they are; so it takes longer ways, if any."""
    model, x = network(outputs), images()
    frozen = np.zeros((6, 6, 1), bool)
    frozen[:2] = True
    inside = explain.counterfactual(model, x, low=x.min(), high=x.max(), frozen=frozen)
    assert inside.flipped.mean() > 0.5
    assert inside.x.min() >= x.min() and inside.x.max() <= x.max()
    np.testing.assert_array_equal(inside.x[:, :2], x[:, :2])
    certificates = lipkit.certify(model, x)
    assert (inside.distance >= certificates.radius)[inside.flipped].all()
    still = explain.counterfactual(model, x, frozen=True)
    assert not still.flipped.any() and not still.distance.any()


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": [0.0] * 3}, r"`low` must be one value, or an array of an input's shape \(2,\)"),
        ({"high": "top"}, "`high` must be one value"),
        ({"low": 1.0, "high": 0.0}, "`low` must be at most `high`"),
        ({"low": float("nan")}, "neither undefined"),
        ({"frozen": [0, 1]}, "`frozen` must be booleans"),
        ({"frozen": ["a", "b"]}, "`frozen` must be one value"),
    ],
)
def test_bad_limits(arguments, message):
    with pytest.raises(ValueError, match=message):
        explain.counterfactual(linear(np.ones((2, 1))), np.ones((3, 2), "float32"), **arguments)


def test_transport_plot():
    import matplotlib.pyplot as plt
    from matplotlib.quiver import Quiver

    model = linear([[1.0], [1.0]])
    x = np.array([[1.0, 0.0], [0.0, -2.0], [3.0, 1.0]], "float32")
    ax = explain.transport_plot(model, x, np.array([1, -1, 1]))
    (arrows,) = [c for c in ax.collections if isinstance(c, Quiver)]
    np.testing.assert_allclose(arrows.XY, x, atol=1e-6)
    ends = x - 2 * x.sum(axis=1, keepdims=True) / 2  # mirrored at x1 + x2 = 0
    np.testing.assert_allclose(arrows.XY + np.stack([arrows.U, arrows.V], 1), ends, atol=0.05)
    colors = [plots.CLASS_COLORS[label] for label in (1, -1, 1)]
    from matplotlib.colors import to_rgb

    np.testing.assert_allclose(arrows.get_facecolor()[:, :3], [to_rgb(c) for c in colors])
    axes = plt.figure().add_subplot()
    none = explain.transport_plot(linear([[0.0], [0.0]], 1.0), x, np.array([1, -1, 1]))
    assert [c.N for c in none.collections if isinstance(c, Quiver)] == [0]
    few = explain.transport_plot(model, x, np.array([1, -1, 1]), axes, arrows=2)
    assert few is axes and [c.N for c in few.collections if isinstance(c, Quiver)] == [2]
    plt.close("all")


def test_image_plot():
    import matplotlib.pyplot as plt

    model, x = network(4), images(3)
    axes = explain.image_plot(model, x, classes=["a", "b", "c", "d"])
    assert axes.shape == (3, 4)
    result = explain.counterfactual(model, x, overshoot=1.0)
    names = [f"input: {'abcd'[k]}" for k in result.before]
    assert [ax.get_title() for ax in axes[:, 0]] == names
    assert result.flipped.all()
    ends = ["abcd"[k] for k in result.label]
    assert [ax.get_title() for ax in axes[:, 2]] == [f"counterfactual: {end}" for end in ends]
    shown = np.stack([ax.images[0].get_array() for ax in axes[:, 1]])
    np.testing.assert_allclose(shown, explain.saliency(model, x)[..., 0], atol=1e-6)
    changed = np.stack([ax.images[0].get_array() for ax in axes[:, 3]])
    np.testing.assert_allclose(changed, (result.x - x)[..., 0], atol=1e-5)
    flat = linear(np.zeros((36, 2)), [1.0, 0.0])
    constant = keras.Sequential([keras.Input((6, 6)), kl.Flatten(), flat])
    axes = explain.image_plot(constant, x[:1, :, :, 0], target=1)
    assert [ax.get_title() for ax in axes[0, [0, 2]]] == ["input: 0", "counterfactual: none found"]
    with pytest.raises(ValueError, match=r"`images` must have shape.*\(3, 6\)"):
        explain.image_plot(model, x[:, 0, :, 0])
    plt.close("all")


X = np.ones((3, 2), "float32")


def ending(**last):
    return keras.Sequential([keras.Input((2,)), kl.Dense(3, **last)])


def two_outputs():
    inputs = keras.Input((2,))
    return keras.Model(inputs, [kl.Dense(1)(inputs), kl.Dense(1)(inputs)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ending(), X * np.nan), "`x` must be.*finite.*first is row 0"),
        ((ending(), X[0]), r"`x` must have shape \('n', 2\).*\(2,\)"),
        ((ending(), X[:, :1]), r"`x` must have shape.*\(3, 1\)"),
        ((ending(), X[:0]), r"n >= 1.*\(0, 2\)"),
        ((ending(), X, 3), r"`target` must be one class in 0 ... 2, or 3 of them.*3"),
        ((ending(), X, [0, 1]), r"`target` must be.*\[0, 1\]"),
        ((ending(), X, 0.5), "`target` must be.*0.5"),
        ((linear([[1.0], [1.0]]), X, -1), "`target` must be one class in 0 ... 1"),
        ((ending(activation="softmax"), X), "must end with logits, but 'dense.*softmax"),
        ((ending(activation="sigmoid"), X), r"must end with logits.*sigmoid"),
        ((keras.Sequential([ending(), kl.Softmax()]), X), "must end with logits.*Softmax"),
        ((two_outputs(), X), "`model` must be.*one input and one output"),
        ((keras.Sequential([kl.Dense(1)]), X), "`model` must be a built"),
    ],
)
def test_bad_arguments(arguments, message):
    for function in (explain.saliency, explain.counterfactual):
        with pytest.raises(ValueError, match=message):
            function(*arguments)


def test_bad_arguments_of_the_search():
    for name, value in (("overshoot", 0.0), ("overshoot", -1), ("steps", 0), ("steps", 2.5)):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            explain.counterfactual(ending(), X, **{name: value})

"""The search of the default recipe: units, parts, the choice, the mean of networks, weights."""

import itertools

import keras
import numpy as np
import pytest

import lipkit
from lipkit.recipes import Trained, scaling, search, train
from lipkit.recipes.batches import Shuffled
from lipkit.recipes.stack import Stack
from lipkit.recipes.training import Plan, Setup


def process(n=400, seed=0):
    """Pressures in Pa, temperatures in K and concentrations of 1e-6, all of which matter."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, 3))
    y = (z[:, 0] + z[:, 1] - 2 * z[:, 2] > 0).astype(int)
    return z * [2e4, 15.0, 3e-7] + [1e5, 300.0, 1e-6], y


def test_columns_in_different_units():
    trained = train(*process(), recipe="mlp", budget=4)
    x, y = process(seed=1)
    assert trained.certify(x, y).certified_accuracy(0) >= 0.97
    assert trained.settings["feature_weights_source"] == "spread"
    raw = train(*process(), recipe="mlp", feature_weights="none", budget=4)
    assert raw.certify(x, y).certified_accuracy(0) < 0.8  # the control: pressure is all there is


@pytest.mark.parametrize("factors", [[1e9, 1e-9, 1e3], [3.7e-3, 1.0, 2.2e2]])
def test_no_decision_depends_on_units(factors):
    x, y = process(n=120)
    y = y + (x[:, 0] > 1.2e5)
    more, _ = process(n=300, seed=1)
    options = {"epochs": 15, "seed": 3}
    first, second = train(x, y, **options), train(x * factors, y, **options)
    for name in ("eps", "constant"):
        np.testing.assert_allclose(first.settings[name], second.settings[name], rtol=1e-6)
    ours, theirs = first.certify(more), second.certify(more * factors)
    np.testing.assert_array_equal(ours.label, theirs.label)
    if max(factors) < 1e6:  # the rounding of numbers of 1e14 beside those of 1e-8 takes all radii
        np.testing.assert_allclose(ours.radius, theirs.radius, atol=2e-3)


def test_spreads(rng):
    x = np.column_stack(
        [
            rng.standard_normal(4000),
            np.append(rng.standard_normal(3999), 1e9),  # a value of another kind
            rng.integers(0, 2, 4000) * 5.0,
            np.where(np.arange(4000) < 40, 3.0, 0.0),
            np.where(np.arange(4000) < 40, rng.standard_normal(4000), 0.0),
        ]
    )
    found = scaling.spreads(x)
    np.testing.assert_allclose(found[:2], 1, atol=0.1)
    np.testing.assert_array_equal(found[2:4], [5, 3])
    np.testing.assert_allclose(found[4], x[:, 4].std())


@pytest.mark.parametrize(("n", "fraction", "count"), [(30, None, 3), (2500, None, 1), (30, 0.4, 1)])
def test_parts_leave_rows_of_every_class_out(n, fraction, count):
    y = np.arange(n) % 3
    parts = search.Parts.of(y, fraction, seed=0)
    assert (parts.count, parts.whole, len(parts.rows())) == (count, True, count + 1)
    left = [rows for _, rows in parts.left_out()]
    for rows, kept in zip(left, parts.rows(), strict=False):
        assert set(rows).isdisjoint(kept) and len(rows) + len(kept) == n
        share = np.bincount(y[rows]) / np.bincount(y)
        np.testing.assert_allclose(share, fraction or (1 / 3 if n < 2000 else 0.2), atol=0.07)
    together = np.concatenate(left)
    assert len(set(together)) == len(together) == (n if count > 1 else len(left[0]))
    assert search.Parts.of(y, 0, seed=0).count == 0


def test_of_many_rows_some_are_left_out_once():
    parts = search.Parts.of(np.zeros(150_000, int), None, seed=0)
    assert not parts.whole and len(parts.rows()) == 1
    assert len(parts.left_out()[0][1]) == search.MOST


@pytest.mark.parametrize(
    ("n", "budget", "expected"),
    [
        (400, 30, [(33, None), (200, None)]),  # 134 and 800 steps of 4 batches
        (300_000, 30, [(1, None), (7, None)]),
        (1_000_000, 30, [(1, 334), (6, 334)]),
        (20_000_000, 30, [(1, 334), (6, 334)]),
        (16_000, 3, [(1, 34), (6, 34)]),
    ],
)
def test_the_steps_of_a_search_do_not_grow_with_the_rows(n, budget, expected):
    setup = Setup.__new__(Setup)
    setup.x = np.empty((n, 0))
    plans = setup.plans(Plan.of(n, None, None, None), None, budget)
    assert [(plan.epochs, plan.steps_per_epoch) for plan in plans] == expected


def test_an_epoch_may_be_a_part_of_the_rows(rng):
    rows = np.arange(400)
    x, y = rng.standard_normal((400, 2)), rows % 2
    batches = Shuffled((x, y, rows), 16, 0, strata=y, most=5)
    assert len(batches) == 5 and len(Shuffled((x, y), 16, 0)) == 25
    seen = [np.concatenate([batches[i][2] for i in range(5)]) for batches.epoch in (1, 2)]
    for found in seen:
        assert len(set(found)) == 80 and np.isin(found, rows).all()
        assert np.mean(found % 2) == 0.5
    assert set(seen[0]) != set(seen[1])
    limited = train(*process(n=400), epochs=None, budget=0.5, batch_size=8)
    assert limited.settings["steps_per_epoch"] == 3  # of 2.2 steps in the short training
    assert limited.settings["epochs"] in (1, 4)


def test_the_choice_is_that_of_trying_all(rng):
    margin, weights = rng.standard_normal((2, 4, 50)) + 1.2, rng.uniform(0.5, 2, 50)
    places = [(i, j) for i in range(2) for j in range(4)]

    def share(place, r):
        sure = (margin[place] > 0) & (margin[place] >= r)
        return weights[sure].sum() / weights.sum()

    def smooth(i, j):
        around = (share((i, k), 0) for k in (max(j - 1, 0), j, j, min(j + 1, 3)))
        return sum(around) / 4

    def radius(place):
        least = smooth(*place) - 0.03
        return max([r for r in margin[place] if r > 0 and share(place, r) >= least], default=0)

    best = max(smooth(*place) for place in places)
    expected = max((p for p in places if smooth(*p) >= best - 0.01), key=radius)
    chosen, eps, trade = search.choose_classes(margin, weights)
    assert (chosen, eps) == (expected, radius(expected))
    for place, entry in zip(places, trade, strict=True):
        found = radius(place), smooth(*place), share(place, radius(place))
        np.testing.assert_allclose(list(entry.values()), found)
    chosen, eps, _ = search.choose_classes(margin, weights, eps=0.7)
    assert eps == 0.7 and share(chosen, 0.7) == max(share(place, 0.7) for place in places)


@pytest.mark.parametrize("classes", [2, 4])
def test_margins_of_the_search_are_the_radii_that_are_certified(classes, rng):
    x = rng.standard_normal((90, 3))
    y = np.digitize(x @ [1, 0.5, 0], [-0.8, 0, 0.8] if classes == 4 else [0])
    found = train(x, y, epochs=15, validation_fraction=0.5, feature_weights="none")
    kernel = keras.ops.convert_to_numpy(found.model.layers[-1].kernel).astype("float64")
    certificates = found.certify(x, y)
    values = found.model.predict(x.astype("float32"), verbose=0).astype("float64")
    margin = search.margins(values[None], y, kernel[None])[0]
    right = certificates.label == y
    np.testing.assert_array_equal(margin > 0, right)
    stretch = max(found.model.layers[0].scale)
    assert right.sum() > 50
    radii = certificates.radius[right]
    np.testing.assert_allclose(margin[right] / stretch, radii, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_mean_of_networks_is_one_of_them(outputs, rng):
    """Written as an average of four, and with the singular values of its kernels."""
    stack = Stack((8, 6), outputs, (1.0, 4.0), 4, itertools.count(), None)
    stack.build((None, 4, 5))
    for v in stack.variables:
        v.assign(keras.ops.convert_to_numpy(v) + 0.01 * rng.standard_normal(v.shape))
    for layer in stack.dense[:-1]:
        w = rng.standard_normal(layer.kernel.shape)
        wide = w.shape[-2] < w.shape[-1]
        q = np.linalg.qr(w.swapaxes(-1, -2) if wide else w)[0]
        layer.kernel.assign(q.swapaxes(-1, -2) if wide else q)
    x = rng.standard_normal((7, 5)).astype("float32")
    expected = np.mean([stack.values(x, part)[1] for part in range(4)], axis=0)
    (w1, b1), (w2, b2), (w3, b3) = stack.mean(1, range(4))
    h = x
    for w, b in ((w1, b1), (w2, b2)):
        h = h @ w + b
        h = np.sort(h.reshape(len(x), -1, 2), axis=-1).reshape(len(x), -1)
    np.testing.assert_allclose(h @ w3 + b3, expected, atol=1e-5)
    for w in (w1, w2):
        np.testing.assert_allclose(np.linalg.svd(w, compute_uv=False), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(w3, axis=0), 1, atol=1e-6)


def rare(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    y = (np.arange(n) % 60 == 0).astype(int)
    return rng.standard_normal((n, 2)) + 1.5 * y[:, None], y


def recalls(trained: Trained):
    x, y = rare(seed=1)
    label = trained.certify(x).label
    return [(label[y == c] == c).mean() for c in (0, 1)]


def test_balanced_classes():
    x, y = rare()
    options = {"recipe": "mlp", "epochs": 10}
    plain, balanced = train(x, y, **options), train(x, y, class_weight="balanced", **options)
    assert min(recalls(plain)) < 0.3 and min(recalls(balanced)) > 0.7
    by_hand = train(x, y, class_weight={0: 1 / (y == 0).mean(), 1: 1 / y.mean()}, **options)
    np.testing.assert_allclose(recalls(by_hand), recalls(balanced), atol=0.02)
    # what the search reports is balanced as well
    assert all(entry["accuracy"] < 0.95 for entry in balanced.settings["trade"])


def test_samples_without_weight_are_not_learned(rng):
    x = rng.standard_normal((200, 2))
    y = (x[:, 0] > 0).astype(int)
    wrong = np.arange(200) % 2 == 0
    found = train(x, np.where(wrong, 1 - y, y), epochs=30, sample_weight=np.where(wrong, 0.0, 1.0))
    assert found.certify(x, y).certified_accuracy(0) > 0.9


def test_a_radius_that_is_given_is_kept(rng):
    x, y = process(n=150)
    found = train(x, y, eps=0.25, epochs=20)
    settings = found.settings
    assert settings["eps"] == 0.25 and settings["eps_source"] == "given"
    assert {entry["eps"] for entry in settings["trade"]} == {0.25}
    names = ("recipe", "epochs", "constant")
    kept = [e for e in settings["trade"] if all(e[n] == settings[n] for n in names)]
    assert len(kept) == 1 and kept[0]["certified"] == max(
        entry["certified"] for entry in settings["trade"]
    )


def test_hkr_with_a_margin_that_is_given():
    x, y = process(n=150)
    found = train(x, y, recipe="mlp", alpha=50.0, min_margin=0.5, eps=0.1, epochs=9).settings
    assert (found["loss"], found["alpha"], found["min_margin"]) == ("hkr", 50.0, 0.5)
    assert found["trade"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weight": "even"}, "`class_weight` must be 'balanced'"),
        ({"class_weight": {5: 1.0}}, "classes 0 ... 1"),
        ({"class_weight": {0: -1.0}}, "class_weight"),
        ({"sample_weight": np.ones(3)}, "150 numbers >= 0"),
        ({"sample_weight": -np.ones(150)}, "150 numbers >= 0"),
        ({"budget": 0}, "`budget` must be"),
        ({"alpha": -1}, "`alpha` must be"),
        ({"min_margin": 0}, "`min_margin` must be"),
        ({"validation_fraction": 1.0}, "`validation_fraction` must be"),
        ({"task": "regression", "alpha": 1.0}, "`alpha` applies only to task='classification'"),
        ({"feature_weights": "median"}, "`feature_weights` must be"),
    ],
)
def test_what_the_search_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        train(*process(n=150), **options)


@pytest.mark.once
def test_regression_of_a_curve(rng):
    x = rng.uniform(-2, 2, (300, 2))
    y = 100 + 10 * np.sin(2 * x[:, 0]) * x[:, 1]
    found = train(x[:200], y[:200], task="regression", budget=8)
    predicted = found.model.predict(x[200:].astype("float32"), verbose=0)[:, 0]
    assert 1 - np.mean((predicted - y[200:]) ** 2) / y.var() > 0.9
    assert found.settings["recipe"] == "mlp" and len(found.settings["trade"]) == 3 * 6
    assert isinstance(lipkit.lipschitz_bound(found.model), float)

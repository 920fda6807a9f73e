"""Attacks on certificates: none may succeed, and over-claims must be found."""

import dataclasses
import functools
import math
import os
from fractions import Fraction

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import lipkit
from lipkit import NotCertifiable, attacks
from lipkit import layers as ll
from lipkit._backend import value_and_input_gradient
from lipkit.attacks.target import Target

pytestmark = pytest.mark.compiled

POINTS = 3600


def trained(model, x, y, loss, epochs=3):
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(x, y, batch_size=240, epochs=epochs, verbose=0)
    return model


def mlp():
    """Orthogonal, three classes on rings about random centres."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, POINTS)
    x = rng.standard_normal((POINTS, 10)) + 1.5 * rng.standard_normal((3, 10))[y]
    widths = (32, 32)
    hidden = [layer for n in widths for layer in (ll.SpectralDense(n), ll.GroupSort2())]
    model = lipkit.Sequential([keras.Input((10,)), *hidden, ll.FrobeniusDense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return trained(model, x, y, loss), x.astype("float32"), None


def cnn():
    """Plain Keras, strides and both poolings, one logit; stripes against noise."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, POINTS)
    x = rng.standard_normal((POINTS, 12, 12, 1)) + y[:, None, None, None] * np.ones((12, 1, 1))
    x[y == 1, ::2] -= 2.0
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            kl.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
            kl.MaxPooling2D(2),
            kl.Conv2D(8, 3, padding="same", activation="relu"),
            kl.AveragePooling2D(3),
            kl.Flatten(),
            kl.Dense(1),
        ]
    )
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return trained(model, x, y, loss), x.astype("float32"), None


def residual():
    """Two residual blocks, three labels that are not exclusive."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((POINTS, 10))
    y = (x @ rng.standard_normal((10, 3)) > 0).astype("float32")
    z = entry = keras.Input((10,))
    for _ in range(2):
        branch = kl.Dense(10)(kl.Dense(16, activation="relu")(z))
        z = kl.Add()([z, branch])
    model = keras.Model(entry, kl.Dense(3)(z))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return trained(model, x, y, loss), x.astype("float32"), "multilabel"


@functools.cache
def architecture(name):
    keras.utils.set_random_seed(0)
    return {"mlp": mlp, "cnn": cnn, "residual": residual}[name]()


@pytest.fixture(params=["mlp", "cnn", "residual"])
def case(request):
    return architecture(request.param)


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_no_certified_point_is_broken(case, arithmetic):
    """In all over 10,000 points of each arithmetic; far beyond the radius points do break."""
    model, x, task = case
    model = model if arithmetic == "real" else lipkit.vanillaModel(model)
    certificates = lipkit.certify(model, x, task=task, arithmetic=arithmetic)
    result = attacks.falsify(model, x, certificates, steps=8, restarts=2)
    print(result)
    assert result.attacked.sum() >= 3400
    assert result.broken.sum() == 0
    assert result.attacks == ("pgd", "one_step")
    near = np.linalg.norm((result.x.astype("float64") - x).reshape(len(x), -1), axis=1)
    assert (near[result.attacked] <= certificates.radius[result.attacked] * (1 + 1e-12)).all()
    wide = attacks.falsify(model, x, certificates, scale=10.0, steps=3)
    assert wide.broken.sum() > 1000 and (wide.ratio[wide.broken] <= 10).all()


@functools.cache
def near_linear(outputs=1):
    """Orthogonal layers whose group sorts never switch near the data."""
    rng = np.random.default_rng(4)
    x = 0.5 * rng.standard_normal((2000, 16)).astype("float32")
    hidden = [layer for _ in range(2) for layer in (ll.SpectralDense(16), ll.GroupSort2())]
    model = lipkit.Sequential([keras.Input((16,)), *hidden, ll.FrobeniusDense(outputs)])
    z = ops.convert_to_tensor(x)
    for layer in model.layers:
        if isinstance(layer, (ll.SpectralDense, ll.FrobeniusDense)):
            apart = np.tile([-6.0, 6.0], 8) if isinstance(layer, ll.SpectralDense) else 0.0
            center = np.mean(ops.convert_to_numpy(layer(z)), axis=0)
            layer.bias.assign((apart - center).astype("float32"))
        z = layer(z)
    return model, x


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
@pytest.mark.parametrize("outputs", [1, 4])
def test_radii_3_percent_too_large_are_broken(outputs, arithmetic):
    """The positive control."""
    model, x = near_linear(outputs)
    model = model if arithmetic == "real" else model.vanilla_export()
    certificates = lipkit.certify(model, x, arithmetic=arithmetic)
    x, certificates = select(x, certificates, certificates.radius > 0.05)
    assert len(x) > 1000
    exact = attacks.falsify(model, x, certificates)
    assert exact.broken.sum() == 0
    for attack in ("pgd", "one_step"):
        over = attacks.falsify(model, x, certificates, scale=1.03, attacks=[attack], steps=4)
        print(exact, over, sep="\n")
        assert over.broken.mean() >= 0.99
        assert (over.attack == attack).all() and np.nanmax(over.ratio) <= 1.03 * (1 + 1e-12)


def select(x, certificates, rows):
    names = ("label", "radius", "margin", "lipschitz", "status")
    parts = {name: getattr(certificates, name)[rows] for name in names}
    return x[rows], dataclasses.replace(certificates, **parts)


def overlapping():
    """A convolution that deel-lip's average-overlap factor calls 1-Lipschitz and that is 1.05.

    The head is aligned with the image of its top singular vector.
    """
    rng = np.random.default_rng(5)
    kernel = np.linalg.qr(rng.standard_normal((16, 9)))[0].T.reshape(3, 3, 1, 16)
    mean_overlap = (3 - 2 / 14) ** 2  # windows over a pixel, per axis 3 inside and 2 at the ends
    conv = kl.Conv2D(16, 3, padding="same", use_bias=False)
    model = keras.Sequential([keras.Input((14, 14, 1)), conv, kl.Flatten(), kl.Dense(1)])
    conv.kernel.assign((kernel / math.sqrt(mean_overlap)).astype("float32"))
    top = np.zeros((1, 14, 14, 1), "float32")
    top[:, 2:-2, 2:-2] = 0.1
    image = ops.convert_to_numpy(conv(ops.convert_to_tensor(top))).reshape(-1, 1)
    model.layers[-1].kernel.assign(image / np.linalg.norm(image))
    return model, rng.standard_normal((300, 14, 14, 1)).astype("float32")


def test_a_wrong_constant_is_found():
    """Radii from an average where the proof needs a maximum, 5 % too large, are broken."""
    model, x = overlapping()
    certificates = lipkit.certify(model, x)
    claimed = certificates.margin / 1.0
    np.testing.assert_allclose(claimed / certificates.radius, 1.05, rtol=1e-3)
    rows = np.abs(claimed) > 1e-3
    wrong = dataclasses.replace(certificates, radius=claimed)
    assert attacks.falsify(model, x, wrong).broken[rows].mean() >= 0.99
    assert attacks.one_step(model, x, certificates, radius=claimed).broken[rows].mean() >= 0.99
    assert not attacks.falsify(model, x, certificates).broken.any()


def linear(outputs, rng):
    model = keras.Sequential([keras.Input((7, 8)), kl.Flatten(), kl.Dense(outputs)])
    model.set_weights([rng.standard_normal(w.shape).astype("float32") for w in model.get_weights()])
    x = rng.uniform(0, 1, (400, 7, 8)).astype("float32")
    return model, x


def plain_radii(model, x):
    """Margin / norm in float32, as libraries compute it."""
    kernel, bias = model.get_weights()
    logits = x.reshape(len(x), -1) @ kernel + bias
    if kernel.shape[1] == 1:
        return np.abs(logits[:, 0]) / np.linalg.norm(kernel)
    label = logits.argmax(axis=1)
    margin = logits[np.arange(len(x)), label][:, None] - logits
    norm = np.linalg.norm(kernel.T[label][:, None] - kernel.T[None], axis=2)
    quotient = margin / np.where(norm > 0, norm, 1)
    return np.where(norm > 0, quotient, np.inf).min(axis=1).astype("float32")


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
@pytest.mark.parametrize("outputs", [1, 4])
def test_rounding_search_breaks_plain_float32_radii_only(outputs, arithmetic, rng):
    model, x = linear(outputs, rng)
    certificates = lipkit.certify(model, x, arithmetic=arithmetic)
    plain = attacks.rounding_search(model, x, certificates, radius=plain_radii(model, x))
    sound = attacks.rounding_search(model, x, certificates)
    print(plain, sound, sep="\n")
    assert plain.broken.mean() > 0.3
    assert sound.broken.sum() == 0 and sound.attacked.sum() > 390
    for i in np.flatnonzero(plain.broken)[:20]:
        assert exact_square(plain.x[i], x[i]) <= Fraction(float(plain_radii(model, x)[i])) ** 2
    assert attacks.falsify(model, x, certificates).attacks == attacks.ATTACKS


def exact_square(a, b):
    pairs = zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)
    return sum((Fraction(p) - Fraction(q)) ** 2 for p, q in pairs)


def test_rounding_search_finds_nearly_all_over_claims_of_1e_8(rng):
    model, x = linear(1, rng)
    certificates = lipkit.certify(model, x)
    rows = certificates.radius > 0.01
    over = attacks.rounding_search(model, x, certificates, certificates.radius * (1 + 1e-8))
    assert over.broken[rows].mean() > 0.95


def test_ratio_is_below_the_bound(case):
    model, x, _ = case
    bound = lipkit.lipschitz_bound(model)
    ratio = attacks.lipschitz_ratio(model, x[:300], steps=10)
    print(ratio, float(bound))
    assert 0.05 * bound < ratio <= bound


@pytest.mark.parametrize("outputs", [1, 4])
def test_ratio_of_near_linear_models_reaches_the_bound(outputs):
    model, x = near_linear(outputs)
    bound = lipkit.lipschitz_bound(model)
    assert 0.95 * bound <= attacks.lipschitz_ratio(model, x[:100]) <= bound
    conv, x = overlapping()
    assert 1.045 <= attacks.lipschitz_ratio(conv, x[:20]) <= lipkit.lipschitz_bound(conv)


def test_within_decides_single_units_in_the_last_place(rng):
    x = rng.standard_normal((50, 30)).astype("float32")
    points = (x + 0.1 * rng.standard_normal(x.shape)).astype("float32")
    radius = np.empty(50)
    for i in range(50):  # the largest float64 that is not above the distance, and the next one
        square = exact_square(points[i], x[i])
        radius[i] = math.sqrt(square)
        while Fraction(radius[i]) ** 2 > square:
            radius[i] = np.nextafter(radius[i], 0)
        while Fraction(np.nextafter(radius[i], 1)) ** 2 <= square:
            radius[i] = np.nextafter(radius[i], 1)
    below, above = np.nextafter(radius, 0), np.nextafter(radius, np.inf)
    assert not attacks.within(x, points, below).any()
    assert attacks.within(x, points, above).all()
    assert not attacks.within(x, points, above, 1 - 2**-50).any()
    grid = np.array([[3.0, 4.0]])
    assert attacks.within(0 * grid, grid, np.array([5.0])).all()
    assert not attacks.within(0 * grid, grid, np.array([np.nextafter(5.0, 0)])).any()
    tiny = np.array([[3e-200, 4e-200]])  # squares underflow
    assert not attacks.within(0 * tiny, tiny, np.array([4.9e-200])).any()
    assert not attacks.within(grid, np.array([[np.nan, np.inf]]), np.array([1e300])).any()


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_breaks_one_unit_outside_the_radius_are_not_claimed(arithmetic):
    """On f(x) = x - 2^-20, the nearest float32 with another label is known."""
    model = keras.Sequential([keras.Input((1,)), kl.Dense(1)])
    model.set_weights([np.array([[1.0]], "float32"), np.array([-(2.0**-20)], "float32")])
    x = np.array([[0.0]], "float32")
    certificates = lipkit.certify(model, x, arithmetic=arithmetic)
    flipped = np.nextafter(np.float32(2.0**-20), np.float32(1))
    assert attacks.falsify(model, x, certificates).broken.sum() == 0
    for name in ("pgd", "one_step"):
        attack = getattr(attacks, name)
        for radius, expected in ((np.nextafter(float(flipped), 0), False), (flipped, True)):
            result = attack(model, x, certificates, radius=float(radius))
            assert result.broken[0] == expected, (name, radius)


@pytest.mark.parametrize("arithmetic", ["real", "float32"])
def test_claims_are_checked_again(arithmetic):
    """Fake tries: too far by one unit in the last place, and near but with the same label."""
    model = keras.Sequential([keras.Input((1,)), kl.Dense(1)])
    model.set_weights([np.array([[1.0]], "float32"), np.array([-0.15], "float32")])
    certificates = lipkit.certify(model, [[0.1]], arithmetic=arithmetic)  # 0.1 is no float32
    tries = np.array([[0.1875]], "float32")
    distance = 0.1875 - 0.1  # exact in float64
    for radius, expected in ((distance, True), (np.nextafter(distance, 0), False)):
        target = Target(model, np.array([[0.1]]), certificates, radius)
        assert target.broken(tries)[0] == expected
        assert not target.broken(np.array([[0.125]], "float32")).any()
        assert not target.broken(np.array([[np.nan]], "float32")).any()
    nowhere = attacks.pgd(model, np.array([[0.1]]), certificates, radius=1e-12)
    assert not nowhere.broken.any()


def test_only_certified_points_are_attacked():
    model, x = near_linear()
    x = x[:6].copy()
    x[2, 3] = np.nan
    certificates = lipkit.certify(model, x)
    result = attacks.falsify(model, x, certificates, scale=2.0)
    assert list(result.attacked) == [i != 2 for i in range(6)] == list(result.broken)
    assert np.isnan(result.ratio[2]) and result.attack[2] == ""
    assert "5 of 5 certified points broken (real, radii x 2)" in str(result)
    assert "nearest at" in str(result)
    none = attacks.falsify(model, x[2:3], lipkit.certify(model, x[2:3]))
    assert "0 of 0" in repr(none) and "nearest" not in repr(none)
    empty = attacks.falsify(model, x[:0], lipkit.certify(model, x[:0]))
    assert empty.broken.shape == (0,) and empty.x.shape == (0, 16)


def test_attacks_repeat_and_leave_the_model_as_it_is(rng):
    model, x = near_linear()
    before = model.get_weights()
    certificates = lipkit.certify(model, x[:50])
    first, second = (
        attacks.falsify(model, x[:50].astype("float64"), certificates, scale=1.01, restarts=2)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.x, second.x)
    assert first.x.dtype == "float32"
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_inputs_beyond_float32_are_attacked_in_vain():
    model = keras.Sequential([keras.Input((2,)), kl.Dense(1)])
    x = np.array([[1e100, 1e90], [1.0, 2.0]])
    certificates = lipkit.certify(model, x)
    assert list(attacks.falsify(model, x, certificates).attacked) == [True, True]
    assert list(attacks.falsify(model, x, certificates, scale=1.01).broken) == [False, True]


def test_input_gradients(rng):
    model, x = linear(4, rng)
    weights = rng.standard_normal((len(x), 4)).astype("float32")

    def values(x, weights):
        return ops.sum(weights * model(x), axis=-1)

    compiled = value_and_input_gradient(values, model.variables)
    value, gradient = compiled(x, weights)
    kernel, bias = model.get_weights()
    logits = x.reshape(len(x), -1) @ kernel + bias
    np.testing.assert_allclose(value, np.sum(weights * logits, axis=1), atol=1e-4)
    np.testing.assert_allclose(gradient.reshape(len(x), -1), weights @ kernel.T, atol=1e-4)
    model.set_weights([2 * kernel, bias])  # the weights are read at each call
    np.testing.assert_allclose(compiled(x, weights)[1], 2 * gradient, atol=1e-4)


def test_constant_functions_are_attacked_in_vain():
    model = keras.Sequential([keras.Input((2,)), kl.Dense(1)])
    model.set_weights([np.zeros((2, 1), "float32"), np.ones(1, "float32")])
    x = np.zeros((3, 2), "float32")
    assert attacks.falsify(model, x, lipkit.certify(model, x)).broken.sum() == 0


def arguments():
    model, x = near_linear()
    return {"model": model, "x": x[:5], "certificates": lipkit.certify(model, x[:5])}


BAD = {
    "scale": ({"scale": 0.0}, "`scale` must be.*0.0"),
    "attacks": ({"attacks": ["fgsm"]}, "`attacks` must be some of.*fgsm"),
    "one name": ({"attacks": "pgd"}, "`attacks` must be some of"),
    "steps": ({"steps": 0}, "`steps` must be.*steps=0"),
    "restarts": ({"restarts": True}, "`restarts` must be"),
    "certificates": ({"certificates": np.ones(5)}, "`certificates` must be"),
    "length": ({"x": np.zeros((4, 16))}, "`certificates` must be.*4 inputs"),
    "shape": ({"x": np.zeros((5, 9))}, r"`x` must have shape \('n', 16\).*\(5, 9\)"),
    "rank": ({"x": np.zeros(5)}, "`x` must have shape"),
    "model": ({"model": 3}, "must be a Keras model"),
    "rounding": ({"attacks": ["rounding_search"]}, "needs a model of one Dense layer"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_arguments_are_named(kind):
    changed, message = BAD[kind]
    with pytest.raises(ValueError, match=message):
        attacks.falsify(**{**arguments(), **changed})


def test_bad_arguments_of_single_attacks():
    good = arguments()
    for radius in (-1.0, np.nan, np.ones(3)):
        with pytest.raises(ValueError, match="`radius` must be"):
            attacks.pgd(**good, radius=radius)
    for name, value in (("steps", 0), ("distance", 0.0), ("x", good["x"][:0])):
        with pytest.raises(ValueError, match=f"`{name}` must"):
            attacks.lipschitz_ratio(**{"model": good["model"], "x": good["x"], name: value})
    two = keras.Model(i := keras.Input((16,)), [kl.Dense(1)(i), kl.Dense(1)(i)])
    with pytest.raises(ValueError, match="one input and one output"):
        attacks.falsify(two, good["x"], good["certificates"])
    squashed = keras.Sequential([keras.Input((16,)), kl.Dense(1, activation="sigmoid")])
    with pytest.raises(NotCertifiable, match="ends with the logits"):
        attacks.falsify(squashed, good["x"], lipkit.certify(squashed, good["x"]))


# Independent attackers ------------------------------------------------------------------------

torch_only = pytest.mark.skipif(
    keras.config.backend() != "torch",
    reason="foolbox attacks torch modules, which Keras models are on the torch backend alone",
)


def foolbox_attacks():
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # foolbox imports git, and needs none
    import foolbox

    return foolbox.attacks


def classifier(model):
    """For foolbox; one logit f as the two logits 0 and f."""
    import foolbox
    import torch

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            f = self.model(x, training=False)
            return f if f.shape[1] > 1 else torch.cat([torch.zeros_like(f), f], dim=1)

    return foolbox.PyTorchModel(Logits().eval(), bounds=(-100, 100), device="cpu")


def foolbox_distances(model, x, label):
    """The least distance of an adversarial input that any attacker found: (n,)."""
    import torch

    fa = foolbox_attacks()
    nearest = np.full(len(x), np.inf)
    minimizers = (fa.L2DeepFoolAttack(steps=20), fa.DDNAttack(steps=30), fa.L2FMNAttack(steps=30))
    for attack in minimizers:
        _, found, success = attack(
            classifier(model), torch.tensor(x), torch.tensor(label), epsilons=None
        )
        delta = (found.detach().numpy().astype("float64") - x).reshape(len(x), -1)
        nearest = np.minimum(
            nearest, np.where(success.numpy(), np.linalg.norm(delta, axis=1), np.inf)
        )
    return nearest


@torch_only
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_foolbox_breaks_no_certificate(name):
    import torch

    model, x, _ = architecture(name)
    model, x = lipkit.vanillaModel(model), x[:1000]
    certificates = lipkit.certify(model, x, arithmetic="float32")
    x, certificates = select(x, certificates, certificates.status == "certified")
    nearest = foolbox_distances(model, x, certificates.label)
    print(name, len(x), np.min(nearest / certificates.radius))
    assert np.isfinite(nearest).mean() > 0.9
    assert (nearest > certificates.radius * (1 - 1e-12)).all()
    eps = float(np.median(certificates.radius))
    far = certificates.radius >= eps
    attack = foolbox_attacks().L2PGD(steps=20, rel_stepsize=0.1)
    inputs = (torch.tensor(x[far]), torch.tensor(certificates.label[far]))
    *_, success = attack(classifier(model), *inputs, epsilons=eps)
    assert far.sum() >= 400 and not success.any()


@torch_only
def test_foolbox_finds_the_positive_control():
    model, x = near_linear(4)
    certificates = lipkit.certify(model, x)
    x, certificates = select(
        x[:500], certificates, np.flatnonzero(certificates.radius[:500] > 0.05)
    )
    nearest = foolbox_distances(model, x, certificates.label)
    assert (nearest <= 1.03 * certificates.radius).mean() >= 0.99
    assert (nearest > certificates.radius).all()

"""Twins of plain Keras models: proven constants, carried weights, and a report."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops
from reference import array

import lipkit
from lipkit import layers as ll


def mlp():
    return keras.Sequential(
        [
            keras.Input((6,)),
            kl.Rescaling(0.5),
            kl.Dense(6, activation="relu"),
            kl.Dropout(0.2),
            kl.Dense(6, activation="gelu"),
            kl.Dense(6, activation="softmax"),
        ],
        name="mlp",
    )


def cnn():
    return keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            kl.Conv2D(4, 2, padding="same"),
            kl.BatchNormalization(),
            kl.ReLU(),
            kl.AveragePooling2D(2),
            kl.DepthwiseConv2D(2, padding="same", activation="tanh"),
            kl.MaxPooling2D(2, strides=1, padding="same"),
            kl.GlobalAveragePooling2D(),
            kl.Dense(2),
        ],
        name="cnn",
    )


def residual():
    inputs = keras.Input((6,))
    x = kl.Dense(6)(inputs)
    y = kl.Activation("gelu")(kl.BatchNormalization()(kl.Dense(6, activation="silu")(x)))
    x = kl.Add()([x, y, inputs])
    inner = keras.Sequential([keras.Input((6,)), kl.Dense(6, "relu", name="d")], name="inner")
    x = kl.Concatenate()([inner(x), ops.relu(x - y)])
    return keras.Model(inputs, x, name="residual")


MODELS = {"mlp": mlp, "cnn": cnn, "residual": residual}


def data(model, n=8):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, *model.input_shape[1:])).astype("float32")
    return x, rng.standard_normal((n, *model.output_shape[1:])).astype("float32")


def sortable(report):
    return [change.layer for change in report.changes if "GroupSort2" in change.reason]


@pytest.mark.parametrize(
    ("name", "activation"),
    [("mlp", None), ("cnn", "groupsort2"), ("residual", "groupsort2"), ("residual", None)],
)
def test_twins_have_the_constant_before_and_after_training(name, activation, tmp_path):
    model, k = MODELS[name](), 2.0 if activation else 1.0
    x, y = data(model)
    before, weights = array(model(x)), model.get_weights()
    twin, report = lipkit.lipschitzify(model, k, activation=activation)
    assert isinstance(twin, lipkit.Model) and twin.output_shape == model.output_shape
    assert lipkit.lipschitz_bound(twin) <= k * (1 + 1e-5)
    assert bool(sortable(report)) == bool(activation) and not report.refused
    twin.compile("sgd", "mse")
    twin.fit(x, y, epochs=2, verbose=0)
    assert lipkit.lipschitz_bound(twin) <= k * (1 + 1e-5)
    twin.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(array(loaded(x)), array(twin(x)))
    plain = twin.vanilla_export()
    np.testing.assert_allclose(array(plain(x)), array(twin(x)), atol=1e-5)
    np.testing.assert_array_equal(array(model(x)), before)
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_carried_over(name):
    model = MODELS[name]()
    for weight in model.weights:  # biases and means are zeros at first
        weight.assign(array(weight) + 0.25)
    twin, _ = lipkit.lipschitzify(model)
    twins = {layer.name: layer for layer in twin._flatten_layers()}
    for layer in model._flatten_layers():
        if isinstance(layer, kl.BatchNormalization):
            kept = [layer.beta, layer.moving_mean]
        elif isinstance(layer, (kl.Dense, kl.Conv2D, kl.DepthwiseConv2D)):
            kept = layer.weights
            assert isinstance(twins[layer.name], ll.LipschitzKernel)
        else:
            continue
        assert len(twins[layer.name].weights) == len(kept) == 2
        for old, new in zip(kept, twins[layer.name].weights, strict=True):
            np.testing.assert_array_equal(array(old), array(new))


def test_constrained_kernels_stay_the_function():
    """A model that is 1-Lipschitz already, with orthogonal kernels, is its own twin."""
    model = keras.Sequential(
        [keras.Input((4,)), kl.Dense(4, "relu", kernel_initializer="orthogonal")]
    )
    x, _ = data(model)
    np.testing.assert_allclose(array(lipkit.lipschitzify(model)[0](x)), array(model(x)), atol=1e-4)


def rows(*layers, shape=(8, 8, 2), **kwargs):
    twin, report = lipkit.lipschitzify(keras.Sequential([keras.Input(shape), *layers]), **kwargs)
    assert lipkit.lipschitz_bound(twin) <= 1 + 1e-5
    return [(change.kind, change.action) for change in report.changes], report


TWINS = {
    "Conv1D": (lambda: kl.Conv1D(4, 2, padding="causal"), (4, 2)),
    "Conv2DTranspose": (lambda: kl.Conv2DTranspose(2, 2, strides=2), (2, 2, 2)),
    "DepthwiseConv1D": (lambda: kl.DepthwiseConv1D(2, depth_multiplier=2), (4, 2)),
    "AveragePooling1D": (lambda: kl.AveragePooling1D(2), (8, 2)),
    "GlobalAveragePooling1D": (lambda: kl.GlobalAveragePooling1D(keepdims=True), (8, 2)),
    "BatchNormalization": (lambda: kl.BatchNormalization(center=False), (8, 2)),
}


@pytest.mark.parametrize("name", TWINS)
def test_twins_of_layers(name):
    make, shape = TWINS[name]
    assert rows(make(), shape=shape)[0] == [(name, "replaced")]


KEPT = {
    "kept": [
        kl.Flatten,
        kl.ReLU,
        kl.Softmax,
        lambda: kl.MaxPooling2D(2),
        lambda: kl.Permute((2, 1, 3)),
    ],
    "scaled": [
        *(lambda: kl.UpSampling2D(2), lambda: kl.MaxPooling2D(3, 2), lambda: kl.ELU(3.0)),
        *(lambda: kl.AveragePooling2D(2, 1, padding="same"), lambda: kl.Activation("silu")),
    ],
}


@pytest.mark.parametrize("action", KEPT)
def test_weightless_layers_are_kept_or_scaled(action):
    for make in KEPT[action]:
        layer = make()
        found, report = rows(layer)
        kind = type(layer).__name__
        assert found in ([(kind, action)], [(kind, "kept")] if kind == "AveragePooling2D" else 0)
        assert f"{layer.name} " in str(report) and kind in str(report)


def test_sums_and_concatenations_are_scaled_by_what_they_share():
    a, b = keras.Input((4,)), keras.Input((4,))
    merges = {
        "thirds": (kl.Add(name="thirds")([a, a, ops.relu(a)]), 3),
        "root": (kl.Concatenate(name="root")([a, ops.relu(a)]), 2**0.5),
        "apart": (kl.Concatenate(name="apart")([a, b]), 1),
        "difference": (kl.Subtract(name="difference")([a, a]), 2),
        "maximum": (kl.Maximum(name="maximum")([a, b]), 1),
        "mean": (kl.Average(name="mean")([a, a]), 1),
    }
    model = keras.Model([a, b], [y for y, _ in merges.values()])
    twin, report = lipkit.lipschitzify(model)
    reasons = {change.layer: change.reason for change in report.changes}
    for name, (_, constant) in merges.items():
        expected = f"times {1 / constant:.6g}: " if constant > 1 else "1-Lipschitz"
        assert reasons[name].startswith(expected)
    assert lipkit.lipschitz_bound(twin) <= 1 + 1e-5
    x = [np.full((1, 4), value, "float32") for value in (1, 2)]
    np.testing.assert_allclose(array(twin(x)[0]), 1 / 6**0.5, rtol=1e-6)


def test_merges_inside_a_nested_model_may_share_their_inputs():
    a, b = keras.Input((4,)), keras.Input((4,))
    inner = keras.Model([a, b], kl.Concatenate(name="join")([a, b]))
    x = keras.Input((4,))
    twin, report = lipkit.lipschitzify(keras.Model(x, inner([x, x])))
    assert report.changes[0][0::2] == ("join", "scaled")
    assert lipkit.lipschitz_bound(twin) == pytest.approx(1)


def test_shared_layers_stay_shared():
    shared = kl.Dense(4)
    inner = keras.Sequential([keras.Input((4,)), shared])
    x = keras.Input((4,))
    twin, _ = lipkit.lipschitzify(keras.Model(x, shared(inner(shared(x)))))
    assert len(twin.trainable_variables) == 2 and lipkit.lipschitz_bound(twin) <= 1 + 1e-5


def test_normalization_of_the_inputs_is_kept_with_its_constant():
    normalize = kl.Normalization(mean=[1.0, 2.0], variance=[0.25, 1.0], name="normalize")
    inputs = keras.Input((2,))
    x = kl.Dense(2)(normalize(inputs))
    twin, report = lipkit.lipschitzify(keras.Model(inputs, kl.Rescaling(4.0, name="later")(x)))
    reasons = [change.reason for change in report.changes]
    assert "constant 2 of its own" in reasons[0] and "times 0.25" in reasons[2]
    assert lipkit.lipschitz_bound(twin) == pytest.approx(2, rel=1e-5)


def test_unknown_sizes():
    inputs = keras.Input((None, None, 2))
    x = kl.Conv2D(2, 3, padding="same", activation="relu")(inputs)
    x = kl.GlobalAveragePooling2D()(kl.Add()([x, inputs]))
    twin, _ = lipkit.lipschitzify(keras.Model(inputs, x), activation="groupsort2")
    for size in (3, 5):
        assert lipkit.lipschitz_bound(twin, (size, size, 2)) <= 1 + 1e-5
    model = keras.Model(inputs, kl.MaxPooling2D(3, 2, name="pool")(inputs))
    with pytest.raises(ValueError, match="'pool' .*which is open"):
        lipkit.lipschitzify(model)


def test_mixed_precision_and_names_are_kept():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = cnn()
    finally:
        keras.config.set_dtype_policy("float32")
    twin, _ = lipkit.lipschitzify(model, 3.0)
    assert twin.name == "cnn" and twin.outputs[0].dtype == model.outputs[0].dtype == "bfloat16"
    assert {layer.name for layer in model.layers} <= {layer.name for layer in twin.layers}
    assert array(ops.cast(twin(data(model)[0]), "float32")).shape == (8, 2)


@pytest.mark.parametrize(("axis", "place"), [(1, 1), (2, 2), (-1, 3)])
def test_axes_that_are_added_can_be_certified(axis, place):
    inputs = keras.Input((4, 2))
    x = keras.Model(inputs, ops.expand_dims(kl.Dense(2)(inputs), axis))
    twin, report = lipkit.lipschitzify(x)
    assert twin.output_shape[place] == 1 and report.changes[1].action == "kept"
    assert lipkit.lipschitz_bound(twin) <= 1 + 1e-5
    with pytest.raises(lipkit.NotCertifiable, match="ExpandDims.*axis=0"):
        lipkit.lipschitz_bound(keras.Model(inputs, ops.expand_dims(inputs, 0)))


def test_odd_channels_keep_their_activation():
    layers = [kl.Dense(3, activation="relu"), kl.Dense(4), kl.ReLU()]
    found, report = rows(*layers, shape=(5,), activation="groupsort2")
    assert sortable(report) == [layers[2].name] and found[2] == ("ReLU", "replaced")


def attention():
    x = keras.Input((6, 4))
    y = kl.MultiHeadAttention(2, 2, name="attention")(x, x)
    y = kl.LayerNormalization(name="norm")(kl.Dense(4)(y) * x)
    return keras.Model(x, kl.LSTM(3, name="lstm")(y), name="sequence")


def test_all_refused_layers_are_listed():
    model = attention()
    with pytest.raises(ValueError, match="'sequence' has no Lipschitz twin because of 4") as error:
        lipkit.lipschitzify(model)
    for name in ("'attention' (MultiHead", "'norm' (LayerNorm", "'lstm' (LSTM)", "two tensors"):
        assert name in str(error.value)
    twin, report = lipkit.lipschitzify(model, refused="keep")
    assert len(report.refused) == 4 and report.changes[1].action == "replaced"
    assert twin.count_params() == model.count_params()
    x = data(model)[0]
    assert twin(x).shape == (8, 3)
    with pytest.raises(lipkit.NotCertifiable):
        lipkit.lipschitz_bound(twin)


class Own(kl.Dense):
    """A subclass may compute anything."""


def triple(x):
    return 3 * x


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Own(3, name="it"), "depends on its weights|no Lipschitz rule"),
        (lambda: kl.SeparableConv1D(3, 2, name="it"), "depends on its weights"),
        (lambda: kl.Dense(3, activation=triple, name="it"), "no proven slope"),
        (lambda: kl.PReLU(name="it"), "depends on its weights"),
        (lambda: kl.Discretization(bin_boundaries=[0.0], name="it"), "jumps"),
    ],
)
def test_refusals_name_layer_and_reason(make, reason):
    with pytest.raises(ValueError, match=f"- 'it' .*({reason})"):
        lipkit.lipschitzify(keras.Sequential([keras.Input((6, 4)), make()]))


def test_masks_are_refused():
    x = keras.Input((6, 4))
    y = kl.GlobalAveragePooling1D(name="mean")(kl.Masking(name="hide")(x))
    with pytest.raises(ValueError, match="- 'hide' (.|\n)*- 'mean' .*called with a mask"):
        lipkit.lipschitzify(keras.Model(x, y))


def test_arguments():
    model = mlp()
    with pytest.raises(ValueError, match="`activation` must be None or 'groupsort2'.*'tanh'"):
        lipkit.lipschitzify(model, activation="tanh")
    with pytest.raises(ValueError, match="`refused` must be 'raise' or 'keep'.*'no'"):
        lipkit.lipschitzify(model, refused="no")
    with pytest.raises(ValueError, match="`k_coef_lip` must be a number"):
        lipkit.lipschitzify(model, 0)
    with pytest.raises(lipkit.NotCertifiable, match="it must be a Functional model"):
        lipkit.lipschitzify(keras.Sequential([kl.Dense(3)]))

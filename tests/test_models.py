import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from keras import ops
from reference import ORTHOGONAL, RULES, array, singular_values

import lipkit
from lipkit import _demo as demo
from lipkit import losses
from lipkit.layers import FrobeniusDense, FullSort, GroupSort, GroupSort2, MaxMin, SpectralDense
from lipkit.parametrizations import Polar

BACKENDS = ["jax", "tensorflow", "torch"]


def small(**kwargs):
    return lipkit.Sequential(
        [
            keras.Input((4,)),
            SpectralDense(16, activation=GroupSort2()),
            SpectralDense(8, kernel_initializer="he_normal"),
            MaxMin(),
            FrobeniusDense(1),
        ],
        **kwargs,
    )


def functional():
    """Nested model, shared layer, two inputs."""
    inner = lipkit.Sequential([keras.Input((4,)), SpectralDense(6), FullSort()], name="inner")
    shared = SpectralDense(6, name="shared")
    a, b = keras.Input((4,)), keras.Input((4,))
    features = keras.layers.Concatenate()([inner(a), shared(a), shared(b)])
    return lipkit.Model([a, b], FrobeniusDense(1)(features))


def data(n=64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4)).astype("float32")
    return x, np.where(x[:, :1] > 0, 1.0, -1.0).astype("float32")


def predict(model, x):
    return model.predict(x, verbose=0, batch_size=64)


def kernels(model):
    return [w for w in model.get_weights() if w.ndim == 2]


@pytest.mark.parametrize("k", [0.1, 1, 10])
def test_sequential_divides_the_constant(k):
    model = small(k_coef_lip=k)
    sigma = [singular_values(layer.kernel).max() for layer in model.layers if layer.weights]
    shares = [layer.k_coef_lip for layer in model.layers] + [model.layers[0].activation.k_coef_lip]
    assert np.prod(shares[:-1]) == pytest.approx(k) and model.k_coef_lip == k
    for norm, layer in zip(sigma, (la for la in model.layers if la.weights), strict=True):
        assert norm <= layer.k_coef_lip * (1 + 1e-5)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((512, 4)).astype("float32")
    d = rng.standard_normal((512, 4)).astype("float32") * 1e-2
    ratio = np.abs(predict(model, x + d) - predict(model, x))[:, 0] / np.linalg.norm(d, axis=1)
    assert ratio.max() <= k * (1 + 1e-3) and ratio.max() >= 0.05 * k


def test_sequential_constant_errors():
    built = SpectralDense(3)
    built.build((None, 3))
    with pytest.raises(ValueError, match="is already built"):
        lipkit.Sequential([built], k_coef_lip=2)
    with pytest.raises(ValueError, match="has k_coef_lip=3.0"):
        lipkit.Sequential([SpectralDense(3, k_coef_lip=3)], k_coef_lip=2)
    with pytest.raises(ValueError, match="at least one Lipschitz layer"):
        lipkit.Sequential([keras.layers.Dense(3)], k_coef_lip=2)
    with pytest.raises(ValueError, match="`k_coef_lip` must be a number.*-1"):
        lipkit.Sequential([], k_coef_lip=-1)
    with pytest.raises(ValueError, match="Cannot add layer 'late'"):
        small(k_coef_lip=2).add(SpectralDense(3, name="late"))
    for layer in (
        SpectralDense(3, activation=GroupSort2(k_coef_lip=3), name="outer"),
        keras.layers.Dense(3, activation=GroupSort2(k_coef_lip=3), name="outer"),
        keras.layers.TimeDistributed(SpectralDense(3, k_coef_lip=3), name="outer"),
    ):
        with pytest.raises(ValueError, match="'outer' holds '.*' that has k_coef_lip=3.0"):
            lipkit.Sequential([MaxMin(), layer], k_coef_lip=2)
    with pytest.raises(ValueError, match="Cannot pop a layer"):
        small(k_coef_lip=2).pop()
    with pytest.raises(AttributeError, match="`k_coef_lip` of 'm' is fixed"):
        small(name="m").k_coef_lip = 2
    model = small()
    model.add(SpectralDense(3))
    model.pop()
    assert len(model.layers) == 4


@pytest.mark.parametrize("make", [small, functional])
def test_losses_and_metrics_given_as_classes_are_saved(make, tmp_path):
    model = make()
    y = data()[1]
    x = [data()[0]] * len(model.inputs)
    x = x if len(x) > 1 else x[0]
    chosen = [losses.KR, lipkit.metrics.HKRBinaryAccuracy, "mae"]
    model.compile("sgd", loss=losses.HKR, metrics=chosen)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert isinstance(loaded.loss, losses.HKR) and loaded.optimizer.iterations == 2
    values = [m.evaluate(x, y, verbose=0, return_dict=True) for m in (model, loaded)]
    assert set(values[0]) == {"loss", "KR", "accuracy", "mae"}
    assert values[1] == pytest.approx(values[0])


def test_a_compile_of_ones_own_is_left_alone(tmp_path):
    @keras.saving.register_keras_serializable("test")
    class Own(lipkit.Sequential):
        def compile(self, rate):
            super().compile(keras.optimizers.SGD(rate), "mse")

    model = Own([keras.Input((4,)), SpectralDense(3)])
    model.compile(0.5)
    model.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="method is custom"):
        keras.models.load_model(tmp_path / "m.keras")


@pytest.mark.parametrize("make", [small, functional, lambda: small(k_coef_lip=5)])
def test_save_load_clone_weights(make, tmp_path):
    model = make()
    x = data()[0]
    x = [x, x[::-1].copy()] if len(model.inputs) > 1 else x
    expected = predict(model, x)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert type(loaded) is type(model)
    np.testing.assert_array_equal(predict(loaded, x), expected)
    model.save_weights(tmp_path / "m.weights.h5")
    fresh = make()
    assert np.abs(predict(fresh, x) - expected).max() > 1e-3  # other weights before
    fresh.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(predict(fresh, x), expected)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(predict(clone, x), expected)
    if hasattr(model, "k_coef_lip"):
        assert loaded.k_coef_lip == model.k_coef_lip


@pytest.mark.parametrize("make", [small, functional])
def test_export_is_plain_and_equal(make):
    model = make()
    x = data()[0]
    x = [x, x[::-1].copy()] if len(model.inputs) > 1 else x
    before = model.get_weights()
    for export in (lipkit.vanillaModel(model), model.vanilla_export()):
        np.testing.assert_allclose(predict(export, x), predict(model, x), atol=1e-5)
        assert "lipkit" not in export.to_json()
        assert export.count_params() == model.count_params()
        for k in kernels(export)[:-1]:
            assert singular_values(k).max() <= 1 + 1e-5
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


class Own(lipkit.Model):
    """A subclass with a call of its own."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.dense = SpectralDense(units)

    def call(self, inputs):
        return self.dense(inputs)


class Mixin:
    pass


class Graph(Mixin, lipkit.Model):
    """A subclass that gives Keras a graph, and a configuration of its own."""

    def __init__(self, units, **kwargs):
        inputs = keras.Input((4,))
        super().__init__(inputs, SpectralDense(units)(inputs), **kwargs)
        self.units = units

    def get_config(self):
        return {"units": self.units}


def test_functional_models_leave_other_subclasses_alone(tmp_path):
    bases = lipkit.Model.__bases__
    x = data()[0]
    inputs = keras.Input((4,))
    outputs = SpectralDense(2)(inputs)
    for model in (
        lipkit.Model(inputs, outputs),
        lipkit.Model(inputs, outputs=outputs),
        lipkit.Model(inputs=inputs, outputs=outputs, name="named"),
        Graph(3),
        Graph(2),
    ):
        assert isinstance(model, lipkit.Model)
        assert singular_values(model.vanilla_export().layers[-1].kernel).max() <= 1 + 1e-5
        own = Own(5)
        assert own(x).shape == (64, 5) and not hasattr(own, "input")
    assert lipkit.Model.__bases__ == bases
    assert keras.models.clone_model(model)(x).shape == (64, 2)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", custom_objects={"Graph": Graph})
    np.testing.assert_array_equal(predict(loaded, x), predict(model, x))
    assert type(loaded) is Graph and loaded.units == 2


def _operations():
    x = keras.Input((4,))
    y = ops.abs(SpectralDense(6)(x)) * 2.0 + 1.0
    return x, GroupSort2()(y) - ops.max(y, axis=-1, keepdims=True)


def _masking():
    x = keras.Input((5, 4))
    y = SpectralDense(6, activation=GroupSort2(k_coef_lip=0.5))(keras.layers.Masking()(x))
    return x, keras.layers.LSTM(3)(FullSort()(y))


def _embedding():
    x = keras.Input((None,), dtype="int32")
    y = SpectralDense(6)(keras.layers.Embedding(9, 4, mask_zero=True)(x))
    return x, keras.layers.GlobalAveragePooling1D()(GroupSort2()(y))


def _unknown_sizes(n):
    x = keras.Input((None, None, 8))
    return x, GroupSort(n, k_coef_lip=2.0)(SpectralDense(8)(x))


def _plain_layers():
    x = keras.Input((5, 4))
    y = keras.layers.Dense(6, activation=GroupSort2(k_coef_lip=3.0))(x)
    y = keras.layers.Conv1D(6, 2, activation=MaxMin())(y)
    return x, keras.layers.Activation(GroupSort2())(y)


def _dictionaries():
    x = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    y = SpectralDense(6, k_coef_lip=2.0)
    return x, {"sum": y(x["a"]) + y(x["b"]), "sort": [FullSort()(y(x["a"]))]}


def _single_in_list():
    x = keras.Input((4,))
    return [x], [SpectralDense(6)(x)]


GRAPHS = {
    "operations": (_operations, (8, 4)),
    "masking": (_masking, (8, 5, 4)),
    "embedding": (_embedding, (8, 5)),
    "unknown sizes": (lambda: _unknown_sizes(2), (8, 3, 5, 8)),
    "unknown sizes, all channels": (lambda: _unknown_sizes(None), (8, 3, 5, 8)),
    "plain layers": (_plain_layers, (8, 5, 4)),
    "dictionaries": (_dictionaries, (8, 4)),
    "single in list": (_single_in_list, (8, 4)),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_export_of_graphs(name, tmp_path, rng):
    make, shape = GRAPHS[name]
    model = lipkit.Model(*make())
    x = 2 * rng.standard_normal(shape).astype("float32")
    x[1:, 2:] = 0  # what the masks hide
    if name == "embedding":
        x = np.minimum(np.abs(3 * x), 8).astype("int32")
    if name == "dictionaries":
        x = {"a": x, "b": x[::-1].copy()}
    if name == "single in list":
        x = [x]
    expected = keras.tree.map_structure(array, model(x))
    model.vanilla_export().save(tmp_path / "m.keras")
    for export in (model.vanilla_export(), keras.models.load_model(tmp_path / "m.keras")):
        assert "lipkit" not in export.to_json()
        values = keras.tree.map_structure(array, export(x))
        keras.tree.assert_same_structure(values, expected)
        keras.tree.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), values, expected
        )


def test_export_gives_new_names_beside_those_of_a_file(tmp_path):
    x = keras.Input((6, 4))
    y = keras.layers.Reshape((3, 8), name="reshape")(x)
    for name in ("sort", "reshape_1", "reshape_02", "concatenate_20260101"):
        y = keras.layers.Dense(8, name=name)(y)
    lipkit.Model(x, FullSort()(GroupSort2()(y))).save(tmp_path / "m.keras")
    keras.utils.clear_session()  # the counters of a new process
    model = keras.models.load_model(tmp_path / "m.keras")
    names = {layer.name for layer in model.vanilla_export().layers}
    assert names >= {"reshape", "sort", "reshape_1", "reshape_02", "concatenate_20260101"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keras.layers.TimeDistributed(SpectralDense(3), name="td"), "'td' .*SpectralDense"),
        (lambda: keras.layers.LSTM(4, activation=GroupSort2(), name="rnn"), "'rnn' .*GroupSort2"),
    ],
)
def test_export_refuses_what_would_keep_lipkit(make, message):
    with pytest.raises(ValueError, match=message):
        lipkit.Sequential([keras.Input((5, 4)), make()]).vanilla_export()


def test_layer_export_refuses_to_drop_the_activation():
    layer = SpectralDense(4, activation=GroupSort2(), name="dense")
    layer.build((None, 4))
    with pytest.raises(ValueError, match="'dense' has the activation GroupSort2.*Export the model"):
        layer.vanilla_export()


def test_export_needs_a_built_model():
    with pytest.raises(ValueError, match="cannot be exported"):
        lipkit.Sequential([SpectralDense(3)]).vanilla_export()
    with pytest.raises(ValueError, match="'fresh' is not built"):
        SpectralDense(3, name="fresh").vanilla_export()


def test_condense_keeps_the_function():
    model = functional()
    x = data()[0]
    before = predict(model, [x, x])
    model.condense()
    np.testing.assert_allclose(predict(model, [x, x]), before, atol=1e-4)
    for w in kernels(model):
        assert singular_values(w).max() <= 1 + 1e-5


@pytest.mark.parametrize("rule", RULES)
def test_fit_learns_and_stays_constrained(rule):
    x, y = data(512)
    model = lipkit.Sequential(
        [
            keras.Input((4,)),
            SpectralDense(32, parametrization=rule),
            GroupSort2(),
            SpectralDense(16, parametrization=rule),
            GroupSort2(),
            FrobeniusDense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), losses.HKR(10, 0.2), metrics=["accuracy"])
    history = model.fit(x, y, epochs=20, batch_size=64, verbose=0).history["loss"]
    assert history[-1] < history[0] - 0.05
    assert np.mean((predict(model, x) > 0) == (y > 0)) > 0.95
    for w in kernels(model.vanilla_export()):
        sigma = singular_values(w)
        assert sigma.max() <= 1 + 1e-5
        if rule in ORTHOGONAL:
            assert sigma.min() >= 1 - 1e-3


@pytest.mark.parametrize("rule", RULES)
def test_fit_from_zero_kernels_stays_finite(rule):
    x, y = data()
    layer = SpectralDense(6, parametrization=rule, kernel_initializer="zeros")
    model = lipkit.Sequential([keras.Input((4,)), layer, FrobeniusDense(1)])
    model.compile(keras.optimizers.Adam(0.01), losses.HKR(10, 0.2))
    model.fit(x, y, epochs=3, batch_size=16, verbose=0)
    for w in [*model.get_weights(), predict(model, x)]:
        assert np.isfinite(w).all()
    assert np.ptp(predict(model, x)) > 0.1


def test_training_loop_of_ones_own_stays_constrained():
    """A loop that only moves the trainable values: no constraint, no callback ever runs."""
    rng = np.random.default_rng(0)
    model = small()
    for _ in range(50):
        for v in model.trainable_variables:
            step = 0.1 * np.sign(rng.standard_normal(v.shape))
            v.assign(ops.convert_to_numpy(v) + step.astype("float32"))
    for layer in model.layers:
        if layer.weights:
            assert singular_values(layer.kernel).max() <= 1 + 1e-5


OPTIONS = [{"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 4}]


@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # by torch.compile
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
def test_compile_options_agree(options):
    x, y = data(256)
    refused = keras.backend.backend() == "torch" and "steps_per_execution" in options
    results = []
    for chosen in ({"jit_compile": False}, options):
        keras.utils.set_random_seed(3)
        rule = Polar(iterations=1)  # PyTorch's compiler takes seconds for each
        layers = [SpectralDense(8, activation=GroupSort2(), parametrization=rule)]
        model = lipkit.Sequential([keras.Input((4,)), *layers, FrobeniusDense(1)])
        model.compile(keras.optimizers.SGD(0.05), losses.HKR(5, 0.2), **chosen)
        if refused and chosen is options:
            with pytest.raises(ValueError, match="`steps_per_execution` must be 1"):
                model.fit(x, y, batch_size=32, verbose=0)
            return
        start = model.get_weights()
        model.fit(x, y, batch_size=32, epochs=2, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for before, plain, other in zip(start, *results, strict=True):
        np.testing.assert_allclose(other, plain, atol=1e-4)
        assert np.abs(plain - before).max() > 1e-2


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_model(policy, rng):
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((4,))
        y = GroupSort2(k_coef_lip=3)(inputs)
        y = SpectralDense(16, activation=GroupSort2(k_coef_lip=3, dtype="float32"))(y)
        model = lipkit.Model(inputs, FrobeniusDense(1)(MaxMin()(y)))
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = data(128)
    model.compile(keras.optimizers.Adam(0.01), losses.HKR(10, 0.2))
    model.fit(x, y, epochs=2, verbose=0)
    assert all(v.dtype == "float32" for v in model.trainable_variables)
    a, b = predict(model.vanilla_export(), x), predict(model, x)
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a.astype("float32"), b.astype("float32"), atol=1e-5)


def test_shared_layer_gets_both_gradients():
    """One layer used twice in a row equals two layers tied by hand."""
    layer = SpectralDense(4, use_bias=False)
    x = data(16)[0]
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layer(layer(inputs)))
    k = array(layer.kernel)
    np.testing.assert_allclose(predict(model, x), x @ k @ k, atol=1e-5)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = array(layer._kernel)
    model.fit(x, x, verbose=0)
    assert np.abs(array(layer._kernel) - before).max() > 1e-4
    assert len(model.trainable_variables) == 1


def test_parameter_counts():
    model = demo.network()
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 41_985
    assert sum(int(np.prod(v.shape)) for v in model.non_trainable_variables) <= 41_987
    assert model.vanilla_export().count_params() == 41_985


@pytest.mark.once
def test_export_loads_without_lipkit_on_every_backend(tmp_path):  # slow: three processes
    model = small()
    x = data()[0]
    model.vanilla_export().save(tmp_path / "export.keras")
    np.savez(tmp_path / "data.npz", x=x, y=predict(model, x))
    code = textwrap.dedent(
        """
        import sys
        sys.modules["lipkit"] = None  # any import of it raises
        import keras, numpy as np
        d = np.load("data.npz")
        model = keras.models.load_model("export.keras")
        np.testing.assert_allclose(model.predict(d["x"], verbose=0), d["y"], atol=1e-5)
        """
    )
    for backend in BACKENDS:
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "KERAS_BACKEND": backend},
            check=True,
            capture_output=True,
        )

"""Functional rules, singular values and estimates against NumPy; asking changes nothing."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import Convolution, array, operator, polar, singular_values

import lipkit
from lipkit import layers, normalizers, utils
from lipkit.compute_layer_sv import compute_layer_sv, compute_model_sv

BACKEND = keras.backend.backend()


def tensor(x):
    return ops.convert_to_tensor(np.asarray(x, "float32"))


def test_reshaped_kernel_orthogonalization(rng):
    w = rng.standard_normal((3, 3, 2, 4))
    wbar, u, sigma = normalizers.reshaped_kernel_orthogonalization(
        tensor(w), None, 0.5, maxiter_spectral=200
    )
    matrix = w.reshape(-1, 4)
    assert array(wbar) == pytest.approx(0.5 * polar(matrix).reshape(w.shape), abs=1e-3)
    _, sigmas, vt = np.linalg.svd(matrix)
    assert sigma.shape == (1, 1) and array(sigma) == pytest.approx(sigmas[0], rel=1e-2)
    assert abs(array(u) @ vt[0]) == pytest.approx(1, abs=1e-3)
    only = normalizers.reshaped_kernel_orthogonalization(tensor(w), None, 1.0, eps_bjorck=None)[0]
    assert array(only) == pytest.approx(w / sigmas[0], rel=1e-2)


@pytest.mark.parametrize("shape", [(6, 3), (3, 6)])
def test_bjorck_and_spectral_normalization(shape, rng):
    w = rng.standard_normal(shape)
    assert array(normalizers.bjorck_normalization(w)) == pytest.approx(polar(w), abs=1e-3)
    scaled, u, sigma = normalizers.spectral_normalization(w, None)
    norm = np.linalg.norm(w, 2)
    assert norm * (1 - 1e-6) <= float(array(sigma).item()) <= norm * 1.01  # never below
    assert array(scaled) == pytest.approx(w / array(sigma), rel=1e-5) and u.shape == (1, shape[1])
    zero, _, sigma = normalizers.spectral_normalization(np.zeros(shape, "float32"), None)
    assert not array(zero).any() and not array(sigma).any()


def circular(x):
    return lipkit.padding.pad(x, "circular", [(1, 1), (1, 1)], 1)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pad", [None, circular])
@pytest.mark.parametrize("conv_first", [True, False])
def test_conv_operators_are_adjoint_to_each_other(stride, pad, conv_first, rng):
    """<A x, y> = <x, A'y>, and A is the convolution."""
    kernel = rng.standard_normal((3, 3, 2, 4))
    small, large = (1, 6 // stride, 4 // stride, 4), (1, 6, 4, 2)
    taken, given = (large, small) if conv_first else (small, large)
    linear, adjoint = normalizers.get_conv_operators(tensor(kernel), taken, stride, conv_first, pad)
    x, y = rng.standard_normal(taken), rng.standard_normal(given)
    ax, aty = array(linear(tensor(x))), array(adjoint(tensor(y)))
    assert ax.shape == given and aty.shape == taken
    assert (ax * y).sum() == pytest.approx((x * aty).sum(), abs=1e-3)
    mode = "same" if pad is None else "circular"
    truth = Convolution(large[1:], kernel.shape, (stride,) * 2, (1, 1), mode).matrix(kernel)
    truth = truth if conv_first else truth.T
    assert ax.ravel() == pytest.approx(x.ravel() @ truth, abs=1e-4)


@pytest.mark.parametrize("kind", ["jacobian", "noise"])
@pytest.mark.parametrize("disjoint", [False, True])
def test_estimates_of_a_diverged_model_are_errors(kind, disjoint):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    model.set_weights([np.full((2, 3), np.nan), np.zeros(3)])
    with pytest.raises(ValueError, match="no finite slopes at `x`"):
        utils.evaluate_lip_const(model, np.ones((4, 2)), kind, disjoint_neurons=disjoint)


def test_spectral_normalization_conv_divides_by_the_norm_of_the_operator(rng):
    kernel = rng.standard_normal((3, 3, 2, 3))
    conv = Convolution((5, 5, 2), kernel.shape, (2, 2), (1, 1), "same")
    start = rng.standard_normal((1, 5, 5, 2)).astype("float32")
    scaled, u, sigma = normalizers.spectral_normalization_conv(
        tensor(kernel), start, 2, eps=1e-6, maxiter=100
    )
    assert float(sigma) == pytest.approx(conv.norm(kernel), rel=1e-3)
    assert array(scaled) == pytest.approx(kernel / conv.norm(kernel), rel=2e-3)
    assert u.shape == start.shape
    off = normalizers.spectral_normalization_conv(tensor(kernel), start, eps=-1)
    assert array(off[0]) == pytest.approx(kernel) and float(off[2]) == 1


def test_global_switches_are_accepted_without_effect():
    for switch in (normalizers.set_swap_memory, normalizers.set_stop_grad_spectral):
        with pytest.warns(UserWarning, match=f"{switch.__doc__ and 'no effect'}"):
            switch(False)


def ones_bias(cls, *args, **kwargs):
    return cls(*args, bias_initializer="ones", activation="relu", **kwargs)


LINEAR = [
    (ones_bias(keras.layers.Dense, 5), (3,)),
    (ones_bias(layers.SpectralDense, 5, k_coef_lip=0.5), (3,)),
    (ones_bias(layers.FrobeniusDense, 3), (4,)),
    (ones_bias(keras.layers.Conv2D, 2, 3, strides=2, padding="same"), (4, 5, 2)),
    (ones_bias(layers.SpectralConv2D, 3, 3, padding="circular", k_coef_lip=2.0), (4, 4, 2)),
    (ones_bias(layers.SpectralConv2DTranspose, 2, 2, strides=2), (2, 3, 2)),
    (ones_bias(layers.PadConv2D, 2, 3, padding="reflect"), (3, 4, 1)),
    (ones_bias(keras.layers.Conv1D, 2, 3), (5, 2)),
    (keras.layers.AveragePooling2D(2, 1), (3, 4, 2)),
    (layers.ScaledAveragePooling2D(2, k_coef_lip=3.0), (4, 4, 2)),
    (layers.LayerCentering(bias_initializer="ones"), (3, 2)),
    (layers.InvertibleDownSampling(2), (4, 4, 1)),
]
LINEAR_IDS = [f"{type(layer).__name__}-{i}" for i, (layer, _) in enumerate(LINEAR)]


@pytest.mark.parametrize(("layer", "shape"), LINEAR, ids=LINEAR_IDS)
def test_bias_and_activation_never_enter(layer, shape):
    """And what is asked about is not condensed: kernels and values stay."""
    config = {**layer.get_config(), "name": None}
    config.update({"activation": "linear"} if hasattr(layer, "activation") else {})
    linear = type(layer).from_config(config)
    for each in (layer, linear):
        each(np.ones((1, *shape), "float32"))
    linear.set_weights(layer.get_weights())
    before = [w.copy() for w in layer.get_weights()]
    sigmas = singular_values(operator(linear, shape))
    found = compute_layer_sv(layer, input_shape=shape)
    assert found == pytest.approx((sigmas[-1], sigmas[0]), abs=2e-5)
    assert all((a == b).all() for a, b in zip(before, layer.get_weights(), strict=True))


@pytest.mark.skipif(BACKEND == "tensorflow", reason="no such convolutions on its CPU")
def test_channels_first():
    layer = keras.layers.Conv2D(2, 3, data_format="channels_first", bias_initializer="ones")
    model = keras.Sequential([keras.Input((2, 5, 4)), layer])
    sigmas = singular_values(operator(model, (2, 5, 4)))
    assert compute_layer_sv(layer) == pytest.approx((sigmas[-1], sigmas[0]), abs=2e-5)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (keras.layers.ReLU(), (0, 1)),
        (keras.layers.Activation("relu"), (0, 1)),
        (keras.layers.LeakyReLU(negative_slope=0.25), (0.25, 1)),
        (layers.GroupSort2(), (1, 1)),
        (layers.MaxMin(k_coef_lip=2.0), (2, 2)),
        (keras.layers.Flatten(), (1, 1)),
        (keras.layers.MaxPooling2D(2), (1, 1)),
        (keras.layers.LayerNormalization(), (None, None)),
    ],
)
def test_ranges_of_slopes(layer, expected):
    """Where an instance looked up among classes gave (None, None) for all."""
    model = keras.Sequential([keras.Input((4, 4, 2)), layer])
    assert compute_model_sv(model) == {layer.name: expected}


@pytest.mark.parametrize("scale", [True, False])
def test_batch_normalization_with_and_without_scale(scale, rng):
    layer = keras.layers.BatchNormalization(scale=scale)
    layer.build((None, 3))
    gamma, variance = np.array([-2.0, 0.5, 1.0]), np.array([1.0, 4.0, 0.25])
    layer.moving_variance.assign(variance)
    if scale:
        layer.gamma.assign(gamma)
    factors = np.abs(gamma if scale else 1) / np.sqrt(variance + layer.epsilon)
    assert compute_layer_sv(layer) == pytest.approx((factors.min(), factors.max()), rel=1e-6)


def test_add_has_the_norm_of_its_stacked_inputs_and_nested_models_are_read():
    x = keras.Input((3,))
    inner = keras.Model(x, layers.SpectralDense(3, k_coef_lip=0.5, name="d")(x), name="inner")
    y = inner(x)
    model = keras.Model(x, keras.layers.Add(name="add")([x, y, layers.FullSort(name="s")(y)]))
    table = compute_model_sv(model)
    assert set(table) == {"inner/d", "add", "s"}
    assert table["add"] == pytest.approx((3**0.5, 3**0.5))
    assert table["inner/d"] == pytest.approx((0.5, 0.5), abs=1e-4)


def test_subclasses_count_by_their_call_and_types_are_supplemented():
    class Same(keras.layers.Dense):
        pass

    class Other(keras.layers.Dense):
        def call(self, inputs):
            return 5 * super().call(inputs)

    made = [cls(2) for cls in (Same, Other)]
    for layer in made:
        layer.build((None, 3))
    sigmas = singular_values(made[0].kernel)
    assert compute_layer_sv(made[0]) == pytest.approx((sigmas[-1], sigmas[0]), rel=1e-6)
    assert compute_layer_sv(made[1]) == (None, None)
    supplement = {keras.layers.Dense: lambda layer, shape: (shape[0], layer.units)}
    assert compute_layer_sv(made[1], supplement) == (3, 2)


def test_unknown_sizes_and_unbuilt_layers_are_errors():
    layer = keras.layers.Conv2D(2, 3)
    with pytest.raises(ValueError, match="is not built: call it on data"):
        compute_layer_sv(layer)
    keras.Sequential([keras.Input((None, None, 1)), layer])
    with pytest.raises(ValueError, match="leaves it open: give `input_shape`"):
        compute_layer_sv(layer)
    with pytest.raises(ValueError, match="more than.*give a smaller `input_shape`"):
        compute_layer_sv(layer, input_shape=(200, 200, 1))


def mlp():
    """relu(x W) V, with all of its slopes at 1 where x is positive."""
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(2)]
    )
    w = np.abs(np.random.default_rng(1).standard_normal((3, 4)))
    model.layers[0].set_weights([w, np.zeros(4)])
    return model, w @ array(model.layers[1].kernel)


@pytest.mark.parametrize("kind", ["jacobian", "noise", "attack", "all", ["noise", "jacobian"]])
def test_estimates_stay_below_the_constant_and_near_it(kind):
    model, matrix = mlp()
    x = np.full((4, 3), 50.0)  # far inside the linear region
    before = [w.copy() for w in model.get_weights()]
    estimate = utils.evaluate_lip_const(model, x, kind, samples=50)
    norm = np.linalg.norm(matrix, 2)
    assert isinstance(estimate, float)
    assert (0.8 if kind == "noise" else 0.999) * norm <= estimate <= norm * (1 + 1e-3)
    assert estimate <= lipkit.lipschitz_bound(model) * (1 + 1e-3)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_jacobian_of_single_outputs_and_of_spectral_models_in_inference():
    model, matrix = mlp()
    x = np.full((4, 3), 50.0)
    columns = np.linalg.norm(matrix, axis=0).max()
    found = utils.evaluate_lip_const(model, x, disjoint_neurons=True)
    assert found == pytest.approx(columns, rel=1e-4)
    assert utils.evaluate_lip_const(model, x, "noise", disjoint_neurons=True) <= columns * 1.001
    fresh = lipkit.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5)])
    fresh.add(layers.SpectralDense(3, kernel_initializer="he_normal"))  # was unconstrained
    assert utils.evaluate_lip_const(fresh, x) == pytest.approx(1, abs=1e-3)


def test_generators_give_one_batch():
    model, _ = mlp()
    x = np.full((2, 3), 50.0, "float32")
    found = utils.evaluate_lip_const_gen(model, iter([(x, None), (None, None)]))
    assert found == utils.evaluate_lip_const(model, x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "guess"}, "`kind` must be 'all', one of.*'guess'"),
        ({"kind": []}, "`kind` must be"),
        ({"kind": "attack", "disjoint_neurons": True}, "has no `disjoint_neurons`"),
        ({"kind": "noise", "epsilon": 0}, "`epsilon` must be.*=0"),
        ({"x": np.full((1, 3), np.nan)}, "finite numbers only"),
        ({"x": np.zeros((0, 3))}, "at least one input"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        utils.evaluate_lip_const(mlp()[0], **{"x": np.ones((1, 3)), **arguments})

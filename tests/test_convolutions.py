"""Convolutions against operators written out in NumPy, on inputs of every size."""

import functools
import itertools
import json
import math

import keras
import numpy as np
import pytest
from keras import ops
from reference import Convolution, array, operator, polar, windows

import lipkit
from lipkit import layers, padding
from lipkit.parametrizations import AOL

BACKEND = keras.backend.backend()
REPEATED = tuple(padding.BORDERS)
SIZES = [(7, 5), (4, 6), (2, 3), (3, 1)]

# (kernel size, strides, dilation, padding, groups)
GEOMETRIES = [
    *((3, 1, 1, mode, 1) for mode in ("valid", "same", "constant", *REPEATED)),
    *((3, 2, 1, mode, 1) for mode in ("valid", "same", *REPEATED)),
    *((3, 1, 2, mode, 1) for mode in ("same", *REPEATED)),
    *((4, 1, 1, mode, 1) for mode in ("same", "constant", *REPEATED)),
    *((5, 1, 1, mode, 1) for mode in ("reflect", "replicate")),
    (7, 1, 1, "reflect", 1),
    (7, 1, 1, "replicate", 1),
    (3, 3, 1, "circular", 1),
    (2, 3, 1, "valid", 1),
    (3, (2, 1), 1, "same", 2),
    (3, 1, 1, "symmetric", 2),
    ((3, 2), 1, (1, 2), "circular", 2),
]
CHANNELS = 2, 4


def pair(n):
    return (n, n) if isinstance(n, int) else n


def build(cls, geometry, **arguments):
    size, strides, dilation, mode, groups = geometry
    layer = cls(
        CHANNELS[1],
        size,
        strides=strides,
        dilation_rate=dilation,
        padding=mode,
        groups=groups,
        **arguments,
    )
    layer.build((None, None, None, CHANNELS[0]))
    return layer


@functools.cache
def truths(geometry):
    """The operators of a geometry on all sizes that it is defined for."""
    found = []
    size, strides, dilation, mode, groups = geometry
    size, strides, dilation = map(pair, (size, strides, dilation))
    reach = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    for shape in SIZES:
        axes = zip(shape, reach, strict=True)
        if mode == "valid":
            fits = all(n >= r for n, r in axes)
        else:
            fits = all(n >= padding.smallest_size(mode, *padding.same_width(r)) for n, r in axes)
        if fits:
            kernel_shape = (*size, CHANNELS[0] // groups, CHANNELS[1])
            arguments = (*shape, CHANNELS[0]), kernel_shape, strides, dilation, mode, groups
            found.append(Convolution(*arguments))
    assert found
    return found


def polar_by_group(groups):
    def constrain(kernel):
        blocks = np.split(kernel, groups, axis=-1)
        return np.concatenate(
            [polar(b.reshape(-1, b.shape[-1])).reshape(b.shape) for b in blocks], axis=-1
        )

    return constrain


@functools.cache
def kernels(geometry):
    operators = truths(geometry)
    shape, rng = operators[0].kernel_shape, np.random.default_rng(0)
    identity = np.eye(math.prod(shape[:-1]), shape[-1]).reshape(shape)
    centre = 1e-3 * rng.standard_normal(shape)
    centre[tuple(k // 2 for k in shape[:-2])] += 1
    random = rng.standard_normal(shape)
    worst = [truth.worst(random, polar_by_group(geometry[-1])) for truth in operators[:2]]
    return [np.ones(shape), 0 * random, identity, centre, 1e20 * random, 1e-20 * random, *worst]


@pytest.mark.parametrize(
    ("geometry", "rule"),
    [*itertools.product(GEOMETRIES, ["polar", "aol"]), (GEOMETRIES[0], "spectral")],
    ids=str,
)
def test_norm_is_at_most_k_at_every_size_and_kernel(geometry, rule):
    k = {"polar": 1, "aol": 10, "spectral": 0.1}[rule]
    layer = build(layers.SpectralConv2D, geometry, parametrization=rule, k_coef_lip=k)
    largest = 0
    for kernel in kernels(geometry):
        layer._kernel.assign(kernel)
        constrained = array(layer.kernel)
        assert np.isfinite(constrained).all() and constrained.any() == kernel.any()
        norms = [truth.norm(constrained) for truth in truths(geometry)]
        assert max(norms) <= k * (1 + 1e-5)
        largest = max(largest, *norms)
    assert largest >= 0.2 * k  # it constrains, it does not destroy


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_factor_is_the_largest_number_of_reads_over_all_sizes(geometry):
    size, strides, dilation, mode, _ = geometry
    reads = 1
    for k, s, d in zip(*map(pair, (size, strides, dilation)), strict=True):
        reach = d * (k - 1) + 1
        least = padding.smallest_size(mode, *padding.same_width(reach))
        counts = [
            windows(np.eye(n)[..., None], (k,), (s,), (d,), mode).sum(axis=(1, 2, 3)).max()
            for n in range(reach if mode == "valid" else least, 40)
        ]
        reads *= max(counts)
    view = build(layers.SpectralConv2D, geometry).view
    assert view.unfold_norm == pytest.approx(math.sqrt(reads))


ONE_HOT = [
    (layers.SpectralConv1D, {"padding": "causal", "dilation_rate": 2}, (6, 2)),
    (layers.SpectralConv1D, {"padding": "reflect", "strides": 2}, (5, 2)),
    (layers.SpectralConv3D, {"padding": "circular"}, (3, 2, 1, 2)),
    *((layers.SpectralConv2D, {"padding": m}, (4, 3, 2)) for m in ("valid", "same", *REPEATED)),
    (layers.SpectralConv2D, {"padding": "constant", "kernel_size": 4}, (4, 3, 2)),
    (layers.SpectralConv2D, {"groups": 2, "strides": (2, 1)}, (4, 3, 2)),
    (layers.SpectralConv2D, {"padding": "symmetric", "dilation_rate": 2}, (4, 3, 2)),
    (layers.SpectralConv2D, {"parametrization": "aol", "strides": 2}, (4, 3, 2)),
    (layers.SpectralConv2D, {"parametrization": "aol", "padding": "circular"}, (4, 3, 2)),
    (layers.FrobeniusConv2D, {"padding": "replicate", "strides": 2}, (4, 3, 2)),
    (layers.PadConv1D, {"padding": "symmetric"}, (5, 2)),
    (layers.PadConv2D, {"padding": "reflect", "kernel_size": 4}, (4, 3, 2)),
    (layers.SpectralDepthwiseConv1D, {"padding": "circular"}, (5, 2)),
    (layers.SpectralDepthwiseConv2D, {"depth_multiplier": 2, "padding": "replicate"}, (4, 3, 2)),
    (layers.SpectralDepthwiseConv2D, {"strides": 2, "parametrization": "aol"}, (4, 3, 2)),
    (layers.SpectralConv1DTranspose, {"strides": 2, "padding": "valid"}, (3, 2)),
    (layers.SpectralConv2DTranspose, {}, (3, 2, 2)),
    (layers.SpectralConv2DTranspose, {"strides": 2, "kernel_size": 2}, (3, 2, 2)),
    (layers.SpectralConv2DTranspose, {"strides": 2, "output_padding": 1}, (3, 2, 2)),
    (layers.SpectralConv2DTranspose, {"strides": 2, "parametrization": "aol"}, (3, 2, 2)),
    (layers.SpectralConv3DTranspose, {"kernel_size": (3, 1, 1)}, (2, 3, 1, 2)),
]


def make(cls, arguments, **more):
    given = {"kernel_size": 3, **arguments, **more}
    return cls(**given) if "Depthwise" in cls.__name__ else cls(4, **given)


@pytest.mark.parametrize(("cls", "arguments", "shape"), ONE_HOT)
def test_layer_export_reload_and_certificate_agree(cls, arguments, shape, tmp_path, rng):
    k = 3.0
    more = {} if "Pad" in cls.__name__ else {"k_coef_lip": k}
    layer = make(cls, arguments, bias_initializer="normal", activation="relu", **more)
    model = keras.Sequential([keras.Input(shape), layer])
    plain = lipkit.vanillaModel(model)
    model.save(tmp_path / "m.keras")
    plain.save(tmp_path / "p.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    x = rng.standard_normal((3, *shape)).astype("float32")
    expected = array(model(x))
    assert expected.shape == tuple(layer.compute_output_shape((3, *shape)))
    for other in (plain, loaded, keras.models.load_model(tmp_path / "p.keras")):
        np.testing.assert_allclose(array(other(x)), expected, atol=1e-5)
    assert loaded.layers[0].get_config() == layer.get_config()
    assert not any("lipkit" in type(part).__module__ for part in plain.layers)
    layer.activation = plain.layers[-1].activation = keras.activations.linear
    norm = np.linalg.norm(operator(layer, shape), 2)
    bounds = [lipkit.lipschitz_bound(m, shape) for m in (model, plain)]
    assert all(norm * (1 - 1e-5) <= bound < math.inf for bound in bounds)
    if more:
        assert norm <= k * (1 + 1e-5)


CONVOLUTIONS = [case for case in ONE_HOT if "Transpose" not in case[0].__name__]


@pytest.mark.parametrize(("cls", "arguments", "shape"), CONVOLUTIONS)
def test_layer_computes_its_definition(cls, arguments, shape):
    layer = make(cls, arguments)
    got = operator(layer, shape)
    kernel = array(layer.kernel)
    groups = getattr(layer, "groups", 1)
    if groups is None:
        groups, kernel = shape[-1], kernel.reshape(*kernel.shape[:-2], 1, -1)
    mode = layer.get_config()["padding"]
    truth = Convolution(shape, kernel.shape, layer.strides, layer.dilation_rate, mode, groups)
    np.testing.assert_allclose(got, truth.matrix(kernel), atol=1e-6)


@pytest.mark.parametrize(("rule", "mode"), [("aol", "same"), ("polar", "replicate")])
def test_training_keeps_the_constraint_from_any_start(rule, mode, rng):
    x = keras.Input((4, 6, 2))
    trained = [
        layers.SpectralConv2D(4, 3, padding=mode, parametrization=rule, kernel_initializer=start)
        for start in ("zeros", "ones", "he_normal")
    ]
    model = keras.Model(x, keras.layers.concatenate([layer(x) for layer in trained]))
    model.compile(keras.optimizers.Adam(0.1), loss="mse")
    before = [array(layer._kernel) for layer in trained]
    model.fit(rng.standard_normal((8, 4, 6, 2)), rng.standard_normal((8, 4, 6, 12)), verbose=0)
    for layer, start in zip(trained, before, strict=True):
        after = array(layer._kernel)
        assert np.isfinite(after).all() and (after != start).any()
        assert np.linalg.norm(operator(layer, (4, 6, 2)), 2) <= 1 + 1e-5


@pytest.mark.parametrize(
    ("cls", "arguments", "shape"),
    [
        (layers.SpectralConv2D, {}, (5, 4, 4)),
        (layers.SpectralConv2D, {"padding": "circular"}, (5, 4, 4)),
        (layers.SpectralConv2D, {"strides": 2, "filters": 16}, (6, 4, 4)),
        (layers.SpectralConv2D, {"groups": 2}, (5, 4, 4)),
        (layers.SpectralConv1D, {"kernel_size": 4}, (7, 4)),
        (layers.SpectralDepthwiseConv2D, {"depth_multiplier": 2}, (5, 4, 4)),
        (layers.SpectralConv2DTranspose, {"strides": 2, "filters": 1}, (3, 4, 4)),
    ],
)
def test_default_starts_at_an_isometry(cls, arguments, shape):
    given = {"kernel_size": 3, **arguments}
    if "Depthwise" not in cls.__name__:
        given.setdefault("filters", 4)
    kernels = []
    for _ in range(2):
        layer = cls(**given)
        sigma = np.linalg.svd(operator(layer, shape), compute_uv=False)
        np.testing.assert_allclose(sigma, 1, atol=1e-5)
        kernels.append(array(layer.kernel))
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1  # another start for each layer


def test_keywords_of_deel_lip_choose_the_unfolded_kernel():
    names = {
        "aol": {},
        "polar": {"eps_spectral": 1e-3, "eps_bjorck": 1e-3},
        "spectral": {"eps_bjorck": None},
        "bjorck": {"beta_bjorck": 0.25, "maxiter_bjorck": 3},
    }
    for cls in (layers.SpectralConv2D, layers.SpectralConv2DTranspose):
        for name, keywords in names.items():
            layer = cls(4, 3, **keywords)
            assert layer.parametrization.name == name
            again = cls.from_config(json.loads(json.dumps(layer.get_config())))
            assert again.parametrization == layer.parametrization


def test_condense_keeps_the_function(rng):
    x = rng.standard_normal((2, 5, 4, 2)).astype("float32")
    for rule in ("aol", "polar", "frobenius"):
        layer = layers.SpectralConv2D(4, 3, parametrization=rule, kernel_initializer="he_normal")
        before = array(layer(x))
        layer.condense()
        np.testing.assert_allclose(array(layer(x)), before, atol=1e-4)


def test_frobenius_norm_is_divided_by_the_largest_overlap():
    layer = layers.FrobeniusConv2D(1, 3)
    layer.build((None, 8, 8, 2))
    assert np.linalg.norm(array(layer.kernel)) == pytest.approx(1 / 3, rel=1e-5)
    layer._kernel.assign(np.ones((3, 3, 2, 1)))
    assert 0.9 < np.linalg.norm(operator(layer, (14, 14, 2)), 2) <= 1 + 1e-5
    with pytest.raises(TypeError, match="FrobeniusConv2D takes no argument `parametrization`"):
        layers.FrobeniusConv2D(1, 3, parametrization="aol")
    assert "parametrization" not in layer.get_config()


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("rule", ["aol", "polar"])
def test_mixed_precision_constrains_in_float32(name, rule, rng):
    layer = layers.SpectralConv2D(4, 3, dtype=name, parametrization=rule, padding="circular")
    y = layer(rng.standard_normal((2, 5, 4, 2)).astype("float32"))
    assert keras.backend.standardize_dtype(y.dtype) == name.removeprefix("mixed_")
    kernel = array(ops.cast(layer.kernel, "float32"))
    truth = Convolution((5, 4, 2), kernel.shape, (1, 1), (1, 1), "circular")
    assert truth.norm(kernel) <= 1 + 4e-3


@pytest.mark.skipif(BACKEND == "tensorflow", reason="its convolutions on CPU are channels_last")
@pytest.mark.parametrize(("cls", "arguments", "shape"), ONE_HOT[3:7] + ONE_HOT[-5:-4])
def test_channels_first_equals_channels_last(cls, arguments, shape, rng):
    last = make(cls, arguments, data_format="channels_last")
    first = make(cls, arguments, data_format="channels_first")
    x = rng.standard_normal((2, *shape)).astype("float32")
    expected = array(last(x))
    model = keras.Sequential([keras.Input((shape[-1], *shape[:-1])), first])
    model.set_weights(last.get_weights())
    for other in (model, lipkit.vanillaModel(model)):
        got = array(other(np.moveaxis(x, -1, 1)))
        np.testing.assert_allclose(np.moveaxis(got, 1, -1), expected, atol=1e-5)
        assert lipkit.lipschitz_bound(other) < math.inf


@pytest.mark.parametrize("cls", [layers.SpectralConv2D, layers.PadConv2D])
@pytest.mark.parametrize("mode", ["same", "constant", *REPEATED])
def test_unknown_sizes_and_export_without_sizes(cls, mode, rng):
    model = keras.Sequential([keras.Input((None, None, 2)), cls(4, 3, padding=mode)])
    plain = lipkit.vanillaModel(model)
    for size in ((4, 6), (3, 2)):
        x = rng.standard_normal((2, *size, 2)).astype("float32")
        y = array(model(x))
        assert y.shape[1:3] == size
        np.testing.assert_allclose(array(plain(x)), y, atol=1e-6)
    bounds = [lipkit.lipschitz_bound(m, (4, 6, 2)) for m in (model, plain)]
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-6)


@pytest.mark.parametrize(
    ("make_layer", "message"),
    [
        (lambda: layers.SpectralConv2D(4, 3, padding="full"), "`padding`.*'circular'.*='full'"),
        (lambda: layers.SpectralConv2D(4, 3, padding=1), "`padding`.*padding=1"),
        (lambda: layers.SpectralConv2D(4, 3, padding=("same", "same")), "`padding`.*same"),
        (lambda: layers.SpectralConv2D(4, 3, padding="causal"), "`padding`.*'causal'"),
        (lambda: layers.PadConv2D(4, 3, padding="wrap"), "`padding` of PadConv2D.*'wrap'"),
        (
            lambda: layers.SpectralConv2DTranspose(4, 3, padding="circular"),
            "`padding` of SpectralConv2DTranspose must be one of .*'circular'",
        ),
        (lambda: layers.SpectralConv2D(4, 3, k_coef_lip=0), "`k_coef_lip`"),
        (lambda: layers.SpectralConv2D(4, 3, parametrization="aoll"), "`parametrization`.*'aoll'"),
        (lambda: layers.SpectralConv2D(4, 3, strides=2, dilation_rate=2), "dilation_rate"),
        (
            lambda: layers.SpectralDepthwiseConv2D(3, strides=2, dilation_rate=3),
            r"SpectralDepthwiseConv2D cannot both be.*strides=\(2, 2\), dilation_rate=\(3, 3\)",
        ),
        (lambda: layers.SpectralConv2D(4, 3, groups=3), "groups=3"),
        (lambda: layers.SpectralConv2D(4, 3, eps_spectral=0), "`eps_spectral`"),
        (lambda: AOL(iterations=0), "`iterations`.*0"),
    ],
)
def test_bad_arguments(make_layer, message):
    with pytest.raises(ValueError, match=message):
        make_layer()


@pytest.mark.parametrize(("mode", "size"), [("circular", 2), ("symmetric", 2), ("reflect", 3)])
def test_inputs_too_small_to_be_repeated_are_refused(mode, size):
    for cls in (layers.SpectralConv2D, layers.PadConv2D):
        with pytest.raises(ValueError, match=f"padding='{mode}'.*at least {size + 1}.*{size}, 2"):
            cls(4, 7, padding=mode)(np.ones((1, 9, size, 2), "float32"))
    layers.PadConv2D(4, 7, padding="replicate")(np.ones((1, 1, 1, 2), "float32"))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="others know the sizes when they compute")
@pytest.mark.parametrize("compiled", [False, True])
def test_too_small_inputs_are_refused_in_graphs_of_unknown_sizes(compiled):
    import tensorflow as tf

    layer = layers.PadConv2D(2, 7, padding="circular")
    layer.build((None, None, None, 2))
    signature = [tf.TensorSpec((None, None, None, 2))]
    graph = tf.function(lambda x: layer(x), input_signature=signature, jit_compile=compiled)
    x = np.random.default_rng(0).standard_normal((1, 5, 4, 2)).astype("float32")
    np.testing.assert_allclose(array(graph(x)), array(layer(x)), atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="out of bounds"):
        graph(x[:, :2])


def test_certifier_refuses_operations_it_cannot_read():
    x = keras.Input((4, 2))
    for y, message in (
        (ops.take(x, [[0, 1]], axis=1), "Take.*list of integers"),
        (ops.take(x, [0, 7], axis=1), "Take.*axis of size 4"),
        (ops.pad(x, [(0, 0), (1, 1), (0, 0)], mode="reflect"), "Pad.*'reflect'"),
        (ops.pad(x, [(0, 0), (1, 1), (0, 0)], constant_values=3), "Pad"),
    ):
        with pytest.raises(lipkit.NotCertifiable, match=message):
            lipkit.lipschitz_bound(keras.Model(x, y))


def test_padding_by_concatenation_is_read_as_one_matrix():
    x = keras.Input((4, 2))
    y = ops.concatenate([ops.take(x, [-1], axis=1), x, ops.take(x, [0], axis=1)], axis=1)
    assert lipkit.lipschitz_bound(keras.Model(x, y)) == pytest.approx(math.sqrt(2))
    y = ops.concatenate([ops.take(y, [1, 2], axis=1), ops.take(y, [0], axis=1)], axis=1)
    assert lipkit.lipschitz_bound(keras.Model(x, y)) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("mode", ["same", "valid"])
def test_transposed_convolutions_with_output_padding_are_certified(mode, size, strides):
    bounds = []
    for more in range(strides):
        if mode == "same" and size % 2 == 0 and more == 0:
            continue  # a size that no "same" convolution maps back: TensorFlow refuses it
        layer = layers.SpectralConv2DTranspose(
            4, size, strides=strides, padding=mode, output_padding=more, parametrization="polar"
        )
        model = keras.Sequential([keras.Input((3, 4, 2)), layer])
        norm = np.linalg.norm(operator(layer, (3, 4, 2)), 2)
        bounds.append(lipkit.lipschitz_bound(model))
        assert norm * (1 - 1e-5) <= bounds[-1] <= norm * 1.1
        assert norm <= 1 + 1e-5
    assert bounds or (mode, strides, size) == ("same", 1, 2)


def test_almost_orthogonal_matrices(rng):
    for shape in ((6, 4), (4, 6), (3, 6, 4)):
        w = rng.standard_normal(shape)
        got = array(AOL()(ops.convert_to_tensor(w.astype("float32"))))
        wide = shape[-2] < shape[-1]
        tall = np.swapaxes(w, -1, -2) if wide else w
        sums = np.abs(np.swapaxes(tall, -1, -2) @ tall).sum(axis=-1)[..., None, :]
        expected = tall / np.sqrt(sums)
        np.testing.assert_allclose(np.swapaxes(got, -1, -2) if wide else got, expected, atol=1e-5)
        assert np.linalg.norm(expected, 2, axis=(-2, -1)).max() <= 1
    dense = layers.SpectralDense(4, parametrization="aol")
    assert np.linalg.norm(operator(dense, (6,)), 2) == pytest.approx(1, abs=1e-5)


# What went wrong elsewhere


def test_stride_1_factor_is_no_average():
    """14x14x1, k=3, 16 filters: 1.05 with the average number of windows a pixel is in."""
    layer = layers.SpectralConv2D(16, 3, parametrization="polar")
    assert np.linalg.norm(operator(layer, (14, 14, 1)), 2) == pytest.approx(1, abs=1e-5)


def test_kernel_larger_than_the_image():
    """7x7 on 2x2: 2.0; (7, 3) on 1x8: NaN."""
    for kernel_size, size, rule in ((7, (2, 2), "polar"), ((7, 3), (1, 8), "aol")):
        layer = layers.SpectralConv2D(
            8, kernel_size, parametrization=rule, kernel_initializer="ones"
        )
        norm = np.linalg.norm(operator(layer, (*size, 1)), 2)
        assert 0 < norm <= 1 + 1e-5
    # one filter for each tap, so that all windows keep the norm: the worst kernel
    layer = layers.SpectralConv2D(49, 7, parametrization="polar")
    layer.build((None, 2, 2, 1))
    layer._kernel.assign(np.eye(49).reshape(7, 7, 1, 49))
    norms = [np.linalg.norm(operator(layer, (n, n, 1)), 2) for n in (2, 8)]
    assert 0.25 < norms[0] < norms[1] <= 1 + 1e-5


@pytest.mark.parametrize(("size", "strides", "c_in", "c_out"), [(2, 2, 2, 8), (3, 1, 1, 16)])
def test_transposed_convolution_is_unfolded_as_the_adjoint(size, strides, c_in, c_out):
    """2.0 and 1.125 when unfolded as a direct convolution."""
    layer = layers.SpectralConv2DTranspose(c_out, size, strides=strides, parametrization="polar")
    layer.build((None, 3, 4, c_in))
    for start in ("orthogonal", "ones", "eye"):
        if start == "eye":
            layer._kernel.assign(np.eye(size**2 * c_out, c_in).reshape(layer._kernel.shape))
        elif start == "ones":
            layer._kernel.assign(np.ones(layer._kernel.shape))
        assert np.linalg.norm(operator(layer, (3, 4, c_in)), 2) <= 1 + 1e-5


@pytest.mark.parametrize("filters", [4, 2])
def test_condense_of_a_transposed_convolution_with_other_channels(filters, rng):
    """And with as many, where forgotten axes raise nothing and give another kernel."""
    layer = layers.SpectralConv2DTranspose(filters, 2, strides=2, parametrization="polar")
    layer.build((None, 3, 2, 2))
    layer._kernel.assign(rng.standard_normal(layer._kernel.shape))
    x = rng.standard_normal((1, 3, 2, 2)).astype("float32")
    before = array(layer(x))
    layer.condense()
    np.testing.assert_allclose(array(layer(x)), before, atol=1e-4)


def test_inference_is_constrained_before_any_training():
    for cls in (layers.SpectralConv2D, layers.SpectralConv2DTranspose, layers.FrobeniusConv2D):
        layer = cls(4, 3, kernel_initializer="he_normal")
        assert np.linalg.norm(operator(layer, (4, 3, 2)), 2) <= 1 + 1e-5
        layer._kernel.assign(9 * array(layer._kernel))
        assert np.linalg.norm(operator(layer, (4, 3, 2)), 2) <= 1 + 1e-5


@pytest.mark.parametrize("mode", ["same", "replicate"])
def test_the_kernel_does_not_depend_on_the_size_it_was_built_for(mode):
    """A factor of small images is too small for large ones."""
    built = {}
    for size in (2, 9, None):
        layer = layers.SpectralConv2D(18, 3, parametrization="polar", padding=mode)
        layer.build((None, size, size, 2))
        layer._kernel.assign(np.eye(18).reshape(3, 3, 2, 18))
        assert np.linalg.norm(operator(layer, (6, 5, 2)), 2) <= 1 + 1e-5
        built[size] = array(layer.kernel)
    np.testing.assert_array_equal(built[2], built[9])
    np.testing.assert_array_equal(built[2], built[None])


def test_even_kernels_keep_the_size_and_upper_case_is_accepted(rng):
    x = rng.standard_normal((1, 6, 7, 2)).astype("float32")
    for mode in ("SAME", "Constant", *REPEATED):
        for size in (2, 4):
            layer = layers.PadConv2D(3, size, padding=mode)
            assert (
                array(layer(x)).shape == (1, 6, 7, 3) == tuple(layer.compute_output_shape(x.shape))
            )
            assert layer.get_config()["padding"] == mode.lower()


def test_a_padded_layer_alone_has_no_plain_layer():
    layer = layers.SpectralConv2D(4, 3, padding="circular", name="c")
    layer.build((None, 5, 5, 2))
    with pytest.raises(ValueError, match="'c' has padding='circular'.*Export the model"):
        layer.vanilla_export()
    same = layers.SpectralConv2D(4, 3)
    same.build((None, 5, 5, 2))
    assert type(same.vanilla_export()) is keras.layers.Conv2D


@pytest.mark.parametrize("size", [(4, 3), (40, 41)])  # an explicit matrix, and too large for one
def test_small_groups_and_depthwise_are_bounded_by_the_largest_group_not_the_product(size):
    """Four groups of norm 2: 16 as a product."""
    grouped = layers.SpectralConv2D(4, 3, groups=4, k_coef_lip=2.0)
    depthwise = layers.SpectralDepthwiseConv2D(3, k_coef_lip=2.0)
    for layer in (grouped, depthwise):
        model = keras.Sequential([keras.Input((*size, 4)), layer])
        assert 1.9 < lipkit.lipschitz_bound(model) <= 2 * (1 + 1e-3)

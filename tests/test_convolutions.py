"""Convolutions against operators written out in NumPy, on inputs of every size."""

import functools
import json
import math

import keras
import numpy as np
import pytest
from keras import ops
from reference import Convolution, array, operator, polar, windows

import lipkit
from lipkit import layers, linalg, padding
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


@pytest.mark.parametrize("rule", ["polar", "aol", "spectral"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
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
    (layers.SpectralConv3DTranspose, {"dilation_rate": 2}, (2, 3, 1, 2)),
]


def make(cls, arguments, **more):
    given = {"kernel_size": 3, **arguments, **more}
    return cls(**given) if "Depthwise" in cls.__name__ else cls(4, **given)


def check_norm(layer, k):
    """At most k, with the kernel as used, from one-hot inputs."""


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
    truth = Convolution(
        shape, kernel.shape, layer.strides, layer.dilation_rate, mode, groups
    )
    np.testing.assert_allclose(got, truth.matrix(kernel), atol=1e-6)

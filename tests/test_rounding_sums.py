"""Sums whose partial sums are all rounded the same way stay within the modelled rounding error."""

import math

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import lipkit
from lipkit import layers
from lipkit.certifier import bounding, evaluate, rounding
from lipkit.certifier.arithmetic import FORMATS
from lipkit.certifier.reader import read

pytestmark = pytest.mark.compiled

F32 = FORMATS["float32"]


def falling(n):
    """(n,) float32 numbers near 1, whose sum in this order is rounded down by nearly half an ulp
    at each step: each ends just below the middle between two float32 numbers."""
    values = np.ones(n, "float32")
    total = np.float32(1)
    for i in range(1, n):
        ulp = float(np.spacing(np.float32(float(total) + 1)))
        middle = (math.floor((float(total) + 1) / ulp) + 0.499) * ulp
        values[i] = np.float32(middle - float(total))
        total = np.float32(total + values[i])
    return values


def orders(sizes):
    """(k, *sizes): such numbers for sums by rows, by columns, backwards, and in lanes that are
    added at the end, as vectors of a processor and recursive halving have them."""
    n = math.prod(sizes)
    found = [falling(n).reshape(sizes), falling(n).reshape(sizes[::-1]).T, falling(n)[::-1]]
    for lanes in {sizes[-1], 2, 4, 8, 16, 32}:
        if n % lanes == 0:
            found.append(np.repeat(falling(n // lanes)[:, None], lanes, axis=1))
            found.append(np.repeat(falling(n // lanes)[None], lanes, axis=0))
    return np.stack([values.reshape(sizes) for values in found])


def _roots():
    return np.sqrt(orders((24, 24))).astype("float32").reshape(-1, 24, 24, 1)


def _small_roots():
    return np.sqrt(orders((4, 4))).astype("float32").reshape(-1, 4, 4, 1)


def _logarithms():
    return np.log(orders((300,))).astype("float32")


def _mean(*axes, keepdims=False):
    return lambda x: ops.mean(x, axis=axes, keepdims=keepdims)


def _branches(x):
    return kl.Add()([x[:, i : i + 1] for i in range(40)])


def _twice(shape):
    """Inputs of two groups of channels, each with its own sum."""
    return lambda: np.repeat(orders(shape)[..., None], 2, axis=-1)


# shape of the input, functions, inputs other than `orders` of its shape
REDUCTIONS = {
    "average 1d": ((400, 1), kl.AveragePooling1D(400)),
    "average 2d": ((24, 24, 1), kl.AveragePooling2D(24)),
    "average 3d": ((8, 8, 8, 1), kl.AveragePooling3D(8)),
    "average same": ((24, 24, 1), kl.AveragePooling2D(24, 12, "same")),
    "average strided": ((24, 24, 1), kl.AveragePooling2D((20, 24), (2, 1))),
    "global 1d": ((400, 1), kl.GlobalAveragePooling1D()),
    "global 2d": ((24, 24, 1), kl.GlobalAveragePooling2D()),
    "global 3d": ((8, 8, 8, 1), kl.GlobalAveragePooling3D()),
    "global first": ((1, 24, 24), kl.GlobalAveragePooling2D(data_format="channels_first")),
    "mean": ((24, 24), _mean(1, 2)),
    "mean of 3 axes": ((8, 8, 8), _mean(1, 2, 3)),
    "center": ((24, 24, 1), lambda x: x - _mean(1, 2, keepdims=True)(x)),
    "layer centering": ((576,), layers.LayerCentering(axis=-1)),
    "dense": ((600,), kl.Dense(2)),
    "einsum": ((24, 24), kl.EinsumDense("bij,ijk->bk", (2,), bias_axes="k")),
    "conv 1d": ((400, 1), kl.Conv1D(2, 400)),
    "conv 2d": ((24, 24, 1), kl.Conv2D(2, 24)),
    "conv channels": ((6, 6, 16), kl.Conv2D(2, 6)),
    "conv same": ((12, 12, 4), kl.Conv2D(2, 12, padding="same", strides=3)),
    "conv groups": ((24, 24, 2), kl.Conv2D(2, 24, groups=2), _twice((24, 24))),
    "conv transpose": ((1, 1, 576), kl.Conv2DTranspose(1, 2)),
    "depthwise": ((24, 24, 1), kl.DepthwiseConv2D(24)),
    "separable": ((24, 24, 1), kl.SeparableConv2D(2, 24)),
    "norm": ((24, 24, 1), lambda x: ops.norm(x, axis=(1, 2)), _roots),
    "norm pool": ((4, 4, 1), layers.ScaledL2NormPooling2D(4), _small_roots),
    "global norm": ((4, 4, 1), layers.ScaledGlobalL2NormPooling2D(), _small_roots),
    "softmax": ((300,), kl.Softmax(), _logarithms),
    "add": ((40,), _branches),
}


@pytest.fixture(scope="module")
def reductions():
    """Models by name, their inputs (n, ...), and one model of all: they are compiled together."""
    models, inputs = {}, {}
    for name, (shape, function, *given) in REDUCTIONS.items():
        x = keras.Input(shape)
        model = keras.Model(x, function(x))
        if isinstance(function, layers.LipschitzLayer):
            model = lipkit.models.vanillaModel(model)
        model.set_weights([np.ones(w.shape) * ("bias" not in w.name) for w in model.weights])
        rows = given[0]() if given else orders(shape)
        models[name], inputs[name] = model, np.resize(rows, (17, *shape))
    together = keras.Model(
        [model.inputs[0] for model in models.values()], [m.outputs[0] for m in models.values()]
    )
    return models, inputs, together


def deviations(graph, x, got):
    """Measured and modelled errors of a program's outputs (n, ...) at x, in 2-norm."""
    bounds, values = bounding.compose(graph), evaluate.run(graph, x.astype("float64"))
    reach = [rounding.norms(value) for value in values]
    local = rounding.local_errors(graph, F32)
    errors, overflow = rounding.forward_errors(graph, bounds.own, local, reach, F32)
    assert not overflow.any()
    (output,) = graph.outputs
    got = np.asarray(got, "float64").reshape(values[output].shape)
    return rounding.norms(got - values[output]), errors[output]


@pytest.mark.parametrize("batch", [1, 17])
@pytest.mark.parametrize("compiled", [False, True])
def test_sums_in_any_order_are_within_the_modelled_error(reductions, batch, compiled):
    models, inputs, together = reductions
    given = list(inputs.values())
    if compiled:
        outputs = together.predict(given, batch_size=batch, verbose=0)
    else:
        parts = [together([x[i : i + batch] for x in given]) for i in range(0, 17, batch)]
        outputs = [
            np.concatenate([ops.convert_to_numpy(y) for y in ys]) for ys in zip(*parts, strict=True)
        ]
    worst = {}
    for (name, model), x, got in zip(models.items(), given, outputs, strict=True):
        measured, modelled = deviations(read(model).graph, x, got)
        worst[name] = float((measured / modelled).max())
    assert max(worst.values()) <= 1, worst
    if batch == 1 or keras.backend.backend() != "jax":  # it adds rows of one sample one by one
        # the control: of 24 x 24 values more than 24 + 24 roundings are seen
        assert worst["average 2d"] * (24 * 24 + 7) > 24 + 24 + 6


def test_labels_are_those_of_the_program_that_sums_row_by_row():
    """The mean is positive by 100 u; the program rounds down by some 200 u."""
    x = falling(24 * 24).reshape(1, 24, 24, 1)
    mean = float(x.astype("float64").mean())
    model = keras.Sequential(
        [keras.Input((24, 24, 1)), kl.AveragePooling2D(24), kl.Flatten(), kl.Dense(1)]
    )
    model.set_weights([np.ones((1, 1)), np.array([-(mean - 100 * F32.unit)], "float32")])
    certificates = lipkit.certify(model, x, arithmetic="float32")
    label = int(model.predict(x, verbose=0)[0, 0] > 0)
    assert label == 0 and certificates.status[0] == "margin within the rounding error"
    assert lipkit.certify(model, x).label[0] == 1


OPERATORS = {  # node, shape, constants, inputs other than `orders` of the shape
    "global average": (("GlobalAveragePool", "x", "y", {}), (1, 24, 24)),
    "average": (("AveragePool", "x", "y", {"kernel_shape": [24, 24]}), (1, 24, 24)),
    "average padded": (
        ("AveragePool", "x", "y", {"kernel_shape": [24, 24], "pads": [8, 8, 8, 8]}),
        (1, 24, 24),
    ),
    "average 3d": (("AveragePool", "x", "y", {"kernel_shape": [8, 8, 8]}), (1, 8, 8, 8)),
    "mean": (("ReduceMean", "x axes", "y", {}), (24, 24), {"axes": np.array([1, 2])}),
    "sum": (("ReduceSum", "x axes", "y", {}), (24, 24), {"axes": np.array([1, 2])}),
    "norm": (("ReduceL2", "x axes", "y", {}), (24, 24, 1), {"axes": np.array([1, 2])}, _roots),
    "softmax": (("Softmax", "x", "y", {}), (300,), {}, _logarithms),
    "matmul": (("MatMul", "x w", "y", {}), (600,), {"w": np.ones((600, 2), "float32")}),
    "gemm": (("Gemm", "x w", "y", {"alpha": 0.5}), (600,), {"w": np.ones((600, 2), "float32")}),
    "conv": (("Conv", "x w", "y", {}), (1, 24, 24), {"w": np.ones((2, 1, 24, 24), "float32")}),
    "conv groups": (
        ("Conv", "x w", "y", {"group": 2}),
        (2, 24, 24),
        {"w": np.ones((2, 1, 24, 24), "float32")},
        lambda: np.repeat(orders((24, 24))[:, None], 2, axis=1),
    ),
    "conv transpose": (
        ("ConvTranspose", "x w", "y", {}),
        (576, 1, 1),
        {"w": np.ones((576, 1, 2, 2), "float32")},
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_sums_of_onnx_runtime_are_within_the_modelled_error(name, tmp_path):
    pytest.importorskip("onnxruntime")
    import onnx
    import onnx_models

    from lipkit.certifier.reader.onnx import OnnxFile

    node, shape, *rest = OPERATORS[name]
    x = rest[1]() if len(rest) > 1 else orders(shape)
    path = tmp_path / "model.onnx"
    onnx.save(onnx_models.model([node], shape, rest[0] if rest else None), path)
    graph = OnnxFile(path).read().graph
    session = onnx_models.session(path)
    for batch in (1, len(x)):
        parts = [session.run(None, {"x": x[i : i + batch]})[0] for i in range(0, len(x), batch)]
        measured, modelled = deviations(graph, x, np.concatenate(parts))
        assert (measured <= modelled).all()
        if name == "average":  # the control
            assert measured.max() > (24 + 24 + 6) * F32.unit


@pytest.mark.parametrize("name", ["average 2d", "global 3d", "center", "dense", "conv 2d", "norm"])
def test_sums_of_exported_files_are_within_their_error(reductions, name, tmp_path):
    pytest.importorskip("onnxruntime")
    import onnx_models

    from lipkit.export.onnx import error_bounds

    model, x = reductions[0][name], reductions[1][name]
    flat = keras.Sequential([model, kl.Flatten()])
    graph = read(flat).graph
    path = lipkit.export_onnx(
        flat,
        tmp_path / "model.onnx",
        arithmetic="float32",
        task="multilabel" if graph.nodes[graph.outputs[0]].shape != (1,) else None,
    )
    (output,) = graph.outputs
    exact = evaluate.run(graph, x.astype("float64"))[output]
    error = error_bounds.program_error(
        graph, bounding.compose(graph), output, error_bounds.DEPLOYED, error_bounds.DEPLOYED.unit
    )
    (logits,) = onnx_models.run(path, x, outputs=["logits"])
    measured = rounding.norms(logits.astype("float64") - exact)
    assert (measured <= error.slope * rounding.norms(x.astype("float64")) + error.offset).all()

"""Exported files compute what the model does, and their radii are never above `certify`'s."""

import json
from dataclasses import replace

import keras
import numpy as np
import onnx
import pytest
from keras import layers as kl
from onnx import TensorProto, helper, numpy_helper
from onnx_models import run
from reference import array

import lipkit
from lipkit import NotCertifiable
from lipkit import layers as ll
from lipkit.certifier import bounding, evaluate, rounding
from lipkit.certifier import graph as g
from lipkit.certifier.activations import ACTIVATIONS
from lipkit.certifier.norms import deflate
from lipkit.certifier.reader.builder import Builder
from lipkit.certifier.reader.layers import diagonal
from lipkit.certifier.reader.onnx import OnnxFile
from lipkit.export.onnx import builder, error_bounds, operations, weights_sha256

pytestmark = pytest.mark.compiled

VECTOR, SEQUENCE, IMAGE = (6,), (7, 3), (7, 5, 4)
RNG = np.random.default_rng(0)


def normal(*shape):
    """Values that float32 holds."""
    return RNG.standard_normal(shape).astype("float32").astype("float64")


def conv(*shape, bias=None, strides=(1, 1), dilation=(1, 1), padding=((0, 0), (0, 0)), groups=1):
    return g.Conv(normal(*shape), bias, strides, dilation, padding, groups)


STRIDED = {"strides": (2, 1), "dilation": (1, 2), "padding": ((1, 2), (0, 1))}
# name: shape of a sample, operation
OPERATIONS = {
    "dense": (VECTOR, g.Dense(normal(6, 4), normal(4))),
    "dense on a sequence": (SEQUENCE, g.Dense(normal(3, 4))),
    "einsum": (SEQUENCE, g.Einsum("bc,cd->bd", normal(3, 4), normal(4))),
    "einsum, two new": (SEQUENCE, g.Einsum("bc,cde->dbe", normal(3, 4, 2))),
    "einsum, two contracted": (SEQUENCE, g.Einsum("bc,bcd->d", normal(7, 3, 4), normal(4))),
    "conv": (IMAGE, conv(3, 2, 4, 3, bias=normal(3), **STRIDED)),
    "conv, groups": (IMAGE, conv(3, 3, 2, 6, groups=2, padding=((1, 1), (1, 1)))),
    "conv, depthwise": (IMAGE, conv(2, 2, 1, 8, groups=4)),
    "conv 1d": (SEQUENCE, g.Conv(normal(3, 3, 2), normal(2), (2,), (1,), ((2, 0),))),
    "conv around a circle": (
        IMAGE,
        replace(
            conv(3, 3, 2, 6, groups=2, padding=((1, 0), (0, 0))),
            shown=(np.arange(7), np.array([4, *range(5), 0])),
        ),
    ),
    "transposed": (
        (4, 4, 5),
        g.ConvTranspose(conv(3, 2, 4, 5, **STRIDED), (7, 5), normal(4)),
    ),
    "transposed, small kernel": (
        (3, 2, 5),
        g.ConvTranspose(conv(2, 2, 4, 5, strides=(3, 3)), (9, 6)),
    ),
    "axis maps": (IMAGE, g.AxisMaps(((0, normal(3, 7)), (2, normal(2, 4))))),
    "center": (IMAGE, g.Center((0, 2))),
    "diagonal": (IMAGE, g.Diagonal(normal(4), normal(5, 4), np.abs(normal(5, 4)))),
    "shift": (VECTOR, g.Diagonal(np.ones(()), normal(6), np.zeros(()))),
    "softmax": (SEQUENCE, g.Softmax(0)),
    "log softmax": (SEQUENCE, g.LogSoftmax(0)),
    "sort": (SEQUENCE, g.Sort(0)),
    "sort last": (SEQUENCE, g.Sort()),
    "concat relu": (IMAGE, g.ConcatReLU(0)),
    "max pool": (IMAGE, g.MaxPool((3, 2), (2, 1), ((1, 1), (0, 1)))),
    "norm": (IMAGE, g.Norm((0, 1))),
    "root of squares": (
        IMAGE,
        g.RootOfSquares(((0, abs(normal(3, 7))), (1, abs(normal(2, 5)))), 0.25, 2.0**-10),
    ),
    "reshape": (IMAGE, g.Reshape((5, 28))),
    "permute": (IMAGE, g.Permute((2, 0, 1))),
    "slice": (IMAGE, g.Slice(1, 1, 4)),
    "slice, steps": (IMAGE, g.Slice(1, 1, 5, 2)),
    "rounded": (IMAGE, g.Rounded(3.0, 2.0)),
    "leaky, clipped": (VECTOR, g.Elementwise("relu", (0.3, 0.7))),
    "leaky by entry": (IMAGE, g.Elementwise("relu", (normal(1, 1, 4),))),
    "clip": (VECTOR, g.Elementwise("clip", (np.full(6, -0.3), np.inf))),
    "soft shrink": (VECTOR, g.Elementwise("soft_shrink", (0.3,))),
    "elu": (VECTOR, g.Elementwise("elu", (1.3,))),
    "celu": (VECTOR, g.Elementwise("celu", (1 + 2**-40,))),
    **{name: (VECTOR, g.Elementwise(name)) for name in ACTIVATIONS if name != "clip"},
}


def single(shape, op):
    """A graph of one operation."""
    nodes = Builder()
    x = nodes.add(g.Input(), (), "x", "Input", shape)
    return nodes.graph([nodes.add(op, (x,), "layer", type(op).__name__)])


def chained(*ops):
    """A graph of operations that follow each other."""
    nodes = Builder()
    x = nodes.add(g.Input(), (), "x", "Input", VECTOR)
    return nodes.graph([nodes.chain(ops, [x], "layer", "Chain")])


def merged(op):
    """A graph of a merge of branches."""
    nodes = Builder()
    x = nodes.add(g.Input(), (), "x", "Input", VECTOR)
    branches = [x, nodes.add(g.Dense(normal(6, 6)), (x,), "dense", "Dense")]
    return nodes.graph([nodes.add(op, tuple(branches), "merge", type(op).__name__)])


GRAPHS = {name: single(*case) for name, case in OPERATIONS.items()}
GRAPHS |= {
    "factors near 1": chained(near := diagonal(1 + 2**-30), g.Dense(normal(6, 4)), near, g.Sort()),
    "scaled": chained(factor := diagonal(0.3), g.Dense(normal(6, 4)), factor),
    "sum": merged(g.Sum()),
    "difference": merged(g.Sum((-1, 1))),
    "concatenation": merged(g.Concat()),
    "maximum": merged(g.Maximum()),
    "minimum": merged(g.Maximum(-1)),
}


def written(graph, dtype, path):
    """A file that computes a graph in one format."""
    nodes = builder.Nodes()
    (index,) = graph.outputs
    result = operations.write(graph, builder.Program(nodes, dtype), ["x"], index)
    kind = TensorProto.DOUBLE if dtype == "float64" else TensorProto.FLOAT
    shape = graph.nodes[index].shape
    proto = helper.make_graph(
        nodes.nodes,
        "test",
        [helper.make_tensor_value_info("x", kind, ["batch", *graph.nodes[0].shape])],
        [helper.make_tensor_value_info(result, kind, ["batch", *shape])],
        [numpy_helper.from_array(a, n) for n, a in nodes.constants.values()],
    )
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(proto, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def test_every_operation_has_onnx_operators():
    ours = {op for op in operations.lower.registry if op is not object}
    assert ours == {op for op in bounding.lipschitz.registry if op is not object} - {
        g.Input,
        g.Custom,
    }
    assert {type(node.op) for graph in GRAPHS.values() for node in graph.nodes} == ours | {g.Input}


@pytest.mark.parametrize("name", GRAPHS)
def test_operators_compute_the_operation_in_both_formats(name, tmp_path):
    graph = GRAPHS[name]
    x = 2 * np.random.default_rng(1).standard_normal((5, *graph.nodes[0].shape))
    x = x.astype("float32").astype("float64")
    expected = evaluate.run(graph, x)[graph.outputs[0]]
    (exact,) = run(written(graph, "float64", tmp_path / "double.onnx"), x)
    tolerance = 2e-6 if name in error_bounds.IN_SINGLE else 1e-14
    np.testing.assert_allclose(exact, expected, rtol=tolerance, atol=tolerance)
    bounds, size = bounding.compose(graph), rounding.norms(x)

    def allowed(arithmetic):
        error = error_bounds.program_error(graph, bounds, graph.outputs[0], arithmetic)
        return error.slope * size + error.offset

    assert (rounding.norms(exact - expected) <= allowed(error_bounds.DOUBLE) + 1e-15 * size).all()
    path = written(graph, "float32", tmp_path / "single.onnx")
    (got,) = run(path, x.astype("float32"))
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=2e-6)
    assert (rounding.norms(got - expected) <= allowed(error_bounds.DEPLOYED)).all()


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_written_is_read_with_the_same_bound(name, tmp_path):
    graph = GRAPHS[name]
    bound = bounding.output_bound(graph, bounding.compose(graph))
    read = lipkit.lipschitz_bound(written(graph, "float32", tmp_path / "m.onnx"))
    # 1 / 6, 0.3 and the constants of SELU are not the same in float32
    rounded = ("hard_sigmoid", "selu", "scaled", "factors near 1", "elu")
    tolerance = 1e-7 if name in rounded else 1e-13
    assert read == pytest.approx(bound, rel=tolerance)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize(
    "arithmetic", [error_bounds.DOUBLE, error_bounds.DEPLOYED], ids=lambda a: a.name
)
def test_affine_errors_are_above_those_of_each_input(name, arithmetic):
    graph = GRAPHS[name]
    bounds = bounding.compose(graph)
    error = error_bounds.program_error(graph, bounds, graph.outputs[0], arithmetic)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((300, *graph.nodes[0].shape))
    x *= 10.0 ** rng.uniform(-8, 8, (300,) + (1,) * (x.ndim - 1))
    reach = [rounding.norms(value) for value in evaluate.run(graph, x)]
    local = rounding.local_errors(graph, arithmetic)
    expected, overflow = rounding.forward_errors(graph, bounds.own, local, reach, arithmetic)
    size = rounding.norms(x)
    # they are bounds with rounding: what is expected, of which each is one, is a little less
    least = deflate(expected[graph.outputs[0]], 1000)
    assert (error.slope * size + error.offset >= least).all()
    assert not overflow[size <= error.largest].any() and error.largest > 1e9


def test_errors_of_what_is_computed_in_float32_count_in_float64():
    graph = GRAPHS["gelu"]
    exact, deployed = (
        error_bounds.program_error(graph, bounding.compose(graph), 1, arithmetic)
        for arithmetic in (error_bounds.DOUBLE, error_bounds.DEPLOYED)
    )
    assert (
        exact.slope >= deployed.slope + 1.1289 * error_bounds.DEPLOYED.unit
    )  # its operand is rounded
    assert exact.offset >= deployed.offset


def randomised(model, scale=1.0):
    """The model with random weights, those of its layers with rules of their own included."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        values = (
            rng.standard_normal(weight.shape) * scale / max(1, np.prod(weight.shape[:-1])) ** 0.5
        )
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.name else values)
    return model


def binary():
    layers = [ll.SpectralDense(8), ll.FullSort(), ll.SpectralDense(6), ll.Householder()]
    return keras.Sequential([keras.Input((4,)), *layers, ll.FrobeniusDense(1)])


def image():
    layers = [
        kl.Rescaling(1 / 2, offset=-0.1),
        ll.SpectralConv2D(4, 3, padding="circular"),
        ll.MaxMin(),
        ll.ScaledL2NormPooling2D(2),
        kl.Conv2DTranspose(4, 2, strides=2, activation="elu"),
        kl.BatchNormalization(),
        kl.MaxPooling2D(2),
        kl.SeparableConv2D(4, 2, padding="same", activation="gelu"),
        kl.Flatten(),
        kl.Dense(3, activation="softmax"),
    ]
    return randomised(keras.Sequential([keras.Input((6, 6, 2)), *layers]))


def residual():
    x = keras.Input((6,))
    y = ll.SpectralDense(8, activation=ll.GroupSort2())(x)
    block = keras.Sequential([keras.Input((8,)), ll.SpectralDense(8), ll.GroupSort2()])
    y = ll.LipResidual(block)(y)
    y = kl.Concatenate()([y, kl.Dense(3, activation="tanh")(x)])
    return keras.Model(x, kl.Activation("tanh")(kl.Dense(4)(y)))


def labels():
    x, y = keras.Input((3,), name="first"), keras.Input((2, 2), name="second")
    z = kl.Add()([kl.Dense(5)(x), kl.Dense(5)(kl.Flatten()(y))])
    return keras.Model([x, y], kl.Dense(3, activation="sigmoid")(kl.ReLU()(z)))


# model, task, the model of its logits
MODELS = {
    "binary": (binary, None, lambda m: m),
    "image": (image, None, lambda m: _without_activation(m)),
    "residual": (residual, None, lambda m: m),
    "labels": (labels, "multilabel", lambda m: _without_activation(m)),
}


def _without_activation(model):
    model.layers[-1].activation = keras.activations.linear
    return model


def shapes(model):
    return [tuple(t.shape[1:]) for t in model.inputs]


def batch(model, n, seed=0, spread=2.0):
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.uniform(-spread, spread, n)
    inputs = [rng.standard_normal((n, *s)) * size.reshape(-1, *[1] * len(s)) for s in shapes(model)]
    return [x.astype("float32") for x in inputs]


def given(inputs):
    return inputs if len(inputs) > 1 else inputs[0]


@pytest.mark.parametrize("name", MODELS)
def test_models(name, tmp_path):
    make, task, to_logits = MODELS[name]
    model = make()
    path = lipkit.export_onnx(model, tmp_path / "m.onnx", task=task)
    for n in (0, 1, 2, 7):
        inputs = batch(model, n, spread=0.3)
        logits, label, radius = run(path, *inputs)
        assert len(logits) == len(label) == len(radius) == n and radius.shape == (n,)
    inputs = batch(model, 3000)
    logits, label, radius = run(path, *inputs)
    assert (logits.dtype, label.dtype, radius.dtype) == ("float32", "int64", "float64")
    result = lipkit.certify(model, given(inputs), task=task, batch_size=3000)
    assert (radius <= result.radius).all()
    np.testing.assert_array_equal(label[radius > 0], result.label[radius > 0])
    sure = result.radius > 1e-3
    loss = 0.02 if name == "image" else 1e-6  # GELU is rounded to float32
    assert sure.sum() > 500 and (radius >= result.radius * (1 - loss))[sure].all()
    plain = to_logits(model)
    small = batch(model, 20, spread=0.3)
    expected = array(plain(given(small), training=False))
    np.testing.assert_allclose(run(path, *small)[0], expected, rtol=1e-5, atol=1e-5)
    # the file's own reading
    bound = lipkit.lipschitz_bound(plain)
    assert lipkit.lipschitz_bound(path) == pytest.approx(bound, rel=1e-6)
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert float(properties["lipkit.lipschitz_bound"]) == bound


@pytest.fixture(scope="module")
def small():
    """A classifier of three classes with a tie at 0, and inputs."""
    keras.utils.set_random_seed(0)
    layers = [kl.Dense(8, activation="relu"), kl.Dense(3)]
    model = keras.Sequential([keras.Input((4,), name="features"), *layers])
    return model, np.random.default_rng(0).standard_normal((4000, 4)).astype("float32")


def test_radii_of_the_program_in_float32(small, tmp_path):
    model, x = small
    real, deployed = (
        run(lipkit.export_onnx(model, tmp_path / f"{a}.onnx", arithmetic=a), x)[2]
        for a in ("real", "float32")
    )
    expected = lipkit.certify(model, x, arithmetic="float32", batch_size=4000).radius
    assert (deployed <= expected).all() and (deployed <= real).all()
    sure = expected > 1e-2
    assert sure.sum() > 2000 and (deployed >= 0.99 * expected)[sure].all()
    assert (real - deployed)[sure].min() > 1e-8  # the larger error does count


def test_possible_overflow_of_the_program_certifies_nothing(small, tmp_path):
    model = keras.Sequential([keras.Input((2,)), kl.Dense(2, kernel_initializer="identity")])
    x = np.array([[2e38, 1.0], [2.0, 1.0]], "float32")
    radii = [
        run(lipkit.export_onnx(model, tmp_path / "m.onnx", arithmetic=a), x)[2]
        for a in ("real", "float32")
    ]
    assert (radii[0] > 0).all() and radii[1][0] == 0 and radii[1][1] > 0
    status = lipkit.certify(model, x, arithmetic="float32").status
    assert list(status) == ["possible overflow", "certified"]


def test_nothing_is_certified_of_values_that_are_not_finite(small, tmp_path):
    model, _ = small
    path = lipkit.export_onnx(model, tmp_path / "m.onnx")
    for value in (np.nan, np.inf, -np.inf):
        bad = np.where(np.eye(4, dtype=bool), value, 1.0).astype("float32")
        logits, label, radius = run(path, np.concatenate([bad, np.ones((1, 4), "float32")]))
        assert (label[:4] == -1).all() and (radius[:4] == 0).all()
        assert label[4] >= 0 and radius[4] > 0 and np.isfinite(logits[4]).all()
    _, label, radius = run(path, np.zeros((1, 4), "float32"))  # without biases: a tie
    assert radius[0] == 0 and label[0] == 0
    huge = np.full((1, 4), 3e38, "float32")  # the logits overflow in float32
    logits, label, radius = run(path, huge)
    assert not np.isfinite(logits).all() and label[0] == -1 and radius[0] == 0
    result = lipkit.certify(model, huge)
    assert radius[0] <= result.radius[0]


def test_overflow_in_float64_certifies_nothing(tmp_path):
    """Weights whose products exceed the largest float64: the reading's own flag."""
    graph = single((2,), g.Dense(np.full((2, 2), 1e200)))
    error = error_bounds.program_error(graph, bounding.compose(graph), 1, error_bounds.DOUBLE)
    assert 1e100 < error.largest < 1e108
    chained = Builder()
    x = chained.add(g.Input(), (), "x", "Input", (2,))
    for i in range(3):
        x = chained.add(g.Dense(np.full((2, 2), 1e200)), (x,), f"dense{i}", "Dense")
    bounds = bounding.compose(chained.graph([x]))
    assert (
        error_bounds.program_error(chained.graph([x]), bounds, x, error_bounds.DOUBLE).largest == -1
    )


def test_decisions_that_differ_in_float32_are_not_certified(tmp_path):
    """Two logits that float32 cannot tell apart, and float64 can."""
    kernel = np.array([[1.0, 1.0], [2**-24, 2**-23]], "float32")
    model = keras.Sequential([keras.Input((2,)), kl.Dense(2, use_bias=False)])
    model.set_weights([kernel])
    path = lipkit.export_onnx(model, tmp_path / "m.onnx")
    x = np.array([[4.0, 1.0]], "float32")
    logits, label, radius = run(path, x)
    assert logits[0, 0] == logits[0, 1] and label[0] == 1
    assert lipkit.certify(model, x).radius[0] > 0 and radius[0] == 0


def test_the_label_of_constant_logits_is_certified_everywhere(tmp_path):
    model = keras.Sequential([keras.Input((2,)), kl.Dense(2)])
    model.set_weights([np.zeros((2, 2)), np.array([0.0, 1.0])])
    path = lipkit.export_onnx(model, tmp_path / "m.onnx")
    x = np.ones((1, 2), "float32")
    _, label, radius = run(path, x)
    assert label[0] == 1 and 1e100 < radius[0] <= lipkit.certify(model, x).radius[0]


def test_properties_say_what_the_file_is(small, tmp_path):
    model, _ = small
    path = lipkit.export_onnx(model, str(tmp_path / "m.onnx"), classes=["a", "b", "ü"])
    proto = onnx.load(path)
    properties = {p.key.removeprefix("lipkit."): p.value for p in proto.metadata_props}
    assert json.loads(properties["classes"]) == ["a", "b", "ü"]
    assert (properties["task"], properties["arithmetic"]) == ("multiclass", "real")
    assert properties["version"] == lipkit.__version__
    assert len(json.loads(properties["assumptions"])) == 3
    assert properties["weights_sha256"] == weights_sha256(model) == weights_sha256(model)
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    assert properties["weights_sha256"] == weights_sha256(other)
    other.set_weights([2 * w for w in model.get_weights()])
    assert properties["weights_sha256"] != weights_sha256(other)
    assert [i.name for i in proto.graph.input] == ["features"]
    assert [o.name for o in proto.graph.output] == ["logits", "label", "radius"]
    assert list(tmp_path.iterdir()) == [path]  # no partial file is left


def test_rounding_in_float32_inside_the_certificate_is_declared(tmp_path):
    model = keras.Sequential([keras.Input((4,)), kl.Dense(5, activation="gelu"), kl.Dense(2)])
    proto = onnx.load(lipkit.export_onnx(model, tmp_path / "m.onnx"))
    properties = {p.key: p.value for p in proto.metadata_props}
    assert "gelu is computed in IEEE float32" in properties["lipkit.assumptions"]


def test_weights_are_stored_once_where_float32_holds_them(small, tmp_path):
    model, _ = small
    proto = onnx.load(lipkit.export_onnx(model, tmp_path / "m.onnx"))
    sizes = [numpy_helper.to_array(t).size for t in proto.graph.initializer]
    assert sizes.count(32) == 1 and sizes.count(24) == 1


def two_outputs():
    x = keras.Input((4,))
    return keras.Model(x, [kl.Dense(2)(x), kl.Dense(2)(x)])


def own_layer():
    class Halve(kl.Layer):
        def call(self, x):
            return x / 2

    @lipkit.certifier.register_rule(Halve)
    def _(layer, shape):
        return lipkit.certifier.graph.Custom(lambda x: x / 2, 0.5, error=lambda unit: (0.0, 0.0))

    return keras.Sequential([keras.Input((4,)), Halve(name="halve")])


def dense(*inputs, **arguments):
    return keras.Sequential([keras.Input((4,), *inputs, **arguments), kl.Dense(3)])


REFUSED = {
    "no model": (lambda: 3, {}, "must be a Keras model"),
    "arithmetic": (dense, {"arithmetic": "float64"}, "'real' or 'float32'"),
    "task": (dense, {"task": "binary"}, "one logit"),
    "classes": (dense, {"classes": "ab"}, "`classes` must be 3 names"),
    "layer": (
        lambda: keras.Sequential([keras.Input((4,)), kl.LayerNormalization(), kl.Dense(3)]),
        {},
        "LayerNormalization.*no bound",
    ),
    "own layer": (own_layer, {}, "'halve'.*no ONNX operators"),
    "two outputs": (two_outputs, {}, "2 outputs"),
    "integers": (lambda: dense(dtype="int32"), {}, "on inputs of type int32"),
    "a name": (lambda: dense(name="radius"), {}, "name of an output.*radius"),
    "open size": (
        lambda: keras.Sequential(
            [keras.Input((None, None, 1)), kl.Conv2D(2, 3), kl.GlobalAveragePooling2D()]
        ),
        {},
        "give `input_shape`",
    ),
}


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder .*nowhere"):
        lipkit.export_onnx(dense(), tmp_path / "nowhere" / "m.onnx")


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name, tmp_path):
    make, arguments, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        lipkit.export_onnx(make(), tmp_path / "m.onnx", **arguments)
    assert not list(tmp_path.iterdir())


def test_open_sizes_are_fixed_by_the_argument(tmp_path):
    layers = [kl.Conv2D(2, 3), kl.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((None, None, 1)), *layers])
    path = lipkit.export_onnx(model, tmp_path / "m.onnx", input_shape=(5, 6, 1))
    x = np.random.default_rng(0).standard_normal((3, 5, 6, 1)).astype("float32")
    np.testing.assert_allclose(run(path, x)[0], array(model(x)), atol=1e-6)
    assert OnnxFile(path).shapes == [(5, 6, 1)]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="computes in float32")
def test_models_in_float64_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,), dtype="float64"), kl.Dense(3, dtype="float64")])
    with pytest.raises(NotCertifiable, match="computes in float64"):
        lipkit.export_onnx(model, tmp_path / "m.onnx")


WITHOUT_ONNX = """
import lipkit
for call in (lipkit.export_onnx, lipkit.certify):
    try:
        call("model.onnx", "other.onnx")
    except ImportError as error:
        print(error)
"""


@pytest.mark.once
def test_without_onnx_the_error_says_what_to_install(python):
    result = python(WITHOUT_ONNX, hidden=("onnx",))
    assert result.stdout.count("pip install 'lipkit[onnx]'") == 2, result.stderr

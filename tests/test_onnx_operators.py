"""Operators of ONNX as exporters write them: old opsets, constants, functions by parts."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_models import largest_slope, linear_norm, model, run

import lipkit
from lipkit import NotCertifiable
from lipkit.certifier import evaluate
from lipkit.certifier.reader.onnx import OnnxFile

pytestmark = pytest.mark.once  # no backend of Keras reads or runs these files

VECTOR, SEQUENCE, IMAGE, LINE = (6,), (4, 6), (4, 7, 5), (2, 9)
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype("float32")


def floats(*values):
    return np.array(values, dtype="float32")


def integers(*values):
    return np.array(values, dtype="int64")


def one(op, shape, constants=None, opset=20, **attributes):
    """(shape, nodes, constants, opset) of one operator; its operands are x and the constants."""
    return shape, [(op, " ".join(["x", *(constants or {})]), "y", attributes)], constants, opset


def many(shape, *nodes, opset=20, **constants):
    """The same of nodes ("operands -> results", operator, attributes...)."""
    parts = []
    for text, op, *attributes in nodes:
        operands, results = text.split("->")
        parts.append((op, operands.rstrip(), results.strip(), dict(attributes)))
    return shape, parts, constants, opset


def resize(scales, shape=IMAGE, opset=20, **attributes):
    constants = {"roi": floats(), "scales": floats(1, 1, *scales)}
    return one("Resize", shape, constants, opset, **attributes)


def sizes(values, shape=IMAGE, **attributes):
    constants = {"roi": floats(), "none": floats(), "sizes": integers(*values)}
    return one("Resize", shape, constants, **attributes)


LINEAR = {
    "product with a vector": one("MatMul", SEQUENCE, {"w": normal(6)}),
    "product with a vector from the left": many(SEQUENCE, ("w x -> y", "MatMul"), w=normal(4)),
    "product with a vector of vectors": one("MatMul", VECTOR, {"w": normal(6)}),
    "product with one matrix of many": one("MatMul", SEQUENCE, {"w": normal(1, 6, 3)}),
    "sum with constants": many(VECTOR, ("c x d -> y", "Sum"), c=normal(6), d=floats(1)),
    "sum of two and a constant": many(
        VECTOR, ("x -> z", "Neg"), ("x c z x -> y", "Sum"), c=normal(1, 6)
    ),
    "sum of one": one("Sum", VECTOR),
    "mean with a constant": one("Mean", VECTOR, {"c": normal(6)}),
    "mean of one": one("Mean", VECTOR),
    "concatenation of one": one("Concat", VECTOR, axis=1),
    "cast to its own format": one("Cast", VECTOR, to=TensorProto.FLOAT),
    "transposed, groups": one(
        "ConvTranspose",
        IMAGE,
        {"w": normal(4, 3, 3, 2), "b": normal(6)},
        strides=[2, 1],
        pads=[1, 0, 0, 1],
        group=2,
    ),
    "average, same": one("AveragePool", LINE, kernel_shape=[4], strides=[2], auto_pad="SAME_LOWER"),
    "average, same, zeros count": one(
        "AveragePool",
        IMAGE,
        kernel_shape=[3, 2],
        strides=[2, 2],
        auto_pad="SAME_UPPER",
        count_include_pad=1,
        ceil_mode=1,
    ),
    "average, holes": one(
        "AveragePool", LINE, kernel_shape=[3], dilations=[2], pads=[1, 2], ceil_mode=1, strides=[3]
    ),
    "nearest": resize((2, 3)),
    "nearest, smaller": resize((0.6, 0.5), nearest_mode="ceil"),
    "nearest, of sizes": sizes((9, 8), axes=[2, -1], coordinate_transformation_mode="asymmetric"),
    "nearest, of all sizes": many(
        IMAGE,
        ("x -> batch", "Shape", ("end", 1)),
        ("batch rest -> sizes", "Concat", ("axis", 0)),
        ("x   sizes -> y", "Resize"),
        rest=integers(4, 14, 10),
    ),
    "nearest, floor": resize((2, 1.5), nearest_mode="floor"),
    "linear": resize((2, 2), mode="linear"),
    "linear, aligned": resize(
        (2, 3), mode="linear", coordinate_transformation_mode="align_corners"
    ),
    "linear, asymmetric": resize(
        (2, 4), mode="linear", coordinate_transformation_mode="asymmetric"
    ),
    "linear, of sizes": sizes(
        (3, 11), axes=[2, 3], mode="linear", coordinate_transformation_mode="pytorch_half_pixel"
    ),
    "linear, symmetric": resize(
        (1.7, 0.6), mode="linear", coordinate_transformation_mode="half_pixel_symmetric"
    ),
    "resize, opset 10": one("Resize", IMAGE, {"s": floats(1, 1, 2, 2)}, 10, mode="linear"),
    "upsample, opset 9": one("Upsample", IMAGE, {"s": floats(1, 1, 2, 3)}, 9, mode="nearest"),
    "upsample, opset 8": one(
        "Upsample", IMAGE, opset=8, scales=[1.0, 1.0, 2.0, 2.0], mode="linear"
    ),
    "pad, opset 8": one("Pad", IMAGE, opset=8, pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.0),
    "reflect, opset 10": one("Pad", LINE, opset=10, pads=[0, 0, 2, 0, 0, 1], mode="reflect"),
    "slice, opset 9": one("Slice", IMAGE, opset=9, starts=[1, -3], ends=[9, -1], axes=[2, 3]),
    "slice, opset 8, all axes": one("Slice", LINE, opset=8, starts=[0, 0, 1], ends=[2**40, 1, 5]),
    "squeeze, opset 11": one("Squeeze", (1, 6, 1), opset=11, axes=[1, -1]),
    "unsqueeze, opset 8": one("Unsqueeze", VECTOR, opset=8, axes=[1, 3]),
    "sum, opset 8": one("ReduceSum", IMAGE, opset=8, axes=[2, 3], keepdims=0),
    "split, opset 8": many(
        VECTOR,
        ("x -> a b", "Split", ("axis", 1), ("split", [2, 4])),
        ("b a -> y", "Concat", ("axis", 1)),
        opset=8,
    ),
    "batch normalization, opset 8": one(
        "BatchNormalization",
        IMAGE,
        {"s": normal(4), "b": normal(4), "m": normal(4), "v": normal(4) ** 2},
        8,
    ),
    "dropout, opset 8": one("Dropout", VECTOR, opset=8, ratio=0.3),
    "gemm, opset 8": one("Gemm", VECTOR, {"w": normal(6, 3), "b": normal(3)}, 8),
    "sizes are cast": many(
        IMAGE,
        ("x -> shape", "Shape"),
        ("shape -> small", "Cast", ("to", TensorProto.INT32)),
        ("small zero one -> batch", "Slice"),
        ("batch rest -> target", "Concat", ("axis", 0)),
        ("target -> wide", "Cast", ("to", TensorProto.INT64)),
        ("x wide -> y", "Reshape"),
        zero=integers(0),
        one=integers(1),
        rest=np.array([140], "int32"),
    ),
    "sizes are multiplied": many(
        SEQUENCE,
        ("x -> batch", "Shape", ("end", 1)),
        ("batch four -> rows", "Mul"),
        ("rows six -> target", "Concat", ("axis", 0)),
        ("x target -> z", "Reshape"),
        ("z w -> m", "MatMul"),
        ("m -> some", "Shape", ("end", 1)),
        ("some four -> few", "Div"),
        ("few minus -> back", "Concat", ("axis", 0)),
        ("m back -> y", "Reshape"),
        four=integers(4),
        six=integers(6),
        minus=integers(-1),
        w=normal(6, 3),
    ),
    "pooling as JAX writes it": many(
        (7, 6, 3),
        ("x first -> a", "Unsqueeze"),
        ("a second -> b", "Unsqueeze"),
        ("b w -> c", "Conv", ("strides", [1, 2, 2, 1]), ("group", 1)),
        ("c both -> d", "Squeeze"),
        ("d four -> y", "Div"),
        first=integers(0),
        second=integers(1),
        both=integers(0, 1),
        w=np.ones((1, 1, 1, 2, 2, 1), "float32"),
        four=floats(4),
    ),
}
_HALF = {"half": floats(0.5), "one": np.float32(1)}
_ROOT = np.float32(math.sqrt(2))
_GELU_TANH = {"c": np.float32(0.044715), "s": np.float32(math.sqrt(2 / math.pi)), **_HALF}
# name: the case, and the Lipschitz constant
SCALAR = {
    "gelu": (
        many(
            VECTOR,
            ("x r -> a", "Div"),
            ("a -> b", "Erf"),
            ("b one -> c", "Add"),
            ("x c -> d", "Mul"),
            ("d half -> y", "Mul"),
            r=_ROOT,
            **_HALF,
        ),
        1.12890415,
    ),
    "gelu in another order": (
        many(
            VECTOR,
            ("x r -> a", "Mul"),
            ("a -> b", "Erf"),
            ("x half -> h", "Mul"),
            ("b h -> c", "Mul"),
            ("c h -> y", "Add"),
            r=1 / _ROOT,
            **_HALF,
        ),
        1.12890415,
    ),
    "gelu by tanh": (
        many(
            VECTOR,
            ("x three -> a", "Pow"),
            ("c a -> b", "Mul"),
            ("x b -> d", "Add"),
            ("s d -> e", "Mul"),
            ("e -> t", "Tanh"),
            ("one t -> u", "Add"),
            ("half x -> h", "Mul"),
            ("h u -> y", "Mul"),
            three=np.float32(3),
            **_GELU_TANH,
        ),
        1.1289935,
    ),
    "gelu by tanh, products": (
        many(
            VECTOR,
            ("x x -> a", "Mul"),
            ("a x -> b", "Mul"),
            ("c b -> d", "Mul"),
            ("x d -> e", "Add"),
            ("s e -> f", "Mul"),
            ("f -> t", "Tanh"),
            ("one t -> u", "Add"),
            ("x u -> v", "Mul"),
            ("half v -> y", "Mul"),
            **_GELU_TANH,
        ),
        1.1289935,
    ),
    "swish": (
        many(VECTOR, ("x k -> a", "Mul"), ("a -> s", "Sigmoid"), ("s x -> y", "Mul"), k=floats(3)),
        1.09983933,
    ),
    "swish by exp": (
        many(
            VECTOR,
            ("x -> n", "Neg"),
            ("n -> e", "Exp"),
            ("e one -> d", "Add"),
            ("x d -> y", "Div"),
            **_HALF,
        ),
        1.09983933,
    ),
    "mish": (
        many(VECTOR, ("x -> s", "Softplus"), ("s -> t", "Tanh"), ("t x -> y", "Mul"), opset=11),
        1.08849817,
    ),
    "hard swish": (
        many(
            VECTOR,
            ("x -> h", "HardSigmoid", ("alpha", 1 / 6)),
            ("x h -> y", "Mul"),
            opset=13,
        ),
        1.5,
    ),
    "hard swish by clip": (
        many(
            VECTOR,
            ("x three -> a", "Add"),
            ("a zero six -> b", "Clip"),
            ("b six -> c", "Div"),
            ("x c -> y", "Mul"),
            three=floats(3),
            zero=np.float32(0),
            six=np.float32(6),
        ),
        1.5,
    ),
    "softsign": (
        many(VECTOR, ("x -> a", "Abs"), ("a one -> b", "Add"), ("x b -> y", "Div"), **_HALF),
        1.0,
    ),
    "softplus with a threshold": (
        many(
            VECTOR,
            ("x -> s", "Softplus"),
            ("x t -> c", "Greater"),
            ("c x s -> y", "Where"),
            t=np.float32(20),
        ),
        1.0,
    ),
    "leaky by choice": (
        many(
            VECTOR,
            ("x k -> s", "Mul"),
            ("zero x -> c", "Less"),
            ("c x s -> y", "Where"),
            k=floats(1.5),
            zero=floats(0),
        ),
        1.5,
    ),
    "elu by choice": (
        many(
            VECTOR,
            ("x -> e", "Exp"),
            ("e one -> s", "Sub"),
            ("x zero -> c", "LessOrEqual"),
            ("c s x -> y", "Where"),
            zero=floats(0),
            **_HALF,
        ),
        1.0,
    ),
    "log of sigmoid": (many(VECTOR, ("x -> s", "Sigmoid"), ("s -> y", "Log")), 1.0),
    "log softmax": (one("LogSoftmax", VECTOR), math.sqrt(6)),
    "log softmax, opset 11": (one("LogSoftmax", SEQUENCE, opset=11, axis=1), math.sqrt(24)),
    "softmax, opset 11": (one("Softmax", SEQUENCE, opset=11, axis=1), 0.5),
    "softmax, opset 8": (one("Softmax", VECTOR, opset=8), 0.5),
    "clip, no ends": (one("Clip", VECTOR, {"a": np.float32(-np.inf), "b": np.float32(np.inf)}), 1),
    "clip above": (many(VECTOR, ("x  b -> y", "Clip"), b=np.float32(0.5)), 1.0),
    "clip, opset 8": (one("Clip", VECTOR, opset=8, min=-0.5, max=0.5), 1.0),
    "clip, opset 10": (one("Clip", VECTOR, opset=10), 1.0),
    "maximum with constants": (many(VECTOR, ("c x d -> y", "Max"), c=normal(6), d=floats(0)), 1.0),
    "minimum of two and a constant": (
        many(VECTOR, ("x -> z", "Tanh"), ("x z c -> y", "Min"), c=normal(6)),
        math.sqrt(2),
    ),
    "maximum of one": (one("Max", VECTOR), 1.0),
    "max pooling, holes": (
        one(
            "MaxPool",
            IMAGE,
            kernel_shape=[2, 2],
            dilations=[2, 3],
            strides=[1, 2],
            pads=[1, 0, 0, 1],
        ),
        math.sqrt(2),
    ),
    "norm pooling": (one("LpPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2]), 1.0),
    "norm pooling, overlap": (
        one("LpPool", IMAGE, opset=11, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
        math.sqrt(2),
    ),
    "1-norm pooling": (
        one("LpPool", IMAGE, opset=11, p=1, kernel_shape=[2, 2], strides=[2, 2]),
        2.0,
    ),
    "global norm": (one("GlobalLpPool", IMAGE), 1.0),
    "largest two": (one("TopK", VECTOR, {"k": integers(2)}), 1.0),
    "smallest two": (one("TopK", VECTOR, {"k": integers(2)}, largest=0), 1.0),
    "sort, opset 8": (one("TopK", VECTOR, opset=8, k=6, axis=1), 1.0),
}
for _name in ("largest two", "smallest two", "sort, opset 8"):
    SCALAR[_name][0][1][0] = (*SCALAR[_name][0][1][0][:2], "y i", SCALAR[_name][0][1][0][3])


@pytest.fixture
def written(tmp_path):
    """Write a case; return its path."""

    def write(case, **arguments):
        shape, nodes, constants, opset = case
        proto = model(nodes, shape, constants, opset=opset, **arguments)
        onnx.save(proto, tmp_path / "m.onnx")
        return tmp_path / "m.onnx"

    return write


def check_values(path, shape):
    for size in (0.1, 1.0, 30.0):
        x = (size * np.random.default_rng(1).standard_normal((3, *shape))).astype("float32")
        (expected,) = run(path, x)
        graph = OnnxFile(path).read().graph
        got = evaluate.run(graph, x.astype("float64"))[graph.outputs[0]]
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5 * max(size, 1))


@pytest.mark.parametrize("name", LINEAR)
def test_linear_operators_have_the_norms_of_their_matrices(name, written):
    shape, path = LINEAR[name][0], written(LINEAR[name])
    check_values(path, shape)
    norm, bound = linear_norm(path, shape), lipkit.lipschitz_bound(path)
    loose = 3 if name == "sum of two and a constant" else 1  # branches
    assert norm * (1 - 1e-5) <= bound <= norm * loose * (1 + 1e-4)


@pytest.mark.parametrize("name", SCALAR)
def test_functions_by_parts_have_their_constants(name, written):
    case, constant = SCALAR[name]
    path, shape = written(case), case[0]
    if name != "log of sigmoid":  # the runtime's sigmoid ends at -18
        check_values(path, shape)
    bound = lipkit.lipschitz_bound(path)
    assert largest_slope(path, shape) <= bound <= constant * (1 + 1e-12)


def test_all_forms_are_refused_that_are_nearly_a_known_function(written):
    near = {
        "gelu": [("r", np.float32(0))],  # erf of an infinite multiple: a jump
        "gelu by tanh": [("c", np.float32(0.05)), ("one", np.float32(2))],
        "swish by exp": [("one", np.float32(-1))],
        "hard swish by clip": [("three", floats(2)), ("zero", np.float32(-1))],
        "softsign": [("one", np.float32(-1)), ("one", np.float32(0))],
        "softplus with a threshold": [("t", np.float32(2)), ("t", np.float32(-20))],
        "leaky by choice": [("zero", floats(0.5))],
        "elu by choice": [("zero", floats(0.5)), ("one", np.float32(2))],
    }
    for name, changes in near.items():
        for key, value in changes:
            shape, nodes, constants, opset = SCALAR[name][0]
            with pytest.raises(NotCertifiable):
                lipkit.lipschitz_bound(written((shape, nodes, {**constants, key: value}, opset)))


def test_softplus_with_a_threshold_jumps_in_float64(written):
    path = written(SCALAR["softplus with a threshold"][0])
    proto = onnx.load(path)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.float64(20), "t"))
    del proto.graph.value_info[:]
    onnx.save(proto, path)
    with pytest.raises(NotCertifiable, match="may jump"):
        lipkit.lipschitz_bound(path)


def test_a_logarithm_of_a_sigmoid_has_no_float32_certificate(written):
    path = written(SCALAR["log of sigmoid"][0])
    assert lipkit.certify(path, normal(3, 6)).radius.max() > 0
    with pytest.raises(NotCertifiable, match="compute in another way"):
        lipkit.certify(path, normal(3, 6), arithmetic="float32")


def test_a_final_log_softmax_is_seen_through(written):
    constants = {"w": normal(6, 3), "b": normal(3)}
    nodes = [("Gemm", "x w b", "z", {}), ("LogSoftmax", "z", "y", {"axis": 1})]
    x = normal(20, 6)
    results = [
        lipkit.certify(written((VECTOR, nodes[:n], constants, 20), outputs=(out,)), x)
        for n, out in ((1, "z"), (2, "y"))
    ]
    np.testing.assert_array_equal(results[0].radius, results[1].radius)
    with pytest.raises(NotCertifiable, match="final logsoftmax.*ends with the logits"):
        lipkit.certify(written((VECTOR, nodes, constants, 20)), x, arithmetic="float32")


ALONE = {  # a batch of 1 that is folded into the sample, and unfolded
    "flatten": [("Flatten", "x", "f", {"axis": 0})],
    "reshape": [("Reshape", "x n", "v", {}), ("Reshape", "v m", "f", {})],
    "squeeze": [("Squeeze", "s a", "q", {}), ("Flatten", "q", "f", {"axis": 0})],
    "gather": [("Gather", "x zero", "q", {}), ("Reshape", "q m", "f", {})],
    "vector": [("Reshape", "x n", "f", {})],
}


@pytest.mark.parametrize("name", ALONE)
def test_a_batch_of_one_is_read_however_it_is_shaped(name, written):
    w, k = normal(24, 5), normal(5, 3)
    last = ("MatMul", "r k", "y", {})
    constants = {"w": w, "k": k, "n": integers(-1), "m": integers(1, -1), "zero": np.array(0)}
    constants["a"] = integers(0)
    first = [("Identity", "x", "s", {})] if name == "squeeze" else []
    nodes = [*first, *ALONE[name], ("MatMul", "f w", "h", {}), ("Relu", "h", "r", {}), last]
    path = written((SEQUENCE, nodes, constants, 20), batch=1)
    free = [("Flatten", "x", "f", {}), *nodes[-3:]]
    x = normal(4, *SEQUENCE)
    alone = lipkit.certify(path, x)
    expected = lipkit.certify(written((SEQUENCE, free, constants, 20)), x)
    np.testing.assert_array_equal(alone.label, expected.label)
    np.testing.assert_allclose(alone.radius, expected.radius, rtol=1e-12)


def test_larger_batches_are_not_folded_into_a_sample(written):
    nodes = [("Flatten", "x", "y", {"axis": 0})]
    for batch in (2, "batch"):
        with pytest.raises(NotCertifiable, match="several samples"):
            lipkit.lipschitz_bound(written((VECTOR, nodes, {}, 20), batch=batch))


def test_windows_that_leave_gaps_with_same_padding_are_refused(written):
    case = one("AveragePool", LINE, kernel_shape=[1], strides=[3], auto_pad="SAME_UPPER")
    with pytest.raises(NotCertifiable, match="runtimes do not agree"):
        lipkit.lipschitz_bound(written(case))


def test_a_statistic_of_batch_normalization_is_training(written):
    names = {n: np.ones(4, "float32") for n in "sbmv"}
    nodes = [("BatchNormalization", "x s b m v", "y mean variance m2 v2", {})]
    with pytest.raises(NotCertifiable, match="training mode"):
        lipkit.lipschitz_bound(written((IMAGE, nodes, names, 11)))


def test_damaged_files_are_refused_or_read_and_nothing_else(tmp_path):
    path = tmp_path / "m.onnx"
    sources = [f.read_bytes() for f in sorted((Path(__file__).parent / "data").glob("*.onnx"))]
    rng, contents = np.random.default_rng(0), []
    for source in sources:
        for i in range(len(onnx.load_from_string(source).graph.initializer)):
            proto = onnx.load_from_string(source)
            del proto.graph.initializer[i].dims[:]  # a weight of many numbers and no axes
            contents.append(proto.SerializeToString())
    for _ in range(100):
        content = bytearray(sources[rng.integers(len(sources))])
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        contents.append(
            bytes(content[: rng.integers(len(content))] if rng.random() < 0.1 else content)
        )
    outcomes = Counter()
    for content in contents:
        path.write_bytes(content)
        try:
            bound = lipkit.lipschitz_bound(path)
            outcomes["bound"] += bound >= 0
        except NotCertifiable:
            outcomes["refused"] += 1
        except ValueError as error:
            assert "is not a valid one" in str(error) or "of unknown size" in str(error)
            outcomes["invalid"] += 1
    assert outcomes.total() == len(contents) and len(outcomes) > 1


DEPLOYED = ("transposed, groups", "linear", "gelu by tanh", "softsign", "max pooling, holes")
DEPLOYED += ("norm pooling, overlap", "log softmax", "clip, no ends")


@pytest.mark.parametrize("name", DEPLOYED)
def test_what_is_read_has_float32_certificates_and_an_export(name, written, tmp_path):
    case = LINEAR.get(name) or SCALAR[name][0]
    shape, nodes, constants, opset = case
    size = run(written(case), np.zeros((1, *shape), "float32"))[0].size
    nodes = [(op, operands, "last" if out == "y" else out, a) for op, operands, out, a in nodes]
    nodes += [("Flatten", "last", "flat", {}), ("MatMul", "flat head", "y", {})]
    path = written((shape, nodes, {**(constants or {}), "head": normal(size, 3)}, opset))
    x = np.random.default_rng(1).standard_normal((30, *shape)).astype("float32")
    real, deployed = (lipkit.certify(path, x, arithmetic=a) for a in ("real", "float32"))
    assert (deployed.radius <= real.radius).all() and deployed.radius.max() > 0
    (given,) = run(path, x)
    logits, label, radius = run(lipkit.export_onnx(path, tmp_path / "e.onnx"), x)
    np.testing.assert_allclose(logits, given, atol=1e-4)
    np.testing.assert_array_equal(label, real.label)
    assert (radius <= real.radius).all() and radius.max() > 0.9 * real.radius.max()

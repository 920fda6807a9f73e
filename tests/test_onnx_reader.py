"""ONNX files are read as ONNX Runtime computes them, and what is not known is refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import largest_slope, linear_norm, model, run

import lipkit
from lipkit import NotCertifiable
from lipkit.certifier import evaluate
from lipkit.certifier.reader.onnx import OnnxFile

pytestmark = pytest.mark.once  # no backend of Keras reads or runs these files

VECTOR, SEQUENCE, IMAGE = (6,), (4, 6), (4, 7, 5)
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype("float32")


def integers(*values):
    return np.array(values, dtype="int64")


def one(op, shape, constants=None, **attributes):
    """(shape, nodes, constants) of one operator; its operands are x and the constants."""
    names = " ".join(["x", *(constants or {})])
    return shape, [(op, names, "y", attributes)], constants


def weights(*shape, **more):
    return {"w": normal(*shape), **more}


def windows(op, shape, constants=None, **attributes):
    return one(op, shape, constants, **attributes)


# name: shape of a sample, nodes, constants
LINEAR = {
    "gemm": one("Gemm", VECTOR, weights(6, 3, b=normal(3))),
    "gemm transposed": one(
        "Gemm", VECTOR, weights(3, 6, b=normal(1, 3)), transB=1, alpha=0.5, beta=2.0
    ),
    "gemm, no bias": one("Gemm", VECTOR, weights(6, 3)),
    "matmul": one("MatMul", SEQUENCE, weights(6, 3)),
    "matmul from the left": (SEQUENCE, [("MatMul", "w x", "y", {})], weights(5, 4)),
    "matmul, bias": (
        VECTOR,
        [("MatMul", "x w", "z", {}), ("Add", "b z", "y", {})],
        weights(6, 3, b=normal(3)),
    ),
    "conv": one("Conv", IMAGE, weights(3, 4, 3, 2, b=normal(3)), pads=[1, 0, 2, 1]),
    "conv, strides, dilations": one(
        "Conv", IMAGE, weights(3, 4, 2, 2), strides=[2, 1], dilations=[1, 2], kernel_shape=[2, 2]
    ),
    "conv, groups": one("Conv", IMAGE, weights(6, 2, 3, 3), group=2, auto_pad="SAME_LOWER"),
    "conv, same": one("Conv", IMAGE, weights(3, 4, 2, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv, valid": one("Conv", IMAGE, weights(3, 4, 2, 2), auto_pad="VALID"),
    "conv 1d": one("Conv", SEQUENCE, weights(3, 4, 3), pads=[1, 1]),
    "conv 3d": one("Conv", (2, 4, 3, 3), weights(2, 2, 2, 2, 2), strides=[2, 1, 1]),
    "transposed": one("ConvTranspose", IMAGE, weights(4, 3, 3, 2, b=normal(3))),
    "transposed, strides": one(
        "ConvTranspose",
        IMAGE,
        weights(4, 3, 3, 3),
        strides=[2, 2],
        pads=[1, 0, 1, 1],
        output_padding=[1, 0],
        dilations=[1, 2],
    ),
    "transposed, same": one(
        "ConvTranspose", IMAGE, weights(4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"
    ),
    "average": one("AveragePool", IMAGE, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
    "average, zeros count": one(
        "AveragePool",
        IMAGE,
        kernel_shape=[3, 2],
        strides=[2, 2],
        pads=[1, 0, 1, 1],
        count_include_pad=1,
        ceil_mode=1,
    ),
    "average, rest": one("AveragePool", IMAGE, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "global average": one("GlobalAveragePool", IMAGE),
    "mean": one("ReduceMean", IMAGE, {"axes": integers(-1, 2)}, keepdims=0),
    "sum": one("ReduceSum", IMAGE, {"axes": integers(1)}),
    "batch normalization": one(
        "BatchNormalization",
        IMAGE,
        {"s": normal(4), "b": normal(4), "m": normal(4), "v": normal(4) ** 2},
        epsilon=1e-3,
    ),
    "add": one("Add", IMAGE, {"c": normal(4, 1, 1)}),
    "subtract": (VECTOR, [("Sub", "c x", "y", {})], {"c": normal(1, 6)}),
    "subtract a constant": one("Sub", VECTOR, {"c": normal(6)}),
    "multiply": (VECTOR, [("Mul", "c x", "y", {})], {"c": normal(6)}),
    "divide": one("Div", IMAGE, {"c": normal(5)}),
    "residual": (
        VECTOR,
        [("MatMul", "x w", "z", {}), ("Sub", "x z", "y", {})],
        weights(6, 6),
    ),
    "sum of three": (VECTOR, [("Neg", "x", "z", {}), ("Sum", "x z x", "y", {})], None),
    "mean of two": (VECTOR, [("MatMul", "x w", "z", {}), ("Mean", "x z", "y", {})], weights(6, 6)),
    "concatenation": (
        IMAGE,
        [("Conv", "x w", "z", {}), ("Concat", "z x", "y", {"axis": -3})],
        weights(3, 4, 1, 1),
    ),
    "flatten after conv": (
        IMAGE,
        [("Conv", "x w", "z", {}), ("Flatten", "z", "f", {}), ("Gemm", "f k", "y", {})],
        weights(2, 4, 3, 3, k=normal(30, 5)),
    ),
    "flatten to rows": (
        IMAGE,
        [
            ("Flatten", "x", "f", {"axis": 2}),
            ("MatMul", "f w", "z", {}),
            ("Reshape", "z s", "y", {}),
        ],
        weights(35, 3, s=integers(-1, 4, 3)),
    ),
    "reshape": one("Reshape", IMAGE, {"s": integers(0, -1, 7)}),
    "reshape, all sizes": one("Reshape", IMAGE, {"s": integers(-1, 20, 7)}, allowzero=1),
    "transpose": one("Transpose", IMAGE, perm=[0, 3, 1, 2]),
    "squeeze": one("Squeeze", (1, 6, 1), {"a": integers(1, -1)}),
    "unsqueeze": one("Unsqueeze", VECTOR, {"a": integers(1, -1)}),
    "split": (
        VECTOR,
        [
            ("Split", "x s", "a b c", {"axis": 1}),
            ("Concat", "c a b", "y", {"axis": 1}),
        ],
        {"s": integers(1, 2, 3)},
    ),
    "equal parts": (
        VECTOR,
        [("Split", "x", "a b", {"axis": -1, "num_outputs": 2}), ("Add", "a b", "y", {})],
        None,
    ),
    "slice": one(
        "Slice",
        IMAGE,
        {"s": integers(0, -3, -1), "e": integers(2**31 - 1, 2**31, -(2**62))}
        | {"a": integers(0, 2, 1), "t": integers(1, 1, -2)},
    ),
    "gather": one("Gather", IMAGE, {"i": integers(3, 0, 0)}, axis=1),
    "gather one": one("Gather", IMAGE, {"i": np.array(-1)}, axis=2),
    "pad": one("Pad", IMAGE, {"p": integers(0, 0, 1, 2, 0, 0, 0, -1)}),
    "pad some axes": one(
        "Pad", IMAGE, {"p": integers(1, 2), "c": np.float32(0), "a": integers(-1)}, mode="constant"
    ),
    "reflect": one("Pad", IMAGE, {"p": integers(0, 0, 1, 2, 0, 0, 2, 0)}, mode="reflect"),
    "edge": one("Pad", IMAGE, {"p": integers(0, 0, 1, 2, 0, 0, 2, 0)}, mode="edge"),
    "wrap": one("Pad", IMAGE, {"p": integers(0, 0, 1, 2, 0, 0, 2, 0)}, mode="wrap"),
    "wrap by hand": (
        SEQUENCE,
        [
            ("Slice", "x a b k", "last", {}),
            ("Slice", "x c d k", "first", {}),
            ("Concat", "last x first", "y", {"axis": 2}),
        ],
        {n: integers(v) for n, v in zip("abcdk", (-1, 2**62, 0, 1, 2), strict=True)},
    ),
    "depth to space": one("DepthToSpace", (8, 3, 2), blocksize=2),
    "depth to space, columns": one("DepthToSpace", (8, 3, 2), blocksize=2, mode="CRD"),
    "space to depth": one("SpaceToDepth", (3, 4, 6), blocksize=2),
    "nothing": (
        VECTOR,
        [("Identity", "x", "z", {}), ("Dropout", "z", "y", {})],
        None,
    ),
    "sizes are computed": (
        IMAGE,
        [
            ("Shape", "x", "shape", {}),
            ("Gather", "shape zero", "batch", {}),
            ("Unsqueeze", "batch where", "first", {}),
            ("Shape", "x", "height", {"start": 2, "end": 3}),
            ("Mul", "height five", "rest", {}),
            ("Concat", "first minus rest", "target", {"axis": 0}),
            ("Reshape", "x target", "y", {}),
        ],
        {
            "zero": np.array(0),
            "where": integers(0),
            "five": integers(5),
            "minus": integers(-1),
        },
    ),
    "weights are computed": (
        VECTOR,
        [
            ("Transpose", "w", "t", {"perm": [1, 0]}),
            ("Mul", "t s", "k", {}),
            ("MatMul", "x k", "y", {}),
        ],
        weights(3, 6, s=np.float32(0.3)),
    ),
}

NONLINEAR = {
    **{
        op: one(op, VECTOR)
        for op in (
            *("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Mish", "HardSwish", "Abs"),
            *("LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "Gelu", "Softmax"),
        )
    },
    "leaky": one("LeakyRelu", VECTOR, alpha=2.0),
    "elu": one("Elu", VECTOR, alpha=1.5),
    "celu": one("Celu", VECTOR, alpha=0.5),
    "hard sigmoid": one("HardSigmoid", VECTOR, alpha=0.3, beta=0.4),
    "gelu": one("Gelu", VECTOR, approximate="tanh"),
    "prelu": one("PRelu", IMAGE, {"a": 2 * normal(4, 1, 1)}),
    "shrink": one("Shrink", VECTOR, lambd=0.3, bias=0.3),
    "clip": one("Clip", VECTOR, {"a": np.float32(-0.5), "b": np.float32(0.5)}),
    "clip below": one("Clip", VECTOR, {"a": np.float32(-0.5)}),
    "softmax": one("Softmax", SEQUENCE, axis=1),
    "silu": (VECTOR, [("Sigmoid", "x", "s", {}), ("Mul", "s x", "y", {})], None),
    "mish": (
        VECTOR,
        [("Softplus", "x", "s", {}), ("Tanh", "s", "t", {}), ("Mul", "x t", "y", {})],
        None,
    ),
    "tanh shrink": (VECTOR, [("Tanh", "x", "t", {}), ("Sub", "x t", "y", {})], None),
    "max pooling": one("MaxPool", IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    "max pooling, rest": one("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[3, 2], ceil_mode=1),
    "max pooling, same": one("MaxPool", SEQUENCE, kernel_shape=[3], auto_pad="SAME_UPPER"),
    "global max": one("GlobalMaxPool", IMAGE),
    "norm": one("ReduceL2", IMAGE, {"a": integers(2, 3)}),
    "norms": one("ReduceL2", IMAGE, {"a": integers(1)}, keepdims=0),
    "largest": one("ReduceMax", IMAGE, {"a": integers(2, 3)}, keepdims=0),
    "smallest": one("ReduceMin", IMAGE, {"a": integers(-1)}),
    "maximum": one("Max", VECTOR, {"c": normal(6)}),
    "minimum": (VECTOR, [("Min", "c x", "y", {})], {"c": np.float32(0.1)}),
    "leaky by hand": (
        VECTOR,
        [("Mul", "x a", "z", {}), ("Max", "x z", "y", {})],
        {"a": np.float32(0.1)},
    ),
    "maximum of three": (
        VECTOR,
        [("Abs", "x", "a", {}), ("Tanh", "x", "b", {}), ("Max", "x a b", "y", {})],
        None,
    ),
    "sort": one("TopK", VECTOR, {"k": integers(6)}, largest=0),
    "sort down": one("TopK", SEQUENCE, {"k": integers(4)}, axis=1),
    "centering": (
        IMAGE,
        [("ReduceMean", "x a", "m", {}), ("Sub", "x m", "y", {})],
        {"a": integers(2, 3)},
    ),
}
NONLINEAR["sort"][1][0] = ("TopK", "x k", "y indices", {"largest": 0})
NONLINEAR["sort down"][1][0] = ("TopK", "x k", "y indices", {"axis": 1})

_PAIRS = {"i": integers(-1, 3, 2), "a": integers(2), "s": integers(-1, 6), "last": integers(-1)}
# forms that PyTorch modules are exported to, each 1-Lipschitz
SORTS = {
    "max and min of halves": (
        IMAGE,
        [
            ("Split", "x", "a b", {"axis": 1, "num_outputs": 2}),
            ("Max", "a b", "c", {}),
            ("Min", "b a", "d", {}),
            ("Concat", "c d", "y", {"axis": 1}),
        ],
        None,
    ),
    "min and max of pairs": (
        VECTOR,
        [
            ("Reshape", "x i", "p", {}),
            ("ReduceMin", "p a", "c", {}),
            ("ReduceMax", "p a", "d", {}),
            ("Concat", "c d", "z", {"axis": 2}),
            ("Reshape", "z s", "y", {}),
        ],
        _PAIRS,
    ),
    "stacked": (
        VECTOR,
        [
            ("Reshape", "x i", "p", {}),
            ("ReduceMax", "p a", "c", {"keepdims": 0}),
            ("ReduceMin", "p a", "d", {"keepdims": 0}),
            ("Unsqueeze", "c last", "e", {}),
            ("Unsqueeze", "d last", "f", {}),
            ("Concat", "e f", "z", {"axis": -1}),
            ("Reshape", "z s", "y", {}),
        ],
        _PAIRS,
    ),
    "pairs in the batch axis": (
        VECTOR,
        [
            ("Reshape", "x i", "p", {}),
            ("Split", "p", "e f", {"axis": 1, "num_outputs": 2}),
            ("Min", "e f", "c", {}),
            ("Max", "e f", "d", {}),
            ("Concat", "c d", "z", {"axis": 1}),
            ("Shape", "p", "rows", {}),
            ("Reshape", "z rows", "q", {}),
            ("Reshape", "q s", "y", {}),
        ],
        _PAIRS | {"i": integers(-1, 2)},
    ),
    "groups of three": (
        IMAGE,
        [
            ("Reshape", "x i", "p", {}),
            ("TopK", "p k", "t indices", {"axis": 2, "largest": 0}),
            ("Reshape", "t s", "y", {}),
        ],
        {"i": integers(0, 2, 2, 7, 5), "k": integers(2), "s": integers(0, 4, 7, 5)},
    ),
    "positive and negative parts": (
        IMAGE,
        [
            ("Relu", "x", "a", {}),
            ("Neg", "x", "n", {}),
            ("Relu", "n", "b", {}),
            ("Concat", "a b", "y", {"axis": 1}),
        ],
        None,
    ),
}
ALL = {**LINEAR, **NONLINEAR, **SORTS}


@pytest.fixture
def file(tmp_path):
    """Write a model; return its path."""

    def write(proto, name="test.onnx"):
        onnx.save(proto, tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", ALL)
def test_the_graph_computes_what_the_runtime_does(name, file):
    shape, nodes, constants = ALL[name]
    path = file(model(nodes, shape, constants))
    x = np.random.default_rng(1).standard_normal((3, *shape)).astype("float32")
    (expected,) = run(path, x)
    graph = OnnxFile(path).read().graph
    got = evaluate.run(graph, x.astype("float64"))[graph.outputs[0]]
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", LINEAR)
def test_bounds_of_linear_operators_are_the_norms_of_their_matrices(name, file):
    shape, nodes, constants = LINEAR[name]
    path = file(model(nodes, shape, constants))
    norm = linear_norm(path, shape)
    bound = lipkit.lipschitz_bound(path)
    assert norm * (1 - 1e-5) <= bound  # the matrix is read off in float32
    merges = ("residual", "sum of three", "mean of two", "concatenation", "flatten after conv")
    merges += ("equal parts", "batch normalization", "divide")
    assert bound <= norm * (3 if name in merges else 1) * (1 + 1e-4)


@pytest.mark.parametrize("name", [*NONLINEAR, *SORTS])
def test_bounds_of_other_operators_are_above_all_slopes(name, file):
    shape, nodes, constants = ALL[name]
    path = file(model(nodes, shape, constants))
    bound = lipkit.lipschitz_bound(path)
    assert bound / 4 <= largest_slope(path, shape) <= bound
    if name in SORTS:
        assert bound == 1.0


def chain(op, *constants, shape=VECTOR, **attributes):
    """A model of one operator whose constants are given by position; "x" is the input."""
    names = [value if isinstance(value, str) else f"c{i}" for i, value in enumerate(constants)]
    values = {n: v for n, v in zip(names, constants, strict=True) if not isinstance(v, str)}
    return model([(op, " ".join(names), "y", attributes)], shape, values)


def training():
    names = {n: np.ones(4, "float32") for n in "sbmv"}
    node = ("BatchNormalization", "x s b m v", "y mean variance", {"training_mode": 1})
    return model([node], IMAGE, names)


def own_domain():
    proto = model([("Relu", "x", "y", {})], VECTOR)
    proto.graph.node[0].domain = "com.microsoft"
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto


def indices():
    return model(
        [("TopK", "x k", "v i", {}), ("Cast", "i", "y", {"to": 1})], VECTOR, {"k": integers(6)}
    )


REFUSED = {
    "unknown operator": (lambda: chain("Sin", "x"), r"'y' \(Sin\) of 'test.onnx'.*it has no rule"),
    "exponential": (lambda: chain("Exp", "x"), "its slope has no bound"),
    "normalisation": (
        lambda: chain("LayerNormalization", "x", normal(6)),
        "LayerNormalization.*no bound",
    ),
    "erf": (lambda: chain("Erf", "x"), "opset_version=20"),
    "choice": (
        lambda: model([("Greater", "x c", "y", {})], VECTOR, {"c": normal(6)}),
        "holds bool",
    ),
    "jump": (lambda: chain("Shrink", "x", lambd=0.5), "jumps at its threshold"),
    "product": (lambda: chain("Mul", "x", "x"), "product of two tensors"),
    "square of a matrix": (lambda: chain("MatMul", "x", "x", shape=(6, 6)), "must not depend"),
    "division": (lambda: chain("Div", normal(6), "x"), "only division by a constant"),
    "division by zero": (lambda: chain("Div", "x", np.zeros(6, "float32")), "divides by zero"),
    "broadcast": (lambda: chain("Add", "x", normal(3, 6), shape=(1, 6)), "broadcasts"),
    "other samples": (lambda: chain("Add", "x", normal(2, 6)), "meets the batch axis"),
    "non-finite weights": (
        lambda: chain("MatMul", "x", np.full((6, 2), np.inf, "float32")),
        "operand 1 has non-finite values",
    ),
    "batch softmax": (lambda: chain("Softmax", "x", axis=0), "only axes of a sample"),
    "batch transposed": (lambda: chain("Transpose", "x", perm=[1, 0]), "batch axis first"),
    "batch concatenated": (lambda: chain("Concat", "x", "x", axis=0), "only axes of a sample"),
    "batch reduced": (lambda: chain("ReduceMean", "x"), "must name its axes"),
    "batch flattened": (lambda: chain("Flatten", "x", axis=0), "several samples"),
    "batch reshaped": (lambda: chain("Reshape", "x", integers(4, -1)), "mixes the samples"),
    "batch in part": (lambda: chain("Reshape", "x", integers(-1, 4)), "mixes the samples"),
    "batch left out": (lambda: chain("Reshape", "x", integers(-1, 3)), "one for each input"),
    "batch sliced": (
        lambda: chain("Slice", "x", integers(0), integers(2), integers(0)),
        "only axes of a sample",
    ),
    "batch multiplied": (lambda: chain("MatMul", normal(6, 6), "x"), "multiplies the batch axis"),
    "no order": (
        lambda: model([("TopK", "x k", "y i", {"sorted": 0})], VECTOR, {"k": integers(6)}),
        "only sorted entries",
    ),
    "indices": (indices, "reads 'i', an output that is not covered"),
    "transposed gemm": (lambda: chain("Gemm", "x", normal(3, 6), transA=1), "not transposed"),
    "weights for each sample": (
        lambda: chain("MatMul", "x", normal(4, 6, 3), shape=SEQUENCE),
        "only a matrix",
    ),
    "padding": (
        lambda: chain("Pad", "x", integers(0, 1, 0, 1), np.float32(1)),
        "another value than zero",
    ),
    "attribute": (
        lambda: chain("ConvTranspose", "x", normal(4, 2, 2, 2), shape=IMAGE, output_shape=[9, 7]),
        "attributes.*output_shape",
    ),
    "constant operand": (lambda: chain("Concat", "x", normal(2, 6), axis=1), "constant operands"),
    "cast": (lambda: chain("Cast", "x", to=TensorProto.DOUBLE), "converts values to float64"),
    "training": (training, "training mode"),
    "domain": (own_domain, "domain 'com.microsoft'"),
    "opset": (
        lambda: model([("Relu", "x", "y", {})], VECTOR, opset=7),
        "opset 7, and rules exist for 8 to",
    ),
    "random constants": (
        lambda: model([("RandomNormal", "", "r", {"shape": [6]}), ("Add", "x r", "y", {})], VECTOR),
        "RandomNormal.*not covered",
    ),
    "sizes as values": (
        lambda: model(
            [
                ("Shape", "x", "s", {}),
                ("Cast", "s", "f", {"to": 1}),
                ("ReduceSum", "f", "t", {}),
                ("Mul", "x t", "y", {}),
            ],
            VECTOR,
        ),
        "Cast.*not covered",
    ),
    "one vector": (lambda: model([("Relu", "x", "y", {})], ()), "a first axis that is the batch's"),
    "constant output": (
        lambda: model([("Identity", "c", "y", {})], VECTOR, {"c": normal(6)}),
        "output 'y' does not hold outputs",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_node_and_the_reason(name, file):
    make, message = REFUSED[name]
    with pytest.raises(NotCertifiable, match=message):
        lipkit.lipschitz_bound(file(make()))


def test_paths_that_are_no_onnx_files(tmp_path):
    with pytest.raises(ValueError, match="does not exist.*nowhere.onnx"):
        lipkit.lipschitz_bound(tmp_path / "nowhere.onnx")
    with pytest.raises(ValueError, match="is a folder.*lipkit.runs.load"):
        lipkit.lipschitz_bound(tmp_path)
    for content in (b"", b"PK\x03\x04 a Keras file"):
        (tmp_path / "model.keras").write_bytes(content)
        with pytest.raises(ValueError, match="not a valid one.*keras.saving.load_model"):
            lipkit.certify(str(tmp_path / "model.keras"), np.zeros((1, 6)))


def test_shapes_that_do_not_fit_are_refused_by_the_checker(file):
    with pytest.raises(ValueError, match="not a valid one"):
        lipkit.lipschitz_bound(
            file(model(*[[("MatMul", "x w", "z", {})], VECTOR], weights(5, 3), outputs=("z",)))
        )


def test_what_the_runtime_computes_is_compared(file, monkeypatch):
    from lipkit.certifier import graph as g
    from lipkit.certifier.reader.onnx import walk

    monkeypatch.setitem(walk.RULES, "Relu", lambda call: [g.Elementwise("abs")])
    with pytest.raises(NotCertifiable, match="'test.onnx' does not compute what its layers say"):
        lipkit.lipschitz_bound(file(model([("Relu", "x", "y", {})], VECTOR)))


CLASSIFIER = [("Gemm", "x w b", "h", {}), ("Relu", "h", "r", {}), ("Gemm", "r k c", "y", {})]


def classifier(batch="batch"):
    constants = {"w": normal(6, 5), "b": normal(5), "k": normal(5, 3), "c": normal(3)}
    return model(CLASSIFIER, VECTOR, constants, batch=batch), constants


def test_certificates_of_a_file_hold_around_each_input(file):
    proto, weights = classifier()
    path = file(proto)
    x = np.random.default_rng(3).standard_normal((200, 6)).astype("float32")
    result = lipkit.certify(path, x)
    (logits,) = run(path, x)
    np.testing.assert_array_equal(result.label, logits.argmax(axis=1))
    assert (result.status == "certified").all()
    hidden = np.linalg.norm(weights["w"].astype("float64"), 2)
    top = np.sort(logits.astype("float64"), axis=1)
    spread = max(
        np.linalg.norm(weights["k"][:, [i]] - weights["k"], axis=0).max() for i in range(3)
    )
    at_least = (top[:, -1] - top[:, -2]) / (hidden * spread)
    assert (result.radius >= at_least * (1 - 1e-4)).all()  # pairs of classes are told apart
    steps = np.random.default_rng(4).standard_normal((50, 200, 6))
    steps *= result.radius[:, None] / np.linalg.norm(steps, axis=2, keepdims=True) * (1 - 1e-6)
    (moved,) = run(path, (x + steps).reshape(-1, 6).astype("float32"))
    assert (moved.argmax(axis=1).reshape(50, 200) == result.label).all()
    deployed = lipkit.certify(path, x, arithmetic="float32")
    assert (deployed.radius < result.radius).all() and deployed.radius.max() > 0
    bad = lipkit.certify(path, np.full((1, 6), np.nan))
    assert bad.radius[0] == 0 and bad.status[0] == "non-finite input"


def test_the_batch_axis_may_have_a_fixed_size(file):
    fixed, weights = classifier(batch=2)
    free = model(CLASSIFIER, VECTOR, weights)
    x = normal(5, 6)
    a, b = (lipkit.certify(file(p, n), x) for p, n in ((fixed, "a.onnx"), (free, "b.onnx")))
    np.testing.assert_array_equal(a.radius, b.radius)
    for sizes in ((2, 3, 2), (4, 3), (-1, 1)):
        nodes = [("Reshape", "x s", "z", {}), ("Reshape", "z t", "y", {})]
        there_and_back = model(
            nodes, VECTOR, {"s": integers(*sizes), "t": integers(2, -1)}, batch=2
        )
        assert lipkit.lipschitz_bound(file(there_and_back)) == 1.0
    with pytest.raises(NotCertifiable, match="mixes the samples"):
        lipkit.lipschitz_bound(
            file(model(nodes, VECTOR, {"s": integers(3, 4), "t": integers(2, 6)}, batch=2))
        )


def test_open_sizes_are_those_of_the_inputs(file):
    nodes = [
        ("Conv", "x w", "h", {}),
        ("GlobalAveragePool", "h", "p", {}),
        ("Flatten", "p", "y", {}),
    ]
    path = file(model(nodes, (1, "height", "width"), weights(3, 1, 3, 3)))
    with pytest.raises(ValueError, match="give `input_shape`"):
        lipkit.lipschitz_bound(path)
    small, large = (lipkit.lipschitz_bound(path, input_shape=(1, n, n)) for n in (4, 8))
    assert 0 < large < small
    assert len(lipkit.certify(path, normal(2, 1, 6, 5))) == 2


def test_models_with_several_inputs_and_outputs(file):
    nodes = [("Add", "a b", "y", {}), ("Sub", "a b", "z", {})]
    path = file(model(nodes, VECTOR, inputs=("a", "b"), outputs=("y", "z")))
    assert lipkit.lipschitz_bound(path) == pytest.approx(2.0)  # each root(2), taken together
    with pytest.raises(NotCertifiable, match="has 2 outputs"):
        lipkit.certify(path, [normal(2, 6), normal(2, 6)])
    single = file(model(nodes[:1], VECTOR, inputs=("a", "b")), "single.onnx")
    assert (lipkit.certify(single, [normal(2, 6), normal(2, 6)]).status == "certified").all()


def test_functions_of_the_file_are_inlined(file):
    nodes = [helper.make_node("Mul", ["a", "two"], ["b"])]
    nodes.insert(0, helper.make_node("Constant", [], ["two"], value_float=2.0))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    proto = model([("Relu", "x", "y", {})], VECTOR)
    proto.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], nodes, opsets[:1]))
    proto.graph.node[0].CopyFrom(helper.make_node("Twice", ["x"], ["y"], domain="own"))
    proto.opset_import.append(opsets[1])
    assert lipkit.lipschitz_bound(file(proto)) == pytest.approx(2.0)


def test_float64_files_are_run_by_the_reference(file):
    proto = model([("Softsign", "x", "y", {})], VECTOR)  # the runtime has no such kernel
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    assert lipkit.lipschitz_bound(file(proto)) == 1.0


def test_constants_that_are_computed_have_no_float32_certificate(file):
    nodes = [("Mul", "w s", "k", {}), ("MatMul", "x k", "y", {})]
    path = file(model(nodes, VECTOR, weights(6, 3, s=np.float32(0.3))))
    assert lipkit.certify(path, normal(2, 6)).radius.min() > 0
    with pytest.raises(NotCertifiable, match="stored weights"):
        lipkit.certify(path, normal(2, 6), arithmetic="float32")


def test_without_the_runtime_onnx_itself_runs_the_file(file, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert lipkit.lipschitz_bound(file(model([("Relu", "x", "y", {})], VECTOR))) == 1.0

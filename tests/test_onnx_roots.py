"""L2-norm pooling in ONNX files: roots of weighted squares, as torchlip and PyTorch export them."""

import io
import math

import numpy as np
import onnx
import pytest
import torch
from onnx_models import model, run
from torch import nn

import lipkit
from lipkit import NotCertifiable
from lipkit.certifier import bounding, evaluate, rounding
from lipkit.certifier import graph as g
from lipkit.certifier.arithmetic import FORMATS
from lipkit.certifier.reader.onnx import OnnxFile

pytestmark = pytest.mark.once  # no backend of Keras reads or runs these files

IMAGE = (3, 6, 4)
SINGLE = FORMATS["float32"]
WINDOW = {"kernel_shape": [2, 2], "strides": [2, 2]}
CONSTANTS = {
    **{"two": np.float32(2), "half": np.float32(0.5), "four": np.float32(4)},
    **{"k": np.float32(0.7), "eps": np.float32(1e-6), "shift": np.float32(-1e-3)},
    **{"axes": np.array([2, 3]), "three": np.float32(3), "channels": np.array([1])},
}


def pooled(*more, square=("Pow", "x two", "s", {}), pool=("AveragePool", "s", "m", WINDOW)):
    return [square, pool, *more]


SIGNED = [  # torch.nn.LPPool2d
    ("Sign", "m", "sign", {}),
    ("Abs", "m", "a", {}),
    ("Relu", "a", "r", {}),
    ("Mul", "sign r", "t", {}),
]
FOUR_TIMES = [("Mul", "t four", "n", {})]
OPPOSITE = [("Neg", "x", "n", {}), ("Abs", "n", "a", {})]
GLOBAL = ("GlobalAveragePool", "s", "m", {})
MEAN = ("ReduceMean", "s axes", "m", {"keepdims": 0})
TOTAL = ("ReduceSum", "s channels", "m", {})

# name: (nodes, the constant)
ROOTS = {
    "torchlip": (
        pooled(*SIGNED, *FOUR_TIMES, ("Pow", "n half", "q", {}), ("Mul", "q k", "y", {})),
        float(np.float32(0.7)),
    ),
    "LPPool2d": (pooled(*SIGNED, ("Mul", "four t", "n", {}), ("Pow", "n half", "y", {})), 1.0),
    "root of the mean": (pooled(("Sqrt", "m", "y", {})), 0.5),
    "with epsilon": (
        pooled(("Mul", "m four", "n", {}), ("Add", "n eps", "p", {}), ("Sqrt", "p", "y", {})),
        1.0,
    ),
    "global": (pooled(("Sqrt", "m", "y", {}), pool=GLOBAL), 1 / math.sqrt(24)),
    "mean, axes dropped": (pooled(("Sqrt", "m", "y", {}), pool=MEAN), 1 / math.sqrt(24)),
    "sum of channels": (
        pooled(("Sqrt", "m", "y", {}), square=("Mul", "x x", "s", {}), pool=TOTAL),
        1.0,
    ),
    "overlapping windows": (
        pooled(
            ("Sqrt", "m", "y", {}),
            pool=("AveragePool", "s", "m", {"kernel_shape": [3, 1], "strides": [1, 1]}),
        ),
        1.0,
    ),
    "LpPool": ([("LpPool", "x", "y", {**WINDOW, "p": 2})], 1.0),
    "LpPool of order 1": ([("LpPool", "x", "y", {**WINDOW, "p": 1})], 2.0),
    "LpPool with padding": ([("LpPool", "x", "y", {**WINDOW, "pads": [1, 0, 1, 0]})], 1.0),
    "GlobalLpPool": ([("GlobalLpPool", "x", "y", {"p": 2})], 1.0),
    "absolute value": ([("Pow", "x two", "s", {}), ("Sqrt", "s", "y", {})], 1.0),
}


def file(path, nodes, shape=IMAGE):
    used = " ".join(names for _, names, *_ in nodes).split()
    constants = {name: value for name, value in CONSTANTS.items() if name in used}
    onnx.save(model(nodes, shape, constants), path)
    return path


@pytest.mark.parametrize("name", ROOTS)
def test_roots_of_squares_have_the_constant_of_the_whole(name, tmp_path):
    nodes, expected = ROOTS[name]
    path = file(tmp_path / "m.onnx", nodes)
    bound = lipkit.lipschitz_bound(path)
    assert bound == pytest.approx(expected, rel=1e-9) and bound >= expected
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, *IMAGE)) * np.exp2(rng.integers(-6, 3, (200, 1, 1, 1)))
    graph = OnnxFile(path).read().graph
    got = evaluate.run(graph, x.astype("float32").astype("float64"))[graph.outputs[0]]
    np.testing.assert_allclose(got, run(path, x.astype("float32"))[0], rtol=2e-5, atol=1e-6)
    # along x itself a norm grows with its own slope
    x[:100] = np.ones_like(x[:100])
    step = 1e-3 * np.where(np.arange(200)[:, None, None, None] % 2, x, rng.standard_normal(x.shape))
    ends = (evaluate.run(graph, end)[graph.outputs[0]].reshape(200, -1) for end in (x, x + step))
    change = np.linalg.norm(np.subtract(*ends), axis=1)
    slopes = change / np.linalg.norm(step.reshape(200, -1), axis=1)
    assert slopes.max() <= bound * (1 + 1e-9)  # of differences in float64
    assert slopes.max() > 0.97 * bound or name in ("overlapping windows", "LpPool with padding")


@pytest.mark.parametrize("name", ["torchlip", "with epsilon", "global", "LpPool with padding"])
@pytest.mark.parametrize("size", [1e-25, 1e-20, 1e-3, 1.0, 1e15])
def test_rounding_and_underflow_of_squares_are_bounded(name, size, tmp_path):
    path = file(tmp_path / "m.onnx", ROOTS[name][0])
    rng = np.random.default_rng(0)
    x = (size * rng.standard_normal((300, *IMAGE))).astype("float32")
    graph = OnnxFile(path).read().graph
    bounds = bounding.compose(graph)
    values = evaluate.run(graph, x.astype("float64"))
    reach = [rounding.norms(v) for v in values]
    error = rounding.norms(run(path, x)[0].astype("float64") - values[graph.outputs[0]])
    local = rounding.local_errors(graph, SINGLE)

    def allowed(local):
        errors, overflow = rounding.forward_errors(graph, bounds.own, local, reach, SINGLE)
        assert not overflow.any()
        return errors[graph.outputs[0]]

    assert (error <= allowed(local)).all()
    if size == 1e-25:  # squares are flushed: without the absolute term the bound is refuted
        relative = [(a, 0.0) for a, _ in local]
        assert (error > allowed(relative)).all() or name == "with epsilon"


def test_squares_that_overflow_are_not_certified(tmp_path):
    path = file(tmp_path / "m.onnx", ROOTS["mean, axes dropped"][0])
    x = np.array([1.0, 1e21])[:, None, None, None] * np.linspace(1, 2, 72).reshape(1, *IMAGE)
    result = lipkit.certify(path, x.astype("float32"), arithmetic="float32")
    assert result.status.tolist() == ["certified", "possible overflow"]


REFUSED = {
    "a square": ([("Pow", "x two", "y", {})], r"y.*\(Pow\).*no bound"),
    "a product": ([("Mul", "x x", "y", {})], r"y.*\(Mul\).*product"),
    "a sign": ([("Sign", "x", "y", {})], r"y.*\(Sign\).*jump"),
    "a mean of squares": (pooled(("Relu", "m", "y", {})), r"'s'.*\(Pow\).*no bound"),
    "the sign of another": (
        [*OPPOSITE, ("Sign", "x", "s", {}), ("Mul", "s a", "y", {})],
        r"s.*\(Sign\).*jump",
    ),
    "a root": ([("Relu", "x", "r", {}), ("Sqrt", "r", "y", {})], r"y.*\(Sqrt\).*no bound"),
    "a root of a difference": (
        pooled(("Add", "m shift", "p", {}), ("Sqrt", "p", "y", {})),
        r"y.*\(Sqrt\).*no bound",
    ),
    "a cube": ([("Pow", "x three", "y", {})], r"y.*\(Pow\).*no bound"),
    "order 3": (
        [("LpPool", "x", "y", {**WINDOW, "p": 3})],
        "only p=1 and p=2 are covered. Received: p=3",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_constant_is_refused_by_name(name, tmp_path):
    nodes, message = REFUSED[name]
    with pytest.raises(NotCertifiable, match=message):
        lipkit.lipschitz_bound(file(tmp_path / "m.onnx", nodes))


def test_pooling_of_pytorch_is_read_and_exported(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LPPool2d(2, 2), nn.Flatten(), nn.Linear(24, 3))
    buffer = io.BytesIO()
    torch.onnx.export(module.eval(), (torch.zeros(2, *IMAGE),), buffer, dynamo=False)
    (tmp_path / "m.onnx").write_bytes(buffer.getvalue())
    weights = [layer.weight.detach().numpy().astype("float64") for layer in (module[0], module[3])]
    expected = np.prod([np.linalg.norm(w.reshape(len(w), -1), 2) for w in weights])
    assert lipkit.lipschitz_bound(tmp_path / "m.onnx") == pytest.approx(expected, rel=1e-6)
    lipkit.export_onnx(tmp_path / "m.onnx", tmp_path / "c.onnx")
    x = np.random.default_rng(0).standard_normal((2, *IMAGE)).astype("float32")
    logits, _, radius = run(tmp_path / "c.onnx", x)
    with torch.no_grad():
        np.testing.assert_allclose(logits, module(torch.from_numpy(x)).numpy(), atol=1e-5)
    assert (radius <= lipkit.certify(tmp_path / "m.onnx", x).radius).all() and radius.min() > 0


def test_the_constant_is_the_largest_sum_of_a_column():
    rng = np.random.default_rng(0)
    for _ in range(50):
        matrix = rng.random((3, 4)) * (rng.random((3, 4)) < 0.7)
        op = g.RootOfSquares(((0, matrix),), 2.0, 0.1)
        bound, _ = bounding.lipschitz(op, (4,))
        assert bound == pytest.approx(math.sqrt(2 * matrix.sum(0).max()), rel=1e-12)
        x, d = rng.standard_normal((2, 500, 4))
        d *= 10.0 ** rng.uniform(-6, 1, (500, 1))
        change = np.subtract(*(evaluate.evaluate(op, end) for end in (x + d, x)))
        assert (np.linalg.norm(change, axis=1) <= bound * np.linalg.norm(d, axis=1)).all()


def test_kernels_that_the_file_computes_by_convolution_are_weights(tmp_path):
    """As orthogonium's AdaptiveOrthoConv2d: one kernel along another, transposed and padded."""
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal((4, 4, 2, 2)).astype("float32") for _ in range(2))
    constants = {"first": first, "second": second}
    nodes = [
        ("Transpose", "second", "t", {"perm": [1, 0, 2, 3]}),
        ("Conv", "t first", "u", {"pads": [1, 1, 1, 1]}),
        ("Transpose", "u", "k", {"perm": [1, 0, 2, 3]}),
        ("Conv", "x k", "y", {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ]
    onnx.save(model(nodes, (4, 6, 6), constants), tmp_path / "computed.onnx")
    kernel = torch.conv2d(
        torch.from_numpy(second).transpose(0, 1), torch.from_numpy(first), padding=1
    ).transpose(0, 1)
    constants = {"k": np.ascontiguousarray(kernel.numpy())}
    onnx.save(model(nodes[-1:], (4, 6, 6), constants), tmp_path / "stored.onnx")
    bounds = [lipkit.lipschitz_bound(tmp_path / f"{n}.onnx") for n in ("computed", "stored")]
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-6)
    x = np.eye(144, dtype="float32").reshape(-1, 4, 6, 6)
    norm = np.linalg.norm(run(tmp_path / "computed.onnx", x)[0].reshape(144, -1), 2)
    assert norm <= bounds[0] * (1 + 1e-6)
    with pytest.raises(NotCertifiable, match=r"u compute"):  # its rounding is not bounded
        lipkit.certify(tmp_path / "computed.onnx", x[:2], task="multiclass", arithmetic="float32")

"""Pairs that are sorted, in every spelling: their bound is 1, and their rounding the program's."""

import math

import keras
import numpy as np
import onnx
import pytest
from keras import ops
from onnx_models import model, run

import lipkit
from lipkit import NotCertifiable
from lipkit.certifier import bounding, evaluate, rounding
from lipkit.certifier import graph as g
from lipkit.certifier.arithmetic import FORMATS
from lipkit.certifier.reader import read
from lipkit.certifier.reader.builder import Builder
from lipkit.certifier.reader.onnx import OnnxFile

pytestmark = pytest.mark.compiled

VECTOR, SEQUENCE, IMAGE = (6,), (3, 8), (4, 6, 5)
SINGLE, DOUBLE = FORMATS["float32"], FORMATS["float64"]

# (max, min) of a and b, in operators; c is a - b
FORMS = {
    "ends": [("Max", "a b", "h"), ("Min", "b a", "l")],
    "maximum by ReLU": [
        ("Sub", "a b", "c"),
        ("Relu", "c", "r"),
        ("Add", "r b", "h"),
        ("Min", "a b", "l"),
    ],
    "ReLU": [
        ("Sub", "a b", "c"),
        ("Relu", "c", "r"),
        ("Add", "b r", "h"),
        ("Sub", "a r", "l"),
    ],
    "ReLU of the opposite": [
        ("Sub", "b a", "c"),
        ("Relu", "c", "r"),
        ("Add", "a r", "h"),
        ("Neg", "r", "n"),
        ("Add", "n b", "l"),
    ],
    "clipped": [
        ("Sub", "a b", "c"),
        ("Max", "c zero", "r"),
        ("Add", "r b", "h"),
        ("Sub", "a r", "l"),
    ],
    "absolute values": [
        ("Sub", "a b", "c"),
        ("Abs", "c", "d"),
        ("Add", "a b", "s"),
        ("Add", "s d", "t"),
        ("Sub", "s d", "u"),
        ("Mul", "t half", "h"),
        ("Div", "u two", "l"),
    ],
    "halves of absolute values": [
        ("Sub", "b a", "c"),
        ("Abs", "c", "d"),
        ("Mul", "d half", "e"),
        ("Add", "a b", "s"),
        ("Mul", "half s", "m"),
        ("Add", "m e", "h"),
        ("Sub", "m e", "l"),
    ],
}
NUMBERS = {"half": np.float32(0.5), "two": np.float32(2), "zero": np.float32(0)}


def integers(*values):
    return np.array(values, dtype="int64")


def strided(axis):
    constants = {"i0": integers(0), "i1": integers(1), "far": integers(2**62)}
    constants |= {"axis": integers(axis), "i2": integers(2)}
    nodes = [("Slice", "x i0 far axis i2", "a", {}), ("Slice", "x i1 far axis i2", "b", {})]
    return nodes, constants


def halves(axis):
    return [("Split", "x", "a b", {"axis": axis, "num_outputs": 2})], {}


def gathered(axis):
    indices = {"i": integers(5, 0, 1), "j": integers(2, 4, 3)}
    return [("Gather", f"x {i}", n, {"axis": axis}) for i, n in ("ia", "jb")], indices


def side_by_side(shape, axis):
    return [("Concat", "h l", "y", {"axis": axis})], {}


def interleaved(shape, axis):
    place = {"place": integers(axis + 1), "shape": integers(-1, *shape)}
    nodes = [("Unsqueeze", f"{n} place", f"{n}{n}", {}) for n in "hl"]
    nodes += [("Concat", "ll hh", "z", {"axis": axis + 1}), ("Reshape", "z shape", "y", {})]
    return nodes, place


# name: shape, axis, how pairs are taken, how they are put back
PLACES = {
    "strided": (VECTOR, 1, strided, side_by_side),
    "strided and interleaved": (VECTOR, 1, strided, interleaved),
    "halves": (VECTOR, 1, halves, side_by_side),
    "lists": (VECTOR, 1, gathered, side_by_side),
    "last axis": (SEQUENCE, 2, strided, interleaved),
    "channels": (IMAGE, 1, strided, interleaved),
    "halves of channels": (IMAGE, 1, halves, side_by_side),
    "rows": (IMAGE, 2, strided, side_by_side),
}


def file(path, form, place):
    shape, axis, take, put = PLACES[place]
    forth, constants = take(axis)
    back, more = put(shape, axis)
    nodes = [*forth, *((*node, {}) for node in FORMS[form]), *back]
    used = " ".join(names for _, names, *_ in nodes).split()
    constants = {n: v for n, v in {**NUMBERS, **constants, **more}.items() if n in used}
    onnx.save(model(nodes, shape, constants), path)
    return path, shape


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", FORMS)
def test_pairs_in_files_are_a_sort(form, place, tmp_path):
    path, shape = file(tmp_path / "m.onnx", form, place)
    bound = lipkit.lipschitz_bound(path)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, *shape)).astype("float32")
    graph = OnnxFile(path).read().graph
    got = evaluate.run(graph, x.astype("float64"))[graph.outputs[0]]
    np.testing.assert_allclose(got, run(path, x)[0], rtol=1e-6, atol=1e-6)
    step = rng.standard_normal(x.shape).astype("float32") * 1e-2
    change = np.linalg.norm(run(path, x + step)[0] - run(path, x)[0])
    assert change / np.linalg.norm(step) * (1 - 1e-4) <= bound <= 1 + 1e-12
    assert change / np.linalg.norm(step) > 0.97 * bound  # a smaller constant is refuted


@pytest.mark.parametrize("larger", [True, False])
@pytest.mark.parametrize("kind", ["Greater", "GreaterOrEqual", "Less"])
def test_a_choice_of_the_larger_is_a_maximum(kind, larger, tmp_path):
    ends = ("a b", "b a")[:: 1 if larger else -1]
    nodes = [
        ("Split", "x", "a b", {"axis": 1, "num_outputs": 2}),
        (kind, "a b", "c", {}),
        *(("Where", f"c {pair}", end, {}) for pair, end in zip(ends, "hl", strict=True)),
        ("Concat", "h l", "y", {"axis": 1}),
    ]
    onnx.save(model(nodes, VECTOR), tmp_path / "m.onnx")
    assert lipkit.lipschitz_bound(tmp_path / "m.onnx") == 1.0
    x = np.random.default_rng(0).standard_normal((9, 6)).astype("float32")
    graph = OnnxFile(tmp_path / "m.onnx").read().graph
    got = evaluate.run(graph, x.astype("float64"))[graph.outputs[0]]
    np.testing.assert_array_equal(got, run(tmp_path / "m.onnx", x)[0])


def test_a_choice_of_others_is_refused(tmp_path):
    nodes = [
        ("Split", "x", "a b", {"axis": 1, "num_outputs": 2}),
        ("Neg", "b", "n", {}),
        ("Greater", "a b", "c", {}),
        ("Where", "c a n", "y", {}),
    ]
    onnx.save(model(nodes, VECTOR), tmp_path / "m.onnx")
    with pytest.raises(NotCertifiable, match="may jump"):
        lipkit.lipschitz_bound(tmp_path / "m.onnx")


def in_operations(x, form, axis):
    """The same in `keras.ops`."""
    key = (slice(None),) * axis
    names = {"a": x[(*key, slice(None, None, 2))], "b": x[(*key, slice(1, None, 2))]}
    names |= {"half": 0.5, "two": 2.0, "zero": 0.0}
    functions = {
        **{"Max": ops.maximum, "Min": ops.minimum, "Sub": ops.subtract, "Add": ops.add},
        **{"Relu": ops.relu, "Neg": ops.negative, "Abs": ops.abs, "Mul": ops.multiply},
        "Div": ops.divide,
    }
    for op, operands, result in FORMS[form]:
        names[result] = functions[op](*(names[n] for n in operands.split()))
    return ops.concatenate([names["h"], names["l"]], axis=axis)


@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_pairs_in_keras_operations_are_a_sort(form, axis):
    x = keras.Input((6, 5, 4))
    bound = lipkit.lipschitz_bound(keras.Model(x, in_operations(x, form, axis)))
    assert 1 <= bound <= 1 + 1e-12


def test_ten_layers_of_pairs_have_the_bound_one():
    x = keras.Input((8,))
    y = x
    for _ in range(10):
        y = keras.layers.Dense(8, kernel_initializer="orthogonal")(y)
        a, b = y[:, ::2], y[:, 1::2]
        y = ops.concatenate([ops.maximum(a, b), ops.minimum(y[:, ::2], y[:, 1::2])], axis=1)
    assert lipkit.lipschitz_bound(keras.Model(x, y)) <= 1 + 1e-5


def test_layers_that_merge_are_pairs_too():
    x = keras.Input((8,))
    ends = x[:, ::2], x[:, 1::2]
    y = [keras.layers.Maximum()(ends), keras.layers.Minimum()(ends)]
    model = keras.Model(x, keras.layers.Concatenate()(y))
    assert lipkit.lipschitz_bound(model) == 1.0


def test_slices_of_operations_take_what_numpy_takes():
    x = keras.Input((7, 5))
    values = np.random.default_rng(0).standard_normal((2, 7, 5)).astype("float32")
    keys = [np.s_[:, ::3], np.s_[:, 1:6:2, 3:1:-1], np.s_[:, ::-2], np.s_[:, -1:0:-1, 1::3]]
    for key in keys:
        graph = read(keras.Model(x, x[key])).graph
        got = evaluate.run(graph, values.astype("float64"))[graph.outputs[0]]
        np.testing.assert_array_equal(got, values[key])


# bounds of maps that look like pairs and are none
LOOSE = {
    "another factor": lambda a, b: a - 0.25 * ops.relu(a - b),
    "another tensor": lambda a, b: a - ops.relu(a + b),
    "leaky": lambda a, b: a - ops.leaky_relu(a - b, 0.5),
    "from above": lambda a, b: a + ops.relu(a - b),
    "two differences": lambda a, b: 0.5 * (a + b + ops.abs(a - 2.0 * b)),
    "cut off": lambda a, b: a - ops.relu6(a - b),
}


@pytest.mark.parametrize("name", LOOSE)
def test_what_is_no_extremum_is_bounded_by_its_parts(name):
    x = keras.Input((6,))
    model = keras.Model(x, LOOSE[name](x[:, ::2], x[:, 1::2]))
    rng = np.random.default_rng(0)
    ends = 9 * rng.standard_normal((2, 2000, 6))
    ends[1] = ends[0] + 1e-2 * rng.standard_normal((2000, 6))
    graph = read(model).graph
    values = [evaluate.run(graph, end)[graph.outputs[0]] for end in ends]
    change, step = (np.linalg.norm(pair[1] - pair[0], axis=1) for pair in (values, ends))
    assert (change / step).max() <= lipkit.lipschitz_bound(model)
    assert not any(isinstance(node.op, g.Sort) for node in graph.nodes)


def test_extrema_with_factors():
    x = keras.Input((6,))
    a, b = x[:, ::2], x[:, 1::2]
    model = keras.Model(x, -(ops.abs(b - a) - (a + b)))  # 2 min
    assert 2 <= lipkit.lipschitz_bound(model) <= 2 + 1e-12
    graph = read(model).graph
    values = np.random.default_rng(0).standard_normal((5, 6))
    got = evaluate.run(graph, values)[graph.outputs[0]]
    np.testing.assert_allclose(got, 2 * np.minimum(values[:, ::2], values[:, 1::2]), rtol=1e-15)


def program(form, a, b):
    """The form in float32, operator by operator."""
    functions = {
        **{"Max": np.maximum, "Min": np.minimum, "Sub": np.subtract, "Add": np.add, "Abs": np.abs},
        **{"Neg": np.negative, "Mul": np.multiply, "Div": np.divide},
        "Relu": lambda x: np.maximum(x, np.float32(0)),
    }
    names = {"a": a, "b": b, **NUMBERS}
    for op, operands, result in FORMS[form]:
        names[result] = functions[op](*(names[n] for n in operands.split()))
    return names["h"], names["l"]


@pytest.mark.parametrize("form", FORMS)
def test_rounding_errors_are_those_of_the_form(form, tmp_path):
    """b of another size than a cancels in a - b: the minimum is off by ulps of the larger one."""
    path, _ = file(tmp_path / "m.onnx", form, "halves")
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 20000, 3)).astype("float32")
    a *= 2.0 ** rng.integers(-30, 3, a.shape)
    a, b = np.where(rng.random(a.shape) < 0.5, (a, b), (b, a)).astype("float32")
    x = np.concatenate([a, b], axis=1).astype("float64")
    graph = OnnxFile(path).read().graph
    bounds = bounding.compose(graph)
    values = evaluate.run(graph, x)
    reach = [rounding.norms(v) for v in values]
    got = np.concatenate(program(form, a, b), axis=1).astype("float64")
    error = rounding.norms(got - values[graph.outputs[0]])

    def allowed(local):
        return rounding.forward_errors(graph, bounds.own, local, reach, SINGLE)[0][graph.outputs[0]]

    local = rounding.local_errors(graph, SINGLE)
    assert (error <= allowed(local)).all()
    assert (error > 1e-8).any() == (form != "ends")
    if "ReLU" in form or form == "clipped":  # a tenth would claim too little
        assert (error > allowed([(0.1 * r, 0.1 * s) for r, s in local])).any()


def graph_of(*steps, shape=(6,)):
    """A graph of (op, *inputs) after one input."""
    nodes = Builder()
    nodes.add(g.Input(), (), "x", "Input", shape)
    for i, (op, *inputs) in enumerate(steps):
        nodes.nodes.append(
            g.Node(op, tuple(inputs), _shape(nodes, op, inputs), f"layer {i}", type(op).__name__)
        )
    return g.Graph(tuple(nodes.nodes), (len(steps),))


def _shape(nodes, op, inputs):
    return evaluate.evaluate(op, *(np.zeros((1, *nodes.nodes[i].shape)) for i in inputs)).shape[1:]


def scaling(factor):
    return g.Diagonal(np.float64(factor), np.float64(0), np.float64(0))


FLIP = g.Dense(np.eye(4)[::-1])
# (steps, the norm): what parts of one node change, together
PARTS = {
    "strides": ([(g.Slice(0, 0, 6, 2), 0), (g.Slice(0, 1, 6, 2), 0), (g.Concat(), 1, 2)], 1.0),
    "pieces of a piece, beside another": (
        [
            *[(g.Slice(0, 0, 4), 0), (g.Slice(0, 0, 4, 2), 1), (g.Slice(0, 1, 4, 2), 1)],
            *[(g.Slice(0, 4, 6), 0), (g.Concat(), 2, 4, 3)],
        ],
        1.0,
    ),
    "parts of what a part became, beside the rest": (
        [
            *[(g.Slice(0, 0, 4), 0), (FLIP, 1), (g.Slice(0, 0, 2), 2), (g.Slice(0, 2, 4), 2)],
            *[(g.Slice(0, 4, 6), 0), (g.Concat(), 3, 4, 5)],
        ],
        1.0,
    ),
    "moved before": (
        [
            *[(g.Reshape((2, 3)), 0), (g.Permute((1, 0)), 1), (g.Slice(1, 0, 1), 2)],
            *[(g.Slice(0, 3, 6), 0), (g.Reshape((3, 1)), 4), (g.Concat(), 3, 5)],
        ],
        1.0,
    ),
    "lists": (
        [
            (g.AxisMaps(((0, np.eye(6)[[5, 1]]),)), 0),
            (g.AxisMaps(((0, np.eye(6)[[0, 3, 2]]),)), 0),
            (g.Concat(), 2, 1),
        ],
        1.0,
    ),
    "a list with one entry twice": (
        [
            (g.AxisMaps(((0, np.eye(6)[[5, 5]]),)), 0),
            (g.AxisMaps(((0, np.eye(6)[[0, 3]]),)), 0),
            (g.Concat(), 2, 1),
        ],
        math.sqrt(3),  # twice is no part, so they may overlap; the norm is sqrt(2)
    ),
    "strides that meet": (
        [(g.Slice(0, 0, 6, 2), 0), (g.Slice(0, 0, 6, 3), 0), (g.Concat(), 1, 2)],
        math.sqrt(2),
    ),
    "whole and part": ([(g.Slice(0, 0, 6, 2), 0), (g.Concat(), 0, 1)], math.sqrt(2)),
    "a sum of strides": (
        [(g.Slice(0, 0, 6, 2), 0), (g.Slice(0, 1, 6, 2), 0), (scaling(3.0), 1), (g.Sum(), 3, 2)],
        math.sqrt(10),
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_one_node_change_independently(name):
    steps, expected = PARTS[name]
    graph = graph_of(*steps)
    values = evaluate.run(graph, np.eye(6))[-1].reshape(6, -1)
    bound = bounding.compose(graph).total[-1]
    assert np.linalg.norm(values, 2) <= bound * (1 + 1e-15)
    assert bound == pytest.approx(expected, rel=1e-12)


def random_graph(rng):
    """Slices, moves, scalings and merges of earlier nodes, at random; all linear."""
    steps, shapes = [], [(12,)]
    while len(steps) < 14:
        source = int(rng.integers(len(shapes)))
        size = shapes[source][0]
        same = [i for i, shape in enumerate(shapes) if shape == shapes[source]]
        kind = rng.choice(["slice", "scale", "flip", "list", "concat", "sum", "dense"])
        if kind == "slice" and size > 1:
            start, step = int(rng.integers(size - 1)), int(rng.integers(1, 4))
            step_of = (g.Slice(0, start, int(rng.integers(start + 1, size + 1)), step), source)
        elif kind == "scale":
            step_of = (scaling(rng.uniform(0.5, 2)), source)
        elif kind == "flip":
            step_of = (g.AxisMaps(((0, np.eye(size)[::-1]),)), source)
        elif kind == "list":
            rows = np.eye(size)[rng.permutation(size)[: size // 2 + 1]]
            step_of = (g.AxisMaps(((0, rows),)), source)
        elif kind == "concat":
            step_of = (g.Concat(), source, *rng.integers(len(shapes), size=2).tolist())
        elif kind == "sum":
            step_of = (g.Sum(), *rng.choice(same, 2).tolist())
        else:
            step_of = (g.Dense(rng.standard_normal((size, size)) / math.sqrt(size)), source)
        op, *inputs = step_of
        zeros = (np.zeros((1, *shapes[i])) for i in inputs)
        shape = evaluate.evaluate(op, *zeros).shape[1:]
        if 0 < shape[0] <= 40:
            steps.append(step_of)
            shapes.append(shape)
    return graph_of(*steps, shape=(12,))


def test_random_graphs_of_parts_are_bounded_by_their_norms():
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(400):
        graph = random_graph(rng)
        values = evaluate.run(graph, np.eye(12))
        for value, bound in zip(values, bounding.compose(graph).total, strict=True):
            norm = np.linalg.norm(value.reshape(12, -1), 2)
            assert norm <= bound * (1 + 1e-9)
            ratios.append(norm / bound)
    assert np.mean(np.array(ratios) > 0.97) > 0.4  # smaller constants are refuted
    assert np.mean(ratios) > 0.8

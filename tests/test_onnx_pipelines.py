"""Pipelines of scikit-learn in ONNX files, and the choice of one of several outputs."""

import json
import math
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from keras import layers as kl
from onnx import TensorProto, helper, numpy_helper
from onnx_models import run
from typer.testing import CliRunner

import lipkit
from lipkit import NotCertifiable
from lipkit.certifier import bounding, evaluate, rounding
from lipkit.certifier.arithmetic import FORMATS
from lipkit.certifier.reader.onnx import OnnxFile
from lipkit_command.app import app

DATA = Path(__file__).parent / "data"
ML = "ai.onnx.ml"
FEATURES, CLASSES = 5, 3
RNG = np.random.default_rng(0)
OFFSET = RNG.standard_normal(FEATURES).astype("float32")
SCALE = RNG.uniform(0.5, 2, FEATURES).astype("float32")
W = RNG.standard_normal((FEATURES, CLASSES)).astype("float32")
B = RNG.standard_normal(CLASSES).astype("float32")
SCALER = ("Scaler", "x", "z", {"offset": OFFSET, "scale": SCALE})
STRETCH = float(SCALE.max())


def classifier(post, weights=W, bias=B, source="x", scores="y", **more):
    attributes = {"coefficients": weights.T.ravel(), "intercepts": bias, "post_transform": post}
    attributes["classlabels_ints"] = list(range(len(bias)))
    return ("LinearClassifier", source, f"label {scores}", {**attributes, **more})


# the last layer of a pipeline of two classes: rows -w and w
TWO = np.stack([-W[:, 0], W[:, 0]], axis=1), np.stack([-B[0], B[0]])
DENSE = [("MatMul", "x w", "m", {}), ("Add", "m b", "s", {})]
LABEL = [
    ("ArgMax", "y", "i", {"axis": 1}),
    ("ArrayFeatureExtractor", "classes i", "e", {}),
    ("Reshape", "e all", "f", {}),
    ("Cast", "f", "label", {"to": 7}),
]
ZIPPED = [
    ("Softmax", "s", "p", {"axis": 1}),
    ("ZipMap", "p", "y", {"classlabels_int64s": [0, 1, 2]}),
]
TWO_CLASSES = [
    ("MatMul", "x w1", "m", {}),
    ("Add", "m b1", "s", {}),
    ("Sigmoid", "s", "p", {}),
    ("Sub", "one p", "q", {}),
    ("Concat", "q p", "y", {"axis": 1}),
]
CONSTANTS = {
    **{"w": W, "b": B, "w1": W[:, :1], "b1": B[:1], "one": np.ones(1, "float32")},
    **{"classes": np.arange(3), "all": np.array([-1])},
}


def norm(weights):
    return float(np.linalg.norm(weights.astype("float64"), 2))


# name: (nodes, outputs, the product of the constants)
PIPELINES = {
    "scaler": ([("Scaler", "x", "y", SCALER[3])], {"y": 1}, STRETCH),
    "one scale for all": (
        [("Scaler", "x", "y", {"offset": OFFSET[:1], "scale": SCALE[:1]})],
        {"y": 1},
        float(SCALE[0]),
    ),
    "regressor": (
        [
            SCALER,
            (
                "LinearRegressor",
                "z",
                "y",
                {"coefficients": W.T.ravel(), "intercepts": B, "targets": CLASSES},
            ),
        ],
        {"y": 1},
        STRETCH * norm(W),
    ),
    "scores": ([SCALER, classifier("NONE", source="z")], {"label": 7, "y": 1}, STRETCH * norm(W)),
    "probabilities": ([classifier("SOFTMAX")], {"label": 7, "y": 1}, norm(W) / 2),
    "probabilities, divided by their sum": (
        [classifier("SOFTMAX", scores="p"), ("Normalizer", "p", "y", {"norm": "L1"})],
        {"label": 7, "y": 1},
        norm(W) / 2,
    ),
    "two classes": ([classifier("LOGISTIC", *TWO)], {"label": 7, "y": 1}, norm(TWO[0]) / 4),
    "two classes, divided by their sum": (
        [classifier("LOGISTIC", *TWO, scores="p"), ("Normalizer", "p", "y", {"norm": "L1"})],
        {"label": 7, "y": 1},
        norm(TWO[0]) / 4,
    ),
    "one against the rest": ([classifier("LOGISTIC")], {"label": 7, "y": 1}, norm(W) / 4),
    "network of two classes": (TWO_CLASSES, {"y": 1}, norm(W[:, :1]) * math.sqrt(2) / 4),
    "labels by ArgMax": (
        [("Cast", "x", "c", {"to": 1}), *DENSE, ("Softmax", "s", "y", {"axis": 1}), *LABEL],
        {"label": 7, "y": 1},
        norm(W) / 2,
    ),
    "dictionaries": ([*DENSE, *ZIPPED], {"y": None}, norm(W) / 2),
}


def written(path, nodes, outputs, dtype=1):
    """A file of nodes of both domains; the element type of each output, None for dictionaries."""
    domains = {"Scaler", "Normalizer", "ZipMap", "ArrayFeatureExtractor", "SVMRegressor"}
    domains |= {"LinearClassifier", "LinearRegressor"}
    nodes = [
        helper.make_node(
            op, inputs.split(), outs.split(), domain=ML if op in domains else "", **attributes
        )
        for op, inputs, outs, attributes in nodes
    ]
    used = {name for node in nodes for name in node.input}
    constants = [
        numpy_helper.from_array(value, name) for name, value in CONSTANTS.items() if name in used
    ]
    kinds = []
    for name, kind in outputs.items():
        if kind is None:
            value = helper.make_tensor_type_proto(1, None)
            mapped = helper.make_map_type_proto(TensorProto.INT64, value)
            kinds.append(helper.make_value_info(name, helper.make_sequence_type_proto(mapped)))
        else:
            shape = ["n"] if kind == 7 else ["n", None]
            kinds.append(helper.make_tensor_value_info(name, kind, shape))
    given = helper.make_tensor_value_info("x", dtype, ["n", FEATURES])
    graph = helper.make_graph(nodes, "pipeline", [given], kinds, constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(ML, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def inputs(n=50):
    return np.random.default_rng(1).standard_normal((n, FEATURES)).astype("float32")


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_are_read_with_the_product_of_their_constants(name, tmp_path):
    nodes, outputs, expected = PIPELINES[name]
    path = written(tmp_path / "m.onnx", nodes, outputs)
    bound = lipkit.lipschitz_bound(path)
    assert expected <= bound * (1 + 1e-12) and bound == pytest.approx(expected, rel=1e-9)
    x = inputs()
    (values,) = run(path, x, outputs=["y"])
    if isinstance(values, list):
        values = np.array([[row[c] for c in range(CLASSES)] for row in values])
    graph = OnnxFile(path).read().graph
    got = evaluate.run(graph, x.astype("float64"))[graph.outputs[0]]
    np.testing.assert_allclose(got, values, rtol=1e-5, atol=1e-6)
    result = lipkit.certify(path, x)
    np.testing.assert_array_equal(result.label, values.argmax(axis=1))
    if "label" in outputs:
        np.testing.assert_array_equal(result.label, run(path, x, outputs=["label"])[0])


@pytest.mark.parametrize("name", ["scaler", "regressor", "scores", "probabilities", "two classes"])
def test_rounding_errors_of_pipelines_are_bounded(name, tmp_path):
    """Also near the offset of a scaler, where a difference cancels, and far away."""
    nodes, outputs, _ = PIPELINES[name]
    path = written(tmp_path / "m.onnx", nodes, outputs)
    x = np.concatenate([OFFSET + 1e-6 * inputs(), 1e3 * inputs(), 1e-30 * inputs()])
    graph = OnnxFile(path).read().graph
    bounds, single = bounding.compose(graph), FORMATS["float32"]
    values = evaluate.run(graph, x.astype("float64"))
    local = rounding.local_errors(graph, single)
    reach = [rounding.norms(value) for value in values]
    errors, _ = rounding.forward_errors(graph, bounds.own, local, reach, single)
    found = run(path, x.astype("float32"), outputs=["y"])[0].astype("float64")
    index = graph.outputs[0]
    assert (rounding.norms(found - values[index]) <= errors[index]).all()


@pytest.mark.parametrize("name", ["two classes", "network of two classes"])
def test_radii_of_two_classes_are_the_distances_to_the_hyperplane(name, tmp_path):
    nodes, outputs, _ = PIPELINES[name]
    x = inputs().astype("float64")
    w, b = W[:, 0].astype("float64"), float(B[0])
    result = lipkit.certify(written(tmp_path / "m.onnx", nodes, outputs), x)
    distances = np.abs(x @ w + b) / np.linalg.norm(w)
    assert (result.radius <= distances).all()
    np.testing.assert_allclose(result.radius, distances, rtol=1e-9)


@pytest.mark.parametrize("name", ["three", "two", "logistic", "regression"])
def test_files_of_skl2onnx_agree_with_scikit_learn(name):
    """See data/make_sklearn.py."""
    truth = np.load(DATA / f"sklearn_{name}.npz")
    path = DATA / f"sklearn_{name}.onnx"
    bound = lipkit.lipschitz_bound(path)
    assert bound == pytest.approx(float(truth["right"]), rel=1e-6)
    graph = OnnxFile(path).read().graph
    got = evaluate.run(graph, truth["x"].astype("float64"))[graph.outputs[0]]
    if name == "regression":
        np.testing.assert_allclose(got.ravel(), truth["answers"], rtol=1e-5)
        return
    np.testing.assert_allclose(got, truth["probabilities"], rtol=1e-4, atol=1e-6)
    result = lipkit.certify(path, truth["x"])
    np.testing.assert_array_equal(result.label, truth["answers"])
    assert (result.status == "certified").all()


REFUSED = {
    "norms of inputs": (
        [("Normalizer", "x", "y", {"norm": "L2"})],
        {"y": 1},
        r"\(Normalizer\).*near 0",
    ),
    "sums of probabilities of each class": (
        [classifier("LOGISTIC", scores="p"), ("Normalizer", "p", "y", {"norm": "L1"})],
        {"y": 1},
        r"\(Normalizer\).*near 0",
    ),
    "weights that are no numbers": (
        [classifier("NONE", W * np.float32("nan"))],
        {"y": 1},
        r"\(LinearClassifier\).*coefficients have non-finite",
    ),
    "a scaler of other features": (
        [("Scaler", "x", "y", {"offset": OFFSET[:2], "scale": SCALE})],
        {"y": 1},
        r"\(Scaler\).*scales 5 features by 2 offsets",
    ),
    "another transform": ([classifier("PROBIT")], {"y": 1}, "PROBIT.*covered are"),
    "one row for two classes": (
        [classifier("LOGISTIC", W[:, :1], B[:1], classlabels_ints=[0, 1])],
        {"y": 1},
        "do not fit 2 outputs",
    ),
    "support vectors": (
        [
            (
                "SVMRegressor",
                "x",
                "y",
                {"coefficients": [1.0], "support_vectors": W[:, 0], "n_supports": 1, "rho": [0.0]},
            )
        ],
        {"y": 1},
        r"\(SVMRegressor\).*support vectors are not covered",
    ),
    "indices": ([("ArgMax", "x", "i", {}), ("Cast", "i", "y", {"to": 1})], {"y": 1}, "jumps"),
    "labels alone": ([*DENSE, ("ArgMax", "s", "label", {})], {"label": 7}, "holds int64.*none"),
    "a cast to whole numbers": (
        [("Cast", "x", "i", {"to": 7}), ("Cast", "i", "y", {"to": 1})],
        {"y": 1},
        r"\(Cast\).*int64",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_constant_is_refused_by_name(name, tmp_path):
    nodes, outputs, message = REFUSED[name]
    with pytest.raises(NotCertifiable, match=message):
        lipkit.lipschitz_bound(written(tmp_path / "m.onnx", nodes, outputs))


def test_pipelines_of_double_inputs_are_refused(tmp_path):
    """Scaler computes in float32 whatever its inputs are."""
    nodes, outputs, _ = PIPELINES["scores"]
    with pytest.raises(
        NotCertifiable, match=r"Scaler.*float32, in a file whose inputs are float64"
    ):
        lipkit.lipschitz_bound(written(tmp_path / "m.onnx", nodes, outputs, dtype=11))


@pytest.fixture
def two_outputs(tmp_path):
    nodes = [*DENSE, ("Softmax", "s", "p", {"axis": 1}), ("ArgMax", "p", "label", {"axis": 1})]
    return written(tmp_path / "m.onnx", nodes, {"label": 7, "s": 1, "p": 1})


def test_one_output_of_a_file_is_chosen(two_outputs):
    both, scores = lipkit.lipschitz_bound(two_outputs), norm(W)
    assert both == pytest.approx(math.hypot(scores, scores / 2), rel=1e-9)
    for output, expected in (("s", scores), (1, scores), ("p", scores / 2), (2, scores / 2)):
        bound = lipkit.lipschitz_bound(two_outputs, output=output)
        assert bound == pytest.approx(expected, rel=1e-9)
    x = inputs()
    with pytest.raises(NotCertifiable, match=r"output=.*'label' \(0\), 's' \(1\), 'p' \(2\)"):
        lipkit.certify(two_outputs, x)
    radii = [lipkit.certify(two_outputs, x, output=output).radius for output in ("s", 2)]
    np.testing.assert_allclose(*radii, rtol=1e-12)
    with pytest.raises(NotCertifiable, match="'label' holds int64.*s, p"):
        lipkit.certify(two_outputs, x, output="label")
    for bad in ("logits", 3, -1, True, 1.0):
        with pytest.raises(ValueError, match=r"`output` must be .* 's' \(1\)"):
            lipkit.lipschitz_bound(two_outputs, output=bad)


def keras_model(structure):
    x = keras.Input((FEATURES,))
    first, second = kl.Dense(3, name="first")(x), kl.Dense(2, name="second")(x)
    return keras.Model(x, structure(first, second))


@pytest.mark.parametrize(
    ("structure", "names"),
    [
        (lambda a, b: [a, b], ("first", "second")),
        (lambda a, b: {"z": a, "a": b}, ("z", "a")),
    ],
)
def test_one_output_of_a_keras_model_is_chosen(structure, names):
    model, x = keras_model(structure), inputs()
    for name, layer in zip(names, ("first", "second"), strict=True):
        expected = norm(np.asarray(keras.ops.convert_to_numpy(model.get_layer(layer).kernel)))
        assert lipkit.lipschitz_bound(model, output=name) == pytest.approx(expected, rel=1e-9)
        index = [i for i, t in enumerate(model.outputs) if t._keras_history.operation.name == layer]
        result = lipkit.certify(model, x, output=index[0])
        assert result.label.max() <= 2 and (result.radius > 0).all()
        again = lipkit.certify(model, x, output=name, arithmetic="float32")
        np.testing.assert_array_equal(result.label, again.label)
    with pytest.raises(NotCertifiable, match=rf"2 outputs.*'{names[0]}'"):
        lipkit.certify(model, x)
    with pytest.raises(ValueError, match=rf"`output` must be .*'{names[1]}'.*Received: output='c'"):
        lipkit.lipschitz_bound(model, output="c")


def test_the_command_line_takes_the_name_of_an_output(two_outputs, tmp_path):
    bounds = []
    for output in ("p", "2", "s"):
        result = CliRunner().invoke(app, ["bound", str(two_outputs), "--output", output, "--json"])
        assert result.exit_code == 0, result.output
        bounds.append(json.loads(result.output)["lipschitz_bound"])
    assert bounds[0] == bounds[1] == pytest.approx(bounds[2] / 2, rel=1e-9)
    np.savez(tmp_path / "data.npz", x=inputs(), y=np.zeros(50, int))
    command = ["certify", str(two_outputs), str(tmp_path / "data.npz")]
    result = CliRunner().invoke(app, [*command, "--output", "s", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["certified"] == 50

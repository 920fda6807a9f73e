"""A slice of `benchmarks/activations.py`: programs compute activations as exactly as is assumed."""

import importlib.util
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers as kl

import lipkit
from lipkit.certifier.activations import computed_within
from lipkit.errors import NotCertifiable

pytestmark = pytest.mark.compiled

FOLDER = Path(__file__).parents[1] / "benchmarks"
BACKEND = keras.backend.backend()
SIZE = 60


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location("activations", FOLDER / "activations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(FOLDER))
    return module


def too_large(bench, values, program, dtype, size=SIZE):
    """What is further off than assumed: (case, mode, error, allowed)."""
    return [
        (case, mode, error, allowed)
        for case, modes in bench.measured(values, dtype, size).items()
        for mode, error in modes.items()
        if error and error[0] > (allowed := bench.allowed(case, mode, program, dtype))
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_compute_activations_as_exactly_as_is_assumed(bench, dtype):
    assert too_large(bench, bench.keras_values, BACKEND, dtype) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_onnx_runtime_computes_activations_as_exactly_as_is_assumed(bench, dtype):
    assert too_large(bench, bench.onnx_values, "onnx", dtype) == []


@pytest.mark.once
def test_numpy_computes_activations_as_exactly_as_is_assumed(bench):
    assert too_large(bench, bench.numpy_values, "numpy", "float64", 120) == []


DEVIATING = {  # in float64: what is computed by another formula, or by constants in float32
    "jax": set(),
    "tensorflow": {("relu", (0.1,)), ("gelu", ()), ("gelu_tanh", ())},
    "torch": {("softplus", ())},
}


def test_deviations_are_seen_and_in_the_table(bench):
    """The control: what all programs were once assumed to keep is not kept."""
    found = bench.measured(bench.keras_values, "float64", 20)
    for case in DEVIATING[BACKEND]:
        usual = computed_within(*case, BACKEND, "float32")
        assert found[case]["eager"][0] > 1000 * usual
        assert computed_within(*case, BACKEND, "float64") > 1000 * usual
        assert computed_within(*case, None, "float64") > 1000 * usual
    files = bench.measured(bench.onnx_values, "float64", 20)
    for case in (("soft_shrink", ()), ("gelu_tanh", ())):
        assert files[case]["operator"][0] > 1e6 and files[case]["file 0"][0] < 4


@pytest.mark.parametrize("backend", ["jax", "tensorflow", "torch"])
def test_committed_measurements(backend):
    """What is assumed of elementary functions is at least 4 times what was measured."""
    text = (FOLDER / "results" / f"activations_{backend}.json").read_text()
    document = json.loads(text)["errors"]
    assert set(document) == {
        f"{program} {dtype}"
        for program, dtype in (
            ("numpy", "float64"),
            *((program, dtype) for program in (backend, "onnx") for dtype in FORMATS),
        )
    }
    for activations in document.values():
        for name, modes in activations.items():
            for mode in modes.values():
                error, allowed = mode["error"], float(mode["allowed"])
                assert error is None or error <= allowed, name
                assert error is None or allowed != 16 or 4 * error <= 16, name


FORMATS = ("float32", "float64")


def shifted(*functions, offset):
    """A model in float64 of functions of one number, less a constant."""
    x = y = keras.Input((1,), dtype="float64")
    for function in functions:
        y = function(y)
    return keras.Model(x, kl.Rescaling(1.0, offset=np.array([-offset]), dtype="float64")(y))


def moved(offset):
    return kl.Rescaling(1.0, offset=np.array([offset]), dtype="float64")


EDGE = 20 + 2.0**-20
FAR = 100 + 1e-9
HIDDEN = {  # functions, input, what is subtracted, backends that compute something else
    "softplus": ([lambda: kl.Activation("softplus", dtype="float64")], EDGE, EDGE + 1e-9, "torch"),
    "leaky_relu": (
        [lambda: moved(8.0), lambda: kl.LeakyReLU(0.1, dtype="float64")],
        -108.0,
        -(10 + 1e-8),
        "tensorflow",
    ),
    "maximum": (
        [lambda: moved(-8.0), lambda: lambda x: keras.ops.maximum(x, 0.25)],
        FAR,
        FAR - 8 - 5e-10,
        "torch",
    ),
    "mean": (
        [
            lambda: moved(-8.0),
            lambda: kl.ReLU(dtype="float64"),
            lambda: kl.RepeatVector(2, dtype="float64"),
            lambda: lambda x: keras.ops.mean(x, axis=1),
        ],
        FAR,
        FAR - 8 - 5e-10,
        "jax torch",
    ),
    "tanh": (
        [
            lambda: moved(-8.0),
            lambda: kl.ReLU(dtype="float64"),
            lambda: kl.Activation("tanh", dtype="float64"),
        ],
        8 + 1e-9,
        5e-10,
        "jax",
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_programs_in_float64_that_are_coarse_where_no_probe_looks(bench, name):
    functions, x, offset, coarse = HIDDEN[name]
    with bench.computing_in("float64"):
        model = shifted(*(function() for function in functions), offset=offset)
        x = np.array([[x]])
        label = int(model.predict(x, verbose=0)[0, 0] > 0)
        try:
            certificates = lipkit.certify(model, x, arithmetic="float64")
        except NotCertifiable as error:
            assert BACKEND in coarse.split() and "float64" in str(error)
            return
        if BACKEND in coarse.split():
            assert certificates.status[0] == "margin within the rounding error"
        else:
            assert certificates.status[0] == "certified"
            assert certificates.label[0] == label == 1


def test_constants_of_rescaling_are_those_that_the_backend_uses(bench):
    """TensorFlow makes float32 of a Python number before it becomes float64."""
    with bench.computing_in("float64"):
        x = keras.Input((1,), dtype="float64")
        model = keras.Model(x, kl.Rescaling(0.1, offset=0.7, dtype="float64")(x))
        given = np.array([[1e6 + 0.3]])
        certificates = lipkit.certify(model, given, arithmetic="float64")
        assert certificates.margin[0] == pytest.approx(model.predict(given, verbose=0)[0, 0], 1e-14)


def test_inputs_that_keras_converts_first_are_refused(bench):
    with bench.computing_in("float64"):
        model = shifted(offset=0.5)
        keras.config.set_floatx("float32")
        with pytest.raises(NotCertifiable, match="converts inputs to float32.*set_floatx"):
            lipkit.certify(model, np.ones((1, 1)), arithmetic="float64")
        assert lipkit.certify(model, np.ones((1, 1))).label[0] == 1


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")  # JAX, of the test
def test_layers_in_float64_without_numbers_in_float64():
    """JAX makes float32 of all numbers unless an option is set; probes are dead behind the ReLU."""
    x = keras.Input((1,), dtype="float64")
    y = kl.ReLU(dtype="float64")(moved(-8.0)(x))
    model = keras.Model(x, moved(-92.0)(y))
    if BACKEND == "jax":
        with pytest.raises(NotCertifiable, match="does not compute all of it in float64"):
            lipkit.certify(model, np.array([[FAR]]))
    else:
        assert lipkit.certify(model, np.array([[FAR]])).status[0] == "certified"


@pytest.mark.parametrize("kind", ["Softsign", "Elu", "Tanh"])
def test_operators_in_float64_that_nothing_computes(kind, tmp_path):
    """ONNX Runtime has no kernel, so nothing is known of how exactly they are computed."""
    onnx = pytest.importorskip("onnx")
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, ["batch", 1])
        for name in ("x", "y")
    ]
    node = onnx.helper.make_node(kind, ["x"], ["y"], name="it")
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:])
    opsets = [onnx.helper.make_opsetid("", 20)]
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    x = np.array([[0.5]])
    assert lipkit.certify(path, x).status[0] == "certified"
    if kind == "Tanh":
        assert lipkit.certify(path, x, arithmetic="float64").status[0] == "certified"
    else:
        with pytest.raises(NotCertifiable, match=f"'it' \\({kind}\\).*nothing is known"):
            lipkit.certify(path, x, arithmetic="float64")

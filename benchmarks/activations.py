"""How exactly programs compute the activations that the certifier knows.

    KERAS_BACKEND=jax python benchmarks/activations.py

Each function of `lipkit.certifier.activations`, in float32 and float64, called eagerly and
compiled, in long arrays and short ones (vectors of a processor and what is left of them), by the
backend, by NumPy as the certifier does, and by ONNX Runtime: its operators and those that lipkit
exports. The reference is mpmath with 60 digits. Errors are in the table's unit, u max(1, slope)
(|x| + |f(x)| + 1), and stand beside what the table allows; null: not in this format. They are
written to results/activations_BACKEND.json.
"""

import contextlib
import functools
import json
import math
from pathlib import Path

import keras
import mpmath
import numpy as np
from keras import layers as kl
from provenance import provenance

from lipkit.certifier.activations import ACTIVATIONS, SELU_ALPHA, SELU_SCALE, computed_within
from lipkit.certifier.arithmetic import FORMATS

OUT = Path(__file__).parent / "results"
SIZE = 400  # of a grid with some 6,000 points
# where functions change their formula, saturate, overflow or flush, on any of the backends
TURNS = (
    *(0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 7.905, 8, 9, 9.011, 10, 13.9, 15.94, 16, 16.6, 17, 18),
    *(18.7, 20, 22, 27.2, 33, 34, 36, 36.7, 37, 44, 50, 87, 87.34, 88, 88.72, 89, 100, 103, 104),
    *(700, 708.4, 709.78, 710, 745, 746, 1000, 5000, 1e4, 2.0**-11, 2.0**-12, 2.0**-26, 2.0**-27),
    *(1e5, 1e10, 1e13, 1e19, 1e20, 1e30),
)
PARAMETERS = {
    "relu": ((), (0.1,), (0.2,), (0.1, 7.3), (-1.75,), (1.3,), (-0.25,)),
    "clip": ((-0.25, 0.75),),
    "elu": ((), (0.7,), (1.9,)),
    "celu": ((), (0.3,), (1.9,)),
    "soft_shrink": ((), (0.3,)),
}
CASES = [(name, p) for name in ACTIVATIONS for p in PARAMETERS.get(name, ((),))]


def grid(dtype, size):
    """Numbers of both signs from 1e-30 to 1e4: spread, dense, and next to where functions turn."""
    rng = np.random.default_rng(0)
    turns = np.array(TURNS, dtype)
    near = [np.nextafter(turns, np.array(end, dtype)) for end in (0, np.inf)]
    near += [turns * (1 + sign * 10.0**-k) for k in (2, 4, 6) for sign in (-1, 1)]
    spread = [10 ** rng.uniform(-30, 4, size), rng.uniform(0, 25, 2 * size)]
    spread += [10 ** rng.uniform(-3, 2, 2 * size)]
    points = np.concatenate([[1e-30, 1e4], turns, *near, *spread]).astype(dtype)
    return np.unique(np.concatenate([-points, [0.0], points])).astype(dtype)


def _normal_cdf(x):
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def _sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def _softplus(x):
    return max(x, 0) + mpmath.log1p(mpmath.exp(-abs(x)))


def _six(x):
    return min(max(x / 6 + mpmath.mpf("0.5"), 0), 1)


def _relu(x, slope=0.0, top=math.inf):
    return min(x if x >= 0 else slope * x, mpmath.mpf(top))


def _elu(x, alpha=1.0):
    return x if x >= 0 else alpha * mpmath.expm1(x)


def _gelu_tanh(x):
    inner = mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)
    return x * (1 + mpmath.tanh(inner)) / 2


EXACT = {
    "linear": lambda x: x,
    "relu": _relu,
    "relu6": lambda x: min(max(x, 0), 6),
    "abs": abs,
    "negative": lambda x: -x,
    "clip": lambda x, low, high: min(max(x, low), high),
    "hard_tanh": lambda x: min(max(x, -1), 1),
    "soft_shrink": lambda x, t=0.5: mpmath.sign(x) * max(abs(x) - t, 0),
    "tanh_shrink": lambda x: x - mpmath.tanh(x),
    "hard_sigmoid": _six,
    "hard_silu": lambda x: x * _six(x),
    "sigmoid": _sigmoid,
    "log_sigmoid": lambda x: -_softplus(-x),
    "tanh": mpmath.tanh,
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + abs(x)),
    "elu": _elu,
    "celu": lambda x, alpha=1.0: x if x >= 0 else alpha * mpmath.expm1(x / mpmath.mpf(alpha)),
    "selu": lambda x: mpmath.mpf(SELU_SCALE) * _elu(x, SELU_ALPHA),
    "gelu": lambda x: x * _normal_cdf(x),
    "gelu_tanh": _gelu_tanh,
    "silu": lambda x: x * _sigmoid(x),
    "mish": lambda x: x * mpmath.tanh(_softplus(x)),
}


@functools.cache
def reference(name, parameters, dtype, size):
    """The values at a grid as sums of two float64 arrays."""
    x = grid(dtype, size)
    with mpmath.workdps(60):
        values = [EXACT[name](mpmath.mpf(float(v)), *parameters) for v in x]
        high = np.array([float(v) for v in values])
        low = np.array([float(v - h) for v, h in zip(values, high.tolist(), strict=True)])
    return high, low


def errors(got, reference, x, slope, unit):
    """The largest error in units of the table, and where it is; None for another format."""
    if got.dtype != x.dtype:
        return None
    high, low = reference
    x, got = x.astype("float64"), got.astype("float64")
    scale = unit * max(1.0, slope) * (np.abs(x) + np.abs(high) + 1)
    found = np.abs((got - high) - low) / scale
    found = np.where(np.isfinite(got), found, np.inf)
    return float(found.max()), float(x[np.argmax(found)])


def numpy_values(dtype, x):
    """{case: {mode: values}} of the certifier's own functions."""
    with np.errstate(all="ignore"):
        return {c: {"numpy": ACTIVATIONS[c[0]].function(x, *c[1])} for c in CASES}


def keras_function(name, parameters, dtype):
    """What a Keras model calls, and the certifier reads as this activation; None: in files only."""
    if name == "relu" and parameters:
        slope, *top = parameters
        if slope < 0:
            return kl.PReLU(keras.initializers.Constant(slope), dtype=dtype)
        if top:
            return kl.ReLU(*top, negative_slope=slope, dtype=dtype)
        return kl.LeakyReLU(slope, dtype=dtype)
    if name == "elu" and parameters:
        return kl.ELU(*parameters, dtype=dtype)
    if name == "clip":
        return lambda x: keras.ops.minimum(keras.ops.maximum(x, parameters[0]), parameters[1])
    operations = {
        "abs": keras.ops.abs,
        "negative": keras.ops.negative,
        "gelu_tanh": lambda x: keras.ops.gelu(x, approximate=True),
    }
    if parameters:
        return None
    return operations.get(name) or kl.Activation(name, dtype=dtype)


@contextlib.contextmanager
def computing_in(dtype):
    """Keras as it must be set for programs in this format."""
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        if keras.backend.backend() == "jax":
            import jax

            with jax.enable_x64(dtype == "float64"):
                yield
        else:
            yield
    finally:
        keras.config.set_floatx(before)


def keras_values(dtype, x, every=30):
    """{case: {mode: values}} of the backend: eager, compiled, and in calls of three numbers."""
    with computing_in(dtype):
        inputs = keras.Input((1,), dtype=dtype)
        functions = {case: keras_function(*case, dtype) for case in CASES}
        functions = {case: function for case, function in functions.items() if function}
        model = keras.Model(inputs, [function(inputs) for function in functions.values()])

        def call(x):
            tensors = model(keras.ops.convert_to_tensor(x[:, None]))
            return [keras.ops.convert_to_numpy(y)[:, 0] for y in tensors]

        few = np.concatenate([np.arange(i, i + 3) for i in range(0, len(x) - 2, every)])
        parts = [call(x[few[i : i + 3]]) for i in range(0, len(few), 3)]
        predicted = model.predict(x[:, None], batch_size=len(x), verbose=0)
        runs = {
            "eager": call(x),
            "compiled": [y[:, 0] for y in predicted],
            "short": [np.concatenate(columns) for columns in zip(*parts, strict=True)],
        }
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            compiled = tf.function(model, jit_compile=True)(tf.constant(x[:, None]))
            runs["xla"] = [y.numpy()[:, 0] for y in compiled]
    found = {}
    for i, case in enumerate(functions):
        found[case] = {mode: values[i] for mode, values in runs.items()}
        short = np.full(len(x), np.nan, found[case]["short"].dtype)
        short[few] = found[case]["short"]
        found[case]["short"] = np.where(np.isnan(short), found[case]["eager"], short)
    return found


SHRINK = {"lambd": 0.5, "bias": 0.5}
NATIVE = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "mish": ("Mish", {}),
    "hard_silu": ("HardSwish", {}),
    "abs": ("Abs", {}),
    "negative": ("Neg", {}),
    "elu": ("Elu", {}),
    "selu": ("Selu", {}),
    "celu": ("Celu", {}),
    "gelu": ("Gelu", {}),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
    "soft_shrink": ("Shrink", SHRINK),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
}


def _session(nodes, constants, dtype, level):
    """A session of nodes from x to y, or None where ONNX Runtime has no kernel."""
    import onnxruntime
    from onnx import ValueInfoProto, helper, numpy_helper
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    given = [helper.make_tensor_value_info("x", kind, ["batch", 1])]
    stored = [numpy_helper.from_array(array, name) for name, array in constants]
    graph = helper.make_graph(nodes, "g", given, [ValueInfoProto(name="y")], stored)
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel(level)
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except (errors.NotImplemented, errors.InvalidGraph):  # no kernel; none for this format
        return None


def onnx_values(dtype, x):
    """{case: {mode: values}} of ONNX Runtime: its operators, and those of lipkit's files."""
    from onnx import helper

    from lipkit.export.onnx.activations import IN_SINGLE, activation
    from lipkit.export.onnx.builder import Nodes, Program

    found: dict = {case: {} for case in CASES}
    for case, modes in found.items():
        name, parameters = case
        if not parameters and name in NATIVE:
            kind, attributes = NATIVE[name]
            node = helper.make_node(kind, ["x"], ["y"], **attributes)
            if session := _session([node], [], dtype, 0):
                modes["operator"] = session.run(None, {"x": x[:, None]})[0][:, 0]
                few = range(0, len(x) - 2, 3)
                parts = [session.run(None, {"x": x[i : i + 3, None]})[0][:, 0] for i in few]
                short = np.concatenate(parts)
                modes["short"] = np.concatenate([short, modes["operator"][len(short) :]])
        if dtype == "float64" and name in IN_SINGLE:
            continue
        nodes = Nodes()
        result = activation(Program(nodes, dtype), name, "x", *parameters)
        nodes.op("Identity", result, name="y")
        for level in (0, 99):
            session = _session(nodes.nodes, nodes.constants.values(), dtype, level)
            modes[f"file {level}"] = session.run(None, {"x": x[:, None]})[0][:, 0]
    return found


def measured(values, dtype, size):
    """{case: {mode: (largest error, where) or None}} of one of the functions above."""
    x = grid(dtype, size)
    found = values(dtype, x)
    results = {}
    for case, modes in found.items():
        slope = float(ACTIVATIONS[case[0]].slope(*case[1]))
        exact = reference(*case, dtype, size)
        unit = FORMATS[dtype].unit
        results[case] = {m: errors(v, exact, x, slope, unit) for m, v in modes.items()}
    return results


def allowed(case, mode, program, dtype):
    """What the certifier assumes; lipkit's own operators in float64 are held to NumPy's."""
    if program == "onnx" and dtype == "float64" and mode.startswith("file"):
        program = "numpy"
    return computed_within(*case, program, dtype)


def main():
    """Measure, and write the results."""
    backend = keras.backend.backend()
    programs = {"numpy": numpy_values, backend: keras_values, "onnx": onnx_values}
    document: dict = {"provenance": provenance(), "errors": {}}
    for program, values in programs.items():
        for dtype in FORMATS:
            if program == "numpy" and dtype == "float32":
                continue
            for case, modes in measured(values, dtype, SIZE).items():
                found = {
                    mode: {
                        "error": None if error is None else round(error[0], 3),
                        "at": None if error is None else error[1],
                        "allowed": str(allowed(case, mode, program, dtype)),
                    }
                    for mode, error in modes.items()
                }
                name = case[0] + (str(case[1]) if case[1] else "")
                document["errors"].setdefault(f"{program} {dtype}", {})[name] = found
                print(program, dtype, name, {m: f["error"] for m, f in found.items()}, flush=True)
    (OUT / f"activations_{backend}.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

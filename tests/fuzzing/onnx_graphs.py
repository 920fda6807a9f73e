"""Random ONNX graphs of the operators that lipkit reads, some of others, and damaged files."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

from fuzzing import onnx_steps as steps
from fuzzing.damage import damaged
from fuzzing.subject import Subject
from fuzzing.weights import choose, orthogonal
from fuzzing.weights import draw as drawn
from lipkit.certifier.reader.onnx.walk import needed

SHAPES = [(2,), (4,), (6,), (12,), (2, 6), (3, 5), (1, 4, 4), (2, 4, 4), (4, 3, 2), (2, 3, 2, 3)]
WIDE = [(1, 12, 12), (1, 16, 9), (1, 24, 24), (1, 32, 32), (400,), (2, 120), (4, 8, 8)]
LARGEST = 200
FOLDER = tempfile.TemporaryDirectory()

STEPS = {  # how often, and for tensors of how many axes
    steps.elementwise: (6, 1, 4),
    steps.clipped: (1, 1, 4),
    steps.prelu: (1, 1, 4),
    steps.with_constant: (5, 1, 4),
    steps.matmul: (4, 1, 4),
    steps.gemm: (6, 1, 1),
    steps.conv: (7, 2, 4),
    steps.transposed: (3, 2, 4),
    steps.pool: (5, 2, 4),
    steps.global_pool: (2, 2, 4),
    steps.batch_norm: (2, 1, 4),
    steps.reduced: (3, 1, 4),
    steps.arranged: (6, 1, 4),
    steps.merged: (5, 1, 4),
    steps.written_out: (2, 1, 4),
}


def attempt(g, x, makers=None):
    """One more step from x, or x after some that ONNX refuses."""
    rank = len(g.shapes[x])
    fitting = {s: n for s, (n, low, high) in STEPS.items() if low <= rank <= high}
    for _ in range(12):
        nodes, constants = len(g.nodes), len(g.constants)
        make = g.one(*makers) if makers else choose(g.rng, fitting)
        try:
            y = make(g, x)
            shape = g.shapes.get(y) or g.inferred(y)
        except Exception:  # whatever ONNX says of operands that do not fit
            shape = None
        if shape is not None and 0 < np.prod(shape) <= LARGEST:
            g.shapes[y] = shape
            return y
        del g.nodes[nodes:], g.constants[constants:]
    return x


def random_graph(g):
    """Up to 8 steps, mostly with logits behind."""
    x = "x"
    for _ in range(int(g.rng.integers(1, 9))):
        x = attempt(g, x if g.often(0.8) else g.one(*g.shapes))
    return x, g.often(0.85)


def long_sum(g):
    """Reductions of hundreds of values, where errors of sums are large."""
    axes = list(range(1 if len(g.shapes["x"]) == 1 else 2, len(g.shapes["x"]) + 1))
    makers = [lambda g, x: g.axes("ReduceMean", x, axes, 18, keepdims=1)]
    makers.append(lambda g, x: g.axes("ReduceL2", x, axes, 18, keepdims=1))
    if len(g.shapes["x"]) > 1:
        sizes = list(g.shapes["x"][1:])
        makers += [
            steps.global_pool,
            lambda g, x: g.node("AveragePool", [x], kernel_shape=sizes),
            lambda g, x: g.node("AveragePool", [x], kernel_shape=[min(n, 6) for n in sizes]),
            lambda g, x: g.node("Conv", [x, g.constant(g.weights(1, g.shapes[x][0], *sizes))]),
        ]
    else:
        makers.append(steps.gemm)
    return attempt(g, "x", makers), True


def attained(g):
    """A piecewise linear chain whose bound is its constant: one map with any weights in it."""
    g.kinked, g.styles = True, {"normal": 1, "positive": 1, "integer": 1, "low rank": 1}
    x, free = "x", int(g.rng.integers(5))
    for i in range(5):
        rank = len(g.shapes[x])
        if i == free:
            windows = [steps.conv, steps.transposed] if 2 <= rank <= 4 else []
            x = attempt(g, x, [steps.matmul, *([steps.gemm] if rank == 1 else []), *windows])
        elif g.often(0.6):
            x = attempt(g, x, ISOMETRIES[: None if i > free else -2])
    return x, False


def _rotated(g, x, active=False, more=0):
    """A rotation, perhaps with all its outputs positive near 0."""
    n = g.shapes[x][-1]
    y = g.node("MatMul", [x, g.constant(orthogonal(g.rng, n, n + more))])
    if not active:
        return y
    g.reach = 16 * getattr(g, "reach", 4.0)  # above what earlier biases make of it
    return g.node("Add", [y, g.constant(np.full(n + more, g.reach))])


ISOMETRIES = [  # near 0; the last ones are not onto
    lambda g, x: _rotated(g, x),
    lambda g, x: g.node("Relu", [_rotated(g, x, active=True)]),
    lambda g, x: g.node("LeakyRelu", [_rotated(g, x, active=True)], alpha=0.2),
    lambda g, x: g.node(g.one("Neg", "Abs"), [x]),
    lambda g, x: g.node("Mul", [x, g.constant(np.array(-2.0))]),
    lambda g, x: g.node("Flatten", [x], axis=1),
    lambda g, x: _rotated(g, x, more=1),
    lambda g, x: g.node(
        "Concat", [g.node("Relu", [x]), g.node("Relu", [g.node("Neg", [x])])], axis=1
    ),
]
KINDS = {random_graph: 0.6, attained: 0.2, long_sum: 0.1, damaged: 0.1}


def draw(rng):
    """A `Subject` that runs, or a damaged file of one that did."""
    while True:
        dtype = "float64" if rng.random() < 0.25 else "float32"
        kind = choose(rng, KINDS)
        shapes = WIDE if kind is long_sum else SHAPES
        opset = int(rng.choice([8, 9, 10, 11, 12, 13, 13, 14, 15, 16, 17, 17, 18, 18, 19, 20, 21]))
        batch = 1 if rng.random() < 0.08 else "batch"
        g = steps.Draw(rng, dtype, shapes[rng.integers(len(shapes))], opset, batch)
        x, head = random_graph(g) if kind is damaged else kind(g)
        if head:
            x = logits_of(g, x)
        if not g.nodes or x == "x":
            continue
        model = g.model([x])
        found = subject(g, model, head, attained=kind is attained)
        if not _is_valid(model) or not found.runs():
            continue
        if kind is damaged:
            data = damaged(rng, model)
            return _damaged_subject(found, data)
        return found


def _is_valid(model):
    """Whether ONNX says so: its runtimes take some files that are not."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception:  # of several kinds
        return False
    return True


def logits_of(g, x):
    """A last linear layer with a bias that can be moved."""
    n, units = int(np.prod(g.shapes[x])), g.one(1, 1, 3)
    if len(g.shapes[x]) > 1:
        x = g.node("Flatten", [x], axis=1)
    kernel = drawn(g.rng, (n, units), g.one("normal", "normal", "integer", "positive"))
    bias = g.constant(g.rng.standard_normal(units), "bias")
    if g.dtype == "float32" and g.often():
        y = g.node("Gemm", [x, g.constant(kernel), bias])
    else:
        y = g.node("Add", [g.node("MatMul", [x, g.constant(kernel)]), bias])
    g.shapes[y] = (units,)
    return y


def plain():
    """Options of a session without optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def session(data, dtype, options):
    """A function of arrays: ONNX Runtime, or onnx itself where that has no kernels."""
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        opened = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        names = [value.name for value in opened.get_inputs()]
    except NoKernel:
        if dtype == "float32":
            raise
        opened = ReferenceEvaluator(onnx.load_model_from_string(data))
        names = opened.input_names
    return lambda arrays: opened.run(None, dict(zip(names, arrays, strict=True)))


def subject(g, model, head, attained=False):
    """What the checks need to know of a model; it lies in a file of its own."""
    path = Path(FOLDER.name, "random.onnx")
    # operator by operator, as lipkit does, or as the runtime likes
    options = plain() if g.often() else onnxruntime.SessionOptions()
    state = {}

    def write():
        path.write_bytes(model.SerializeToString())
        state.clear()

    def run(arrays):
        if not state:
            state["run"] = session(path.read_bytes(), g.dtype, options)
        if g.batch == 1:
            rows = [state["run"]([row[None] for row in rows]) for rows in zip(*arrays, strict=True)]
            return [np.concatenate(parts) for parts in zip(*rows, strict=True)]
        return state["run"](arrays)

    def bias():
        (tensor,) = (t for t in model.graph.initializer if t.name == "bias")
        return tensor

    def move(shift):
        values = numpy_helper.to_array(bias())
        bias().CopyFrom(numpy_helper.from_array((values + shift).astype(values.dtype), "bias"))
        write()

    write()
    return Subject(
        model=str(path),
        dtype=g.dtype,
        shapes=[g.shapes["x"]],
        run=run,
        bias=(lambda: numpy_helper.to_array(bias()).astype("float64")) if head else None,
        move=move,
        attained=attained,
        steps=[f"opset {g.opset}, x {[g.batch, *g.shapes['x']]}", *map(_shown, g.nodes)],
    )


def _shown(node):
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return f"{node.op_type}({', '.join(node.input)}; {given})"


def _damaged_subject(found, data):
    Path(found.model).write_bytes(data)

    def run(arrays):  # one by one, whatever size of a batch the file has now
        model = onnx.load_model_from_string(data)
        nodes = list(needed(model.graph.node, [value.name for value in model.graph.output]))
        del model.graph.node[:]
        model.graph.node.extend(nodes)  # the runtime may die in others
        opened = session(model.SerializeToString(), found.dtype, plain())
        rows = [opened([row[None] for row in rows]) for rows in zip(*arrays, strict=True)]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]

    return Subject(
        model=found.model,
        dtype=found.dtype,
        shapes=found.shapes,
        run=run,
        steps=[*found.steps, "damaged"],
        damaged=True,
    )

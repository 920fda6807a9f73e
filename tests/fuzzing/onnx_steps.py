"""What a random ONNX graph is made of: one step from a tensor to the next, by kind.

A step takes the `Draw` and the name of a tensor and returns the name of another. Steps whose nodes
ONNX refuses are drawn again.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper, shape_inference

from fuzzing.weights import STYLES, choose, draw

TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
KINKED = ("Relu", "LeakyRelu", "Abs", "Neg", "Identity")
SMOOTH = (
    *("Sigmoid", "Tanh", "Softplus", "Softsign", "Elu", "Selu", "Celu", "HardSigmoid", "Gelu"),
    *("Mish", "HardSwish", "Softmax"),
)
ODD = ("Exp", "Sqrt", "Erf", "Sign", "Floor", "ThresholdedRelu", "LogSoftmax", "Hardmax", "Log")


class Draw:
    """The nodes and constants of one graph, and the random choices."""

    def __init__(self, rng, dtype, shape, opset, batch):
        self.rng, self.dtype, self.opset, self.batch = rng, dtype, opset, batch
        self.kinked = bool(rng.random() < 0.5)
        self.styles = {choose(rng, STYLES): 3, choose(rng, STYLES): 1, "normal": 1}
        self.nodes, self.constants = [], []
        self.shapes = {"x": tuple(shape)}
        self.input = helper.make_tensor_value_info("x", TYPES[dtype], [batch, *shape])

    def one(self, *options):
        return options[self.rng.integers(len(options))]

    def often(self, share=0.5):
        return bool(self.rng.random() < share)

    def constant(self, values, name=None):
        """The name of a constant: real numbers get the graph's format."""
        values = np.asarray(values)
        if values.dtype.kind == "f":
            values = values.astype("float32").astype(self.dtype)
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def weights(self, *shape, scale=1.0, shift=0.0):
        """Those of a kernel whose last axis is that of its outputs."""
        return draw(self.rng, shape, choose(self.rng, self.styles)) * scale + shift

    def node(self, op, inputs, outputs=1, **attributes):
        """Append a node; its outputs' names."""
        names = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names if outputs > 1 else names[0]

    def axes(self, op, x, axes, since, **attributes):
        """A node whose axes are an operand since some opset."""
        if self.opset >= since:
            return self.node(op, [x, self.constant(np.array(axes, "int64"))], **attributes)
        return self.node(op, [x], axes=axes, **attributes)

    def model(self, outputs):
        """The model so far."""
        graph = helper.make_graph(
            self.nodes,
            "random",
            [self.input],
            [
                helper.make_tensor_value_info(
                    name,
                    TYPES[self.dtype],
                    [self.batch, *self.shapes[name]] if name in self.shapes else None,
                )
                for name in outputs
            ],
            self.constants,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    def inferred(self, name):
        """The shape of a tensor without its batch axis, or None."""
        model = shape_inference.infer_shapes(self.model([name]), strict_mode=True)
        dims = [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
        fits = len(dims) > 1 and dims[0] in (0, self.batch) and all(d > 0 for d in dims[1:])
        return tuple(dims[1:]) if fits and len(dims) < 6 else None


def elementwise(g, x):
    op = g.one(*KINKED, *(() if g.kinked else SMOOTH)) if not g.often(0.04) else g.one(*ODD)
    given = {
        "LeakyRelu": {"alpha": g.one(0.01, 0.3, 1.5)},
        "Elu": {"alpha": g.one(1.0, 0.5, 2.0)},
        "Celu": {"alpha": g.one(1.0, 0.5, 2.0)},
        "HardSigmoid": {"alpha": 0.3},
        "Softmax": {"axis": g.one(-1, 1)},
    }.get(op, {})
    return g.node(op, [x], **given)


def clipped(g, x):
    low, high = g.one(-1.0, 0.0, -np.inf), g.one(1.0, 6.0, np.inf)
    if g.opset < 11:
        return g.node("Clip", [x], min=low, max=high)
    return g.node("Clip", [x, g.one("", g.constant(np.array(low))), g.constant(np.array(high))])


def prelu(g, x):
    shape = g.shapes[x]
    return g.node("PRelu", [x, g.constant(g.weights(shape[0], *(1,) * (len(shape) - 1)))])


def with_constant(g, x):
    """Arithmetic with a number, or an array."""
    shape = g.shapes[x]
    sizes = g.one((), (1,), shape[-1:], shape, (1, *shape), (shape[0], *(1,) * (len(shape) - 1)))
    values = g.weights(*sizes, 1)[..., 0]
    op = g.one("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean")
    if op == "Div":
        values = values + 0.5
    operands = [x, g.constant(values)]
    return g.node(op, operands[::-1] if g.often(0.3) and op != "Div" else operands)


def matmul(g, x):
    shape = g.shapes[x]
    if len(shape) > 1 and g.often(0.2):
        return g.node("MatMul", [g.constant(g.weights(g.one(2, 3), shape[-2])), x])
    units = () if g.often(0.08) else (g.one(1, 2, 4),)
    return g.node("MatMul", [x, g.constant(g.weights(shape[-1], *units))])


def gemm(g, x):
    """Only of vectors."""
    units, n = g.one(1, 2, 3, 6), g.shapes[x][-1]
    kernel, across = g.weights(n, units), g.often()
    operands = [x, g.constant(kernel.T.copy() if across else kernel)]
    if g.opset < 11 or g.often(0.8):
        shape = g.one((units,), (1,), (1, units))
        operands.append(g.constant(g.rng.standard_normal(shape) * g.one(0.1, 1.0, 1e3)))
    return g.node("Gemm", operands, transB=int(across), alpha=g.one(1.0, 0.5), beta=g.one(1.0, 2.0))


def _moves(g, d, dilated=True):
    """Strides, and padding or dilation."""
    given = {}
    if g.often(0.4):
        given["strides"] = [g.one(1, 2) for _ in range(d)]
    elif dilated and g.often(0.3):
        given["dilations"] = [g.one(1, 2) for _ in range(d)]
    if g.often(0.3):
        given["pads"] = [g.one(0, 1) for _ in range(2 * d)]
    elif g.often(0.4):
        given["auto_pad"] = g.one("SAME_UPPER", "SAME_LOWER", "VALID")
    return given


def conv(g, x):
    channels, *sizes = g.shapes[x]
    groups, filters = g.one(1, 1, channels), g.one(1, 2, 4)
    size = [min(g.one(1, 2, 3), n) for n in sizes]
    kernel = np.moveaxis(g.weights(channels // groups, *size, filters * groups), -1, 0)
    bias = [g.constant(g.rng.standard_normal(filters * groups))] if g.often() else []
    operands = [x, g.constant(kernel), *bias]
    return g.node("Conv", operands, group=groups, **_moves(g, len(sizes)))


def transposed(g, x):
    channels, *sizes = g.shapes[x]
    groups, filters = g.one(1, 1, 1, channels), g.one(1, 2)
    kernel = g.weights(filters, *(g.one(1, 2, 3) for _ in sizes), channels)
    given = _moves(g, len(sizes))
    if g.often(0.15) and "strides" in given:
        given["output_padding"] = [n - 1 for n in given["strides"]]
    operands = [x, g.constant(np.moveaxis(kernel, -1, 0))]
    return g.node("ConvTranspose", operands, group=groups, **given)


def pool(g, x):
    sizes = g.shapes[x][1:]
    op = g.one("MaxPool", "AveragePool", "AveragePool", *(() if g.kinked else ("LpPool",)))
    given = _moves(g, len(sizes), dilated=op == "MaxPool" and g.opset >= 10)
    given["kernel_shape"] = g.one([min(g.one(2, 3), n) for n in sizes], list(sizes))
    if g.often(0.3) and op == "AveragePool":
        given["count_include_pad"] = 1
    if g.often(0.2) and g.opset >= 10 and op != "LpPool":
        given["ceil_mode"] = 1
    return g.node(op, [x], **given)


def global_pool(g, x):
    return g.node(g.one("GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool"), [x])


def batch_norm(g, x):
    n = g.shapes[x][0]
    mean, beta, gamma = (g.rng.standard_normal(n) * g.one(1.0, 30.0) for _ in range(3))
    variance = np.abs(g.rng.standard_normal(n)) * g.one(1.0, 1e-3, 1e3) + 1e-3
    given = [g.constant(c) for c in (gamma, beta, mean, variance)]
    return g.node("BatchNormalization", [x, *given], epsilon=g.one(1e-5, 1e-3))


def reduced(g, x):
    r = len(g.shapes[x])
    axes = sorted(int(a) for a in g.rng.permutation(r)[: g.one(1, 2, 3)] + 1)
    keep = int(len(axes) == r or g.often())
    ops = ["ReduceMean", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"]
    op = g.one(*ops, *([] if g.kinked else ["ReduceL2"]))
    axes = [a - r - 1 for a in axes] if g.often(0.3) and g.opset >= 11 else axes
    return g.axes(op, x, axes, 13 if op == "ReduceSum" else 18, keepdims=keep)


def arranged(g, x):
    """The same values in another order or shape, some of them, or copies."""
    shape = g.shapes[x]
    size, order = int(np.prod(shape)), [0, *(g.rng.permutation(len(shape)) + 1).tolist()]

    def integers(*values):
        return g.constant(np.array(values, "int64"))

    def sliced():
        axis = g.one(*range(1, len(shape) + 1))
        end = 2**31 - 1
        start, stop, step = g.one((0, 2, 1), (1, end, 1), (0, end, 2), (-1, -(2**40), -1))
        if g.opset < 10:
            return g.node("Slice", [x], starts=[abs(start)], ends=[end], axes=[axis])
        return g.node("Slice", [x, *(integers(v) for v in (start, stop, axis, step))])

    def padded():
        pads = [0, *(g.one(0, 1) for _ in shape), 0, *(g.one(0, 1) for _ in shape)]
        mode = g.one("constant", "constant", "reflect", "edge")
        if g.opset < 11:
            return g.node("Pad", [x], pads=pads, mode=mode)
        return g.node("Pad", [x, integers(*pads)], mode=mode)

    def split():
        half = shape[0] // 2
        if half == 0:
            return x
        given = [integers(half, shape[0] - half)] if g.opset >= 13 else []
        parts = {} if given else {"split": [half, shape[0] - half]}
        return g.node("Split", [x, *given], 2, axis=1, **parts)[g.one(0, 1)]

    def top_k():
        values = g.node("TopK", [x, integers(shape[-1])], 2, axis=-1, largest=g.one(0, 1))
        return values[0]

    return g.one(
        lambda: g.node("Flatten", [x], axis=g.one(1, 1, 2)),
        lambda: g.node("Reshape", [x, integers(g.one(0, -1), size)]),
        lambda: g.node("Reshape", [x, integers(0, 0, -1)]),
        lambda: g.node("Transpose", [x], perm=order),
        lambda: g.axes("Unsqueeze", x, [g.one(1, len(shape) + 1)], 13),
        lambda: g.axes("Squeeze", g.axes("Unsqueeze", x, [1], 13), [1], 13),
        lambda: g.node("Gather", [x, integers(shape[-1] - 1, 0)], axis=len(shape)),
        lambda: g.node("Gather", [x, g.constant(np.array(0))], axis=len(shape)),
        lambda: g.node("DepthToSpace", [x], blocksize=2),
        lambda: g.node("SpaceToDepth", [x], blocksize=2),
        lambda: g.node("Dropout", [x]),
        lambda: g.node("Cast", [x], to=TYPES[g.dtype]),
        lambda: g.node("Cast", [x], to=TensorProto.FLOAT16),
        *(sliced, padded, split, top_k),
    )()


def merged(g, x):
    """Two branches as one, or one operand of what takes several."""
    others = [name for name, shape in g.shapes.items() if shape == g.shapes[x]]
    y = g.one(*others, g.node(g.one("Relu", "Neg", "Abs"), [x]))
    op = g.one("Add", "Sub", "Sum", "Mean", "Max", "Min", "Mul")
    return g.one(
        lambda: g.node(op, [x, y]),
        lambda: g.node(g.one("Add", "Sub", "Max", "Min"), [x, y]),
        lambda: g.node(g.one("Sum", "Mean", "Max", "Min"), [x, y, x]),
        lambda: g.node("Concat", [x, y], axis=g.one(1, -1) if g.opset >= 11 else 1),
        lambda: g.node(g.one("Sum", "Mean", "Max"), [x]),
        lambda: g.node("Concat", [x], axis=1),
        lambda: _pair(g, x),
    )()


def written_out(g, x):
    """Functions as exporters write them: by several operators."""

    def gelu():
        y = g.node("Erf", [g.node("Div", [x, g.constant(np.array(2**0.5))])])
        y = g.node("Mul", [x, g.node("Add", [y, g.constant(np.array(1.0))])])
        return g.node("Mul", [y, g.constant(np.array(0.5))])

    def log_sigmoid():
        return g.node(g.one("Log", "Identity"), [g.node("Sigmoid", [x])])

    def length():
        y = g.node("Pow", [x, g.constant(np.array(2.0))])
        sizes = [min(2, n) for n in g.shapes[x][1:]]
        y = g.node("AveragePool", [y], kernel_shape=sizes, strides=sizes)
        return g.node("Sqrt", [g.node(g.one("Abs", "Relu"), [y])])

    def silu():
        return g.node("Mul", [x, g.node("Sigmoid", [x])])

    def resized():
        scales = np.array([1, 1, *(g.one(1, 2) for _ in g.shapes[x][1:])], "float32")
        g.constants.append(numpy_helper.from_array(scales, name := f"c{len(g.constants)}"))
        mode = g.one("nearest", "nearest", "linear")
        given = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        return g.node("Resize", [x, "", name], mode=mode, **given)

    return g.one(*([resized] if g.kinked else [gelu, log_sigmoid, length, silu, resized]))()


def _pair(g, x):
    """Sorted pairs of the last axis, by strided slices."""
    if g.opset < 10:
        return x
    ends = [
        g.node("Slice", [x, *(g.constant(np.array([v], "int64")) for v in (i, 2**31 - 1, -1, 2))])
        for i in (0, 1)
    ]
    return g.node("Concat", [g.node("Max", ends), g.node("Min", ends)], axis=-1)

"""Rules of operators that work entry by entry, and of sums, maxima and minima of tensors."""

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.reader.layers import diagonal
from lipkit.certifier.reader.onnx.composed import Pending

SLOPE = "its slope has no bound over all inputs"
CHOICE = "it chooses between values, so it may jump"


def _same(name):
    return lambda call: [g.Elementwise(name)]


def _with_alpha(name, default):
    return lambda call: [g.Elementwise(name, (float(call.attribute("alpha", default)),))]


def _identity(call):
    return []


def _cast(call):
    from onnx import helper

    call.attribute("saturate")
    call.attribute("round_mode")
    name = str(helper.tensor_dtype_to_np_dtype(call.attribute("to")))
    if name != call.dtype:
        raise call.refusal(
            f"it converts values to {name}, and the file computes in {call.dtype}: only casts to "
            "that are covered. Export the model in one format"
        )
    return []


def _dropout(call):
    call.attribute("seed")
    call.either("ratio", 1)
    training = call.constant(2)
    if training is not None and training.any():
        raise call.refusal("it is in training mode: export the model after model.eval()")
    return []


def _prelu(call):
    return [g.Elementwise("relu", (call.broadcast(1),))]


def _selu(call):
    alpha = call.attribute("alpha", float(np.float32(1.6732632423543772848170429916717)))
    gamma = call.attribute("gamma", float(np.float32(1.0507009873554804934193349852946)))
    return [g.Elementwise("elu", (alpha,)), diagonal(gamma)]


def _celu(call):
    alpha = float(call.attribute("alpha", 1.0))
    if alpha <= 0:
        raise call.refusal(f"alpha must be positive. Received: {alpha}")
    return [g.Elementwise("celu", (alpha,))]


def _hard_sigmoid(call):
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    return [diagonal(alpha, beta), g.Elementwise("clip", (0.0, 1.0))]


def _gelu(call):
    approximate = call.attribute("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise call.refusal(f"its attribute approximate={approximate!r} has no rule")
    return [g.Elementwise("gelu" if approximate == "none" else "gelu_tanh")]


def _shrink(call):
    threshold, shift = call.attribute("lambd", 0.5), call.attribute("bias", 0.0)
    if threshold != shift or threshold < 0:
        raise call.refusal(f"it jumps at its threshold {threshold}: its bias must be as large")
    return [g.Elementwise("soft_shrink", (float(threshold),))]


def _clip(call):
    low, high = call.either("min", 1), call.either("max", 2)
    low = -np.inf if low is None else float(np.reshape(low, ()))
    high = np.inf if high is None else float(np.reshape(high, ()))
    if np.isnan(low) or np.isnan(high):
        raise call.refusal(f"its ends {low}, {high} must be numbers")
    return [g.Elementwise("clip", (min(low, high), high))]


def _over_an_axis(make):
    """A rule of softmax's kind: below opset 13 it is over all axes from one on."""

    def rule(call):
        if call.opset >= 13:
            return [make(call.axis(call.attribute("axis", -1)))]
        shape, start = call.shapes[0], call.axis(call.attribute("axis", 1))
        if start == len(shape) - 1:
            return [make(start)]
        flat = g.Reshape((*shape[:start], int(np.prod(shape[start:]))))
        return [flat, make(start), g.Reshape(shape)]

    return rule


def _added(call):
    """The sum of all constant operands, and a bound on all partial sums of them."""
    parts = [call.broadcast(i) for i in call.constants()]
    return sum(parts, 0.0), len(call.operands) * sum(map(np.abs, parts), 0.0)


def _sum(call):
    ops = [g.Sum()] if len(call.sources) > 1 else []
    if not call.constants():
        return ops
    shift, magnitude = _added(call)
    return [*ops, diagonal(1.0, shift, magnitude if len(call.operands) > 2 else None)]


def _subtract(call):
    if len(call.sources) == 2:
        return [g.Sum((1, -1))]
    if call.is_constant(0):
        return [diagonal(-1.0, call.broadcast(0))]
    return [diagonal(1.0, -call.broadcast(1))]


def _mean(call):
    return [*_sum(call), diagonal(1 / len(call.operands))] if len(call.operands) > 1 else []


def part(reason):
    """A rule of operators that only some known functions are composed of."""

    def rule(call):
        # sources, and so the node's inputs, are the operands that are tensors, in order
        nodes = iter(source.node for source in call.sources)
        constants = {i: call.broadcast(i) for i in call.constants()}
        if any(value.size != 1 for value in constants.values()):
            raise call.refusal(reason)
        operands = tuple(
            float(constants[i].item()) if i in constants else next(nodes)
            for i in range(len(call.operands))
        )
        kind = call.node.op_type.removesuffix("OrEqual")  # only functions without a jump follow
        return Pending(kind, operands, call.refusal(reason))

    return rule


_PRODUCT = part("a product of two tensors has no Lipschitz constant")
_QUOTIENT = part("only division by a constant has a Lipschitz constant")


def _multiply(call):
    if len(call.sources) == 2:
        return _PRODUCT(call)
    return [diagonal(call.broadcast(0 if call.is_constant(0) else 1))]


def _divide(call):
    if len(call.sources) == 2 or call.is_constant(0):
        return _QUOTIENT(call)
    divisor = call.broadcast(1)
    if not divisor.all():
        raise call.refusal("it divides by zero")
    return [diagonal(1 / divisor)]


def _extremum(sign):
    def rule(call):
        most = np.maximum if sign > 0 else np.minimum
        bounds = [call.broadcast(i) for i in call.constants()]
        ends = []
        if bounds:
            bound = most.reduce(np.broadcast_arrays(*bounds))
            ends = [g.Elementwise("clip", (bound, np.inf) if sign > 0 else (-np.inf, bound))]
        if len(call.sources) == 1:
            return ends
        return [g.Maximum(sign), *ends]

    return rule


_CHOICE = part(CHOICE)


def _where(call):
    """The larger or the smaller of two tensors, by a comparison of these; otherwise a `Pending`."""
    condition, *values = (source.node for source in call.sources)
    op = call.nodes[condition].op
    compared = isinstance(op, Pending) and op.kind in ("Greater", "Less")
    if (
        not compared
        or len(values) != 2
        or sorted(map(str, op.operands)) != sorted(map(str, values))
    ):
        return _CHOICE(call)
    call.sources = call.sources[1:]
    return [g.Maximum(1 if (op.operands == tuple(values)) == (op.kind == "Greater") else -1)]


PARTS = {
    **{kind: part(SLOPE) for kind in ("Exp", "Log", "Reciprocal")},
    **{kind: part(CHOICE) for kind in ("Greater", "Less", "Sign")},
    "Where": _where,
    **{f"{kind}OrEqual": part(CHOICE) for kind in ("Greater", "Less")},
    "Erf": part(
        "of what it is part of, only GELU is known. From opset_version=20 on that is one operator"
    ),
}
RULES = {
    "Relu": _same("relu"),
    "Sigmoid": _same("sigmoid"),
    "Tanh": _same("tanh"),
    "Softplus": _same("softplus"),
    "Softsign": _same("softsign"),
    "Mish": _same("mish"),
    "HardSwish": _same("hard_silu"),
    "Abs": _same("abs"),
    "Neg": _same("negative"),
    "LeakyRelu": _with_alpha("relu", 0.01),
    "Elu": _with_alpha("elu", 1.0),
    "Identity": _identity,
    "Cast": _cast,
    "Dropout": _dropout,
    "PRelu": _prelu,
    "Selu": _selu,
    "Celu": _celu,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Shrink": _shrink,
    "Clip": _clip,
    "Softmax": _over_an_axis(g.Softmax),
    "LogSoftmax": _over_an_axis(g.LogSoftmax),
    "Add": _sum,
    "Sub": _subtract,
    "Mul": _multiply,
    "Div": _divide,
    "Sum": _sum,
    "Mean": _mean,
    "Max": _extremum(1),
    "Min": _extremum(-1),
}

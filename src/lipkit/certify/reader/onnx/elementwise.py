"""Rules of operators that work entry by entry, and of sums, maxima and minima of tensors."""

import numpy as np

from lipkit.certify import graph as g
from lipkit.certify.reader.layers import diagonal
from lipkit.certify.reader.onnx.roots import SQUARE, signed


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
    call.constant(1)  # the ratio
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
    low, high = call.constant(1), call.constant(2)
    low = -np.inf if low is None else low.item()
    return [g.Elementwise("clip", (low, np.inf if high is None else high.item()))]


def _softmax(call):
    return [g.Softmax(call.axis(call.attribute("axis", -1)))]


def _add(call):
    if len(call.sources) == 2:
        return [g.Sum()]
    return [diagonal(1.0, call.broadcast(0 if call.is_constant(0) else 1))]


def _subtract(call):
    if len(call.sources) == 2:
        return [g.Sum((1, -1))]
    if call.is_constant(0):
        return [diagonal(-1.0, call.broadcast(0))]
    return [diagonal(1.0, -call.broadcast(1))]


PRODUCT = "a product of two tensors has no Lipschitz constant"
_GATES = {("sigmoid",): "silu", ("tanh", "softplus"): "mish"}


def _multiply(call):
    if len(call.sources) == 1:
        return [diagonal(call.broadcast(0 if call.is_constant(0) else 1))]
    indices = [source.node for source in call.sources]
    if indices[0] == indices[1]:
        call.sources = call.sources[:1]
        return [SQUARE]
    if (size := signed(call.nodes, indices)) is not None:
        call.sources = [call.sources[0]._replace(node=size)]
        return []
    for source, gate in (indices, indices[::-1]):
        for functions, name in _GATES.items():
            if _is_composed(call.nodes, gate, functions, source):
                call.sources = [s for s in call.sources if s.node == source]
                return [g.Elementwise(name)]
    raise call.refusal(PRODUCT)


def _is_composed(nodes, index, functions, source):
    """Whether a node is these functions, the last one first, of another node."""
    for name in functions:
        op = nodes[index].op
        if not isinstance(op, g.Elementwise) or op.name != name:
            return False
        (index,) = nodes[index].inputs
    return index == source


def _divide(call):
    if len(call.sources) != 1 or call.is_constant(0):
        raise call.refusal("only division by a constant has a Lipschitz constant")
    divisor = call.broadcast(1)
    if not divisor.all():
        raise call.refusal("it divides by zero")
    return [diagonal(1 / divisor)]


def _sum(call):
    return [g.Sum()]


def _mean(call):
    return [g.Sum(), diagonal(1 / len(call.sources))]


def _extremum(sign):
    def rule(call):
        if len(call.sources) == 1:
            bound = call.broadcast(0 if call.is_constant(0) else 1)
            low, high = (bound, np.inf) if sign > 0 else (-np.inf, bound)
            return [g.Elementwise("clip", (low, high))]
        return [g.Maximum(sign)]

    return rule


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
    "Softmax": _softmax,
    "Add": _add,
    "Sub": _subtract,
    "Mul": _multiply,
    "Div": _divide,
    "Sum": _sum,
    "Mean": _mean,
    "Max": _extremum(1),
    "Min": _extremum(-1),
}

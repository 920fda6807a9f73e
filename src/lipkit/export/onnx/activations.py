"""Activations as ONNX operators: one where ONNX Runtime has a kernel, otherwise a few."""

import math

import numpy as np

from lipkit.certifier.activations import SELU_ALPHA, SELU_SCALE

IN_SINGLE = {"gelu"}  # computed in float32 by programs in float64: no kernel, and no short formula


def _clip(p, x, low, high):
    x = x if np.all(np.isneginf(low)) else p("Max", x, p.weights(low))
    return x if np.all(np.isposinf(high)) else p("Min", x, p.weights(high))


def _relu(p, x, slope=0.0, top=math.inf):
    return _clip(p, _leaky(p, x, slope), -math.inf, top)


def _leaky(p, x, slope):
    if not np.any(slope):
        return p("Relu", x)
    if p.double:
        return p("Add", p("Relu", x), p.times(_clip(p, x, -math.inf, 0.0), slope))
    if np.ndim(slope):
        return p("PRelu", x, p.weights(slope))
    return p("LeakyRelu", x, alpha=float(slope))


def _gate(function):
    return lambda p, x: p("Mul", x, function(p, x))


def _named(kind, **attributes):
    return lambda p, x: p(kind, x, **attributes)


def _negative_part(p, x, factor):
    """Exp(min(x, 0) / factor) - 1, times the factor."""
    power = p("Exp", p.times(_clip(p, x, -math.inf, 0.0), 1 / factor))
    return p.times(p.plus(power, -1.0), factor)


def _softplus(p, x):
    if not p.double:
        return p("Softplus", x)
    rest = p("Log", p.plus(p("Exp", p("Neg", p("Abs", x))), 1.0))
    return p("Add", p("Relu", x), rest)


def _soft_shrink(p, x, threshold=0.5):
    if not p.double:  # the attributes are in float32
        return p("Shrink", x, lambd=threshold, bias=threshold)
    return p("Sub", x, _clip(p, x, -threshold, threshold))


def _softsign(p, x):
    return p("Div", x, p.plus(p("Abs", x), 1.0)) if p.double else p("Softsign", x)


def _hard_sigmoid(p, x):
    if not p.double:
        return p("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    return _clip(p, p.plus(p.times(x, 1 / 6), 0.5), 0.0, 1.0)


def _elu(p, x, alpha=1.0):
    if not p.double:
        return p("Elu", x, alpha=alpha)
    return p("Add", p("Relu", x), p.times(_negative_part(p, x, 1.0), alpha))


def _celu(p, x, alpha=1.0):
    if not p.double:
        return p("Celu", x, alpha=alpha)
    return p("Add", p("Relu", x), _negative_part(p, x, alpha))


def _selu(p, x):
    return p.times(_elu(p, x, SELU_ALPHA), SELU_SCALE) if p.double else p("Selu", x)


def _gelu_tanh(p, x, cubic=0.044715):
    if not p.double:  # coefficients within 1e-7 of its own change less than the rounding
        return p("Gelu", x, approximate="tanh")
    cube = p.times(p("Mul", x, p("Mul", x, x)), cubic)
    inner = p("Tanh", p.times(p("Add", x, cube), math.sqrt(2 / math.pi)))
    return p("Mul", p.times(x, 0.5), p.plus(inner, 1.0))


_ACTIVATIONS = {
    "linear": lambda p, x: x,
    "relu": _relu,
    "relu6": lambda p, x: _clip(p, x, 0.0, 6.0),
    "abs": _named("Abs"),
    "negative": _named("Neg"),
    "clip": _clip,
    "hard_tanh": lambda p, x: _clip(p, x, -1.0, 1.0),
    "soft_shrink": _soft_shrink,
    "tanh_shrink": lambda p, x: p("Sub", x, p("Tanh", x)),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": lambda p, x: _gate(_hard_sigmoid)(p, x) if p.double else p("HardSwish", x),
    "sigmoid": _named("Sigmoid"),
    "log_sigmoid": lambda p, x: p("Neg", _softplus(p, p("Neg", x))),
    "tanh": _named("Tanh"),
    "softplus": _softplus,
    "softsign": _softsign,
    "elu": _elu,
    "celu": _celu,
    "selu": _selu,
    "gelu": _named("Gelu"),
    "gelu_tanh": _gelu_tanh,
    "silu": _gate(_named("Sigmoid")),
    "mish": _gate(lambda p, x: p("Tanh", _softplus(p, x))),
}


def activation(program, name, x, *parameters):
    """Append an activation; return the result's name."""
    if program.double and name in IN_SINGLE:
        return program.cast(_ACTIVATIONS[name](program, program.cast(x, "float32"), *parameters))
    return _ACTIVATIONS[name](program, x, *parameters)

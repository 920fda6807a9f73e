"""Scalar functions: the largest |f'|, a word on its proof, and how exactly they are computed.

A name that Keras has too, in `keras.activations` or in `keras.ops`, is read as that function.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lipkit.certifier.norms import up


class Activation(NamedTuple):
    """A function of (x, *parameters), the supremum of its slope, and how exactly it is computed.

    `ulps` = 0: the result is one of the operands, or a parameter. Otherwise the computed value is
    within ulps * unit * max(1, slope) * (|x| + |f(x)| + 1) of the real one, in a program that
    computes the formula: see `computed_within`. `rectifies`: it is a kind of relu, in whose place
    `lipkit.lipschitzify` may put a sort.
    """

    function: Callable[..., Any]
    slope: Callable[..., float]
    ulps: float
    rectifies: bool = False


_erf = np.frompyfunc(math.erf, 1, 1)


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.asarray(_erf(x / math.sqrt(2)), "float64"))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    z = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, z) / (1 + z)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, 0)


def _gelu_tanh(x: np.ndarray, cubic: float = 0.044715) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + cubic * x**3)))


def _relu(x: np.ndarray, negative_slope: Any = 0.0, max_value: float = math.inf) -> np.ndarray:
    return np.minimum(np.where(x >= 0, x, negative_slope * x), max_value)


def _soft_shrink(x: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)


def _elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _celu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
# exp, tanh, erf ... and the few operations around them: 4 times what was measured, on any program
LIBRARY = 16


def _constant(slope: float) -> Callable[..., float]:
    def constant(*parameters: Any) -> float:
        return slope

    return constant


def _fixed(
    function: Callable[[Any], Any], slope: float, ulps: float = LIBRARY, rectifies: bool = False
) -> Activation:
    return Activation(function, _constant(slope), ulps, rectifies)


# Suprema that are not attained at 0 or infinity are rounded up at the 8th digit: gelu' peaks at
# sqrt(2), silu' at 2.3994, mish' at 1.4906 (roots of f''; tests/test_certify_core.py scans them).
# That of gelu_tanh at the 7th, for all coefficients within 1e-7 of its own: files round it.
ACTIVATIONS = {
    "linear": _fixed(lambda x: x, 1.0, 0),
    "relu": Activation(
        _relu, lambda a=0.0, top=math.inf: max(1.0, float(np.max(np.abs(a)))), 1, True
    ),
    "relu6": _fixed(lambda x: np.clip(x, 0, 6), 1.0, 0),
    "abs": _fixed(np.abs, 1.0, 0),
    "negative": _fixed(np.negative, 1.0, 0),
    "clip": Activation(np.clip, _constant(1.0), 0),
    "hard_tanh": _fixed(lambda x: np.clip(x, -1, 1), 1.0, 0),
    "soft_shrink": Activation(_soft_shrink, _constant(1.0), 2),
    "tanh_shrink": _fixed(lambda x: x - np.tanh(x), 1.0),
    "hard_sigmoid": _fixed(lambda x: np.clip(x / 6 + 0.5, 0, 1), up(1 / 6), 4),
    "hard_silu": _fixed(lambda x: x * np.clip(x / 6 + 0.5, 0, 1), 1.5, 6),
    "sigmoid": _fixed(_sigmoid, 0.25),
    "log_sigmoid": _fixed(lambda x: -_softplus(-x), 1.0),
    "tanh": _fixed(np.tanh, 1.0),
    "softplus": _fixed(_softplus, 1.0),
    "softsign": _fixed(lambda x: x / (1 + np.abs(x)), 1.0, 4),
    "elu": Activation(_elu, lambda alpha=1.0: max(1.0, abs(alpha)), LIBRARY, True),
    "celu": Activation(_celu, lambda alpha=1.0: 1.0, LIBRARY, True),
    "selu": _fixed(
        lambda x: SELU_SCALE * _elu(x, SELU_ALPHA),
        up(SELU_SCALE * SELU_ALPHA),
        rectifies=True,
    ),
    "gelu": _fixed(lambda x: x * _normal_cdf(x), 1.12890415, rectifies=True),
    "gelu_tanh": _fixed(_gelu_tanh, 1.1289935, rectifies=True),
    "silu": _fixed(lambda x: x * _sigmoid(x), 1.09983933, rectifies=True),
    "mish": _fixed(lambda x: x * np.tanh(_softplus(x)), 1.08849817, rectifies=True),
}

PROGRAMS = ("numpy", "jax", "tensorflow", "torch", "onnx")  # onnx: ONNX Runtime, for files
_IN_SINGLE = 2.0**29  # one of the formula's constants, or the operand, is rounded to float32
_NO_KERNEL = ("relu", "softplus", "softsign", "hard_silu", "elu", "celu", "selu", "gelu", "mish")
# Where a program computes something else than the formula, in float64; infinite: in float32, or
# there is no program that could be measured. benchmarks/activations.py measures all the others.
_DEVIATIONS = {
    ("softplus", "torch"): 2.0**19,  # x itself above 20, which is off by exp(-20)
    ("relu", "tensorflow"): _IN_SINGLE,
    ("gelu", "tensorflow"): _IN_SINGLE,
    ("gelu_tanh", "tensorflow"): _IN_SINGLE,
    ("gelu_tanh", "onnx"): _IN_SINGLE,
    ("soft_shrink", "onnx"): _IN_SINGLE,
    **{(name, "onnx"): math.inf for name in _NO_KERNEL},
}


def computed_within(
    name: str, parameters: tuple[Any, ...], program: str | None, dtype: str
) -> float:
    """The `ulps` of an activation in a format, by one of `PROGRAMS`; the largest of all for None.

    0 for a relu without parameters.
    """
    if name == "relu" and not parameters:
        return 0.0
    usual = ACTIVATIONS[name].ulps
    if dtype == "float32":
        return usual
    programs = PROGRAMS if program is None else (program,)
    return max(_DEVIATIONS.get((name, p), usual) for p in programs)

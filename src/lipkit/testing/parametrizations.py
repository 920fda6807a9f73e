"""`check_parametrization`: what a kernel rule must do."""

import json

import numpy as np
from keras import Input, ops

from lipkit import parametrizations
from lipkit._backend import value_and_input_gradient
from lipkit.layers import SpectralConv2D, SpectralDense
from lipkit.models import Sequential
from lipkit.testing.measure import measure
from lipkit.testing.suite import Suite, array, check_arguments, require, same

PARAMETRIZATION_CHECKS = Suite()
_SHAPES = ((5, 3), (3, 5), (4, 4), (1, 6), (6, 1))
_TOLERANCE = 1e-5


def check_parametrization(parametrization, *, bound=None, skip=()):
    """Check that a kernel rule keeps the contract of `lipkit.parametrizations.Parametrization`.

    Args:
        parametrization: a `Parametrization`, or its name.
        bound: function of (m, n): largest spectral norm of the result; None: 1.
        skip: names of checks to leave out, of `PARAMETRIZATION_CHECKS`.

    Returns:
        A dictionary: what each check measured, or why it was skipped.

    Raises:
        AssertionError: naming the first check that fails and what was measured.

    Example:
    >>> lipkit.testing.check_parametrization("cholesky")["finite"]
    'passed'
    """
    named = isinstance(parametrization, str)
    rule = parametrizations.get(parametrization) if named else parametrization
    subject = _Rule(rule, bound or (lambda m, n: 1.0))
    return PARAMETRIZATION_CHECKS.run(subject, repr(subject.rule), skip)


def _matrices(m, n):
    """Matrices that break rules: (cases, m, n), and their names."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((m, n))
    column, row = w[:, :1], w[:1]
    cases = {
        "normal": w,
        "zero": 0 * w,
        "scale 1e20": 1e20 * w,
        "scale 1e-20": 1e-20 * w,
        "rank one": column @ row,
        "ones": np.ones((m, n)),
        "identity": np.eye(m, n),
        "one entry": 5 * np.eye(m, n) * (np.arange(m) == 0)[:, None],
        "columns of two scales": w * np.where(np.arange(n) % 2, 1e-6, 1e6),
    }
    return np.stack(list(cases.values())).astype("float32"), tuple(cases)


class _Rule:
    """A rule and its results on all the matrices."""

    def __init__(self, rule, bound):
        self.rule, self.bound = rule, bound
        self.factory, self.arguments = type(rule), rule.get_config()
        self._results = {}

    def results(self, shape):
        """Matrices, their names and what the rule makes of them."""
        if shape not in self._results:
            w, names = _matrices(*shape)
            self._results[shape] = w, names, array(self.rule(ops.convert_to_tensor(w)))
        return self._results[shape]


@PARAMETRIZATION_CHECKS.check("finite")
def _finite(s):
    for shape in _SHAPES:
        w, names, q = s.results(shape)
        require(q.shape == w.shape, f"shape {w.shape} became {q.shape}")
        for name, result in zip(names, q, strict=True):
            require(np.isfinite(result).all(), f"not finite for {shape}, {name}")


@PARAMETRIZATION_CHECKS.check("norm")
def _norm(s):
    worst = 0.0
    for shape in _SHAPES:
        _, names, q = s.results(shape)
        for name, norm in zip(names, np.linalg.norm(q, 2, axis=(1, 2)), strict=True):
            share = float(norm) / s.bound(*shape)
            require(
                share <= 1 + _TOLERANCE,
                f"the spectral norm is {norm:.9g} for {shape}, {name}, more than "
                f"{s.bound(*shape):.9g}",
            )
            worst = max(worst, share)
    return f"{worst:.9g} of the bound at most"


@PARAMETRIZATION_CHECKS.check("config")
def _config(s):
    config = parametrizations.serialize(s.rule)
    again = parametrizations.get(json.loads(json.dumps(config, allow_nan=False)))
    require(again == s.rule, f"{s.rule!r} became {again!r}")
    w = ops.convert_to_tensor(s.results(_SHAPES[0])[0])
    same(array(again(w)), s.results(_SHAPES[0])[2], 0, "rebuilt from its configuration")


PARAMETRIZATION_CHECKS["arguments"] = check_arguments


@PARAMETRIZATION_CHECKS.check("leading axes")
def _leading_axes(s):
    w, names, q = s.results(_SHAPES[0])
    same(array(s.rule(ops.convert_to_tensor(w[:1, None])))[:, 0], q[:1], _TOLERANCE, "(1, 1, m, n)")
    for name, one, expected in zip(names, w, q, strict=True):
        full = np.linalg.matrix_rank(one) == min(one.shape)  # elsewhere rules amplify rounding
        tolerance = _TOLERANCE if full else 100 * _TOLERANCE
        same(array(s.rule(ops.convert_to_tensor(one))), expected, tolerance, f"{name}, alone")


@PARAMETRIZATION_CHECKS.check("second call")
def _second_call(s):
    w, _, q = s.results(_SHAPES[0])
    same(array(s.rule(ops.convert_to_tensor(w))), q, 0, "second call")


@PARAMETRIZATION_CHECKS.check("gradient")
def _gradient(s):
    for shape in _SHAPES[:2]:
        w, names, _ = s.results(shape)
        c = np.random.default_rng(1).standard_normal(w.shape).astype("float32")
        run = value_and_input_gradient(lambda x, c: ops.sum(s.rule(x) * c, axis=(1, 2)), [])
        for name, gradient in zip(names, run(w, c)[1], strict=True):
            require(np.isfinite(gradient).all(), f"the gradient is not finite for {shape}, {name}")


def _layers(rule):
    """Layers with the rule, and the shape of their inputs."""
    arguments = {"parametrization": rule, "kernel_initializer": "he_normal"}
    yield SpectralDense(3, **arguments), (5,)
    # samples repeated at the border are what is easily forgotten
    yield SpectralConv2D(4, 3, padding="reflect", **arguments), (4, 3, 2)


@PARAMETRIZATION_CHECKS.check("layers")
def _layers_norm(s):
    """The operators, of convolutions too, whose kernels are not matrices: see `constrain`."""
    worst = 0.0
    for layer, shape in _layers(s.rule):
        layer.build((None, *shape))
        w = np.random.default_rng(0).standard_normal(layer._kernel.shape)
        for name, free in (("normal", w), ("ones", np.ones_like(w)), ("zero", 0 * w)):
            layer._kernel.assign(free)
            bound = s.bound(*layer.view.matrix(layer._kernel).shape[-2:])
            norm = measure(layer, [shape])[0]
            require(
                norm <= bound * (1 + _TOLERANCE),
                f"the norm of {layer.name} is {norm:.9g}, {name}, more than {bound:.9g}",
            )
            worst = max(worst, norm / bound)
    return f"{worst:.9g} of the bound at most"


@PARAMETRIZATION_CHECKS.check("compiled and condensed")
def _compiled(s):
    for layer, shape in _layers(s.rule):
        model = Sequential([Input(shape), layer])
        x = np.random.default_rng(0).standard_normal((4, *shape)).astype("float32")
        expected = array(model(x))
        same(model.predict(x, verbose=0), expected, _TOLERANCE, f"predict of {layer.name}")
        layer.condense()
        same(array(model(x)), expected, 10 * _TOLERANCE, f"{layer.name} condensed")

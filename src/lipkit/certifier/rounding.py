"""How far a program in floating point may be from the real function.

The bound holds for any order of summation, with or without fused products, for conventional
matrix products in IEEE arithmetic with unit roundoff u (2^-24 in float32, 2^-53 in float64; not
TF32, not Winograd, not Strassen): an inner product of n terms is within n u |x|.|y| of the real one
(Jeannerod and Rump, "Improved error bounds for inner products in floating-point arithmetic",
SIAM J. Matrix Anal. Appl. 34, 2013). Subnormal inputs, weights and results may be flushed to zero.
"""

import math
from collections.abc import Iterator, Sequence
from functools import singledispatch
from typing import Any

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.activations import ACTIVATIONS, computed_within
from lipkit.certifier.arithmetic import Arithmetic
from lipkit.certifier.bounding import einsum_matrix, lipschitz
from lipkit.certifier.norms import inflate, matrix_norm_bound, mul_up, vector_norm_bound

Shape = tuple[int, ...]
Error = tuple[float, float]  # (a, b): at most a |x| + b
Bias = np.ndarray | None
ROUNDINGS = 32  # float64 operations that follow each other in a `local_error`, at most


def norms(values: np.ndarray) -> np.ndarray:
    """Upper bounds on the 2-norms of float64 samples: (batch, ...) -> (batch,)."""
    flat = values.reshape(len(values), -1)
    n = flat.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.sum(flat * flat, axis=1)
    # n squares and their sum, of which the root takes half; the root and the sum below.
    # Squares below the smallest normal number are lost: entries below 1.5e-154
    return inflate(np.sqrt(squares), n // 2 + 3) + math.sqrt(n) * 1.5e-154


@singledispatch
def local_error(op: g.Op, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    """(a, b) such that |fl(op)(z) - op(z)| <= a |z| + b for any z of this shape.

    Both are sums of products of numbers >= 0, in at most `ROUNDINGS` operations of float64, whose
    own errors `forward_errors` covers.
    """
    raise NotImplementedError(f"No rounding rule for {type(op).__name__}.")


def _exact(op: g.Op, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    return 0.0, 0.0  # copies and comparisons


def _flushed(arithmetic: Arithmetic, shape: Shape) -> float:
    """2-norm of what is lost at most where entries of this shape are flushed to zero."""
    return arithmetic.tiny * math.sqrt(math.prod(shape))


def _linear(
    arithmetic: Arithmetic,
    terms: int,
    norm: float,
    bias: Bias,
    out_shape: Shape,
) -> Error:
    """Inner products of `terms` terms, plus a bias; `norm` is that of |A|."""
    bias_norm = 0.0
    if bias is not None:
        bias_norm = float(vector_norm_bound(bias.ravel()))
        bias_norm *= math.sqrt(math.prod(out_shape) / bias.size)
    # 2: the bias, and products of errors with each other
    relative = (terms + 2) * arithmetic.unit
    flushed = (terms + 2) * _flushed(arithmetic, out_shape)  # of A too: `terms` entries a row
    return relative * norm + flushed, relative * bias_norm + flushed


def _dense(op: g.Dense, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    norm = matrix_norm_bound(np.abs(op.kernel))
    return _linear(arithmetic, op.kernel.shape[0], norm, op.bias, out_shape)


def _einsum(op: g.Einsum, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    matrix = np.abs(einsum_matrix(op))
    bias = None if op.bias is None else np.broadcast_to(op.bias, out_shape)
    return _linear(arithmetic, len(matrix), matrix_norm_bound(matrix), bias, out_shape)


def _conv(op: g.Conv, arithmetic: Arithmetic, terms: int, bias: Bias, out_shape: Shape) -> Error:
    # the symbol of |K| is nonnegative, so it is largest at frequency 0
    total = np.abs(op.kernel).reshape(-1, *op.kernel.shape[-2:]).sum(axis=0)  # (c_in, c_out)
    norm = max(matrix_norm_bound(part) for part in np.split(total, op.groups, axis=1))
    norm = inflate(norm, math.prod(op.kernel.shape[:-2]))  # the entries are sums over taps
    copies = math.prod(int(np.bincount(samples).max()) for samples in op.shown or ())
    return _linear(arithmetic, terms, math.sqrt(copies) * norm, bias, out_shape)


def _conv_op(op: g.Conv, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    terms = math.prod(op.kernel.shape[:-1])
    return _conv(op, arithmetic, terms, op.bias, out_shape)


def _conv_transpose(
    op: g.ConvTranspose, arithmetic: Arithmetic, shape: Shape, out_shape: Shape
) -> Error:
    kernel = op.conv.kernel
    terms = math.prod(kernel.shape[:-2]) * kernel.shape[-1] // op.conv.groups
    return _conv(op.conv, arithmetic, terms, op.bias, out_shape)


def _axis_maps(op: g.AxisMaps, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    # Programs add all values of an output in one sum, in any order, or axis after axis, which is
    # no more: n_1 + ... + n_d <= n_1 ... n_d + d - 1. Factors are rounded, and multiply, d times.
    terms, norm, sums = 1, 1.0, 0
    for _, matrix in op.matrices:
        longest = int((matrix != 0).sum(axis=1).max(initial=0))
        norm = mul_up(norm, matrix_norm_bound(np.abs(matrix)))
        if longest > 1 or not np.isin(matrix, (0, 1)).all():
            terms, sums = terms * longest, sums + 1
    if not sums:
        return 0.0, 0.0  # copies
    return _linear(arithmetic, terms + 3 * sums - 1, norm, None, out_shape)


def _center(op: g.Center, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    # a mean of `count` terms and a difference; |x| + |mean| has norm at most 2 |x|
    count = math.prod(shape[axis] for axis in op.axes)
    return _linear(arithmetic, count + 2, 2.0, None, out_shape)


def _diagonal(op: g.Diagonal, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    # 8: the root, division, product and differences that make up the factor and the shift
    shift = float(vector_norm_bound(np.broadcast_to(op.magnitude, out_shape).ravel()))
    scale = float(np.max(np.abs(op.scale), initial=0.0))
    relative, flushed = 8 * arithmetic.unit, 8 * _flushed(arithmetic, out_shape)
    return relative * scale + arithmetic.tiny, relative * shift + flushed


def _elementwise(
    op: g.Elementwise, arithmetic: Arithmetic, shape: Shape, out_shape: Shape
) -> Error:
    activation = ACTIVATIONS[op.name]
    size = math.sqrt(math.prod(out_shape))
    ulps = computed_within(op.name, op.parameters, arithmetic.program, arithmetic.name)
    if not ulps:  # one of the operands, but those that are parameters are rounded
        ends = [a.max(initial=0.0) for a in _rounded(op.parameters, arithmetic.name)]
        return 0.0, arithmetic.unit * max(ends, default=0.0) * size
    slope = float(activation.slope(*op.parameters))
    zero = float(np.max(np.abs(activation.function(np.zeros(1), *op.parameters))))
    # |x| + |f(x)| + 1 with |f(x)| <= |f(0)| + slope |x|
    scale = ulps * arithmetic.unit * max(1.0, slope)
    return scale * (1 + slope), scale * (1 + zero) * size + 8 * _flushed(arithmetic, out_shape)


def _rounded(parameters: tuple[Any, ...], dtype: str) -> Iterator[np.ndarray]:
    """Absolute values of the finite parameters that this format does not hold exactly."""
    for parameter in parameters:
        values = np.asarray(parameter, "float64")
        values = values[np.isfinite(values)]
        yield np.abs(values[values.astype(dtype) != values])


def _softmax(op: g.Softmax, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    # exp(x - max) has a relative error of about (|x - max| + ulps) u, the sum n u
    scale = arithmetic.unit * math.sqrt(math.prod(out_shape))
    return 2 * scale, (out_shape[op.axis] + 20) * scale


def _log_softmax(op: g.LogSoftmax, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    # y = z - log(s), z = x - max(x) <= 0, s = sum exp(z) in [1, n]. An error of |z| u in z is at
    # most u / e in exp(z), so s is wrong by (2 n + 20) u of itself, log(s) by that and
    # 20 u (1 + log n), the two differences by (|z| + |y|) u: entries |z| <= sqrt(2) |x|,
    # |y| <= |z| + log n
    n, scale = out_shape[op.axis], arithmetic.unit * math.sqrt(math.prod(out_shape))
    return 6 * scale, (2 * n + 40 + 21 * math.log(n)) * scale


def _norm(op: g.Norm, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    terms = math.prod(shape[axis] for axis in op.axes)
    underflow = math.sqrt(terms * arithmetic.tiny * math.prod(out_shape))
    return (terms + 4) * arithmetic.unit, underflow


def _root_of_squares(
    op: g.RootOfSquares, arithmetic: Arithmetic, shape: Shape, out_shape: Shape
) -> Error:
    """A computed sum S' of n squares is within S' - S <= (n + 6) u S + A of the real one.

    sqrt(S') is within (n + 6) u sqrt(S) + sqrt(A): A is what is flushed, of squares, products and
    partial sums. 32 u are for square and root as powers, which a runtime may take from its library.
    """
    terms, row = 1, 1.0
    for _, matrix in op.matrices:
        terms *= int((matrix != 0).sum(axis=1).max(initial=0))
        row *= inflate(float(np.max(matrix.sum(axis=1), initial=0.0)), matrix.shape[1])
    lost = arithmetic.tiny * ((2 * terms + 2) * op.scale * max(1.0, row) + 4)
    size = math.sqrt(math.prod(out_shape))
    relative = (terms + 6 + 2 * 16) * arithmetic.unit
    constant, _ = lipschitz(op, shape)
    return relative * constant, size * (relative * math.sqrt(op.shift) + math.sqrt(lost))


def _inexact(op: g.Rounded, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    return op.relative * arithmetic.unit, op.absolute * _flushed(arithmetic, out_shape)


def _custom(op: g.Custom, arithmetic: Arithmetic, shape: Shape, out_shape: Shape) -> Error:
    return (0.0, math.inf) if op.error is None else op.error(arithmetic.unit)


def _largest_square(op: g.Norm | g.RootOfSquares) -> float:
    """How often |x|^2 a value on the way to a norm of x may be, apart from a shift."""
    if isinstance(op, g.Norm):
        return 1.0
    factors = (max(1.0, float(np.max(matrix, initial=0.0))) for _, matrix in op.matrices)
    return math.prod(factors) * max(1.0, op.scale)


def local_errors(graph: g.Graph, arithmetic: Arithmetic) -> list[Error]:
    """`local_error` of every node; those of merges are in `forward_errors`."""
    return [
        local_error(node.op, arithmetic, graph.nodes[node.inputs[0]].shape, node.shape)
        if len(node.inputs) == 1
        else (0.0, 0.0)
        for node in graph.nodes
    ]


def forward_errors(
    graph: g.Graph,
    own: Sequence[float],
    local: Sequence[Error],
    reach: Sequence[np.ndarray],
    arithmetic: Arithmetic,
    initial: float = 0.0,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Bounds of |program - real function| in 2-norm.

    Args:
        graph: the graph.
        own, local: each node's Lipschitz constant and `local_errors`.
        reach: for each node, (batch,) bounds on the norm of its real value at all inputs in
            question.
        arithmetic: the program's.
        initial: relative error of the inputs (their conversion to `arithmetic`).

    Returns:
        A list of (batch,) bounds, one for each node, and a (batch,) array: may a value overflow?
    """
    errors: list[np.ndarray] = []
    overflow = np.zeros(np.shape(reach[0]), dtype=bool)
    with np.errstate(all="ignore"):
        for index, node in enumerate(graph.nodes):
            given = [errors[i] for i in node.inputs]
            m = [reach[i] + errors[i] for i in node.inputs]
            rounded = np.zeros(np.shape(reach[0]))
            flushed = _flushed(arithmetic, node.shape)
            if not node.inputs:
                given, rounded = [rounded], initial * reach[index] + flushed
            elif isinstance(node.op, g.Sum):
                given, rounded = [sum(given)], len(m) * (arithmetic.unit * sum(m) + flushed)
            elif len(m) > 1:
                given = [np.sqrt(sum(e * e for e in given))]
            else:
                relative, absolute = local[index]
                rounded = relative * m[0] + absolute
            # k errors and k norms are added up, or squared and added up; 8: m, their products with
            # constants and the sum of both
            errors.append(inflate(own[index] * given[0] + rounded, 2 * len(m) + 8 + ROUNDINGS))
            # an inner product's partial sums are at most |A||z| <= rounded / unit
            largest = np.maximum(reach[index] + errors[-1], rounded / arithmetic.unit)
            if isinstance(node.op, (g.Norm, g.RootOfSquares)):
                largest = np.maximum(largest, _largest_square(node.op) * m[0] * m[0])
            overflow |= ~(largest < arithmetic.largest / 4)
    return errors, overflow


for _op, _function in {
    g.Reshape: _exact,
    g.Permute: _exact,
    g.Slice: _exact,
    g.Rounded: _inexact,
    g.Sort: _exact,
    g.ConcatReLU: _exact,
    g.MaxPool: _exact,
    g.Dense: _dense,
    g.Einsum: _einsum,
    g.Conv: _conv_op,
    g.ConvTranspose: _conv_transpose,
    g.AxisMaps: _axis_maps,
    g.Center: _center,
    g.Diagonal: _diagonal,
    g.Elementwise: _elementwise,
    g.Softmax: _softmax,
    g.LogSoftmax: _log_softmax,
    g.Norm: _norm,
    g.RootOfSquares: _root_of_squares,
    g.Custom: _custom,
}.items():
    local_error.register(_op, _function)

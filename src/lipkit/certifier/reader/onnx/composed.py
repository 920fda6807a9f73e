"""Scalar functions that files write out in operators without a constant of their own.

GELU is x (1 + erf(x / s)) / 2 below opset 20, for instance. An operator such as Erf, or a product
of two tensors, becomes a `Pending` node. Whatever depends on one is written as a polynomial in an
earlier node x and in functions of such polynomials, which is the same for every order of the
operators; if it is that of a known function, that function of x takes its place. What is never
recognised is refused, for the reason of the operator.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.reader.layers import diagonal
from lipkit.errors import NotCertifiable

_X = ("x",)  # the monomial
_TERMS, _DEGREE, _NODES = 6, 4, 16  # of a polynomial; that may be x


@dataclass(frozen=True, eq=False)
class Pending(g.Op):
    """An operator without a Lipschitz constant: its operands, nodes or numbers."""

    kind: str
    operands: tuple
    refusal: NotCertifiable


def _product(p, q):
    product: dict = {}
    for a, b in ((a, b) for a in p for b in q):
        monomial = tuple(sorted(a + b, key=repr))
        product[monomial] = product.get(monomial, 0.0) + p[a] * q[b]
    return product


def _sum(p, q, sign=1):
    keys = {**p, **q}
    total = {key: p.get(key, 0.0) + sign * q.get(key, 0.0) for key in keys}
    return {key: value for key, value in total.items() if value}


def _atom(name, *arguments):
    """A function of polynomials, as a polynomial."""
    frozen = tuple(tuple(sorted(p.items(), key=repr)) for p in arguments)
    return {((name, *frozen),): 1.0}


def _scalar(array):
    """The one value of an array, or None."""
    return float(array.flat[0]) if array.size and (array == array.flat[0]).all() else None


def _polynomial(nodes, index, base, found):
    """What a node is of node `base`, entry by entry; None if it is something else.

    `found` has those of other nodes.
    """
    if isinstance(index, float):
        return {(): index}
    if index not in found:
        p = _expanded(nodes, index, base, found) if index > base else None
        if p is not None and (len(p) > _TERMS or max(map(len, p), default=0) > _DEGREE):
            p = None
        found[index] = p if p is None or all(map(math.isfinite, p.values())) else None
    return found[index]


def _expanded(nodes, index, base, found):
    """`_polynomial` of a node by its operation."""
    node, op = nodes[index], nodes[index].op
    if node.shape != nodes[base].shape:
        return None
    if not isinstance(op, (g.Diagonal, g.Elementwise, g.Sum, Pending)):
        return None
    operands = op.operands if isinstance(op, Pending) else node.inputs
    values = [_polynomial(nodes, operand, base, found) for operand in operands]
    if any(value is None for value in values):
        return None
    first = values[0]
    if isinstance(op, g.Diagonal):
        scale, shift = _scalar(op.scale), _scalar(op.shift)
        if scale is None or shift is None:
            return None
        return _sum({key: scale * value for key, value in first.items()}, {(): shift})
    if isinstance(op, g.Sum):
        total: dict = {}
        for value, sign in zip(values, op.signs or (1,) * len(values), strict=True):
            total = _sum(total, value, sign)
        return total
    if isinstance(op, g.Elementwise):
        if op.name == "negative":
            return _sum({}, first, -1)
        if any(np.ndim(value) for value in op.parameters):
            return None
        return _atom((op.name, *map(float, op.parameters)), *values)
    if op.kind == "Mul":
        return _product(first, values[1])
    if op.kind == "Div":
        return _product(first, _atom("Reciprocal", values[1]))
    if op.kind == "Pow":
        exponent = values[1].get((), 0.0)
        if len(values[1]) != 1 or exponent not in (2.0, 3.0):
            return None
        square = _product(first, first)
        return square if exponent == 2.0 else _product(square, first)
    return _atom(op.kind, *values)


class _Match:
    """A polynomial taken apart. Names of functions are strings, or (name, parameters...)."""

    def __init__(self, polynomial):
        self.terms = polynomial

    def gate(self) -> Any:
        """(a, f, arguments) of a x f(...), else Nones."""
        if len(self.terms) == 1:
            ((monomial, a),) = self.terms.items()
            rest = [atom for atom in monomial if atom != "x"]
            if len(monomial) == 2 and len(rest) == 1:
                return (a, *_parts(rest[0]))
        return None, None, ()

    def half_gate(self) -> Any:
        """(a, f, arguments) of a x + a x f(...), else Nones."""
        if len(self.terms) == 2 and _X in self.terms:
            a, found = self.terms[_X], _Match({k: v for k, v in self.terms.items() if k != _X})
            if found.gate()[0] == a:
                return found.gate()
        return None, None, ()

    def single(self) -> Any:
        """(a, f, arguments) of a f(...), else Nones."""
        if len(self.terms) == 1:
            ((monomial, a),) = self.terms.items()
            if len(monomial) == 1 and monomial != _X:
                return (a, *_parts(monomial[0]))
        return None, None, ()


def _parts(atom):
    name, *arguments = atom
    return name, tuple(dict(p) for p in arguments)


def _slope(p) -> Any:
    """The c of the polynomial c x, else None."""
    return p[_X] if len(p) == 1 and _X in p else None


def _of(p, name) -> Any:
    """(a, c) of a f(c x), f of this name and without parameters; else (None, None)."""
    a, found, arguments = _Match(p).single()
    c = _slope(arguments[0]) if found in (name, (name,)) and len(arguments) == 1 else None
    return (None, None) if c is None else (a, c)


def _gelu(p, unit):
    a, f, arguments = _Match(p).half_gate()
    if f == "Erf" and (c := _slope(arguments[0])):
        k = math.sqrt(2) * c
        return [diagonal(k), g.Elementwise("gelu"), diagonal(2 * a / k)]
    if f == ("tanh",) and arguments[0].keys() == {_X, _X * 3} and arguments[0][_X] > 0:
        c, cubic = arguments[0][_X], arguments[0][_X * 3]
        k = c / math.sqrt(2 / math.pi)
        b = cubic / c / k**2
        if abs(b - 0.044715) <= 1e-7:
            return [diagonal(k), g.Elementwise("gelu_tanh", (b,)), diagonal(2 * a / k)]
    return None


def _gated(p, unit):
    a, f, arguments = _Match(p).gate()
    if a is None:
        return None
    argument = arguments[0]
    name: Any = None
    k, share = _slope(argument), 1.0
    if f == ("sigmoid",) and k:
        name = "silu"
    elif f == ("tanh",) and _of(argument, "softplus")[0] == 1:
        name, k = "mish", _of(argument, "softplus")[1]
    elif f == "Reciprocal" and argument.get((), 0.0) > 0 and len(argument) == 2:
        constant = argument.pop(())
        (e, exponent), (s, inner) = _of(argument, "Exp"), _of(argument, "abs")
        if e == constant:
            name, k, share = "silu", -exponent, 1 / e
        elif s is not None and s * inner != 0 and s > 0:
            name, k, share = "softsign", s * abs(inner) / constant, 1 / constant
    elif isinstance(f, tuple) and f[:2] == ("clip", 0.0) and argument.keys() == {(), _X}:
        top, c = f[2], argument[_X]
        if math.isfinite(top) and top > 0 and c and argument[()] == top / 2:
            name, k, share = "hard_silu", 6 * c / top, top
    return name and [diagonal(k), g.Elementwise(name), diagonal(a * share / k)]


def _logarithm(p, unit):
    """log(sigmoid(x)): what is left of a small sigmoid in floating point has another logarithm."""
    a, f, arguments = _Match(p).single()
    if f == "Log":
        one, c = _of(arguments[0], "sigmoid")
        if one == 1:
            return [diagonal(c), g.Elementwise("log_sigmoid"), diagonal(a)]
    return None


def _piecewise(p, unit):
    """The function that is x above a threshold, and meets it there."""
    a, f, arguments = _Match(p).single()
    if f != "Where" or len(arguments) != 3:
        return None
    _, order, sides = _Match(arguments[0]).single()
    above, below = arguments[1:]
    if order == "Less":
        order, sides = "Greater", sides[::-1]
    if order != "Greater" or {_X: 1.0} not in sides:
        return None
    if sides[1] == {_X: 1.0}:
        sides, above, below = sides[::-1], below, above
    if above != {_X: 1.0} or any(sides[1]):
        return None
    threshold = sides[1].get((), 0.0)
    if below == _atom(("softplus",), {_X: 1.0}) and threshold > 0:
        # it jumps by log(1 + exp(-threshold)): within the rounding of softplus, or refused
        if math.exp(-threshold) <= unit * threshold:
            return [g.Elementwise("softplus"), diagonal(a)]
        return None
    slope = _slope(below) if any(below.values()) else 0.0
    if threshold == 0 and slope is not None:
        return [g.Elementwise("relu", (slope,)), diagonal(a)]
    exp = next(iter(_atom("Exp", {_X: 1.0})))
    if threshold == 0 and below.keys() == {exp, ()} and below[exp] == -below[()]:
        return [g.Elementwise("elu", (below[exp],)), diagonal(a)]
    return None


def _signed(p, unit):
    """Sign(x) |x|, or of relu(|x|), as PyTorch writes the values of its L2-norm pooling."""
    size = _atom(("abs",), {_X: 1.0})
    forms = (_product(_atom("Sign", {_X: 1.0}), f) for f in (size, _atom(("relu",), size)))
    return [] if p in forms else None


_KNOWN = (_gelu, _gated, _logarithm, _piecewise, _signed)


def _candidates(nodes, index):
    """Earlier nodes that this one may be a function of, entry by entry; the nearest first."""
    found, front, shape = [], {index}, nodes[index].shape
    while front and len(found) < _NODES:
        found.append(max(front))
        front.remove(found[-1])
        front |= {i for i in nodes[found[-1]].inputs if nodes[i].shape == shape}
    return found[1:]


def recognised(nodes, index, unit):
    """A known function of an earlier node x that this node computes; or None.

    Returns (x, operations, whether the file's arithmetic is as good as that of one operator).

    Args:
        nodes: the graph so far.
        index: of the node.
        unit: unit roundoff of the file's format.
    """
    for base in _candidates(nodes, index):
        p = _polynomial(nodes, index, base, {base: {_X: 1.0}})
        for known in _KNOWN if p else ():
            ops = known(p, unit)
            scales = [op.scale for op in ops or () if isinstance(op, g.Diagonal)]
            if ops is not None and all(np.isfinite(scale) and scale for scale in scales):
                kept = [op for op in ops if not isinstance(op, g.Diagonal) or (op.scale != 1).any()]
                return base, kept, known is not _logarithm
    return None

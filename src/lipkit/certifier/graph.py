"""What the certifier believes a model to be: a small graph of operations with NumPy weights.

Everything is channels last. Shapes are those of one sample, without the batch axis; axes count
from 0 within the sample. Arrays hold the exact stored weights as float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Op:
    """Base of all operations."""


@dataclass(frozen=True, eq=False)
class Input(Op):
    """One of the model's inputs."""


@dataclass(frozen=True, eq=False)
class Dense(Op):
    """x @ kernel + bias on the last axis: kernel (m, n), bias (n,)."""

    kernel: np.ndarray
    bias: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Einsum(Op):
    """einsum(equation, x, kernel) + bias; `equation` without the batch letter.

    Letters of x are either contracted with the kernel or kept; the kernel's others are new.
    """

    equation: str
    kernel: np.ndarray
    bias: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Conv(Op):
    """Cross-correlation with zero padding: (n_1..n_d, c_in) -> (m_1..m_d, c_out).

    kernel (k_1..k_d, c_in / groups, c_out); padding holds a (low, high) pair an axis. `shown` has
    the sample at each position of each axis before that padding, where some are repeated.
    """

    kernel: np.ndarray
    bias: np.ndarray | None
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    groups: int = 1
    shown: tuple[np.ndarray, ...] | None = None


@dataclass(frozen=True, eq=False)
class ConvTranspose(Op):
    """The adjoint of `conv` (without its bias), whose input has the spatial sizes `size`, + bias.

    So the output has shape (*size, c) where `conv` has a kernel (k_1..k_d, c, c_in).
    """

    conv: Conv
    size: tuple[int, ...]
    bias: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class AxisMaps(Op):
    """A matrix (out, in) along each of some axes: pooling, padding, cropping, resizing."""

    matrices: tuple[tuple[int, np.ndarray], ...]


@dataclass(frozen=True, eq=False)
class Center(Op):
    """x minus its mean over some axes: an orthogonal projection."""

    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Diagonal(Op):
    """scale * x + shift, both broadcast against the sample, with a shape that stays.

    `magnitude` bounds the terms that `shift` was computed from (for its rounding error).
    """

    scale: np.ndarray
    shift: np.ndarray
    magnitude: np.ndarray


@dataclass(frozen=True, eq=False)
class Elementwise(Op):
    """A scalar function of `lipkit.certifier.activations`, with its parameters."""

    name: str
    parameters: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """Softmax over one axis."""

    axis: int = -1


@dataclass(frozen=True, eq=False)
class LogSoftmax(Op):
    """Logarithm of the softmax over one axis."""

    axis: int = -1


@dataclass(frozen=True, eq=False)
class Sort(Op):
    """Ascending sort along one axis."""

    axis: int = -1


@dataclass(frozen=True, eq=False)
class ConcatReLU(Op):
    """concat(relu(x), relu(-x)) along one axis: keeps norms."""

    axis: int = -1


@dataclass(frozen=True, eq=False)
class MaxPool(Op):
    """Largest value of each window; padding never wins. `dilation` is that of the taps, if any."""

    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Norm(Op):
    """2-norm over some axes, which vanish: pooling, after a reshape to windows."""

    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class RootOfSquares(Op):
    """sqrt(scale M x^2 + shift), M a matrix (out, in) along each of some axes: L2-norm pooling.

    No entry of M is negative, nor is `shift`; `scale` is positive.
    """

    matrices: tuple[tuple[int, np.ndarray], ...]
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """The same values in another shape."""

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Permute(Op):
    """The same values with axes in another order."""

    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Slice(Op):
    """The entries start, start + step, ... below stop of one axis."""

    axis: int
    start: int
    stop: int
    step: int = 1


@dataclass(frozen=True, eq=False)
class Rounded(Op):
    """The same values, where the program computes them with an error.

    It is at most relative u |x| + absolute t sqrt(n), with its unit roundoff u, its smallest normal
    number t and n values x.
    """

    relative: float
    absolute: float


@dataclass(frozen=True, eq=False)
class Sum(Op):
    """Sum of the inputs, each times its sign (all +1 if None)."""

    signs: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """Concatenation of the inputs along one axis."""

    axis: int = -1


@dataclass(frozen=True, eq=False)
class Maximum(Op):
    """Largest of the inputs, entry by entry; smallest for sign -1."""

    sign: int = 1


@dataclass(frozen=True, eq=False)
class Custom(Op):
    """A third party's map: float64 function of (batch, ...) arrays, with a constant of its own.

    `lipschitz` and `error` are believed. `error(unit)` gives (a, b): in arithmetic of unit roundoff
    `unit`, the layer's rounding error is at most a |x| + b in 2-norm. Without it nothing is
    certified.

    Example:
    >>> halve = lipkit.certifier.graph.Custom(lambda x: x / 2, 0.5, lambda unit: (unit / 2, 0.0))
    >>> halve.function(4.0), halve.lipschitz
    (2.0, 0.5)
    """

    function: Callable[[np.ndarray], Any]
    lipschitz: float
    error: Callable[[float], tuple[float, float]] | None = None


@dataclass(frozen=True, eq=False)
class Node:
    """An operation, the indices of the nodes that it reads, and where it comes from."""

    op: Op
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    layer: str
    kind: str


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in an order in which each reads earlier ones, and the indices of those given back.

    Example:
    >>> g = lipkit.certifier.graph
    >>> start = g.Node(g.Input(), (), (2,), "x", "Input")
    >>> turn = g.Node(g.Dense(np.array([[0.0, 1.0], [-1.0, 0.0]])), (0,), (2,), "turn", "Dense")
    >>> g.Graph((start, turn), outputs=(1,)).inputs
    (0,)
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]

    @property
    def inputs(self) -> tuple[int, ...]:
        """Indices of the inputs, in the model's order."""
        return tuple(i for i, node in enumerate(self.nodes) if isinstance(node.op, Input))

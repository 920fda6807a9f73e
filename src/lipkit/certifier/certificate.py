"""Radii inside which a decision cannot change, from a graph, its bounds and its rounding errors."""

import math
from dataclasses import dataclass, field

import numpy as np

from lipkit.certifier import bounding, evaluate, rounding
from lipkit.certifier import graph as g
from lipkit.certifier.arithmetic import DOUBLE, Arithmetic
from lipkit.certifier.norms import deflate, inflate, mul_up, up
from lipkit.certifier.status import Status
from lipkit.errors import NotCertifiable

TASKS = ("binary", "multiclass", "multilabel")
LARGEST = 1e300  # the radius of a constant function
ROOT_2 = up(math.sqrt(2))  # of the difference of two logits that each have an error


@dataclass(frozen=True)
class Head:
    """The node whose value decides, and how its differences grow: see `pairwise`."""

    node: int
    features: int
    kernel: np.ndarray | None
    constants: dict[int, np.ndarray] = field(default_factory=dict[int, np.ndarray])


def _under_reshapes(graph: g.Graph, index: int, same: bool = True) -> int:
    """The node below reshapes, below those that keep the shape if `same`."""
    while isinstance(graph.nodes[index].op, (g.Reshape, g.Rounded)):
        (below,) = graph.nodes[index].inputs
        if same and graph.nodes[below].shape != graph.nodes[index].shape:
            break
        index = below
    return index


def _last(graph: g.Graph, output: int) -> tuple[int, int, str]:
    """The output node, that before all reshapes, and the name of its function."""
    index = _under_reshapes(graph, output)
    last = _under_reshapes(graph, index, same=False)
    op = graph.nodes[last].op
    return index, last, op.name if isinstance(op, g.Elementwise) else type(op).__name__


def refuse_sigmoid(graph: g.Graph, name: str) -> None:
    """Refuse a final sigmoid, behind which a factor would change decisions: f > 0 or f > 0.5."""
    if any(_last(graph, output)[2] == "sigmoid" for output in graph.outputs):
        raise NotCertifiable(
            f"Model {name!r} ends with a sigmoid, whose values cannot be scaled without a change "
            "of decisions. Finalize the model that ends with the logits."
        )


def find_head(graph: g.Graph, task: str | None, arithmetic: Arithmetic | None) -> tuple[Head, str]:
    """The logits: the output, or what a final (log) softmax or sigmoid reads; and the task.

    They keep the order of the real logits, so real decisions are the same. In floating point they
    round to ties, so a program with them has no certificate.
    """
    index, last, final = _last(graph, graph.outputs[0])
    node = graph.nodes[last]
    over_classes = final in ("Softmax", "LogSoftmax")
    if final == "sigmoid" or (over_classes and last == index):
        if arithmetic is not None:
            raise NotCertifiable(
                f"a final {final.lower()} saturates to ties in {arithmetic.name}. Certify the "
                "model that ends with the logits.",
                f"Layer {node.layer!r} ({node.kind})",
            )
        index = _under_reshapes(graph, node.inputs[0])
    node = graph.nodes[index]
    outputs = math.prod(node.shape)
    if task is None:
        task = "binary" if outputs == 1 and not over_classes else "multiclass"
    if task not in TASKS:
        raise ValueError(f"`task` must be one of {TASKS} or None. Received: task={task!r}")
    if len(node.shape) > 1 < outputs or (task == "binary") != (outputs == 1):
        raise NotCertifiable(
            f"Outputs of shape {node.shape} do not fit task={task!r}: it needs "
            f"{'one logit' if task == 'binary' else 'a vector of at least 2 logits'}."
        )
    linear = isinstance(node.op, g.Dense) and len(graph.nodes[node.inputs[0]].shape) == 1
    kernel = node.op.kernel if isinstance(node.op, g.Dense) and linear else None
    return Head(index, node.inputs[0] if node.inputs else index, kernel), task


def pairwise(head: Head, bounds: bounding.Bounds, label: int, task: str) -> np.ndarray:
    """Constants of the margins of class `label` over each class j: (classes,).

    With a linear head, L_features |w_label - w_j| (|w_j| for logits on their own); otherwise the
    joint constant of the logits, times sqrt(2) for a difference of two.
    """
    if head.kernel is None:
        constant = bounds.total[head.node]
        return np.array([constant if task != "multiclass" else mul_up(ROOT_2, constant)])
    if label not in head.constants:
        kernel = head.kernel
        difference = kernel[:, [label]] - kernel if task == "multiclass" else kernel
        lengths = inflate(rounding.norms(difference.T), 1)  # of each entry
        head.constants[label] = mul_up(bounds.total[head.features], lengths)
    return head.constants[label]


class Certifier:
    """Certify batches of one graph; the bounds are computed once.

    Args:
        graph: graph with one output.
        bounds: its `lipkit.certifier.bounding.compose`.
        arithmetic: the deployed program's, or None for the real-valued network.
        task: one of `TASKS`, or None to infer it from the number of outputs.
    """

    def __init__(
        self,
        graph: g.Graph,
        bounds: bounding.Bounds,
        arithmetic: Arithmetic | None = None,
        task: str | None = None,
    ):
        self.graph, self.bounds, self.arithmetic = graph, bounds, arithmetic
        self.head, self.task = find_head(graph, task, arithmetic)
        self._local = {a: rounding.local_errors(graph, a) for a in {DOUBLE, arithmetic or DOUBLE}}

    def _margins(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Label, and margins with their constants over each alternative: (batch, alternatives)."""
        if self.task == "binary":
            flat = logits.reshape(-1)
            label = (flat > 0).astype(int)
            return label, np.abs(flat)[:, None], self._constants(label)
        if self.task == "multilabel":
            return (logits > 0).astype(int), np.abs(logits), self._constants(np.zeros(len(logits)))
        label = np.argmax(logits, axis=1)
        rows = np.arange(len(logits))
        margins = logits[rows, label][:, None] - logits
        margins[rows, label] = np.inf  # by index, never by value: ties must stay
        return label, margins, self._constants(label)

    def _constants(self, label: np.ndarray) -> np.ndarray:
        rows = {int(c): pairwise(self.head, self.bounds, int(c), self.task) for c in set(label)}
        return np.stack([rows[int(c)] for c in label])

    def __call__(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """(label, radius, margin, constant, status) of a batch of float64 inputs."""
        graph, bounds = self.graph, self.bounds
        values = evaluate.run(graph, *inputs)
        logits = values[self.head.node]
        reach = [rounding.norms(v) for v in values]
        finite_in = np.logical_and.reduce(
            [np.isfinite(x.reshape(len(x), -1)).all(axis=1) for x in inputs]
        )
        finite_out = np.isfinite(logits.reshape(len(logits), -1)).all(axis=1)
        with np.errstate(all="ignore"):
            label, margins, constants = self._margins(np.where(np.isfinite(logits), logits, 0.0))
            constants = np.broadcast_to(constants, margins.shape)
            errors, overflow = rounding.forward_errors(
                graph, bounds.own, self._local[DOUBLE], reach, DOUBLE
            )
            error = errors[self.head.node]
            radii = self._radii(margins, constants, error)
            if self.arithmetic is not None:
                # all values that occur at any input within the real radius
                farthest = radii.min(axis=1)
                ball = [
                    inflate(r + e + bound * farthest, 3)  # two sums, a product
                    for r, e, bound in zip(reach, errors, bounds.total, strict=True)
                ]
                program, overflow = rounding.forward_errors(
                    graph,
                    bounds.own,
                    self._local[self.arithmetic],
                    ball,
                    self.arithmetic,
                    initial=self.arithmetic.unit,
                )
                radii = self._radii(margins, constants, error + program[self.head.node])
        best = np.argmin(radii, axis=1)
        rows = np.arange(len(radii))
        radius, margin, constant = radii[rows, best], margins[rows, best], constants[rows, best]
        status = np.array([Status.CERTIFIED] * len(radius), dtype=object)
        for reason, found in (
            (Status.ROUNDING, ~(radius > 0)),
            (Status.TIE, margins.min(axis=1) == 0),
            (Status.OVERFLOW, overflow),
            (Status.BAD_OUTPUT, ~finite_out),
            (Status.BAD_INPUT, ~finite_in),
        ):
            status[found] = reason
        bad = status != Status.CERTIFIED
        radius = np.where(bad, 0.0, radius)
        unusable = ~finite_in | ~finite_out
        margin = np.where(unusable | ~np.isfinite(margin), 0.0, margin)
        label = np.where(unusable.reshape(-1, *(1,) * (label.ndim - 1)), -1, label)
        return label, radius, margin, constant, status

    @staticmethod
    def _radii(margins: np.ndarray, constants: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Lower bounds on (margin - errors of both logits) / constant, finite."""
        # a difference of logits; a product; the difference of the two, and the quotient
        sure = deflate(margins, 1) - inflate(ROOT_2 * error[:, None], 1)
        radii = np.minimum(deflate(sure / np.maximum(constants, 1e-300), 2), LARGEST)
        return np.where(sure > 0, radii, 0.0)

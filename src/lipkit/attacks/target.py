"""The points that attacks are after: margins, gradients, labels, and the inputs in their balls."""

import math
from functools import partial

import numpy as np
from keras import ops

from lipkit._backend import value_and_input_gradient
from lipkit.attacks.result import within
from lipkit.certifier import Certificates, certify
from lipkit.certifier.arithmetic import FORMATS
from lipkit.certifier.certificate import find_head
from lipkit.certifier.reader import read
from lipkit.export import vanilla_model

NEVER = -1e30  # added to logits that must not be the largest
SHRINK = (1.0, *(1 - 2.0**-k for k in (26, 23, 20, 16, 12, 8, 4)), 0.5, 0.0)
BATCH = 1024


def unit(delta):
    """Rows of (m, d) divided by their length; rows of zeros stay."""
    return delta / lengths(delta)


def lengths(delta):
    """Positive lengths of rows: (m, d) -> (m, 1)."""
    return np.maximum(np.linalg.norm(delta, axis=1), 1e-300)[:, None]


def inputs(model, x):
    """`x` in float64 (n, ...), the model's input dtype, and what the certifier reads in it."""
    tensors = getattr(model, "inputs", None) or []
    if len(tensors) > 1 or len(getattr(model, "outputs", None) or []) > 1:
        raise ValueError(f"`model` must have one input and one output. Received: {model.name!r}")
    x = np.asarray(x if isinstance(x, (np.ndarray, list)) else ops.convert_to_numpy(x))
    for shape in (tuple(tensor.shape[1:]) for tensor in tensors):
        fits = [size in (None, given) for size, given in zip(shape, x.shape[1:], strict=False)]
        if x.ndim != 1 + len(shape) or not all(fits):
            raise ValueError(f"`x` must have shape {('n', *shape)}. Received: shape {x.shape}")
    reading = read(model, x.shape[1:])
    dtype = np.dtype(model.inputs[0].dtype)
    if dtype.kind != "f":
        raise ValueError(f"`model` must read floating-point inputs. Received: {dtype}")
    return x.astype("float64"), dtype, reading


def plain(model, reading):
    """A model of the same function for the search, in which no kernel is computed at each call."""
    return vanilla_model(model) if reading.rewritten else model


def compile_gradient(function, model):
    """`function(model, x, ...) -> (n,)`, compiled to give its gradient in x too."""
    return value_and_input_gradient(partial(function, model), model.variables)


def in_batches(function, *arrays):
    """Outputs of `function` on batches of one size, so that it is compiled once."""
    m = len(arrays[0])
    chunks = [np.arange(i, i + min(m, BATCH)) % m for i in range(0, m, BATCH)]
    parts = [function(*(a[chunk] for a in arrays)) for chunk in chunks]
    return [np.concatenate(part)[:m] for part in zip(*parts, strict=True)]


def _excess(model, x, signs, mask, own):
    logits = ops.reshape(model(x, training=False), (-1, signs.shape[-1]))
    logits = ops.cast(logits, "float32")
    return ops.max(signs * logits + mask, axis=-1) - ops.sum(own * logits, axis=-1)


class Balls:
    """The m certified of n points, flat (m, d), and the balls in which they may be moved.

    Args:
        model, x, scale: see `lipkit.attacks.falsify`.
        proofs: certificates or intervals of x, in number and kind as they must be.
        radius: one, or (n,).
    """

    def __init__(self, model, x, proofs, radius, scale):
        self.all, self.dtype, self.reading = inputs(model, x)
        n, *self.shape = self.all.shape
        if len(proofs) != n:
            raise ValueError(f"`certificates` must be those of the {n} inputs x.")
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale < 1e9:
            raise ValueError(f"`scale` must be a positive number. Received: scale={scale!r}")
        radius = np.asarray(radius, "float64")
        if radius.shape not in ((), (n,)) or not ((radius >= 0) & np.isfinite(radius)).all():
            raise ValueError(f"`radius` must be finite, >= 0, one or {n}. Received: {radius!r}")
        self.model, self.arithmetic = model, proofs.arithmetic
        self.rows = np.flatnonzero(proofs.certified)
        self.x = self.all[self.rows].reshape(len(self.rows), math.prod(self.shape))
        self.radius, self.scale = np.broadcast_to(radius, (n,))[self.rows], scale
        # no further than where squared norms are finite
        self.reach = np.minimum(self.radius * scale, float(np.finfo(self.dtype).max) ** 0.5)
        self._plain = plain(model, self.reading)

    def _ascent(self, compiled, points, *arrays):
        """A compiled value at points (m, d), and its unit gradient (m, d)."""
        value, gradient = in_batches(compiled, points.reshape(-1, *self.shape), *arrays)
        gradient = np.nan_to_num(gradient.reshape(self.x.shape).astype("float64"))
        return np.nan_to_num(value, nan=NEVER), unit(gradient)

    def inside(self, points):
        """Whether points (m, d) are in the balls, exactly."""
        return within(self.x, points, self.radius, self.scale)

    def admissible(self, aim):
        """Inputs in the model's dtype near `aim` (m, d), in the balls where there are any."""
        delta = aim - self.x
        delta *= self.reach[:, None] / np.maximum(lengths(delta), self.reach[:, None])
        points, left = np.empty(aim.shape, self.dtype), np.arange(len(aim))
        for shrink in SHRINK:
            points[left] = self.x[left] + shrink * delta[left]
            left = left[~within(self.x[left], points[left], self.radius[left], self.scale)]
        return points


class Target(Balls):
    """Points whose label is to change; see `lipkit.attacks.falsify` for the arguments."""

    def __init__(self, model, x, certificates, radius=None, scale=1.0):
        if not isinstance(certificates, Certificates):
            raise ValueError("`certificates` must be the result of certify for the inputs x.")
        radius = certificates.radius if radius is None else radius
        super().__init__(model, x, certificates, radius, scale)
        self.graph = self.reading.graph
        task = "multilabel" if certificates.label.ndim == 2 else None
        # a final sigmoid or softmax is refused, as in float32: it hides gradients
        self.head, self.task = find_head(self.graph, task, FORMATS["float32"])
        self.label = certificates.label[self.rows]
        self.sides = self._sides(math.prod(self.graph.nodes[self.head.node].shape))
        self._compiled = compile_gradient(_excess, self._plain)

    def _sides(self, outputs):
        """(signs, mask, own), each (m, c): wrong if max(signs * logits + mask) > own . logits."""
        ones = np.ones((len(self.rows), outputs), "float32")
        if self.task != "multiclass":
            return 1 - 2 * self.label.reshape(ones.shape).astype("float32"), 0 * ones, 0 * ones
        own = np.eye(outputs, dtype="float32")[self.label]
        return ones, np.float32(NEVER) * own, own

    def excess(self, points, mask=None):
        """By how much the nearest wrong label wins (m,), and the unit gradient (m, d)."""
        signs, default, own = self.sides
        mask = default if mask is None else mask
        return self._ascent(self._compiled, points, signs, mask, own)

    def logits(self, points):
        """The program's own outputs: (m, d) -> (m, c)."""

        def call(batch):
            # a model with float32 certificates is plain: this is the certified program itself
            outputs = self._plain(ops.convert_to_tensor(batch), training=False)
            return (ops.convert_to_numpy(outputs),)

        (outputs,) = in_batches(call, points.reshape(-1, *self.shape))
        return outputs.reshape(len(points), -1).astype("float64")

    def broken(self, points):
        """Whether points (m, d) are in the balls and have another label."""
        if self.arithmetic == "real":
            shaped = points.reshape(-1, *self.shape)
            proven = certify(self.model, shaped, task=self.task, progress=False)
            label, sure = proven.label, proven.certified
        else:
            logits = self.logits(points)
            label = logits.argmax(axis=1) if self.task == "multiclass" else logits > 0
            sure = np.isfinite(logits).all(axis=1)
        wrong = label.reshape(len(points), -1) != self.label.reshape(len(points), -1)
        return sure & wrong.any(axis=1) & self.inside(points)


class Best:
    """The points with the largest value so far."""

    def __init__(self, points):
        self.points, self.value = points.copy(), np.full(len(points), -np.inf)

    def offer(self, points, value):
        """Keep those that are better."""
        better = value > self.value
        self.points[better], self.value[better] = points[better], value[better]
        return better

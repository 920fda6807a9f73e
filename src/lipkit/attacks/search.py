"""The searches: each maps a target to one attempt at each of its points, (m, d)."""

import numpy as np

from lipkit.attacks.target import NEVER, Best, Target, lengths, unit
from lipkit.certifier import graph as g

ALTERNATIVES = 9  # labels that the one-step attack aims at
TRIALS, COORDINATES = 16, 64  # of the rounding search


def pgd(target: Target, rng, steps, restarts):
    """Projected ascent of the excess; the first start is the point itself."""
    best = Best(target.admissible(target.x))
    for restart in range(restarts):
        start = unit(rng.standard_normal(target.x.shape)) * (restart > 0)
        points = target.admissible(target.x + _times(start, rng.uniform(size=len(start)), target))
        for step in range(steps + 1):
            value, gradient = target.excess(points)
            best.offer(points, value)
            if step < steps:  # the first crosses the ball, later ones are shorter
                points = target.admissible(points + _times(gradient, 1 - step / steps, target))
    return best.points


def _times(direction, share, target):
    return direction * (share * target.reach)[:, None]


def one_step(target: Target):
    """To the end of the ball along the gradient of the margin over each of the nearest labels."""
    best = Best(target.admissible(target.x))
    center = best.points.copy()
    signs, mask, _ = target.sides
    order = np.argsort(-(signs * target.logits(center) + mask), axis=1)
    for rank in range(min(ALTERNATIVES, signs.shape[1] - (target.task == "multiclass"))):
        only = np.full_like(mask, NEVER)
        np.put_along_axis(only, order[:, [rank]], 0, axis=1)
        _, gradient = target.excess(center, only)
        points = target.admissible(target.x + _times(gradient, 1.0, target))
        best.offer(points, target.excess(points)[0])
    return best.points


def is_linear(target: Target) -> bool:
    """Whether the model is one dense layer, up to reshapes."""
    nodes = [node.op for node in target.graph.nodes]
    dense = [op for op in nodes if isinstance(op, g.Dense)]
    plain = all(isinstance(op, (g.Input, g.Reshape, g.Dense)) for op in nodes)
    return plain and len(dense) == 1 and target.head.kernel is not None


def rounding(target: Target, rng):
    """Inputs next to the decision boundary of a linear model, where rounding decides.

    Trials alternate between the end of the ball and the nearest point of the boundary, where single
    coordinates are moved by a few units in the last place until the margin is just reversed.
    """
    normal, offset, blur = _boundary(target)
    away = unit(normal)
    distance = (blur - np.sum(normal * target.x, axis=1) - offset) / lengths(normal)[:, 0]
    best = Best(target.admissible(target.x))
    signs, mask, own = target.sides
    for trial in range(TRIALS):
        length = target.reach if trial % 2 else np.minimum(distance, target.reach)
        noise = rng.uniform(-1, 1, target.x.shape) * np.spacing(target.x.astype(target.dtype))
        points = (target.x + away * length[:, None] + noise).astype(target.dtype)
        points = _onto(points, normal, offset, blur) if trial % 2 == 0 else points
        if target.arithmetic == "real":
            value = np.sum(normal * points, axis=1) + offset
        else:
            logits = target.logits(points)
            value = np.max(signs * logits + mask, axis=1) - np.sum(own * logits, axis=1)
        best.offer(points, np.where(target.inside(points), value, -np.inf))
    return best.points


def _boundary(target):
    """The nearest boundary normal . x + offset = 0: (m, d), (m,); and the error of proofs (m,)."""
    dense = target.graph.nodes[target.head.node].op
    bias = np.zeros(dense.kernel.shape[1]) if dense.bias is None else dense.bias
    signs, mask, own = (a.astype("float64") for a in target.sides)
    values = target.x @ dense.kernel + bias
    excess = signs * values + mask - np.sum(own * values, axis=1, keepdims=True)
    kernels = [signs[:, [j]] * dense.kernel[:, j] - own @ dense.kernel.T for j in range(len(bias))]
    size = np.concatenate([lengths(kernel) for kernel in kernels], axis=1)  # (m, c)
    # of the label itself: 1e30 over a length of 0, the farthest
    rows, nearest = np.arange(len(values)), np.argmin(-excess / size, axis=1)
    offset = signs[rows, nearest] * bias[nearest] - own @ bias
    scale = np.linalg.norm(dense.kernel) * lengths(target.x)[:, 0] + np.linalg.norm(bias)
    blur = 8 * (len(dense.kernel) + 4) * 2.0**-53 * scale
    return np.stack(kernels)[nearest, rows], offset, blur


def _onto(points, normal, offset, aim):
    """Points moved by a few units in the last place until normal . point + offset is near `aim`."""
    grain = np.maximum(np.spacing(np.abs(points)), 1e-12 * np.max(np.abs(points), initial=0.0))
    effect = normal * grain
    chosen = np.linspace(0, points.shape[1] - 1, min(COORDINATES, points.shape[1])).astype(int)
    order = np.argsort(-np.abs(effect), axis=1)[:, chosen]  # coarse to fine
    rest = aim - np.sum(normal * points, axis=1) - offset
    rows = np.arange(len(points))
    for column in order.T:
        step = effect[rows, column]
        count = np.clip(np.rint(rest / np.where(step == 0, np.inf, step)), -4, 4)
        before = points[rows, column].astype("float64")
        points[rows, column] = before + count * grain[rows, column]
        rest -= normal[rows, column] * (points[rows, column] - before)
    return points

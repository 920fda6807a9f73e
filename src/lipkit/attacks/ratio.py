"""A lower estimate of a model's Lipschitz constant."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from lipkit._checks import integer
from lipkit.attacks.target import Best, compile_gradient, in_batches, inputs, lengths, plain, unit
from lipkit.certifier import bounding, evaluate, rounding
from lipkit.certifier.arithmetic import DOUBLE
from lipkit.certifier.norms import deflate, inflate


def lipschitz_ratio(
    model: keras.Model, x: ArrayLike, steps: int = 20, distance: float = 1e-2, seed: int = 0
) -> float:
    """A lower estimate of the Lipschitz constant: the largest |f(x) - f(y)| / |x - y| found.

    From each x, power iteration of the Jacobian: y <- x + distance * g / |g|, with g the gradient
    of |f(x) - f(y)| at y. The ratio is that of two float inputs, evaluated in float64 less the
    bound on its rounding error: a proven lower bound; how tight it is, is not known.

    Args:
        model: model of one input and one output, as in `lipkit.lipschitz_bound`.
        x: (n, ...) inputs, n >= 1, finite.
        steps: number of iterations, >= 1.
        distance: distance of y from x, > 0.
        seed: seed of the first directions.

    Returns:
        A float, at most `lipkit.lipschitz_bound(model)`.

    Raises:
        NotCertifiable: the model has a layer without a rule.
        ValueError: an argument is out of range, or `x` is empty or not finite.

    Example:
    >>> lipkit.attacks.lipschitz_ratio(model, x) <= lipkit.lipschitz_bound(model)
    True
    """
    steps = integer("steps", steps)
    if isinstance(distance, bool) or not 0 < distance < np.inf:
        raise ValueError(f"`distance` must be a positive number. Received: distance={distance!r}")
    x, dtype, reading = inputs(model, x)
    if not len(x) or not np.isfinite(x).all():
        raise ValueError("`x` must hold at least one input, and finite numbers only.")
    graph = reading.graph
    shape, flat = x.shape[1:], x.reshape(len(x), -1)
    start = flat.astype(dtype).astype("float64")
    outputs = int(np.prod(graph.nodes[graph.outputs[0]].shape))

    def difference(model, y, reference):
        delta = (
            ops.cast(ops.reshape(model(y, training=False), (-1, outputs)), "float32") - reference
        )
        return ops.sqrt(ops.sum(delta * delta, axis=-1) + 1e-30)  # a root at 0 has no gradient

    compiled = compile_gradient(difference, plain(model, reading))
    values = proven_values(graph)
    reference = values(start.reshape(-1, *shape))[0].astype("float32")
    best = Best(start)
    direction = unit(np.random.default_rng(seed).standard_normal(flat.shape))
    for _ in range(steps + 1):
        points = (start + distance * direction).astype(dtype)
        value, gradient = in_batches(compiled, points.reshape(-1, *shape), reference)
        moved = lengths(points - start)[:, 0]
        # where y rounds to x there is no ratio
        best.offer(points.astype("float64"), np.where(moved > distance / 10, value / moved, 0.0))
        direction = unit(np.nan_to_num(gradient.reshape(flat.shape).astype("float64")))
    (a, error_a), (b, error_b) = (values(p.reshape(-1, *shape)) for p in (start, best.points))
    # differences, squares, sums and roots, never more than the entries and some
    rise = deflate(np.linalg.norm(a - b, axis=1), outputs + 4) - error_a - error_b
    ratios = rise / inflate(lengths(best.points - start)[:, 0], start.shape[1] + 4)
    return float(np.max(np.nan_to_num(ratios, nan=0.0), initial=0.0))


def proven_values(graph):
    """A function of float64 inputs: the outputs (n, c) and bounds on their rounding errors (n,)."""
    own, local = bounding.compose(graph).own, rounding.local_errors(graph, DOUBLE)

    def batch(x):
        values = evaluate.run(graph, x)
        reach = [rounding.norms(v) for v in values]
        errors, _ = rounding.forward_errors(graph, own, local, reach, DOUBLE)
        index = graph.outputs[0]
        return values[index].reshape(len(x), -1), errors[index]

    return lambda x: in_batches(batch, x)

"""Values of a model in float64, and the interval that they stay in around an input."""

import numpy as np

from lipkit.certifier import bounding, evaluate, rounding
from lipkit.certifier.api import analyse
from lipkit.certifier.arithmetic import DOUBLE
from lipkit.certifier.norms import inflate
from lipkit.certifier.reader import read
from lipkit.certifier.weights import factor, only_input


def _batches(x, size):
    x = np.asarray(x, "float64")
    return [x[start : start + size] for start in range(0, max(len(x), 1), size)]


def values(model, x, batch_size=256) -> np.ndarray:
    """The outputs of a model in float64: what certificates in real arithmetic are about.

    They do not depend on the batch that a sample is in. Estimates: `output_interval` has the proof.
    """
    graph = read(model).graph
    parts = [evaluate.run(graph, part)[graph.outputs[0]] for part in _batches(x, batch_size)]
    return np.concatenate(parts)


def output_interval(model, x, radius=0.0, weights=None, batch_size=256):
    """Proven bounds on each output at all inputs within a distance of x: f(x) -+ (error + L r).

    L is the proven Lipschitz constant of the whole output, `error` bounds the rounding of f(x) in
    float64. They hold for the network in real arithmetic.

    Args:
        model: as in `lipkit.lipschitz_bound`, with one input and one output.
        x: (n, ...) inputs.
        radius: distance, finite and >= 0: one, or (n,).
        weights: w, for distances |w (x' - x)|: see `lipkit.certifier.reweighted`. None: all 1.
        batch_size: inputs evaluated at a time.

    Returns:
        Arrays (lower, upper) of the shape of the output, (n, ...): infinite where the arithmetic
        may overflow.

    Raises:
        NotCertifiable: the model has a layer without a rule.
        ValueError: negative or non-finite radii, inputs that are not finite, bad weights.

    Example:
    >>> lower, upper = lipkit.certifier.output_interval(model, x, radius=0.1)
    >>> lower.shape, bool((upper - lower < 0.21).all())
    ((200, 1), True)
    """
    x = np.asarray(x, "float64")
    radius = np.asarray(radius, "float64")
    if radius.shape not in ((), x.shape[:1]) or not (np.isfinite(radius) & (radius >= 0)).all():
        raise ValueError(
            f"`radius` must be finite and >= 0, one or {len(x)}. Received: radius={radius}"
        )
    if not np.isfinite(x).all():
        raise ValueError("`x` must be finite. Received: nan or infinity")
    reading, bounds = analyse(model)
    graph, local = reading.graph, rounding.local_errors(reading.graph, DOUBLE)
    if x.shape[1:] != only_input(graph)[1] or len(graph.outputs) != 1:
        raise ValueError(
            f"`model` must have one output, and `x` the shape (n, *{only_input(graph)[1]}). "
            f"Received: {len(graph.outputs)} outputs, x of shape {x.shape}"
        )
    constant = bounding.output_bound(graph, bounds) * factor(graph, weights)
    middle, error = [], []
    for part in _batches(x, batch_size):
        found = evaluate.run(graph, part)
        reach = [rounding.norms(value) for value in found]
        errors, overflow = rounding.forward_errors(graph, bounds.own, local, reach, DOUBLE)
        middle.append(found[graph.outputs[0]])
        error.append(np.where(overflow, np.inf, errors[graph.outputs[0]]))
    middle = np.concatenate(middle)
    half = inflate(np.concatenate(error) + constant * radius, 3)  # two products and a sum
    half = half.reshape(-1, *(1,) * (middle.ndim - 1))
    middle = np.where(np.isfinite(half), middle, 0.0)
    return np.nextafter(middle - half, -np.inf), np.nextafter(middle + half, np.inf)

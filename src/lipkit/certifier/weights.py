"""Certificates in units of one's own: distances |w (x' - x)|, with a weight for each feature."""

from dataclasses import replace

import numpy as np

from lipkit.certifier import bounding
from lipkit.certifier import graph as g
from lipkit.certifier.api import lipschitz_bound, reading_of
from lipkit.certifier.certificate import LARGEST
from lipkit.certifier.norms import deflate, inflate, mul_up
from lipkit.certifier.result import DISTANCES, Certificates


def checked(weights, shape, name="weights"):
    """The weights as float64 (shape), if they are positive and finite numbers."""
    array = np.asarray(weights)
    if array.dtype.kind not in "fiu" or array.shape not in ((), tuple(shape)):
        raise ValueError(
            f"`{name}` must be numbers, one for each feature: shape {tuple(shape)}. Received: "
            f"shape {array.shape}, dtype {array.dtype}"
        )
    array = np.broadcast_to(array.astype("float64"), shape)
    if not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(
            f"`{name}` must be positive and finite. Received: values from {array.min():.6g} to "
            f"{array.max():.6g}"
        )
    return array


def only_input(graph: g.Graph):
    """The input node of a graph, and its shape."""
    if len(graph.inputs) != 1:
        raise ValueError(f"The model must have one input. Received: {len(graph.inputs)}")
    return graph.inputs[0], graph.nodes[graph.inputs[0]].shape


def factor(graph: g.Graph, weights) -> float:
    """What makes of a graph's bound one for each unit of |w dx|: at most max(1 / w).

    A first operation s x + t that all others read stretches |w dx| by at most max(|s| / w), where
    its own constant was; those of the others are multiplied as before.

    Args:
        graph: graph of one input.
        weights: positive numbers, one for each feature or for all; None for 1.
    """
    if weights is None:
        return 1.0
    index, shape = only_input(graph)
    weights = checked(weights, shape)
    readers = [i for i, node in enumerate(graph.nodes) if index in node.inputs]
    first = graph.nodes[readers[0]].op if len(readers) == 1 else None
    if isinstance(first, g.Diagonal) and index not in graph.outputs and first.scale.any():
        stretch = np.abs(np.broadcast_to(first.scale, shape)) / weights
        # 8 of the factor itself, as in its constant, and two quotients
        return inflate(float(np.max(stretch)) / bounding.lipschitz(first, shape)[0], 10)
    return inflate(float(np.max(1 / weights)), 1)


def weighted_bound(model, weights) -> float:
    """A proven Lipschitz constant of the model per unit of |w dx|: see `reweighted`."""
    return float(mul_up(float(lipschitz_bound(model)), factor(reading_of(model).graph, weights)))


def assumed(assumptions, weights) -> tuple[str, ...]:
    """Assumptions of a proof, with what distances are where the features have weights."""
    distances = "distances are sqrt(sum (w_i dx_i)^2) with the user's weights w of the features"
    return tuple(distances if a == DISTANCES and weights is not None else a for a in assumptions)


def reweighted(certificates: Certificates, model, weights) -> Certificates:
    """The certificates with radii in units of |w (x' - x)| = sqrt(sum (w_i dx_i)^2).

    With w = 1 / std a radius counts standard deviations. Where the model begins with a scaling of
    the features, only the ratio of scale and weight matters; elsewhere radii shrink by min(w).

    Args:
        certificates: `lipkit.certify(model, x)`, in real arithmetic.
        model: the certified model, of one input.
        weights: positive numbers, one for each feature or for all; None for no change.

    Returns:
        New `Certificates`; only `radius`, `lipschitz` and the assumptions differ.

    Raises:
        ValueError: bad weights, or certificates of a program in floating point, whose rounding
            errors were bounded in another ball.

    Example:
    >>> certificates = lipkit.certify(model, x)
    >>> standard = lipkit.certifier.reweighted(certificates, model, 1 / x.std(axis=0))
    >>> bool((standard.radius >= certificates.radius).all())  # deviations are below 1 here
    True
    """
    if weights is None:
        return certificates
    if certificates.arithmetic != "real":
        raise ValueError(
            "`certificates` must be of arithmetic='real' to be weighted. Received: "
            f"arithmetic={certificates.arithmetic!r}"
        )
    by = factor(reading_of(model).graph, weights)
    return replace(
        certificates,
        radius=np.minimum(deflate(certificates.radius / by, 1), LARGEST),
        lipschitz=mul_up(certificates.lipschitz, by),
        assumptions=assumed(certificates.assumptions, weights),
    )

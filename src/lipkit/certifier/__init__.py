"""Proofs about Keras models: `lipkit.certify(model, x)`, and the parts that it is made of."""

from lipkit.certifier import graph
from lipkit.certifier.api import certify, lipschitz_bound
from lipkit.certifier.bounding import LayerBound
from lipkit.certifier.interval import Intervals, certify_values, output_interval
from lipkit.certifier.reader import as_exported, register_rule
from lipkit.certifier.result import Certificates, LipschitzBound
from lipkit.certifier.status import Status
from lipkit.certifier.weights import reweighted

__all__ = [
    "Certificates",
    "Intervals",
    "LayerBound",
    "LipschitzBound",
    "Status",
    "as_exported",
    "certify",
    "certify_values",
    "graph",
    "lipschitz_bound",
    "output_interval",
    "register_rule",
    "reweighted",
]

"""Proofs about Keras models: `lipkit.certify(model, x)`, and the parts that it is made of."""

import sys
import types

from lipkit.certify import graph
from lipkit.certify.api import certify, lipschitz_bound
from lipkit.certify.interval import output_interval
from lipkit.certify.reader import register_rule
from lipkit.certify.result import Certificates, LipschitzBound
from lipkit.certify.rules import LayerBound
from lipkit.certify.scaling import finalize
from lipkit.certify.weights import reweighted

__all__ = [
    "Certificates",
    "LayerBound",
    "LipschitzBound",
    "certify",
    "finalize",
    "graph",
    "lipschitz_bound",
    "output_interval",
    "register_rule",
    "reweighted",
]


class _Callable(types.ModuleType):
    """Makes `lipkit.certify` both the function and the package of its parts."""

    def __call__(self, *args, **kwargs):
        return certify(*args, **kwargs)


_Callable.__call__.__doc__ = certify.__doc__
sys.modules[__name__].__class__ = _Callable

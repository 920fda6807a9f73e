"""Kernel rules: pure maps from a free matrix to one of spectral norm at most 1."""

from lipkit.parametrizations import base, orthogonal, scaling
from lipkit.parametrizations.base import *
from lipkit.parametrizations.orthogonal import *
from lipkit.parametrizations.scaling import *

__all__: list[str] = []  # each module lists its own
__all__ += base.__all__
__all__ += orthogonal.__all__
__all__ += scaling.__all__

"""Keras layers whose Lipschitz constant is known by construction."""

from lipkit.layers import (
    activations,
    base,
    blocks,
    centering,
    convolutional,
    dense,
    exported,
    kernels,
    padded,
    pooling,
    reshaping,
    trained_activations,
)
from lipkit.layers.activations import *
from lipkit.layers.base import *
from lipkit.layers.blocks import *
from lipkit.layers.centering import *
from lipkit.layers.convolutional import *
from lipkit.layers.dense import *
from lipkit.layers.exported import *
from lipkit.layers.kernels import *
from lipkit.layers.padded import *
from lipkit.layers.pooling import *
from lipkit.layers.reshaping import *
from lipkit.layers.trained_activations import *

__all__: list[str] = []  # each module lists its own
__all__ += activations.__all__
__all__ += base.__all__
__all__ += blocks.__all__
__all__ += centering.__all__
__all__ += convolutional.__all__
__all__ += dense.__all__
__all__ += exported.__all__
__all__ += kernels.__all__
__all__ += padded.__all__
__all__ += pooling.__all__
__all__ += reshaping.__all__
__all__ += trained_activations.__all__

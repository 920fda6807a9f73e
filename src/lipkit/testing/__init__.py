"""Conformance checks of layers, parametrizations and losses: ours, and those of third parties."""

from lipkit.testing.layers import check_lipschitz_layer
from lipkit.testing.losses import check_loss
from lipkit.testing.parametrizations import check_parametrization

__all__ = ["check_lipschitz_layer", "check_loss", "check_parametrization"]

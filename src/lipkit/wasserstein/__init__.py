"""Wasserstein-1 distance of two samples by a trained critic whose Lipschitz constant is proven."""

from lipkit.wasserstein.distance import wasserstein_distance
from lipkit.wasserstein.result import WassersteinDistance

__all__ = ["WassersteinDistance", "wasserstein_distance"]

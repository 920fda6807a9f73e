"""Toy data and batches."""

from lipkit.data.toy import BalancedBatches, circles, moons

__all__ = ["BalancedBatches", "circles", "moons"]

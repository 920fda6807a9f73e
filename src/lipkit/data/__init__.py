"""Toy data, batches, and how tables in files are written."""

from lipkit.data.formats import Format
from lipkit.data.toy import BalancedBatches, circles, moons

__all__ = ["BalancedBatches", "Format", "circles", "moons"]

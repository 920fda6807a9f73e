"""Points whose value is to leave its interval."""

import copy

import numpy as np
from keras import ops

from lipkit.attacks.target import Balls, compile_gradient
from lipkit.certifier import Intervals, certify_values

SIDES = {"upward": 1.0, "downward": -1.0}


def _beyond(model, x, side, edge):
    value = ops.cast(ops.reshape(model(x, training=False), (-1,)), "float32")
    return side * (value - edge)


class Exits(Balls):
    """The points of intervals; see `lipkit.attacks.falsify` for the arguments."""

    def __init__(self, model, x, intervals: Intervals, scale=1.0):
        super().__init__(model, x, intervals, intervals.radius, scale)
        self.ends = {1.0: intervals.upper[self.rows], -1.0: intervals.lower[self.rows]}
        self.sides = tuple(self.ends)
        self._compiled = compile_gradient(_beyond, self._plain)

    def towards(self, side):
        """The same points, to leave their intervals on one side: 1 above, -1 below."""
        one = copy.copy(self)
        one.sides = (side,)
        return one

    def excess(self, points):
        """How far beyond the nearest end the values are (m,), and the unit gradient (m, d)."""
        found = [self._ascent(self._compiled, points, *self._aim(side)) for side in self.sides]
        best = np.argmax([value for value, _ in found], axis=0)
        values, gradients = (np.stack(parts) for parts in zip(*found, strict=True))
        rows = np.arange(len(points))
        return values[best, rows], gradients[best, rows]

    def _aim(self, side):
        edge = self.ends[side].astype("float32")
        return np.full_like(edge, side), edge

    def broken(self, points):
        """Whether points (m, d) are in the balls, and their values proven to be outside."""
        shaped = points.reshape(-1, *self.shape)
        found = certify_values(self.model, shaped, radius=0.0, progress=False)
        outside = (found.lower > self.ends[1.0]) | (found.upper < self.ends[-1.0])
        return found.certified & outside & self.inside(points)

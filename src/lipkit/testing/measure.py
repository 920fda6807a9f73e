"""The constant of a layer as it can be measured: from below, with no use of the certifier."""

import numpy as np
from keras import ops

from lipkit._backend import value_and_input_gradient
from lipkit.testing.suite import array, require

POINTS = 6
LIMIT = 2048  # of the number of inputs: the operator is a matrix of their square
# Powers of two scale float32 values exactly; so large, the bias vanishes in the rounding
_SCALE = 2.0**20
_ROUNDING = 2.0**-21


class Map:
    """A layer as a function of vectors: (n, inputs) -> (n, outputs)."""

    def __init__(self, layer, shapes):
        self.layer = layer
        self.shapes = shapes
        self.sizes = [int(np.prod(shape)) for shape in shapes]
        self.inputs = sum(self.sizes)

    def _call(self, x):
        ends = np.cumsum(self.sizes)[:-1]
        parts = ops.split(x, list(map(int, ends)), axis=1) if len(self.sizes) > 1 else [x]
        parts = [ops.reshape(p, (-1, *s)) for p, s in zip(parts, self.shapes, strict=True)]
        y = self.layer(parts if len(parts) > 1 else parts[0], training=False)
        return ops.reshape(y, (ops.shape(x)[0], -1))

    def __call__(self, x):
        """All calls have one batch size: each new one is compiled anew on JAX."""
        full = np.zeros((max(self.inputs, POINTS), self.inputs), "float32")
        full[: len(x)] = x
        return array(self._call(ops.convert_to_tensor(full)))[: len(x)]

    def jacobians(self, points):
        """(p, inputs) -> (p, outputs, inputs)."""
        outputs = self(points[:1]).shape[1]
        gradient = value_and_input_gradient(
            lambda x, weight: ops.sum(self._call(x) * weight, axis=1), self.layer.variables
        )
        x = np.repeat(points, outputs, axis=0).astype("float32")
        weight = np.tile(np.eye(outputs, dtype="float32"), (len(points), 1))
        rows = np.asarray(gradient(x, weight)[1], "float64")
        return rows.reshape(len(points), outputs, self.inputs)


def _operator(f, points):
    """The matrix (inputs, outputs) of an affine map, or None where the map is not affine."""
    origin = f(np.zeros((1, f.inputs)))
    matrix = (f(_SCALE * np.eye(f.inputs)) - origin) / _SCALE
    values = f(points)
    error = np.abs(points @ matrix + origin - values).max()
    return matrix if error <= 1e-4 * (1 + np.abs(values).max()) else None


def _secants(f, points, directions):
    """Largest |f(x) - f(y)| / |x - y| over y = x + t d, less what float32 rounds."""
    best = 0.0
    for t in (0.25, 4.0):
        x = points.astype("float32").astype("float64")
        y = (x + t * directions).astype("float32").astype("float64")
        a, b = f(x), f(y)
        rounding = _ROUNDING * (np.linalg.norm(a, axis=1) + np.linalg.norm(b, axis=1))
        rise = np.linalg.norm(a - b, axis=1) - rounding
        best = max(best, float(np.max(rise / np.linalg.norm(x - y, axis=1))))
    return best


def measure(layer, shapes, jacobians=True):
    """A lower estimate of the Lipschitz constant, and how it was found.

    An affine layer: float64 singular values of its matrix, column by column as the layer computes
    it. Others: Jacobians at a few points, the origin among them, and secants along their largest
    singular vectors and at random.
    """
    f = Map(layer, shapes)
    rng = np.random.default_rng(0)
    points = rng.standard_normal((POINTS, f.inputs))
    random = rng.standard_normal(points.shape)
    directions = [random, np.ones_like(points)]
    matrix = _operator(f, points)
    norm, how = 0.0, "secants"
    if matrix is not None:
        left, values, _ = np.linalg.svd(matrix, full_matrices=False)
        norm, how = float(values[0]), "singular values of the operator"
        directions.append(np.broadcast_to(left[:, 0], points.shape))
    elif jacobians:
        points[-1] = 0
        jacobian = f.jacobians(points)
        require(np.isfinite(jacobian).all(), "the Jacobian is not finite")
        _, values, right = np.linalg.svd(jacobian, full_matrices=False)
        norm, how = float(values[:, 0].max()), "Jacobians and secants"
        directions.append(right[:, 0])
    sampled = [_secants(f, points, d / np.linalg.norm(d, axis=1)[:, None]) for d in directions]
    return max(norm, *sampled), how

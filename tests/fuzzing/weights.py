"""Weights that break rules: zero, tiny, huge, of low rank, graded, orthogonal, positive."""

import keras
import numpy as np

STYLES = {  # name: how often
    "normal": 8,
    "positive": 3,
    "orthogonal": 4,
    "integer": 3,
    "low rank": 2,
    "sparse": 2,
    "graded": 1,
    "zero": 1,
    "tiny": 1,
    "subnormal": 1,
    "huge": 1,
}


def choose(rng, shares):
    """A key of a table {key: how often}."""
    names = list(shares)
    return names[rng.choice(len(names), p=np.array([*shares.values()]) / sum(shares.values()))]


def orthogonal(rng, m, n):
    """A matrix whose nonzero singular values are all 1."""
    u, _, vt = np.linalg.svd(rng.standard_normal((m, n)), full_matrices=False)
    return u @ vt


def draw(rng, shape, style):
    """Float64 weights of this shape that float32 holds exactly, the last axis that of outputs."""
    m, n = max(int(np.prod(shape[:-1])), 1), int(shape[-1]) if shape else 1
    w = rng.standard_normal((m, n)) / np.sqrt(m)
    if style == "positive":
        w = np.abs(w)
    elif style == "orthogonal":
        w = orthogonal(rng, m, n)
    elif style == "integer":
        w = rng.integers(-1, 2, (m, n))
    elif style == "low rank":
        w = np.outer(rng.standard_normal(m), rng.standard_normal(n)) / np.sqrt(m)
    elif style == "sparse":
        w = w * (rng.random((m, n)) < 0.3)
    elif style == "graded":
        w = w * 10 ** rng.uniform(-6, 6, (m, 1))
    else:
        w = w * {"zero": 0.0, "tiny": 1e-20, "subnormal": 1e-41, "huge": 1e10}.get(style, 1.0)
    return w.astype("float32").astype("float64").reshape(shape)


@keras.saving.register_keras_serializable("fuzzing")
class Drawn(keras.initializers.Initializer):
    """NumPy's random weights: nothing to compile on JAX. A copy from a configuration has zeros."""

    def __init__(self, rng=None, style="zero", scale=1.0, shift=0.0):
        self.rng = rng or np.random.default_rng(0)
        self.style, self.scale, self.shift = style, scale, shift

    def __call__(self, shape, dtype=None, **kwargs):
        values = draw(self.rng, tuple(shape), self.style) * self.scale + self.shift
        return values.astype("float32").astype(dtype or keras.config.floatx())

    def get_config(self):
        return {}

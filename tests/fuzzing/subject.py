"""A program under test, whatever it is made of."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

MANY = 12  # samples in a batch, as in lipkit's own comparisons: JAX compiles each size


@dataclass
class Subject:
    """A program, and how to run it and to move its decisions.

    Attributes:
        model: what `lipkit.certify` takes.
        dtype: the format that it computes in.
        shapes: of its inputs, without the batch axis.
        run: from a list of arrays to the list of outputs, as users run it.
        bias: the bias of its last layer, which gives the logits; None where there is no such layer.
        move: adds an array to that bias.
        attained: whether its bound is its constant by construction.
        steps: what it computes, in words.
        damaged: whether it need not be a program at all.
    """

    model: Any
    dtype: str
    shapes: list[tuple[int, ...]]
    run: Callable
    bias: Callable | None = None
    move: Callable | None = None
    attained: bool = False
    steps: list[str] = field(default_factory=list)
    damaged: bool = False

    def in_batches(self, arrays, batch):
        """The outputs, in float64, of this many samples at a time; the last ones with others."""
        n = len(arrays[0])
        rows = np.resize(np.arange(n), (-(-n // batch), batch))
        parts = [self.run([a[r].astype(self.dtype) for a in arrays]) for r in rows]
        return [
            np.concatenate([np.asarray(y, "float64") for y in ys])[:n]
            for ys in zip(*parts, strict=True)
        ]

    def runs(self):
        """Whether the program runs at all; nothing need be claimed of another."""
        try:
            self.run([np.zeros((1, *shape), self.dtype) for shape in self.shapes])
        except Exception:  # whatever its runtime says
            return False
        return True


@contextlib.contextmanager
def computing_in(dtype):
    """Keras's default format: models convert their inputs to it, whatever their layers have."""
    before = keras.config.floatx()
    _set(dtype)
    try:
        yield
    finally:
        _set(before)


def _set(dtype):
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)  # Keras does not derive it again
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", dtype == "float64")

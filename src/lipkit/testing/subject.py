"""A layer under test: inputs for it, its outputs, and what is measured of it."""

import functools
import math

import keras
import numpy as np

from lipkit.testing.measure import LIMIT, measure
from lipkit.testing.suite import array, require

TOLERANCE = 1e-5


class LayerSubject:
    """A layer, inputs for it and its outputs."""

    def __init__(self, factory, arguments, input_shape, k):
        self.factory, self.arguments = factory, arguments
        several = isinstance(input_shape, list)
        self.shapes = [tuple(s) for s in (input_shape if several else [input_shape])]
        if sum(map(math.prod, self.shapes)) > LIMIT:
            raise ValueError(
                f"`input_shape` must have at most {LIMIT} entries. Received: {input_shape}"
            )
        rng = np.random.default_rng(0)
        self.arrays = [rng.standard_normal((4, *s)).astype("float32") for s in self.shapes]
        self.made = self.new()
        self.k = getattr(self.made, "k_coef_lip", 1.0) if k is None else k

    def new(self):
        """A fresh layer."""
        return self.factory(**self.arguments)

    def pack(self, values):
        """The argument of the layer's call."""
        return values if len(self.shapes) > 1 else values[0]

    def filled(self, layer, arrays=None):
        """The layer, built and with the weights of the one under test."""
        layer(self.pack(self.arrays if arrays is None else arrays))
        layer.set_weights(self.made.get_weights())
        return layer

    def changed(self, **changes):
        """A layer of the same configuration but for `changes`, with the same weights."""
        return type(self.made).from_config({**self.made.get_config(), **changes})

    def values(self, layer=None, arrays=None):
        """Outputs as float64."""
        layer = self.made if layer is None else layer
        arrays = self.arrays if arrays is None else arrays
        return array(layer(self.pack(arrays), training=False))

    def model(self, layer=None, before=None):
        """A Functional model of the layer, with a layer made by `before` on each input."""
        inputs = [keras.Input(shape) for shape in self.shapes]
        given = inputs if before is None else [before(i.shape[-1])(i) for i in inputs]
        layer = self.made if layer is None else layer
        return keras.Model(self.pack(inputs), layer(self.pack(given)))

    @functools.cached_property
    def measured(self):
        """The constant with the initial weights, and how it was found."""
        return measure(self.made, self.shapes)

    def norm(self, layer=None, k=None, **options):
        """Require a measured constant of at most k; return it and a line on it."""
        k = self.k if k is None else k
        norm, how = self.measured if layer is None else measure(layer, self.shapes, **options)
        require(
            norm <= k * (1 + TOLERANCE), f"the constant is {norm:.9g}, more than {k:.9g} ({how})"
        )
        return norm, f"{norm:.9g} <= {k:.9g} ({how})"

"""ONNX nodes and constants of one graph, under construction."""

import numpy as np


class Nodes:
    """Nodes and constants that programs in several formats share.

    `scope` is where the next nodes come from: the first part of their names.
    """

    def __init__(self):
        self.scope = ""
        self.nodes: list = []
        self.constants: dict = {}

    def op(self, kind, *inputs, outputs=1, name=None, **attributes):
        """Append a node; return the name of its (first) output."""
        from onnx import helper

        stem = name or f"{self.scope}/{kind}_{len(self.nodes)}"
        names = [stem, *(f"{stem}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, inputs, names, name=stem, **attributes))
        return stem

    def constant(self, array):
        """The name of an initializer with these values; equal ones are stored once."""
        array = np.ascontiguousarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        return self.constants.setdefault(key, (f"/constant_{len(self.constants)}", array))[0]


class Program:
    """Appends the operations of a program in one format, float32 or float64 (`double`)."""

    def __init__(self, nodes: Nodes, dtype):
        self.nodes, self.dtype, self.double = nodes, dtype, dtype == "float64"
        self._cast: dict = {}

    def __call__(self, kind, *inputs, **attributes):
        return self.nodes.op(kind, *inputs, **attributes)

    def integers(self, *values):
        """A vector of integers."""
        return self.nodes.constant(np.array(values, dtype="int64"))

    def weights(self, values):
        """An array in the program's format, stored in float32 where that is exact."""
        values = np.asarray(values, dtype="float64")
        with np.errstate(over="ignore"):
            single = values.astype("float32")
        if not self.double or not np.array_equal(single, values):
            return self.nodes.constant(single if not self.double else values)
        name = self.nodes.constant(single)
        if name not in self._cast:
            self._cast[name] = self.cast(name)
        return self._cast[name]

    def cast(self, x, dtype=None):
        """Values in the program's format, or another one."""
        from onnx import helper

        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        return self("Cast", x, to=to)

    def plus(self, x, bias):
        """The sum with an array, or x for None."""
        return x if bias is None else self("Add", x, self.weights(bias))

    def times(self, x, factor):
        """The product with an array."""
        factor = np.asarray(factor, dtype="float64")
        if self.double and factor.size == 1 and factor != 1 and factor.astype("float32") == 1:
            # ONNX Runtime drops such a factor, as it rounds it to float32 before it compares
            return self("Mul", self("Mul", x, self.weights(2.0)), self.weights(factor / 2))
        return self("Mul", x, self.weights(factor))

    def reshape(self, x, shape):
        """Samples of another shape."""
        return self("Reshape", x, self.integers(0, *shape))

    def permute(self, x, order):
        """Samples with axes in another order."""
        if list(order) == list(range(len(order))):
            return x
        return self("Transpose", x, perm=[0, *(axis + 1 for axis in order)])

    def channels_first(self, x, rank, function):
        """A function of samples with channels first, of those with channels last."""
        x = self.permute(x, (rank - 1, *range(rank - 1)))
        return self.permute(function(x), (*range(1, rank), 0))

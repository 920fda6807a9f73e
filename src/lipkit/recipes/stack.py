"""Several networks trained side by side as one model: each candidate, on each part of the rows.

One step of the stack costs little more than one of a single network, whose time is that of its
calls; and its program is compiled once.
"""

import keras
import numpy as np
from keras import ops

from lipkit import parametrizations
from lipkit.layers import GroupSort2

ROWS = 4096  # evaluated at a time


class _Dense(keras.layers.Layer):
    """Dense layers side by side: (candidates, parts, batch, m) -> (candidates, parts, batch, n)."""

    def __init__(self, units, shape, start, rule):
        super().__init__()
        self._units, self._shape, self._start, self._rule = units, shape, start, rule

    def build(self, shape):
        """Kernels (candidates, parts, m, n) that all start from the same one."""
        shape = (*self._shape, shape[-1], self._units)
        start, retract = self._start(shape[-2:]), self._rule.retract
        self.kernel = self.add_weight(
            shape=shape,
            initializer=lambda shape, dtype: ops.ones(shape, dtype) * ops.cast(start, dtype),
            constraint=retract and (lambda w: retract(ops.convert_to_tensor(w))),
        )
        self.bias = self.add_weight(shape=(*self._shape, 1, self._units), initializer="zeros")
        self.built = True

    def call(self, x):
        return ops.add(ops.matmul(x, self._rule(ops.convert_to_tensor(self.kernel))), self.bias)

    def of_part(self, part):
        """Kernels (candidates, m, n) and biases (candidates, 1, n) in float64."""
        pair = self._rule(ops.convert_to_tensor(self.kernel)), self.bias
        return [ops.convert_to_numpy(v)[:, part].astype("float64") for v in pair]


class Stack(keras.Model):
    """Networks of sorted dense layers, each with a head whose outputs are `scale`-Lipschitz.

    Args:
        widths: units of the hidden layers.
        outputs: number of outputs.
        scales: (candidates,) the constants of the outputs of the candidates.
        parts: number of parts of the data.
        seeds: iterator of the seeds of the layers.
        loss: maps y (rows,) and outputs (rows, outputs), or (rows,) of one, to a value for each.

    Attributes:
        title: what those who show progress may say of the training, or "".
    """

    title = ""

    def __init__(self, widths, outputs, scales, parts, seeds, loss):
        super().__init__()
        shape, rule = (len(scales), parts), parametrizations.Stiefel()
        rules = [*[rule] * len(widths), parametrizations.UnitColumns()]
        self.dense = [
            _Dense(units, shape, keras.initializers.Orthogonal(seed=next(seeds)), rule)
            for units, rule in zip((*widths, outputs), rules, strict=True)
        ]
        self._sort, self._of_rows = GroupSort2(), loss
        self.scales, self.outputs, self.parts = np.asarray(scales, "float32"), outputs, parts

    def build(self, shape):
        """As in Keras: (batch, parts, features)."""
        self.features = last = shape[-1]
        for layer in self.dense:
            layer.build((None, last))
            last = layer._units
        self.built = True

    def call(self, x):
        """(batch, parts, features) -> (batch, candidates, parts, outputs)."""
        h = ops.expand_dims(ops.transpose(x, (1, 0, 2)), 0)
        for layer in self.dense[:-1]:
            h = self._sort(layer(h))
        h = self.dense[-1](h) * ops.reshape(ops.convert_to_tensor(self.scales), (-1, 1, 1, 1))
        return ops.transpose(h, (2, 0, 1, 3))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The mean over candidates and parts of their losses; y and weights are (batch, parts)."""
        assert y_pred is not None  # Keras's defaults
        outputs = y_pred.shape[-1]

        def rows(v):
            like = y_pred[..., 0]
            return ops.reshape(ops.cast(v[:, None], like.dtype) + 0 * like, (-1,))

        flat = ops.reshape(y_pred, (-1, outputs) if outputs > 1 else (-1,))
        values = self._of_rows(rows(y), flat)
        return ops.mean(values if sample_weight is None else values * rows(sample_weight))

    def values(self, x, part):
        """What the networks of a part give, divided by their scales: (candidates, n, outputs).

        In NumPy and float64: a call of the model would compute all parts, and compile a program.
        """
        layers = [layer.of_part(part) for layer in self.dense]
        found = [_values(layers, x[i : i + ROWS]) for i in range(0, len(x), ROWS)]
        return np.concatenate(found, axis=1)

    def loss_of_rows(self, x, y, part):
        """The losses of the networks of a part on rows: (candidates, n)."""
        values = (self.values(x, part) * self.scales[:, None, None]).astype("float32")
        flat = values.reshape((-1, self.outputs) if self.outputs > 1 else -1)
        rows = np.tile(y.astype("float32"), len(values))
        return ops.convert_to_numpy(self._of_rows(rows, flat)).reshape(len(values), -1)

    def head(self, part):
        """Kernels of the heads on one part, with columns of norm 1: (candidates, m, outputs)."""
        return self.dense[-1].of_part(part)[0]

    def mean(self, candidate, parts):
        """Kernels and biases of the mean of a candidate's networks, as one network.

        Networks beside each other are one with kernels of blocks. Scaled by 1 / sqrt(parts) in the
        first layer and in the head, which the sorting in between lets through, it is their mean;
        and it is of the same kind: the blocks of the hidden kernels are orthogonal, and so are the
        rows of the first kernel where it is wide.

        Args:
            candidate: its number.
            parts: the numbers of the networks: several only where the first kernel is wide.
        """
        share = len(parts) ** -0.5
        layers = [
            [[v[candidate] for v in dense.of_part(part)] for part in parts] for dense in self.dense
        ]
        found = [[_blocks([kernel for kernel, _ in layer]), None] for layer in layers]
        for place, layer in zip(found, layers, strict=True):
            place[1] = np.concatenate([bias[0] for _, bias in layer]) * share
        first, last = layers[0], layers[-1]
        if len(layers) > 1:
            found[0][0] = np.concatenate([kernel for kernel, _ in first], axis=1) * share
        heads, biases = zip(*last, strict=True)
        return [*found[:-1], [np.concatenate(heads) * share, np.mean(biases, axis=0)[0]]]


def _values(layers, x):
    """What networks of sorted dense layers give: (n, m) -> (candidates, n, outputs)."""
    h = x[None]
    for kernel, bias in layers[:-1]:
        h = h @ kernel + bias
        h = np.sort(h.reshape(*h.shape[:-1], -1, 2)).reshape(h.shape)
    kernel, bias = layers[-1]
    return h @ kernel + bias


def _blocks(kernels):
    """The matrix with these blocks on its diagonal."""
    (m, n), count = kernels[0].shape, len(kernels)
    found = np.zeros((count, m, count, n), kernels[0].dtype)
    found[range(count), :, range(count)] = kernels
    return found.reshape(count * m, count * n)

"""A graph as one function of vectors, and the decisions of its logits."""

import numpy as np

from lipkit.certifier import evaluate


class Joint:
    """A graph as a function of (batch, n) arrays, in their format: all inputs, all outputs."""

    def __init__(self, graph):
        self.graph = graph
        self.shapes = [graph.nodes[i].shape for i in graph.inputs]
        self.sizes = [int(np.prod(shape)) for shape in self.shapes]
        self.n = sum(self.sizes)

    def split(self, x):
        """The arrays of the inputs."""
        parts = np.split(x, np.cumsum(self.sizes)[:-1], axis=1)
        return [p.reshape(len(x), *s) for p, s in zip(parts, self.shapes, strict=True)]

    def given(self, x):
        """The same as `lipkit.certify` takes it."""
        arrays = self.split(x)
        return arrays if len(arrays) > 1 else arrays[0]

    def values(self, x):
        """Those of all nodes."""
        return evaluate.run(self.graph, *self.split(x))

    def joined(self, values):
        """The outputs among the values, as vectors."""
        parts = [values[i].reshape(len(values[i]), -1) for i in self.graph.outputs]
        return np.concatenate(parts, axis=1)

    def __call__(self, x):
        return self.joined(self.values(x))


def decision(logits):
    """Labels of logits (batch, outputs), as `certify` counts them."""
    return (logits[:, 0] > 0).astype(int) if logits.shape[1] == 1 else np.argmax(logits, axis=1)


def gaps(logits, labels):
    """How far the labels are ahead of each other one: (batch, others)."""
    if logits.shape[1] == 1:
        return np.where(labels == 1, logits[:, 0], -logits[:, 0])[:, None]
    rows, ahead = np.arange(len(logits)), -logits
    ahead += logits[rows, labels][:, None]
    ahead[rows, labels] = np.inf
    return ahead


def margins(logits, labels):
    """How far the labels are ahead: (batch,), negative where another one is."""
    return gaps(logits, labels).min(axis=1)

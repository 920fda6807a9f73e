"""The nodes of a graph under construction, whatever they are read from."""

from dataclasses import replace

import numpy as np

from lipkit.certifier import evaluate
from lipkit.certifier import graph as g
from lipkit.certifier.reader.fusion import fused
from lipkit.certifier.reader.pairs import expanded
from lipkit.certifier.reader.refusals import refusal


class Builder:
    """The nodes found so far."""

    def __init__(self):
        self.nodes: list[g.Node] = []
        self._known: dict = {}

    def graph(self, outputs) -> g.Graph:
        """The nodes that these outputs depend on; all inputs stay."""
        needed = set(outputs)
        for index in reversed(range(len(self.nodes))):
            if index in needed or isinstance(self.nodes[index].op, g.Input):
                needed.update([index, *self.nodes[index].inputs])
        place = {old: new for new, old in enumerate(sorted(needed))}
        kept = [self.nodes[i] for i in sorted(needed)]
        kept = [replace(node, inputs=tuple(place[j] for j in node.inputs)) for node in kept]
        return g.Graph(tuple(kept), tuple(place[i] for i in outputs))

    def add(self, op, inputs, layer, kind, shape=None):
        """Append a node; return its index. Operations without weights that read the same are one.

        So the two ends of a pair are those of one sort.
        """
        key = (type(op), *inputs, *vars(op).values())
        try:
            known = self._known.get(key)
        except TypeError:  # with arrays
            return self._added(op, inputs, layer, kind, shape)
        if known is None or isinstance(op, g.Input):
            known = self._known[key] = self._added(op, inputs, layer, kind, shape)
        return known

    def _added(self, op, inputs, layer, kind, shape):
        """Append a node, its shape found by evaluating it on zeros."""
        if shape is None:
            given = [np.zeros((1, *self.nodes[i].shape)) for i in inputs]
            shapes = {x.shape for x in given}
            if isinstance(op, (g.Sum, g.Maximum)) and len(shapes) > 1:
                raise refusal(
                    f"{layer!r} ({kind})",
                    f"it broadcasts inputs of shapes {sorted(x.shape[1:] for x in given)}. Give "
                    "them one shape.",
                )
            if isinstance(op, g.Einsum):
                self._check_letters(op, inputs, layer, kind)
            try:
                with np.errstate(all="ignore"):
                    shape = evaluate.evaluate(op, *given).shape[1:]
            except ValueError as error:  # of NumPy
                raise refusal(
                    f"{layer!r} ({kind})",
                    "its operands do not fit samples of shape "
                    f"{' and '.join(str(x.shape[1:]) for x in given)} ({error}).",
                ) from None
            if isinstance(op, (g.Diagonal, g.Elementwise)) and shape != given[0].shape[1:]:
                raise refusal(
                    f"{layer!r} ({kind})",
                    f"it broadcasts {given[0].shape[1:]} to {shape}. Repeat the values explicitly.",
                )
        self.nodes.append(g.Node(op, tuple(inputs), tuple(map(int, shape)), layer, kind))
        return len(self.nodes) - 1

    def _check_letters(self, op, inputs, layer, kind):
        """Refuse an `Einsum` that repeats an axis of size 1: its norm is not that of its kernel."""
        letters, kernel, _ = op.equation.replace("->", ",").split(",")
        last = reversed(self.nodes[inputs[0]].shape)  # axes before the letters' stay
        sizes = dict(zip(reversed(letters), last, strict=False))
        for letter, size in zip(kernel, op.kernel.shape, strict=True):
            if sizes.get(letter, size) != size:
                raise refusal(
                    f"{layer!r} ({kind})",
                    f"it contracts axes of the sizes {sizes[letter]} and {size}. Repeat the values "
                    "explicitly.",
                )

    def chain(self, given, inputs, layer, kind):
        """Append operations one after the other; return the last index."""
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        if len(inputs) > 1 and not isinstance(
            given[0] if given else None, (g.Sum, g.Concat, g.Maximum)
        ):
            raise refusal(f"Layer {layer!r} ({kind})", f"it reads {len(inputs)} tensors.")
        for op in given:
            merges = isinstance(op, (g.Sum, g.Concat, g.Maximum))
            if merges and len(inputs) == 1 and getattr(op, "signs", None) in (None, (1,)):
                continue  # of one tensor: that tensor
            ops, inputs = expanded(self.nodes, op, inputs)
            for part in ops:
                inputs = [self._append(*fused(self.nodes, part, inputs), layer, kind)]
        return inputs[0]

    def _append(self, op, inputs, layer, kind):
        """Append a node; permutations of axes pass before maps along them, and become one.

        So what pads is next to the convolution, whatever the layouts of either.
        """
        before = self.nodes[inputs[0]]
        if isinstance(op, g.Permute) and isinstance(before.op, g.AxisMaps):
            maps = tuple((op.axes.index(axis), matrix) for axis, matrix in before.op.matrices)
            inner = self._append(op, before.inputs, layer, kind)
            return self.add(g.AxisMaps(maps), [inner], before.layer, before.kind)
        if isinstance(op, g.Permute) and isinstance(before.op, g.Permute):
            axes = tuple(before.op.axes[axis] for axis in op.axes)
            if axes == tuple(range(len(axes))):
                return before.inputs[0]
            return self._append(g.Permute(axes), before.inputs, layer, kind)
        return self.add(op, inputs, layer, kind)


def chained(given, shapes, name, kind) -> g.Graph:
    """The graph of a layer's operations on inputs of these shapes."""
    builder = Builder()
    inputs = [builder.add(g.Input(), (), name, "Input", shape) for shape in shapes]
    output = builder.chain(given, inputs, name, kind)
    return g.Graph(tuple(builder.nodes), (output,))

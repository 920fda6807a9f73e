"""What was read, and the comparison of it with what the program computes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lipkit.certify import evaluate, rounding
from lipkit.certify import graph as g
from lipkit.errors import NotCertifiable


@dataclass(frozen=True)
class Reading:
    """A graph and the program that it was read from.

    Attributes:
        graph: what the program computes, in real arithmetic.
        dtype: the format that the program computes in.
        program: what computes it, one of `lipkit.certify.activations.PROGRAMS`.
        rewritten: the layers that compute it in another way: they have the graph's real function,
            but neither its weights nor its order of operations.
        name: the program's, for messages.
        inputs: the dtype of each input.
        run: the program, from a list of NumPy arrays with a batch axis to a list of outputs.
        probes: the number of samples it takes at a time in a comparison.
    """

    graph: g.Graph
    dtype: str
    program: str
    rewritten: tuple[str, ...]
    name: str
    inputs: tuple[str, ...]
    run: Callable
    probes: int = 3

    @property
    def arithmetic(self) -> rounding.Arithmetic:
        """The format and what computes in it."""
        return rounding.FORMATS[self.dtype]._replace(program=self.program)


def sizes(name, shapes, input_shape):
    """The shapes of all inputs, those that the model leaves open from `input_shape`."""
    if input_shape is not None:
        given = input_shape if isinstance(input_shape, list) else [input_shape]
        fits = len(given) == len(shapes) and all(
            len(a) == len(b) and all(m in (None, n) for m, n in zip(b, a, strict=True))
            for a, b in zip(given, shapes, strict=True)
        )
        if not fits:
            raise ValueError(
                f"`input_shape` must fit the model's {shapes} (a list for several inputs). "
                f"Received: input_shape={input_shape!r}"
            )
        shapes = [tuple(shape) for shape in given]
    if any(n is None for shape in shapes for n in shape):
        raise ValueError(
            f"Model {name!r} has inputs of unknown size {shapes}, and bounds depend on the "
            "size: give `input_shape`, without the batch axis."
        )
    return shapes


def compare(reading, bounds):
    """Run the program on random inputs: a misread layer or unusual arithmetic must show here.

    Raises:
        NotCertifiable: if its outputs differ from the graph's by more than rounding can.
    """
    graph, arithmetic = reading.graph, reading.arithmetic
    rng = np.random.default_rng(0)
    probes = [
        rng.uniform(-2, 2, (reading.probes, *graph.nodes[i].shape)).astype(dtype)
        for i, dtype in zip(graph.inputs, reading.inputs, strict=True)
    ]
    values = evaluate.run(graph, *(probe.astype("float64") for probe in probes))
    reach = [rounding.norms(v) for v in values]
    local = rounding.local_errors(graph, arithmetic)
    errors, overflow = rounding.forward_errors(graph, bounds.own, local, reach, arithmetic)
    for index, output in zip(graph.outputs, reading.run(probes), strict=True):
        expected = values[index]
        if np.size(output) != expected.size:
            raise NotCertifiable(
                f"Model {reading.name!r} does not compute what its layers say: its output has the "
                f"shape {np.shape(output)} instead of {expected.shape}."
            )
        got = np.asarray(output).astype("float64").reshape(expected.shape)
        allowed = errors[index]
        if reading.rewritten:
            allowed = allowed + 1e-5 * (1 + reach[index])
        allowed = np.where(np.isfinite(allowed), allowed, 1e-3 * (1 + reach[index]))
        difference = rounding.norms(got - expected)
        if not ((difference <= allowed + 1e-100) | overflow).all():  # `norms` is never 0
            raise NotCertifiable(
                f"Model {reading.name!r} does not compute what its layers say: on random inputs "
                f"its outputs differ by {difference.max():.2g} from float64, and rounding explains "
                f"{allowed.max():.2g}. Is the arithmetic TF32, or a layer's `call` overridden?"
            )

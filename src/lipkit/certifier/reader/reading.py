"""What was read, and the comparison of it with what the program computes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lipkit.certifier import bounding, evaluate, rounding
from lipkit.certifier import graph as g
from lipkit.certifier.arithmetic import FORMATS, Arithmetic
from lipkit.certifier.reader.probes import probes
from lipkit.errors import NotCertifiable

# of an author's operation that says nothing of its error: far above what any arithmetic but that
# of halves makes of it, far below what another function would give
UNKNOWN_ERROR = 1e-3


@dataclass(frozen=True)
class Reading:
    """A graph and the program that it was read from.

    Attributes:
        graph: what the program computes, in real arithmetic.
        dtype: the format that the program computes in.
        program: what computes it, one of `lipkit.certifier.activations.PROGRAMS`.
        rewritten: the layers that compute it in another way: they have the graph's real function,
            but neither its weights nor its order of operations.
        name: the program's, for messages.
        inputs: the dtype of each input.
        run: the program, from a list of NumPy arrays with a batch axis to a list of outputs.
        batch: the number of samples that it takes at a time, None for any.
    """

    graph: g.Graph
    dtype: str
    program: str
    rewritten: tuple[str, ...]
    name: str
    inputs: tuple[str, ...]
    run: Callable
    batch: int | None = None

    @property
    def arithmetic(self) -> Arithmetic:
        """The format and what computes in it."""
        return FORMATS[self.dtype]._replace(program=self.program)


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
        NotCertifiable: if its outputs differ from the graph's by more than rounding can, or if none
            can be compared because values may overflow at every size of inputs.
    """
    graph, arithmetic = reading.graph, reading.arithmetic
    inputs, size = probes(graph, reading.inputs)
    values = evaluate.run(graph, *(x.astype("float64") for x in inputs))
    reach = [rounding.norms(v) for v in values]
    local = [  # an author's operation without an error of its own is compared more coarsely
        pair if np.isfinite(pair[1]) else (UNKNOWN_ERROR, UNKNOWN_ERROR)
        for pair in rounding.local_errors(graph, arithmetic)
    ]
    errors, overflow = rounding.forward_errors(graph, bounds.own, local, reach, arithmetic)
    compared = False
    for rows in _batches(reading.batch, len(size)):
        outputs = reading.run([x[rows] for x in inputs])
        for index, output in zip(graph.outputs, outputs, strict=True):
            allowed = errors[index][rows]
            if reading.rewritten:
                # its own way, in float32: some 100 units of the largest values on it
                allowed = allowed + 1e-5 * (np.maximum(1, size[rows] / 2) + reach[index][rows])
            compared |= _check(reading, output, values[index][rows], allowed, overflow[rows])
    if not compared:
        raise NotCertifiable(
            f"Model {reading.name!r} cannot be compared with what its layers say: values may "
            f"overflow {reading.dtype} at inputs of every size, with a constant that is at most "
            f"{bounding.output_bound(graph, bounds):.3g}. Scale its weights down; if training "
            "diverged, restore an earlier checkpoint."
        )


def _batches(batch, n):
    """Indices of the inputs that are run together: one, and all; or as many as the batch has."""
    if batch is None:
        return [np.arange(n), np.array([n // 2])]
    return np.resize(np.arange(n), (-(-n // batch), batch))


def _check(reading, output, expected, allowed, overflow):
    """Whether any of the outputs could be compared, and those are what they should be."""
    name = reading.name
    if np.size(output) != expected.size:
        raise NotCertifiable(
            f"Model {name!r} does not compute what its layers say: its output has the shape "
            f"{np.shape(output)} instead of {expected.shape}."
        )
    got = np.asarray(output).astype("float64").reshape(expected.shape)
    difference = rounding.norms(got - expected)
    if reading.rewritten:  # what it computes on its own way may overflow where the graph does not
        overflow = overflow | ~np.isfinite(difference)
    wrong = ~(difference <= allowed + 1e-100) & ~overflow  # 1e-100: `norms` of 0 is above 0
    if wrong.any():
        raise NotCertifiable(
            f"Model {name!r} does not compute what its layers say: on random inputs its outputs "
            f"differ by {difference[wrong][0]:.2g} from float64, and rounding explains "
            f"{allowed[wrong][0]:.2g}. Check that each rule given to `register_rule` matches its "
            "layer, that no layer's `call` is overridden, and that TF32 is off."
        )
    return not overflow.all()

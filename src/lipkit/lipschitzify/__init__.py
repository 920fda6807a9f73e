"""From a plain Keras model to its Lipschitz twin, with a report of what had to change."""

from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, NamedTuple

import keras
from keras import layers as kl

from lipkit._checks import check_constant
from lipkit._keras import calls
from lipkit._keras.graphs import as_functional, cloned, inputs_outputs
from lipkit._table import table
from lipkit.certifier.reader import traversal
from lipkit.errors import NotCertifiable
from lipkit.lipschitzify import plans as twins
from lipkit.models import Model


class Change(NamedTuple):
    """One row of a report."""

    layer: str
    kind: str
    action: str
    reason: str


@dataclass(frozen=True)
class Report:
    """What `lipschitzify` did to each layer; printed, it is a table.

    Actions are "replaced" (by a twin of another class), "scaled" (kept, its output times a factor),
    "kept" and "refused" (kept, and then the model may have no constant).

    Args:
        changes: a `Change` for each layer, in the order of the graph.

    Example:
    >>> plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="d")])
    >>> _, report = lipkit.lipschitzify(plain)
    >>> [(change.layer, change.action) for change in report.changes]
    [('d', 'replaced')]
    """

    changes: tuple[Change, ...]

    @property
    def refused(self) -> tuple[Change, ...]:
        """The rows of layers that have no Lipschitz twin."""
        return tuple(change for change in self.changes if change.action == "refused")

    def __str__(self):
        return "\n".join(table(("layer", "class", "action", "reason"), self.changes))


def _survey(model, sorts, plans, nested=False):
    """Plan all layers of a built graph; nested models are planned by layer too."""
    traversal.check_model(model)
    for operation in as_functional(model, model.name).operations:
        if isinstance(operation, kl.InputLayer):
            continue
        try:
            if isinstance(operation, keras.Model) and not calls.called_with(operation):
                yield from _survey(operation, sorts, plans, nested=True)
                make = partial(_cloned, operation, plans)
                plans[id(operation)] = cache(make)
                continue
            plan = twins.plan(operation, nested, sorts)
        except NotCertifiable as error:
            plan = twins.keep(operation, "refused", error.reason)
        plans[id(operation)] = cache(plan.make)  # shared by models, too
        yield Change(operation.name, type(operation).__name__, plan.action, plan.reason)


def _cloned(model, plans):
    return cloned(as_functional(model, model.name), lambda operation: plans[id(operation)]())


def lipschitzify(
    model: keras.Model,
    k_coef_lip: float = 1.0,
    *,
    activation: Literal["groupsort2"] | None = None,
    refused: Literal["raise", "keep"] = "raise",
) -> tuple[Model, Report]:
    """The Lipschitz twin of a plain Keras model, and a report of what was changed.

    Every layer becomes one of constant at most 1, so that the whole has constant `k_coef_lip`:

    - Dense, convolutions: lipkit's Spectral layers, whose free kernels start at the model's. An
      activation of larger slope, such as gelu, divides `k_coef_lip` of its layer.
    - average pooling: the scaled one, of norm 1; batch normalization: `BatchCentering`.
    - what has no weights and a larger constant c by the certifier's rule: its output times 1 / c.
      That is 1 / n for the sum of n tensors, 1 / sqrt(n) for a concatenation of n tensors of the
      same inputs, and the overlap of windows for max pooling.
    - Rescaling and Normalization of the inputs are kept, with their own constants: these come on
      top of `k_coef_lip`, and the report states them.
    - all else that is not known to be 1-Lipschitz is refused.

    The function changes, since its kernels do: train the twin, or train it on.

    Args:
        model: built Sequential or Functional Keras model, nested ones included; it is not changed.
        k_coef_lip: constant of the twin, > 0; a last `Rescaling` multiplies by it.
        activation: None, to keep the activations, or `"groupsort2"`: `GroupSort2` in the place of
            relu and its kin (gelu, elu, silu...) wherever the channels are even and come last.
        refused: what to do with layers that have no twin: `"raise"`, or `"keep"` to copy them as
            they are, listed in the report.

    Returns:
        `(twin, report)`: a `lipkit.Model` that is not compiled, and a `Report`.

    Raises:
        ValueError: listing all layers that are refused, with reasons.
        NotCertifiable: (a ValueError) if `model` is not a built graph.

    Example:
    >>> plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "relu")])
    >>> twin, report = lipkit.lipschitzify(plain, activation="groupsort2")
    >>> round(float(lipkit.lipschitz_bound(twin)), 3)
    1.0
    """
    k_coef_lip = check_constant(k_coef_lip)
    if activation not in (None, "groupsort2"):
        raise ValueError(
            f"`activation` must be None or 'groupsort2'. Received: activation={activation!r}"
        )
    if refused not in ("raise", "keep"):
        raise ValueError(f"`refused` must be 'raise' or 'keep'. Received: refused={refused!r}")
    plans: dict = {}
    changes = list(_survey(model, activation is not None, plans))
    rows = Report(tuple(changes)).refused
    if rows and refused == "raise":
        lines = [f"- {row.layer!r} ({row.kind}): {row.reason}" for row in rows]
        raise ValueError(
            f"Model {model.name!r} has no Lipschitz twin because of {len(rows)} of its layers:\n"
            + "\n".join(lines)
            + "\nReplace them, or give refused='keep' to leave them as they are."
        )
    inputs, outputs = inputs_outputs(_cloned(model, plans))
    factor = k_coef_lip / len(model.outputs) ** 0.5
    if factor != 1:
        reason = f"times {factor:.6g}: k_coef_lip, divided by the root of the number of outputs"
        changes.append(Change("(outputs)", "", "scaled", reason))
        outputs = keras.tree.map_structure(lambda y: twins.times(y, factor), outputs)
    return Model(inputs, outputs, name=model.name), Report(tuple(changes))

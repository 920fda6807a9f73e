"""What `lipschitz_bound` and `certify` return: a bound, and one certificate an input."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from lipkit._files.atomic import replacing
from lipkit._files.opened import read_json
from lipkit._table import table
from lipkit.certifier.bounding import LayerBound
from lipkit.certifier.status import Status

DISTANCES = "distances are exact Euclidean distances in units of the raw input"
ELEMENTARY = "its elementary functions are as exact as those that docs/soundness.md lists"
ASSUMPTIONS = (
    "binary64 arithmetic of the certifier rounds to nearest; matrix products are conventional",
    DISTANCES,
)


class LipschitzBound(float):
    """A proven upper bound, with the table that it comes from.

    Printed, it is a table; in arithmetic and formatting, a float.

    Args:
        value: the bound.
        layers: a `LayerBound` for each layer on the way.

    Example:
    >>> bound = lipkit.lipschitz_bound(model)
    >>> isinstance(bound, float), [row.kind for row in bound.layers]
    (True, ['SpectralDense', 'FullSort', 'FrobeniusDense'])
    """

    layers: tuple[LayerBound, ...]

    def __new__(cls, value: float, layers: tuple[LayerBound, ...]) -> Self:
        bound = super().__new__(cls, value)
        bound.layers = layers
        return bound

    def __reduce__(self) -> tuple[Any, ...]:
        return LipschitzBound, (float(self), self.layers)

    def __str__(self):
        header = ("layer", "kind", "method", "bound", "input shape")
        rows = [
            (b.name, b.kind, b.method, f"{b.bound:.9g}", str(b.input_shape)) for b in self.layers
        ]
        last = f"Lipschitz constant of the model <= {float(self):.9g}"
        return "\n".join([*table(header, rows), last])


@dataclass(frozen=True, eq=False)
class Certificates:
    """Certified decisions of n inputs, which `lipkit.certify` returns.

    Args:
        label: (n,) decisions: the class, or 1 for f > 0 and 0 otherwise; (n, labels) for
            multi-label. -1 where there is none.
        radius: (n,) radii in 2-norm: no input within it has another label. 0 where not certified.
        margin: (n,) differences of logits that limit the radius.
        lipschitz: (n,) proven constants of those differences.
        status: (n,) the `Status` of each: `"certified"`, or the reason why not.
        arithmetic: `"real"`, `"float32"` or `"float64"`: the program that this is true of.
        assumptions: what the proof takes for granted.
        y: (n,) true labels in the form of `label`, or None.
        misfit: what does not fit, where the status is a wrong shape or dtype of all inputs.

    Example:
    >>> certificates = lipkit.certify(model, x, y)
    >>> len(certificates), bool((certificates.radius[~certificates.certified] == 0).all())
    (200, True)
    >>> certificates.save("certificates.json")
    >>> str(lipkit.certifier.Certificates.load("certificates.json")) == str(certificates)
    True
    """

    label: np.ndarray
    radius: np.ndarray
    margin: np.ndarray
    lipschitz: np.ndarray
    status: np.ndarray
    arithmetic: str
    assumptions: tuple[str, ...] = ASSUMPTIONS
    y: np.ndarray | None = None
    misfit: str = ""

    def __len__(self) -> int:
        return len(self.radius)

    @property
    def certified(self) -> np.ndarray:
        """(n,) whether each input has a certificate."""
        return self.status == Status.CERTIFIED

    def reasons(self) -> dict[str, int]:
        """How many inputs have no certificate for each reason, in the order of reasons."""
        counts = Counter(self._texts())
        return {text: n for text, n in sorted(counts.items()) if text != Status.CERTIFIED}

    def _texts(self) -> list[str]:
        """The status of each input as text, with what does not fit."""
        detail = f": {self.misfit}" if self.misfit else ""
        return [f"{status}{detail}" for status in self.status]

    def _right(self) -> np.ndarray:
        if not len(self):
            raise ValueError("Accuracies need at least one input.")
        if self.y is None:
            raise ValueError("Accuracies need the true labels: certify(model, x, y).")
        right = self.label == self.y
        return right if right.ndim == 1 else right.all(axis=1)

    def certified_accuracy(self, eps: float) -> float:
        """Share of the inputs that are classified right everywhere within distance `eps`.

        Args:
            eps: radius in 2-norm, finite and >= 0.

        Returns:
            A number from 0 to 1, from the labels `y`.

        Raises:
            ValueError: another `eps`, no labels, or no inputs.
        """
        if not 0 <= eps < np.inf:
            raise ValueError(f"`eps` must be a finite number >= 0. Received: eps={eps!r}")
        return float(np.mean(self._right() & self.certified & (self.radius >= eps)))

    def curve(self, eps: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Certified accuracies.

        Args:
            eps: radii, (m,). None: 101 from 0 to the largest.

        Returns:
            The radii, and the certified accuracy at each, both (m,).
        """
        if eps is None:
            eps = np.linspace(0, float(self.radius.max(initial=0.0)), 101)
        radii: np.ndarray = np.asarray(eps)
        return radii, np.array([self.certified_accuracy(float(e)) for e in radii])

    def _columns(self) -> dict[str, list[Any]]:
        names = ("label", "radius", "margin", "lipschitz")
        columns = {name: getattr(self, name).tolist() for name in names}
        columns["status"] = self._texts()
        return columns if self.y is None else {**columns, "y": self.y.tolist()}

    def to_frame(self) -> Any:
        """A pandas DataFrame, one row an input (needs pandas)."""
        import pandas  # pyright: ignore[reportMissingTypeStubs]

        return pandas.DataFrame(self._columns())

    def save(self, path: str | Path) -> None:
        """Write a JSON file, which `Certificates.load` reads.

        Args:
            path: of the file; one that exists is replaced.
        """
        document = {
            "arithmetic": self.arithmetic,
            "assumptions": list(self.assumptions),
            **self._columns(),
        }
        with replacing(path) as new:
            new.write_text(json.dumps(document, allow_nan=False))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Args:
            path: of the file.

        Returns:
            The same certificates.
        """
        document: dict[str, Any] = read_json(path)
        texts = [str(text).partition(": ") for text in document["status"]]
        document["status"] = np.array([Status(text) for text, _, _ in texts], dtype=object)
        document["misfit"] = texts[0][2] if texts else ""
        for name in ("label", "radius", "margin", "lipschitz", "y"):
            if name in document:
                document[name] = np.array(document[name])
        document["assumptions"] = tuple(document["assumptions"])
        return cls(**document)

    def __str__(self):
        sure = self.radius[self.certified]
        middle = f", median radius {np.median(sure):.4g}" if len(sure) else ""
        lines = [f"{len(sure)} of {len(self)} certified ({self.arithmetic}){middle}"]
        lines += [f"  {n} not certified: {reason}" for reason, n in self.reasons().items()]
        return "\n".join(lines)

    __repr__ = __str__

"""Samples in memory, and how they were read."""

from dataclasses import dataclass, field, replace

import numpy as np

from lipkit.data.formats import Format
from lipkit.data.tables import Column


@dataclass(frozen=True)
class Dataset:
    """Samples, and how they were read.

    Attributes:
        x: float64 (n, ...), the numbers of the file. Of a table: numbers as they are, booleans as
            0 and 1, dates as days since 1970-01-01, one number for each category: distances, and
            so radii, take a change of category as sqrt(2). Of images: (n, height, width, 1 or 3),
            from 0 to 1.
        y: int64 (n,), the number of each sample's class, -1 where it is missing; or float64 (n,),
            what is to be predicted, NaN where it is missing; or None.
        kind: `"table"` or `"images"`.
        classes: names of the classes, or ().
        features: names of the numbers of a table's rows, or ().
        encoding: what `files.read` needs to read another file in the same way; JSON-ready.
        ids: (n,) texts of the column that names the rows, or None.
        imputed: int64 (n,), how many cells of each row were filled; None: none of any.
        problems: {row: why it could not be read}; these rows of x are NaN.
        sha256: hash of what was read, as `files.sha256` gives it.
    """

    x: np.ndarray
    y: np.ndarray | None
    kind: str
    classes: tuple[str, ...]
    features: tuple[str, ...]
    encoding: dict
    ids: np.ndarray | None = None
    imputed: np.ndarray | None = None
    problems: dict[int, str] = field(default_factory=dict)
    sha256: str = ""

    def head(self, rows: int):
        """The data set of the first rows."""
        values = {name: getattr(self, name) for name in ("x", "y", "ids", "imputed")}
        first = {name: value if value is None else value[:rows] for name, value in values.items()}
        problems = {row: problem for row, problem in self.problems.items() if row < rows}
        return replace(self, **first, problems=problems)

    def columns(self) -> list[Column]:
        """The columns of a table; of other data none."""
        return encoded_columns(self.encoding)


def encoded_columns(encoding) -> list[Column]:
    """The columns of `Dataset.encoding`."""
    return [
        Column(**{**column, "categories": tuple(column["categories"])})
        for column in encoding.get("columns", ())
    ]


def encoded_format(encoding) -> Format:
    """How the cells were written of the file that has this `Dataset.encoding`."""
    return Format(**encoding.get("format", {}))

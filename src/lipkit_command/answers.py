"""What `lipkit certify` says of rows: why some have no certificate, and a table."""

import csv
from collections import Counter

import numpy as np

from lipkit.certifier import Status
from lipkit.data import cells


def filled(dataset) -> np.ndarray:
    """The number of filled cells of each row."""
    return np.zeros(len(dataset.x), int) if dataset.imputed is None else dataset.imputed


def statuses(result, dataset) -> list[str]:
    """What is said of each row: the status of its certificate, or why it could not be read."""
    texts = [status.value for status in result.status]
    for row, problem in dataset.problems.items():
        texts[row] = f"not certified: {problem}"
    return texts


def reasons(texts) -> dict[str, int]:
    """How many rows have no certificate for each reason, the most frequent first."""
    return dict(Counter(sorted(text for text in texts if text != Status.CERTIFIED)).most_common())


def lines(counts, imputed, most=10):
    """Lines about rows without a certificate, and rows with filled cells."""
    for text in [*counts][:most]:
        yield f"  {counts[text]} not certified: {text.removeprefix('not certified: ')}"
    if len(counts) > most:
        yield f"  and {len(counts) - most} other reasons: --out FILE has that of each row"
    if imputed:
        yield f"  {imputed} have filled cells: what is proven is of the filled rows"


def write(path, columns, dataset, texts) -> None:
    """Write a line for each row; `row` counts those of the file from 1, below the column names.

    Args:
        path: of a CSV file.
        columns: the answers, by name.
        dataset: of the rows.
        texts: `statuses`.
    """
    columns = {
        "row": range(1, len(texts) + 1),
        **columns,
        "status": map(cells.escaped, texts),
        "imputed": filled(dataset).tolist(),
    }
    if dataset.ids is not None:
        name = dataset.encoding["id"]
        ids = map(cells.escaped, dataset.ids)
        columns = {"id" if name in columns else cells.escaped(name): ids, **columns}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))

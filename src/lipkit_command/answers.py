"""What `lipkit certify` says of rows: shares of them, why some have no certificate, and a table."""

import csv
from collections import Counter

import numpy as np

from lipkit.certifier import Status
from lipkit.data import cells


def accuracy(result, counted=True) -> float:
    """Share of the rows with a class that are right, and counted."""
    return float(np.mean((counted & (result.label == result.y))[result.y >= 0]))


def share(result, radius) -> float:
    """Share of the rows that are certified to this radius; of those with a class: and right."""
    sure = result.certified & (result.radius >= radius)
    return float(np.mean(sure)) if result.y is None else accuracy(result, sure)


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
        yield f"  {imputed} have filled cells: their radii are those of the filled rows"


def write(path, result, dataset, texts) -> None:
    """Write a line for each row; `row` counts those of the file from 1, below the column names."""
    numbers = range(int(max(result.label.max(), -1 if result.y is None else result.y.max())) + 1)
    names = [*map(cells.escaped, dataset.classes or numbers), ""]  # the last for no label
    names = np.array(names, dtype=object)
    truth = names[result.y] if result.y is not None else [""] * len(result)
    columns = {
        "row": range(1, len(result) + 1),
        "label": names[result.label],
        "truth": truth,
        "radius": map(repr, result.radius.tolist()),
        "margin": map(repr, result.margin.tolist()),
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

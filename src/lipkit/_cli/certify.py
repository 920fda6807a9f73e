"""`lipkit certify`: radii of a model's answers on a data set."""

import csv
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from lipkit._cli import inputs, options, output
from lipkit._cli.app import DONE, NOT_CERTIFIED
from lipkit._files.places import new_file
from lipkit._table import table
from lipkit.certifier.arithmetic import FORMATS
from lipkit.certifier.status import Status
from lipkit.data import cells
from lipkit.data.dataset import encoded_format
from lipkit.runs import load

SHARE = options.checked(lambda value: 0 <= value <= 1, "must be between 0 and 1")
ARITHMETIC = ("real", *FORMATS)


def certify(
    model: options.Model,
    data: options.Data,
    eps: options.Eps = None,
    target: options.Target = None,
    run: options.Run = None,
    require: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            callback=SHARE,
            help="End with status 1 if the certified accuracy at --eps is lower.",
        ),
    ] = None,
    arithmetic: Annotated[
        str,
        typer.Option(
            callback=options.one_of(ARITHMETIC),
            help="What is proven: the network in real numbers, or the program in float32.",
        ),
    ] = "real",
    chosen: options.Output = None,
    id: options.Id = None,
    encoding: options.Encoding = None,
    decimal: options.Decimal = None,
    missing: options.Missing = None,
    sheet: options.Sheet = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write each row's radius to a .csv or .json file."),
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
):
    """Certify a model's answers: no input within the radius of a row has another answer.

    Works for models that lipkit trained and for any other made of known layers. A row that does not
    fit the model, as one with a missing cell, is not certified, and the others are. Ends with
    status 1 if the model cannot be certified, no row is, or the share is below --require.

    For example:

        lipkit certify runs/cancer new_patients.csv --id patient --out radii.csv
        lipkit certify runs/cancer runs/cancer/test.npz --eps 0.5 --require 0.9
        lipkit certify somebodys.onnx pixels.npz --json
    """
    if out is not None and out.suffix not in (".csv", ".json"):
        raise ValueError(f"--out: expected a .csv or .json file. Received: {out}")
    if require is not None and eps is None:
        raise ValueError("--require needs a radius: --eps.")
    loaded = load(model, run)
    known = encoded_format(loaded.info.data.encoding if loaded.info else {})
    format = known.changed(encoding=encoding, decimal=decimal, missing=missing, sheet=sheet)
    dataset = inputs.read(loaded, data, target, id, format)
    if require is not None and dataset.y is None:
        raise ValueError(f"--require needs true classes (--target), which {data} does not have.")
    result = inputs.certify(loaded, dataset, data, arithmetic, options.output(chosen))
    said = inputs.statuses(result, dataset)
    reasons = Counter(sorted(text for text in said if text != Status.CERTIFIED))
    if out is not None:
        with new_file(out, overwrite) as new:
            if out.suffix == ".json":
                result.save(new)
            else:
                _write_csv(new, result, dataset, said)
    sure = result.certified
    radii = [0.0, *([eps] if eps is not None else np.quantile(result.radius, [0.25, 0.5, 0.75]))]
    shares = [[float(r), _share(result, r)] for r in radii]
    document = {
        "model": str(model),
        "sha256": loaded.sha256,
        "data": str(data),
        "data_sha256": dataset.sha256,
        "inputs": len(result),
        "certified": int(sure.sum()),
        "not_certified": reasons,
        "imputed": int(np.count_nonzero(_filled(dataset))),
        "arithmetic": arithmetic,
        "assumptions": list(result.assumptions),
        "median_radius": float(np.median(result.radius)),
        "accuracy": None if result.y is None else _accuracy(result),
        "share": "certified accuracy" if result.y is not None else "certified share",
        "shares": shares,
    }
    rows = [(f"{radius:.4g}", f"{share:.4f}") for radius, share in shares]
    unit = [f"radii {output.unit(loaded.weights)}"] * (loaded.weights is not None)
    lines = [
        str(result).partition("\n")[0],
        *_reasons(reasons, document["imputed"]),
        *unit,
        *table(("radius", document["share"]), rows),
        output.identity(model, loaded.sha256),
        output.identity(data, dataset.sha256),
    ]
    output.show(as_json, document, lines)
    failed = not sure.any() or (require is not None and shares[1][1] < require)
    return NOT_CERTIFIED if failed else DONE


def _share(result, radius):
    """Share of the rows that are certified to this radius; of those with a class: and right."""
    sure = result.certified & (result.radius >= radius)
    return float(np.mean(sure)) if result.y is None else _accuracy(result, sure)


def _accuracy(result, counted=True):
    """Share of the rows with a class that are right, and counted."""
    return float(np.mean((counted & (result.label == result.y))[result.y >= 0]))


def _filled(dataset):
    """The number of filled cells of each row."""
    return np.zeros(len(dataset.x), int) if dataset.imputed is None else dataset.imputed


def _reasons(counts, imputed, most=10):
    """Lines about rows without a certificate, and rows with filled cells."""
    for text, count in counts.most_common(most):
        yield f"  {count} not certified: {text.removeprefix('not certified: ')}"
    if len(counts) > most:
        yield f"  and {len(counts) - most} other reasons: --out FILE has that of each row"
    if imputed:
        yield f"  {imputed} have filled cells: their radii are those of the filled rows"


def _write_csv(path, result, dataset, said):
    """A line for each row: `row` counts those of the file from 1, below the column names."""
    numbers = range(int(max(result.label.max(), -1 if result.y is None else result.y.max())) + 1)
    names = np.array([*(dataset.classes or map(str, numbers)), ""], dtype=object)  # last: no label
    truth = names[result.y] if result.y is not None else [""] * len(result)
    columns = {
        "row": range(1, len(result) + 1),
        "label": map(cells.escaped, names[result.label]),
        "truth": map(cells.escaped, truth),
        "radius": map(repr, result.radius.tolist()),
        "margin": map(repr, result.margin.tolist()),
        "status": map(cells.escaped, said),
        "imputed": _filled(dataset).tolist(),
    }
    if dataset.ids is not None:
        name = dataset.encoding["id"]
        ids = map(cells.escaped, dataset.ids)
        columns = {"id" if name in columns else cells.escaped(name): ids, **columns}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))

"""`lipkit certify`: radii of a model's answers on a data set."""

import csv
from pathlib import Path
from typing import Annotated

import typer

from lipkit_command import options, output
from lipkit_command.app import DONE, NOT_CERTIFIED
from lipkit_command.plain import choices

SHARE = options.checked(lambda value: 0 <= value <= 1, "must be between 0 and 1")
ARITHMETIC = ("real", *choices.FORMATS)


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
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write each row's radius to a .csv or .json file."),
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
):
    """Certify a model's answers: no input within the radius of a row has another answer.

    Works for models that lipkit trained and for any other made of known layers. Ends with status 1
    if the model cannot be certified, no row is, or the share is below --require.

    For example:

        lipkit certify runs/cancer new_patients.csv --out radii.csv
        lipkit certify runs/cancer runs/cancer/test.npz --eps 0.5 --require 0.9
        lipkit certify somebodys.onnx pixels.npz --json
    """
    if out is not None and out.suffix not in (".csv", ".json"):
        raise ValueError(f"--out: expected a .csv or .json file. Received: {out}")
    if require is not None and eps is None:
        raise ValueError("--require needs a radius: --eps.")

    import numpy as np

    from lipkit._files.places import new_file
    from lipkit._table import table
    from lipkit.runs import load
    from lipkit_command import inputs

    loaded = load(model, run)
    dataset = inputs.read(loaded, data, target)
    if require is not None and dataset.y is None:
        raise ValueError(f"--require needs the true classes, which {data} does not have.")
    result = inputs.certify(loaded, dataset, data, arithmetic, options.output(chosen))
    if out is not None:
        with new_file(out, overwrite) as new:
            if out.suffix == ".json":
                result.save(new)
            else:
                _write_csv(new, result, dataset.classes)
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
        "not_certified": result.reasons(),
        "arithmetic": arithmetic,
        "assumptions": list(result.assumptions),
        "median_radius": float(np.median(result.radius)),
        "accuracy": None if result.y is None else float(np.mean(result.label == result.y)),
        "share": "certified accuracy" if result.y is not None else "certified share",
        "shares": shares,
    }
    rows = [(f"{radius:.4g}", f"{share:.4f}") for radius, share in shares]
    unit = [f"radii {output.unit(loaded.weights)}"] * (loaded.weights is not None)
    lines = [
        *str(result).splitlines(),
        *unit,
        *table(("radius", document["share"]), rows),
        output.identity(model, loaded.sha256),
        output.identity(data, dataset.sha256),
    ]
    output.show(as_json, document, lines)
    failed = not sure.any() or (require is not None and shares[1][1] < require)
    return NOT_CERTIFIED if failed else DONE


def _share(result, radius):
    """Share of the rows that are certified to this radius, and right where that is known."""
    if result.y is not None:
        return result.certified_accuracy(float(radius))
    return float((result.certified & (result.radius >= radius)).mean())


def _write_csv(path, result, classes):
    from lipkit.data import cells

    names = [str(c) for c in classes] or [str(c) for c in range(int(result.label.max()) + 1)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "label", "radius", "status"))
        for i in range(len(result)):
            label = names[result.label[i]] if result.label[i] >= 0 else ""
            texts = label, repr(float(result.radius[i])), result.status[i]
            writer.writerow((i + 1, *map(cells.escaped, texts)))

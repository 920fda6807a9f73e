"""`lipkit certify`: radii, or intervals, of a model's answers on a data set."""

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
    id: options.Id = None,
    drop: options.Drop = None,
    encoding: options.Encoding = None,
    decimal: options.Decimal = None,
    missing: options.Missing = None,
    sheet: options.Sheet = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write each row's radius, or interval, to a .csv or .json file."
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
):
    """Certify a model's answers: no input within the radius of a row has another answer.

    Of a run that predicts numbers (--task regression) it is the interval that the prediction stays
    in as long as no input moves by more than --eps, or the run's own radius.

    Works for models that lipkit trained and for any other made of known layers. A row that does not
    fit the model, as one with a missing cell, is not certified, and the others are. Ends with
    status 1 if the model cannot be certified, no row is, or the share is below --require.

    For example:

        lipkit certify runs/cancer new_patients.csv --id patient --out radii.csv
        lipkit certify runs/cancer runs/cancer/test.npz --eps 0.5 --require 0.9
        lipkit certify runs/prices new_homes.csv --eps 0.1 --out intervals.csv
        lipkit certify somebodys.onnx pixels.npz --json
    """
    if out is not None and out.suffix not in (".csv", ".json"):
        raise ValueError(f"--out: expected a .csv or .json file. Received: {out}")
    if require is not None and eps is None:
        raise ValueError("--require needs a radius: --eps.")

    import numpy as np

    from lipkit._files.places import new_file
    from lipkit.runs import load
    from lipkit_command import answers, decisions, inputs, values

    loaded = load(model, run)
    own = values if loaded.regression else decisions
    if loaded.regression:
        inputs.refuse_for_values(require=require, arithmetic=arithmetic, output=chosen)
    written = {"encoding": encoding, "decimal": decimal, "missing": missing, "sheet": sheet}
    dataset = inputs.read(loaded, data, target, id, drop, **written)
    if require is not None and dataset.y is None:
        raise ValueError(f"--require needs true classes (--target), which {data} does not have.")
    result = inputs.certify(loaded, dataset, data, arithmetic, options.output(chosen), eps)
    said = answers.statuses(result, dataset)
    reasons = answers.reasons(said)
    if out is not None:
        with new_file(out, overwrite) as new:
            if out.suffix == ".json":
                result.save(new)
            else:
                answers.write(new, own.columns(result, dataset.classes), dataset, said)
    about, shown = own.summary(result, eps)
    sure = result.certified
    document = {
        "model": str(model),
        "sha256": loaded.sha256,
        "data": str(data),
        "data_sha256": dataset.sha256,
        "inputs": len(result),
        "certified": int(sure.sum()),
        "not_certified": reasons,
        "imputed": int(np.count_nonzero(answers.filled(dataset))),
        "arithmetic": arithmetic,
        "assumptions": list(result.assumptions),
        **about,
    }
    info = loaded.info
    what = "distances" if loaded.regression else "radii"
    unit = [f"{what} {info.distances}"] if info and loaded.weights is not None else []
    lines = [
        str(result).partition("\n")[0],
        *answers.lines(reasons, document["imputed"]),
        *unit,
        *shown,
        output.identity(model, loaded.sha256),
        output.identity(data, dataset.sha256),
    ]
    output.show(as_json, document, lines)
    failed = not sure.any() or (require is not None and document["shares"][1][1] < require)
    return NOT_CERTIFIED if failed else DONE

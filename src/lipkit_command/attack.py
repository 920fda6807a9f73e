"""`lipkit attack`: try to break a model's certificates."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lipkit_command import options, output
from lipkit_command.app import DONE, NOT_CERTIFIED


def attack(
    model: options.Model,
    data: options.Data,
    target: options.Target = None,
    run: options.Run = None,
    drop: options.Drop = None,
    encoding: options.Encoding = None,
    decimal: options.Decimal = None,
    missing: options.Missing = None,
    sheet: options.Sheet = None,
    rows: Annotated[int, typer.Option(min=1, help="Attack only the first rows.")] = 1000,
    steps: Annotated[int, typer.Option(min=1, help="Gradient steps.")] = 20,
    restarts: Annotated[int, typer.Option(min=1, help="Random starts of the gradient steps.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    as_json: options.Json = False,
):
    """Try to break a model's certificates: find an input within a row's radius with another answer.

    Of a run that predicts numbers: one whose prediction is outside of the row's interval.
    Ends with status 1 if one is broken, which disproves the certificate. An attack that fails
    proves nothing: the certificate does.

    For example:

        lipkit attack runs/cancer runs/cancer/test.npz
        lipkit attack somebodys.keras pixels.npz --rows 200 --steps 100 --restarts 5
    """
    from lipkit import attacks
    from lipkit.recipes import scaling
    from lipkit.runs import Loaded, load
    from lipkit_command import inputs

    loaded = load(model, run)
    if isinstance(loaded.model, Path):
        raise ValueError(f"{model}: attacks follow gradients, so they need a Keras model.")
    written = {"encoding": encoding, "decimal": decimal, "missing": missing, "sheet": sheet}
    dataset = inputs.read(loaded, data, target, drop=drop, **written).head(rows)
    space, x = scaling.weighted_space(loaded.model, dataset.x, loaded.weights)
    info = loaded.info
    if info is not None:  # the weights are in the model now
        info = replace(info, settings={**info.settings, "feature_weights": None})
    certificates = inputs.certify(Loaded(space, info), replace(dataset, x=x), data)
    found = attacks.falsify(space, x, certificates, seed=seed, steps=steps, restarts=restarts)
    broken = int(found.broken.sum())
    document = {
        "model": str(model),
        "sha256": loaded.sha256,
        "data": str(data),
        "inputs": len(dataset.x),
        "attacked": int(found.attacked.sum()),
        "broken": broken,
        "attacks": list(found.attacks),
    }
    output.show(
        as_json,
        document,
        [f"{len(dataset.x)} rows: {found}", output.identity(model, loaded.sha256)],
    )
    return NOT_CERTIFIED if broken else DONE

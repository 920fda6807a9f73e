"""`lipkit demo`: the published toy experiment."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import keras
import matplotlib
import numpy as np
import typer

from lipkit import plots
from lipkit._cli import options, output
from lipkit._cli.app import NOT_CERTIFIED, fail
from lipkit._demo import DATA_SETS, Settings, train
from lipkit._files.places import new_folder
from lipkit._table import printable

PICTURES = ("data", "model", "export", "surface")
_even = options.checked(lambda value: value % 2 == 0, "must be even (half of a batch per class)")
_weight = options.checked(lambda value: value >= 0, "must be >= 0 (inf for the hinge alone)")
_margin = options.checked(lambda value: 0 < value < float("inf"), "must be a finite number > 0")
_noise = options.checked(
    lambda value: 0 <= value <= 10, "must be from 0 to 10 (the curves have size 1)"
)


def demo(
    data_set: Annotated[
        str, typer.Argument(callback=options.one_of(DATA_SETS), help=" or ".join(DATA_SETS))
    ] = Settings.data_set,
    epochs: Annotated[int, typer.Option(min=1)] = Settings.epochs,
    batch_size: Annotated[int, typer.Option(min=2, callback=_even)] = Settings.batch_size,
    alpha: Annotated[
        float, typer.Option(callback=_weight, help="Weight of the hinge.")
    ] = Settings.alpha,
    min_margin: Annotated[float, typer.Option(callback=_margin)] = Settings.min_margin,
    noise: Annotated[float, typer.Option(callback=_noise)] = Settings.noise,
    samples: Annotated[int, typer.Option(min=2, help="Points in all.")] = Settings.samples,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = Settings.seed,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("lipkit-demo"),
    overwrite: options.Overwrite = False,
    backend: options.Backend = None,
):
    """Train an HKR classifier on a toy problem, draw it and export it to plain Keras.

    For example:

        lipkit demo circles --epochs 5 --out /tmp/circles
    """
    options.use_backend(backend)
    settings = Settings(
        data_set=data_set,
        epochs=epochs,
        batch_size=batch_size,
        alpha=alpha,
        min_margin=min_margin,
        noise=noise,
        samples=samples,
        seed=seed,
    )
    names = ("metrics.json", "model.keras", "export.keras", *(f"{name}.png" for name in PICTURES))
    with new_folder(out, names, "a demo", overwrite) as folder:
        _write(folder, settings, *train(settings, [output.Epochs(lines=True)]))
    for name in sorted(names):
        typer.echo(printable(out / name))


def _write(directory, settings, model, points, history):
    export = model.vanilla_export()
    difference = model.predict(points[0], verbose=0) - export.predict(points[0], verbose=0)
    metrics = {
        "backend": keras.backend.backend(),
        "settings": {**dataclasses.asdict(settings), "alpha": model.loss.get_config()["alpha"]},
        "final": {name: values[-1] for name, values in history.items()},
        "history": history,
        "export_max_difference": float(np.abs(difference).max()),
    }
    try:
        text = json.dumps(metrics, indent=1, allow_nan=False)
    except ValueError:
        fail("the training gave infinite or undefined values; nothing was written", NOT_CERTIFIED)
    (directory / "metrics.json").write_text(text + "\n")
    model.save(directory / "model.keras")
    export.save(directory / "export.keras")
    matplotlib.use("agg")
    trained, exported = "Trained 1-Lipschitz model f", "The same function, exported to plain Keras"
    drawn = (
        (f"Data: {settings.data_set}", plots.scatter(*points)),
        (trained, plots.decision_function(model, *points)),
        (exported, plots.decision_function(export, *points)),
        (trained, plots.decision_surface(model, *points)),
    )
    for name, (title, ax) in zip(PICTURES, drawn, strict=True):
        ax.set_title(title)
        ax.figure.savefig(directory / f"{name}.png", dpi=120)

"""`lipkit demo`: the published toy experiment."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from lipkit_command import options
from lipkit_command.app import NOT_CERTIFIED, fail
from lipkit_command.plain import choices, printable

DEFAULT = choices.DemoSettings()
PICTURES = ("data", "model", "export", "surface")
_even = options.checked(lambda value: value % 2 == 0, "must be even (half of a batch per class)")
_weight = options.checked(lambda value: value >= 0, "must be >= 0 (inf for the hinge alone)")
_margin = options.checked(lambda value: 0 < value < float("inf"), "must be a finite number > 0")
_noise = options.checked(
    lambda value: 0 <= value <= 10, "must be from 0 to 10 (the curves have size 1)"
)


def demo(
    data_set: Annotated[
        str, typer.Argument(callback=options.one_of(choices.TOYS), help=" or ".join(choices.TOYS))
    ] = DEFAULT.data_set,
    epochs: Annotated[int, typer.Option(min=1)] = DEFAULT.epochs,
    batch_size: Annotated[int, typer.Option(min=2, callback=_even)] = DEFAULT.batch_size,
    alpha: Annotated[
        float, typer.Option(callback=_weight, help="Weight of the hinge.")
    ] = DEFAULT.alpha,
    min_margin: Annotated[float, typer.Option(callback=_margin)] = DEFAULT.min_margin,
    noise: Annotated[float, typer.Option(callback=_noise)] = DEFAULT.noise,
    samples: Annotated[int, typer.Option(min=2, help="Points in all.")] = DEFAULT.samples,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = DEFAULT.seed,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("lipkit-demo"),
    overwrite: options.Overwrite = False,
    backend: options.Backend = None,
):
    """Train an HKR classifier on a toy problem, draw it and export it to plain Keras.

    For example:

        lipkit demo circles --epochs 5 --out /tmp/circles
    """
    from lipkit import _demo
    from lipkit._files.places import new_folder
    from lipkit_command.progress import Epochs

    settings = _demo.Settings(
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
        _write(folder, settings, *_demo.train(settings, [Epochs(lines=True)]))
    for name in sorted(names):
        typer.echo(printable(out / name))


def _write(directory, settings, model, points, history):
    import keras
    import matplotlib
    import numpy as np

    from lipkit import plots

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

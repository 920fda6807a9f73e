"""The command line: `lipkit demo moons`."""

import json
import os
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


class DataSet(StrEnum):
    """Toy problems."""

    moons = "moons"
    circles = "circles"


class Backend(StrEnum):
    """Keras backends."""

    jax = "jax"
    tensorflow = "tensorflow"
    torch = "torch"


class _Progress:
    """Rich progress over the epochs and a line of metrics after each, as a Keras callback."""

    def __new__(cls, epochs, steps):
        import keras
        from rich.progress import Progress

        progress = Progress(transient=True)

        class Callback(keras.callbacks.Callback):
            def on_train_begin(self, logs=None):
                progress.start()
                self.task = progress.add_task("training", total=epochs * steps)

            def on_train_batch_end(self, batch, logs=None):
                progress.advance(self.task)

            def on_epoch_end(self, epoch, logs=None):
                values = "  ".join(f"{k} {v:.4f}" for k, v in sorted((logs or {}).items()))
                progress.console.print(f"epoch {epoch + 1:3d}/{epochs}  {values}")

            def on_train_end(self, logs=None):
                progress.stop()

        return Callback()


def _writable(directory: Path) -> Path:
    """Make the directory and prove that a file can be written there, before any work is done."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise typer.BadParameter(
            f"cannot write to {directory}: {error.strerror}", param_hint="'--out'"
        ) from None
    return directory


def _finite(low, *, strict):
    def check(value: float) -> float:
        if not (low < value or (value == low and not strict)) or value == float("inf"):
            relation = ">" if strict else ">="
            raise typer.BadParameter(f"must be a finite number {relation} {low}, got {value}")
        return value

    return check


def _alpha(value: float) -> float:
    if not value >= 0:
        raise typer.BadParameter(f"must be >= 0 (inf for the hinge alone), got {value}")
    return value


def _even(value: int) -> int:
    if value % 2:
        raise typer.BadParameter(f"must be even (half of a batch per class), got {value}")
    return value


@app.callback()
def _root():
    """Lipschitz networks and their certificates."""


@app.command()
def demo(
    data_set: Annotated[DataSet, typer.Argument(help="Toy problem.")] = DataSet.moons,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    batch_size: Annotated[int, typer.Option(min=2, callback=_even)] = 256,
    alpha: Annotated[float, typer.Option(callback=_alpha, help="Weight of the hinge.")] = 10.0,
    min_margin: Annotated[float, typer.Option(callback=_finite(0, strict=True))] = 0.29,
    noise: Annotated[float, typer.Option(callback=_finite(0, strict=False))] = 0.05,
    samples: Annotated[int, typer.Option(min=2, help="Points in all.")] = 5000,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("lipkit-demo"),
    backend: Annotated[Backend | None, typer.Option(help="Keras backend.")] = None,
):
    """Train an HKR classifier on a toy problem, draw it and export it to plain Keras.

    Example: lipkit demo circles --epochs 5 --out /tmp/circles
    """
    directory = _writable(out)
    if backend is not None:
        os.environ["KERAS_BACKEND"] = backend.value
    try:
        import lipkit  # noqa: F401  (chooses the backend)
        from lipkit.demo import Settings, train
    except ImportError as error:
        raise typer.BadParameter(str(error), param_hint="'--backend'") from None
    settings = Settings(
        data_set=data_set.value,
        epochs=epochs,
        batch_size=batch_size,
        alpha=alpha,
        min_margin=min_margin,
        noise=noise,
        samples=samples,
        seed=seed,
    )
    model, points, history = train(settings, [_Progress(epochs, settings.steps)])
    _write(directory, settings, model, points, history)
    for path in sorted(directory.iterdir()):
        typer.echo(path)


def _write(directory, settings, model, points, history):
    import keras
    import matplotlib
    import numpy as np

    from lipkit import plots
    from lipkit.demo import as_dict

    matplotlib.use("agg")
    export = model.vanilla_export()
    model.save(directory / "model.keras")
    export.save(directory / "export.keras")
    x = points[0]
    difference = model.predict(x, verbose=0) - export.predict(x, verbose=0)
    figures = {
        "data.png": plots.scatter(*points),
        "model.png": plots.decision_function(model, *points),
        "export.png": plots.decision_function(export, *points),
        "surface.png": plots.decision_surface(model, *points),
    }
    titles = {
        "data.png": f"Data: {settings.data_set}",
        "model.png": "Trained 1-Lipschitz model f",
        "export.png": "The same function, exported to plain Keras",
        "surface.png": "Trained 1-Lipschitz model f",
    }
    for name, ax in figures.items():
        ax.set_title(titles[name])
        ax.figure.savefig(directory / name, dpi=120)
    metrics = {
        "backend": keras.backend.backend(),
        "settings": as_dict(settings),
        "final": {name: values[-1] for name, values in history.items()},
        "history": history,
        "export_max_difference": float(np.abs(difference).max()),
    }
    text = json.dumps(metrics, indent=1).replace("Infinity", '"inf"')
    (directory / "metrics.json").write_text(text + "\n")


def main():
    """Entry point of the `lipkit` command."""
    app()


if __name__ == "__main__":
    main()

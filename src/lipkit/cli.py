"""The command line: `lipkit demo moons`."""

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, NoReturn

import keras
import matplotlib
import numpy as np
import typer
from rich.progress import Progress

from lipkit import plots
from lipkit._backend import BACKENDS, check_backend
from lipkit.demo import DATA_SETS, Settings, train
from lipkit.errors import BackendError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


class _Progress(keras.callbacks.Callback):
    """Rich progress over the epochs and a line of metrics after each."""

    def __init__(self, settings):
        super().__init__()
        self._epochs = settings.epochs
        self._progress = Progress(transient=True)
        self._task = self._progress.add_task("training", total=settings.epochs * settings.steps)

    def on_train_begin(self, logs=None):
        """Show the bar."""
        self._progress.start()

    def on_train_batch_end(self, batch, logs=None):
        """Move the bar."""
        self._progress.advance(self._task)

    def on_epoch_end(self, epoch, logs=None):
        """Print the metrics."""
        values = "  ".join(f"{k} {v:.4f}" for k, v in sorted((logs or {}).items()))
        self._progress.console.print(f"epoch {epoch + 1:3d}/{self._epochs}  {values}")

    def on_train_end(self, logs=None):
        """Take the bar away."""
        self._progress.stop()


def _fail(message, status) -> NoReturn:
    """End with one line on the error stream."""
    typer.echo(f"lipkit: {message}", err=True)
    raise typer.Exit(status)


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


def _checked(check, message):
    """A callback that refuses what does not pass the check; None is no value."""

    def callback(value):
        if value is not None and not check(value):
            raise typer.BadParameter(f"{message}, got {value}")
        return value

    return callback


def _one_of(names):
    return _checked(lambda value: value in names, f"must be one of {', '.join(names)}")


def _restart(backend):
    """Run this command again in a new interpreter: Keras's backend is fixed at its import."""
    try:
        check_backend(backend, "the option --backend")
    except BackendError as error:
        _fail(error, 2)
    command = [sys.executable, "-m", "lipkit_command", *sys.argv[1:]]
    os.execve(sys.executable, command, {**os.environ, "KERAS_BACKEND": backend})


@app.callback()
def _root():
    """Lipschitz networks and their certificates."""


_even = _checked(lambda value: value % 2 == 0, "must be even (half of a batch per class)")
_weight = _checked(lambda value: value >= 0, "must be >= 0 (inf for the hinge alone)")
_margin = _checked(lambda value: 0 < value < float("inf"), "must be a finite number > 0")
_noise = _checked(lambda value: 0 <= value <= 10, "must be from 0 to 10 (the curves have size 1)")


@app.command()
def demo(
    data_set: Annotated[
        str, typer.Argument(callback=_one_of(DATA_SETS), help=" or ".join(DATA_SETS))
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
    backend: Annotated[
        str | None, typer.Option(callback=_one_of(BACKENDS), help="Keras backend.")
    ] = None,
):
    """Train an HKR classifier on a toy problem, draw it and export it to plain Keras.

    Example: lipkit demo circles --epochs 5 --out /tmp/circles
    """
    directory = _writable(out)
    if backend not in (None, keras.backend.backend()):
        _restart(backend)
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
    _write(directory, settings, *train(settings, [_Progress(settings)]))
    for path in sorted(directory.iterdir()):
        typer.echo(path)


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
        _fail("the training gave infinite or undefined values; nothing was written", 1)
    (directory / "metrics.json").write_text(text + "\n")
    model.save(directory / "model.keras")
    export.save(directory / "export.keras")
    matplotlib.use("agg")
    trained, exported = "Trained 1-Lipschitz model f", "The same function, exported to plain Keras"
    for name, title, ax in (
        ("data", f"Data: {settings.data_set}", plots.scatter(*points)),
        ("model", trained, plots.decision_function(model, *points)),
        ("export", exported, plots.decision_function(export, *points)),
        ("surface", trained, plots.decision_surface(model, *points)),
    ):
        ax.set_title(title)
        ax.figure.savefig(directory / f"{name}.png", dpi=120)

"""What commands show: results on stdout, progress on stderr."""

import json

import keras
import typer
from rich.console import Console
from rich.progress import Progress

from lipkit._table import printable


def show(as_json: bool, document: dict, lines) -> None:
    """Print a result: one JSON object, or lines of text."""
    texts = [json.dumps(document, allow_nan=False)] if as_json else map(printable, lines)
    typer.echo("\n".join(texts))


def identity(path, sha256) -> str:
    """A line that says which file or run a result belongs to."""
    return f"SHA-256 of {path}: {sha256 or 'none (the run has no manifest)'}"


def unit(weights) -> str:
    """The unit of radii."""
    plain = "in units of the data"
    return plain if weights is None else f"{plain}, times the feature weights"


def facts(rows) -> list[str]:
    """Lines of (name, text) pairs, the texts below one another."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    return [f"{name.ljust(width)}  {text}" for name, text in rows]


class Epochs(keras.callbacks.Callback):
    """A bar that moves with the batches, and the metrics after each epoch.

    Args:
        lines: a line for each epoch on stdout, the bar below; otherwise a bar on stderr alone.
    """

    def __init__(self, lines=False):
        super().__init__()
        self._lines = lines
        console = Console(stderr=not lines)
        self._progress = Progress(
            console=console, transient=True, disable=not (lines or console.is_terminal)
        )

    def on_train_begin(self, logs=None):
        """Show the bar."""
        self._epochs = self.params["epochs"]
        total = self._epochs * self.params["steps"]
        self._task = self._progress.add_task("training", total=total)
        self._progress.start()

    def on_train_batch_end(self, batch, logs=None):
        """Move the bar."""
        self._progress.advance(self._task)

    def on_epoch_end(self, epoch, logs=None):
        """Say the metrics."""
        values = "  ".join(f"{k} {v:.4f}" for k, v in sorted((logs or {}).items()))
        if self._lines:
            self._progress.console.print(f"epoch {epoch + 1:3d}/{self._epochs}  {values}")
        else:
            self._progress.update(self._task, description=f"training  {values}")

    def on_train_end(self, logs=None):
        """Take the bar away."""
        self._progress.stop()

"""What commands show while they train."""

import keras
from rich.console import Console
from rich.progress import Progress


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

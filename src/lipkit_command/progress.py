"""What commands show while they train."""

import time

import keras
from rich.console import Console
from rich.progress import Progress

LINES = 100  # of one training, about


class Epochs(keras.callbacks.Callback):
    """A bar that moves with the batches, and the metrics after each epoch.

    Args:
        lines: a line for each epoch on stdout, the bar below. Otherwise all is on stderr: a bar
            where that is a terminal, else a line for each epoch, or for the first and every
            hundredth part of them.
    """

    def __init__(self, lines=False):
        super().__init__()
        console = Console(stderr=not lines, soft_wrap=True)
        self._every, self._terminal = lines, console.is_terminal
        self._progress = Progress(console=console, transient=True, disable=not console.is_terminal)

    def on_train_begin(self, logs=None):
        """Show the bar."""
        self._epochs, self._going = self.params["epochs"], False
        total = self._epochs * self.params["steps"]
        self._title = getattr(self.model, "title", "")
        self._task = self._progress.add_task(self._title or "training", total=total)
        self._progress.start()

    def on_epoch_begin(self, epoch, logs=None):
        """The first is not number 0 in a training that goes on."""
        if not self._going:
            self._going, self._begun, self._start = True, epoch, time.monotonic()
            self._progress.update(self._task, completed=epoch * self.params["steps"])

    def on_train_batch_end(self, batch, logs=None):
        """Move the bar."""
        self._progress.advance(self._task)

    def on_epoch_end(self, epoch, logs=None):
        """Say the metrics."""
        values = "  ".join(f"{k} {v:.4f}" for k, v in sorted((logs or {}).items()))
        done, shown = epoch + 1, max(1, self._epochs // LINES)
        if self._terminal and not self._every:
            self._progress.update(self._task, description=f"{self._title or 'training'}  {values}")
        elif self._every or done % shown == 0 or done in (self._begun + 1, self._epochs):
            each = (time.monotonic() - self._start) / (done - self._begun)
            left = f"{each * (self._epochs - done):.0f} s left"
            name = f"{self._title}  " * bool(self._title)
            line = f"{name}epoch {done:{len(str(self._epochs))}d}/{self._epochs}  {values}  {left}"
            self._progress.console.print(line, highlight=False)

    def on_train_end(self, logs=None):
        """Take the bar away."""
        self._progress.stop()

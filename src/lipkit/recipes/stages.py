"""The fits of a training, which Ctrl-C ends after an epoch, and which go on in a later process."""

import json
import signal
import threading
from contextlib import suppress
from pathlib import Path

from lipkit.recipes.kept import Fit, read

FILE = "{}.npz"  # of the n-th fit, from 1 on


class Stages:
    """The fits of one training, one after the other, which can be interrupted and resumed.

    A training that runs the same fits in the same order has the same weights, whether it was ended
    and resumed or not: to the last bit where the backend computes the same twice, as on a CPU, with
    data sets that depend on the number of the epoch alone. What a fit has reached is kept every few
    seconds at the end of an epoch, and at its end: the variables of model, optimizer and loss,
    the history, and the best that `EarlyStopping` has seen. Other callbacks begin anew.

    As a context, it lets the first Ctrl-C (SIGINT, in the main thread) end the fit after the epoch;
    the next one does what it did before.

    Args:
        folder: path of a folder where states are kept, made at the first; None to keep none.
        asked: what the training depends on, {name: JSON-ready value}, which is kept with them.

    Attributes:
        interrupted: whether Ctrl-C was pressed. Nothing is kept from then on, and each further fit
            has one epoch.
        seconds: time that all fits took.
        earlier: the part of it in earlier processes.

    Raises:
        ValueError: the folder has states of a training of which something else was asked.

    Example:
        >>> labels = (y > 0).astype("int64")
        >>> with lipkit.recipes.Stages() as stages:
        ...     trained = lipkit.recipes.train(x, labels, epochs=1, stages=stages)
        >>> stages.interrupted
        False
    """

    def __init__(self, folder=None, asked=None):
        self._folder = None if folder is None else Path(folder)
        self._asked = json.loads(json.dumps(asked or {}, default=str))
        if self._folder is not None:
            self._check(self._folder)
        self._count, self._usual = 0, None
        self.interrupted, self.seconds, self.earlier = False, 0.0, 0.0

    def _check(self, folder):
        """Refuse states of another training."""
        now, before = self._asked, {}
        with suppress(OSError, ValueError):  # there is none, or it is damaged
            _, about = read(folder / FILE.format(1))
            before = about["asked"]
        names = [name for name in before | now if before and before.get(name) != now.get(name)]
        changes = ", ".join(f"{n} was {before.get(n)!r}, is {now.get(n)!r}" for n in names)
        if changes:
            raise ValueError(
                f"{folder} is of another training: {changes}. Ask for the same, or remove it."
            )

    def __enter__(self):
        usual = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(usual):
            self._usual = usual
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_):
        if self._usual is not None:
            signal.signal(signal.SIGINT, self._usual)
            self._usual = None

    def _interrupt(self, *_):
        self.interrupted = True
        self.__exit__()

    def fit(self, model, x, *, epochs, callbacks=None, **options):
        """Keras's `fit`, or what earlier processes left of it.

        Args:
            model: compiled and built Keras model.
            x, epochs, callbacks, **options: as in its `fit`.

        Returns:
            The history: {name: a float for each epoch}.
        """
        self._count += 1
        path = self._folder and self._folder / FILE.format(self._count)
        callbacks = list(callbacks or ())
        state = Fit(model, callbacks, lambda: self.interrupted, path, self._asked)
        self.earlier += state.seconds
        if not state.finished:
            first = epochs if state.stopped else state.epoch
            options |= {"epochs": epochs, "initial_epoch": first}
            model.fit(x, callbacks=[*callbacks, state], **options)
            state.finish()
        self.seconds += state.seconds
        return state.history

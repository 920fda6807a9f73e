"""One fit, whose state is kept in a file."""

import json
import logging
import time

import keras
import numpy as np
from keras import ops

from lipkit._files.atomic import replacing

LOG = logging.getLogger("lipkit")
ABOUT = "about"  # the name of what is no array
EVERY = 5.0  # seconds from one kept state to the next
COUNTED = ("wait", "stopped_epoch", "best", "best_epoch")  # by EarlyStopping, beside best_weights


def read(path):
    """The arrays in a file of a state, and what else it says.

    Raises:
        ValueError: it is damaged.
    """
    try:
        with path.open("rb") as raw, np.load(raw) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, json.loads(arrays.pop(ABOUT).item())
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(f"{path} cannot be read ({error})") from None


class Fit(keras.callbacks.Callback):
    """The state of a fit; the last of its callbacks.

    Args:
        model: compiled and built model.
        callbacks: the others.
        interrupted: interrupted() says whether the fit is to end with the epoch.
        path: file of the state; None for none.
        asked: what is said of the training in the file.
    """

    def __init__(self, model, callbacks, interrupted, path=None, asked=None):
        super().__init__()
        self._asked = asked
        self._trained, self._interrupted, self._path = model, interrupted, path
        self._stoppers = [c for c in callbacks if isinstance(c, keras.callbacks.EarlyStopping)]
        self._counted = []
        self._start = self._kept = time.monotonic()
        self._said = False
        self.epoch, self.history, self.seconds = 0, {}, 0.0
        self.stopped = self.finished = False
        if not model.optimizer.built:  # Keras does it later on some backends
            model.optimizer.build(model.trainable_variables)
        if path is not None and path.exists():
            self._load(path)

    def on_train_begin(self, logs=None):
        """Give others back what they have just forgotten."""
        for stopper, counted in zip(self._stoppers, self._counted, strict=False):
            vars(stopper).update(counted)

    def on_train_batch_end(self, batch, logs=None):
        """Say what Ctrl-C does: not in its handler, which may come in the middle of a line."""
        if self._interrupted() and not self._said:
            self._said = True
            LOG.warning("training ends after this epoch; Ctrl-C again breaks it off")

    def on_epoch_end(self, epoch, logs=None):
        """Keep the state if it is time, or end."""
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        self.epoch, self.stopped = epoch + 1, bool(self.model.stop_training)
        if self._interrupted():
            self.model.stop_training = True
        elif time.monotonic() - self._kept >= EVERY:
            self.save()

    def finish(self):
        """Keep the state after the fit, whose end may have brought back better weights."""
        self.finished = True
        self.save()

    def save(self):
        """Write the file, in one step, unless Ctrl-C has made of it another training."""
        self._kept = time.monotonic()
        self.seconds += self._kept - self._start
        self._start = self._kept
        if self._path is None or self._interrupted():
            return
        arrays = {f"v{i}": ops.convert_to_numpy(v) for i, v in enumerate(self._variables())}
        for i, stopper in enumerate(self._stoppers):
            arrays |= {f"b{i},{j}": w for j, w in enumerate(stopper.best_weights or ())}
        names = ("epoch", "history", "seconds", "stopped", "finished")
        about = {"asked": self._asked, **{name: getattr(self, name) for name in names}}
        about["counted"] = [{n: getattr(s, n) for n in COUNTED} for s in self._stoppers]
        text = json.dumps(about, default=float)
        self._path.parent.mkdir(exist_ok=True)
        with replacing(self._path) as new:
            np.savez(new, **{ABOUT: np.array(text)}, **arrays)

    def _load(self, path):
        try:
            arrays, about = read(path)
        except ValueError as error:
            LOG.warning("%s: this part of the training begins anew", error)
            return
        about.pop("asked")
        for i, counted in enumerate(about.pop("counted")):
            best = [arrays.pop(name) for name in list(arrays) if name.startswith(f"b{i},")]
            self._counted.append({**counted, "best_weights": best or None})
        for variable, value in zip(self._variables(), arrays.values(), strict=True):
            variable.assign(value)
        vars(self).update(about)

    def _variables(self):
        loss = getattr(self._trained.loss, "variables", ())  # parameters that change
        return [*self._trained.variables, *self._trained.optimizer.variables, *loss]

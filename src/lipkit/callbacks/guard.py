"""Stop at the first number that is not finite, and go back to the last good weights."""

import os
import warnings
from pathlib import Path

import keras
import numpy as np
from keras import ops

from lipkit._checks import integer
from lipkit._registry import explains


@explains
class FiniteGuard(keras.callbacks.Callback):
    """Stop training at the first loss or weight that is not finite; restore the last good state.

    The state is that of the model and the optimizer. It is copied at the start, at the end of each
    epoch and, if asked for, every n batches; weights are checked then. The loss is checked after
    each batch, so a bad weight that matters is found one batch later. A copy counts as good once
    the loss of a batch with it was finite.

    Args:
        every: number of batches from one copy to the next within an epoch, >= 1, or None.
        filepath: file `*.weights.h5` that each copy's weights are also saved to, in one
            step: a crash of the program leaves the last one. None: memory only.

    Attributes:
        stopped: None, or why training was stopped.

    Raises:
        ValueError: bad arguments, or, when training starts, a weight that is not finite.

    Example:
    >>> guard = lipkit.callbacks.FiniteGuard(every=100, filepath="last_good.weights.h5")
    >>> history = model.fit(x, y, verbose=0, callbacks=[guard])
    >>> guard.stopped is None
    True
    """

    def __init__(self, every=None, filepath=None):
        super().__init__()
        self.every = every if every is None else integer("every", every)
        if filepath is not None and not str(filepath).endswith(".weights.h5"):
            raise ValueError(f"`filepath` must end in '.weights.h5'. Received: {filepath!r}")
        self.filepath = filepath if filepath is None else str(filepath)
        self.stopped = None
        self._newest = self._good = ("", [])  # where it was taken, and the values

    def on_train_begin(self, logs=None):
        """Take the first copy."""
        self.stopped = None
        if not self.model.optimizer.built:  # Keras does it later on some backends
            self.model.optimizer.build(self.model.trainable_variables)
        bad = self._copy("the start")
        self._good = self._newest
        if bad:
            raise ValueError(f"Training cannot start: {bad}. Restore an earlier checkpoint.")

    def on_epoch_begin(self, epoch, logs=None):
        """Count batches from 0."""
        self._copied = 0

    def on_train_batch_end(self, batch, logs=None):
        """Check the loss, and every n batches the weights."""
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            self._stop(f"the loss is {loss} after batch {batch + 1}")
            return
        self._good = self._newest
        if self.every and batch + 1 - self._copied >= self.every:
            self._copied = batch + 1
            self._check(f"batch {batch + 1} of an epoch")

    def on_epoch_end(self, epoch, logs=None):
        """Check the weights."""
        if self.stopped is None:
            self._check(f"the end of epoch {epoch + 1}")

    def _check(self, where):
        bad = self._copy(where)
        if bad:
            self._stop(f"{bad} at {where}")

    def _variables(self):
        return [*self.model.variables, *self.model.optimizer.variables]

    def _copy(self, where):
        """Keep a copy of the state, unless a weight is not finite: then say which."""
        # of values, not of buffers: JAX donates those to the next step
        values = [np.array(ops.convert_to_numpy(v)) for v in self._variables()]
        for variable, value in zip(self.model.variables, values, strict=False):
            if not np.isfinite(value.astype("float64")).all():
                return f"the weight {variable.path!r} is not finite"
        self._newest = (where, values)
        self._save()
        return None

    def _save(self):
        if self.filepath:
            Path(self.filepath).parent.mkdir(parents=True, exist_ok=True)
            draft = self.filepath.removesuffix(".weights.h5") + ".draft.weights.h5"
            self.model.save_weights(draft)
            os.replace(draft, self.filepath)

    def _stop(self, reason):
        where, values = self._good
        for variable, value in zip(self._variables(), values, strict=True):
            variable.assign(value)
        self._save()
        self.stopped = reason
        self.model.stop_training = True
        warnings.warn(
            f"Training was stopped: {reason}. The weights of {where} are restored; a smaller "
            "learning rate may help.",
            RuntimeWarning,
            stacklevel=2,
        )

    def get_config(self):
        """The constructor's arguments."""
        return {"every": self.every, "filepath": self.filepath}

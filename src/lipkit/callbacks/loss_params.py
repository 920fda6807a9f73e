"""Callbacks that change and print the parameters of losses."""

import keras
import numpy as np

from lipkit._checks import integer
from lipkit._registry import explains
from lipkit.losses.base import Loss


class _OfLosses(keras.callbacks.Callback):
    """Callback on a parameter of those losses of the model that have it."""

    def __init__(self, param_name):
        super().__init__()
        self.param_name = param_name

    def _losses(self):
        given = [loss for loss in keras.tree.flatten(self.model.loss) if loss is not None]
        mine = [loss for loss in given if isinstance(loss, Loss)]
        chosen = [loss for loss in mine if self.param_name in loss.parameters]
        if not chosen:
            names = ", ".join(getattr(loss, "name", None) or repr(loss) for loss in given)
            raise ValueError(
                f"No loss of the model has a parameter `{self.param_name}`. Losses: {names}. "
                "Compile it with instances of `lipkit.losses`."
            )
        return chosen


@explains
class LossParamScheduler(_OfLosses):
    """Set a parameter of the loss before training steps, interpolated between given points.

    The value at a step is `numpy.interp(step, xp, fp)`: linear in between, constant outside. A
    repeated step in `xp` is a jump, to the later value. On JAX the model must be a `lipkit.Model`
    or `lipkit.Sequential`, which passes the value to the compiled step; others raise
    `RuntimeError`.

    Args:
        param_name: name of the parameter, such as "alpha". Every loss that has it gets the value.
        fp: values of the parameter, `math.inf` included where the loss allows it.
        xp: steps at which it has them, increasing.
        step: number of the first step, >= 0. Counting goes on in a further `fit`.

    Raises:
        ValueError: bad arguments, or, when training starts, no loss with this parameter.

    Example:
    >>> schedule = lipkit.callbacks.LossParamScheduler("alpha", fp=[1, 11], xp=[0, 10])
    >>> history = model.fit(x, y, batch_size=100, epochs=3, verbose=0, callbacks=[schedule])
    >>> round(model.loss.alpha, 3)  # of the sixth and last step, number 5
    6.0
    """

    def __init__(self, param_name, fp, xp, step=0):
        super().__init__(param_name)
        self.fp, self.xp = ([float(v) for v in np.ravel(values)] for values in (fp, xp))
        self.step = integer("step", step, low=0)
        ordered = np.all(np.diff(self.xp) >= 0) and np.all(np.isfinite(self.xp))
        if not self.xp or len(self.xp) != len(self.fp) or not ordered:
            raise ValueError(
                "`xp` must be increasing steps and `fp` one value for each. Received: "
                f"fp={fp!r}, xp={xp!r}"
            )

    def on_train_begin(self, logs=None):
        """Check all values, so that none fails in the middle of training."""
        # kept, because asking for the model synchronises its state on JAX
        self._scheduled, self._last = self._losses(), None
        for loss in self._scheduled:
            if len(set(self.fp)) > 1 and not loss.is_read_by(self.model):
                raise loss.constant(self.param_name)
            for value in self.fp:
                loss.parameters[self.param_name].check(value)

    def on_epoch_begin(self, epoch, logs=None):
        """Remember the step that the epoch starts with."""
        self._first = self.step

    def on_train_batch_begin(self, batch, logs=None):
        """Set the value of the step, if it differs from that of the step before."""
        value = float(np.interp(self.step, self.xp, self.fp))
        if value != self._last:
            for loss in self._scheduled:
                setattr(loss, self.param_name, value)
        self._last = value

    def on_train_batch_end(self, batch, logs=None):
        """Count the steps: several, where Keras runs several in one execution."""
        self.step = self._first + batch + 1

    def get_config(self):
        """The arguments with which a callback continues where this one is."""
        return {"param_name": self.param_name, "fp": self.fp, "xp": self.xp, "step": self.step}


@explains
class LossParamLog(_OfLosses):
    """Print a parameter of the losses that have it.

    Args:
        param_name: name of the parameter, such as "alpha".
        rate: print after every `rate` epochs, >= 1.

    Example:
    >>> log = lipkit.callbacks.LossParamLog("min_margin", rate=2)
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[log])
    <BLANKLINE>
    HKR.min_margin = 0.2
    """

    def __init__(self, param_name, rate=1):
        super().__init__(param_name)
        self.rate = integer("rate", rate)

    def on_epoch_end(self, epoch, logs=None):
        """Print, after epochs rate, 2 rate, ..."""
        if (epoch + 1) % self.rate == 0:
            for loss in self._losses():
                print(f"\n{loss.name}.{self.param_name} = {getattr(loss, self.param_name):g}")

    def get_config(self):
        """The arguments."""
        return {"param_name": self.param_name, "rate": self.rate}

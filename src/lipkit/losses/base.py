"""A loss as a Keras object: a pure function with parameters that may change during training."""

import contextlib
import contextvars
import math
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from lipkit import _backend as backend
from lipkit._checks import real
from lipkit.losses.functional.labels import mean

_training = contextvars.ContextVar("training", default=None)
training = _training.get  # True in a training step of a lipkit model, False where it evaluates


@contextlib.contextmanager
def phase(is_training):
    """Within it, `training()` returns what is given."""
    token = _training.set(is_training)
    try:
        yield
    finally:
        _training.reset(token)


class Number(float):
    """A float with the `numpy()` of deel-lip's variables."""

    def numpy(self):
        """The value as a scalar of NumPy."""
        return np.float64(self)


class Parameter:
    """A number of a loss: reads as a float (with `.numpy()`), may be assigned to at any time.

    The value is held by a Keras variable that compiled steps read, so that assigning never
    recompiles. JAX needs the variable in the state of the step for that, where `lipkit.Model`
    and `lipkit.Sequential` put it; in other models an assignment raises `RuntimeError` there.
    """

    def __init__(self, interval):
        self._interval = interval

    def __set_name__(self, owner, name):
        self._name = name

    def check(self, value):
        """The value as a float, if it lies in the interval; infinity may be a string."""
        value = math.inf if isinstance(value, str) and value == "inf" else value
        return real(self._name, value, self._interval)

    def __get__(self, loss, owner=None):
        if loss is None:
            return self
        loss._sync()
        # the shortest decimal number of the variable's precision: 0.3, not 0.30000001192092896
        return Number(str(np.asarray(ops.convert_to_numpy(loss._values[self._name]))[()]))

    def __set__(self, loss, value):
        value, variable = self.check(value), loss._values.get(self._name)
        if variable is None:
            loss._values[self._name] = keras.Variable(
                keras.initializers.Constant(value),
                shape=(),
                dtype=keras.backend.result_type(loss.dtype, "float32"),
                trainable=False,
                autocast=False,
                name=f"{loss.name}_{self._name}".replace("/", "_"),
            )
        elif self._name not in loss._constants:
            loss._sync()
            variable.assign(value)
        elif value != self.__get__(loss):
            raise loss.constant(self._name)


class Loss(keras.losses.Loss):
    """Base of the losses: a pure function of `lipkit.losses.functional` and its parameters.

    A subclass sets `function`, declares each parameter as a `Parameter` and assigns it in its
    constructor, after this one's.

    Sample and class weights follow the convention of `lipkit.losses.functional`. A weight of 2 is
    the sample twice where the reduction is `"sum"` or `"mean_with_sample_weight"`, which divides by
    the sum of the weights; the default divides by the number of samples, as everywhere in Keras,
    so that weights c w give c times the loss of w.

    Args:
        reduction, name, dtype: as in `keras.losses.Loss`; the name is that of the class. Keras 2's
            reduction `"auto"` is the default.
        multi_gpu: deel-lip's keyword, without effect. The terms that are means over a class are
            always those of the global batch, and labels are not to be processed beforehand.
    """

    function: Callable[..., Any]  # (y_true, y_pred, **parameters, sample_weight) -> (B,)

    def __init__(self, reduction="sum_over_batch_size", name=None, dtype=None, multi_gpu=False):
        del multi_gpu
        if reduction == "auto":
            reduction = "sum_over_batch_size"
        super().__init__(name=name or type(self).__name__, reduction=reduction, dtype=dtype)
        self._values, self._constants, self._models = {}, set(), weakref.WeakSet()

    @property
    def variables(self):
        """The variables that hold the parameters."""
        return list(self._values.values())

    @property
    def parameters(self):
        """Each `Parameter` by its name."""
        return {name: getattr(type(self), name) for name in self._values}

    def is_read_by(self, model):
        """Whether the compiled steps of the model read the parameters each time they run."""
        return model in self._models or model.run_eagerly or not hasattr(model, "jax_state_sync")

    def constant(self, name):
        """The error of a parameter that cannot change."""
        return RuntimeError(
            f"`{name}` of loss {self.name!r} cannot change: on JAX, models of Keras compile it "
            "into their steps as a constant. Compile the loss in a `lipkit.Model` or "
            "`lipkit.Sequential`, which pass it to each step; or, for another value, compile the "
            "model again with a new loss."
        )

    def _sync(self):
        # On JAX the running step holds the value of a variable until the model takes it back.
        for model in self._models:
            if hasattr(model, "jax_state_sync"):
                model.jax_state_sync()

    def __call__(self, y_true, y_pred, sample_weight=None):
        if isinstance(y_true, list | tuple | np.ndarray):  # the values of such labels are checked
            y_true = np.asarray(y_true)
            self.function(y_true, y_pred)
        if sample_weight is None:
            return super().__call__(y_true, y_pred)
        # not to Keras, which would multiply the values: class means need the weights themselves
        weight = ops.convert_to_tensor(sample_weight, dtype=self.dtype)
        if self.reduction == "mean_with_sample_weight":
            weight = ops.divide_no_nan(weight, mean(weight, ops.ones_like(weight)))
        return super().__call__((y_true, weight), y_pred)

    def call(self, y_true, y_pred):
        labels, weight = y_true if isinstance(y_true, tuple) else (y_true, None)
        numbers = self._numbers(y_pred, weight)
        return self.function(labels, y_pred, sample_weight=weight, **numbers)

    def _numbers(self, y_pred, sample_weight):
        """The parameters as tensors."""
        numbers = {name: variable.value for name, variable in self._values.items()}
        with keras.SymbolicScope() as scope:
            computes = scope.original_scope is None  # and does not only infer shapes
        if computes:
            constant = backend.is_constant_of_a_step
            self._constants.update(n for n, value in numbers.items() if constant(value, y_pred))
        return numbers

    def get_config(self):
        """Keras configuration, valid JSON (infinity as a string)."""
        values = {name: float(getattr(self, name)) for name in self._values}
        values = {name: "inf" if math.isinf(value) else value for name, value in values.items()}
        return {**super().get_config(), "dtype": self.dtype, **values}

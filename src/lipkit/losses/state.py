"""What a model does for the parameters of the losses that it was compiled with."""

import types

import keras

from lipkit.losses.base import Loss, phase


class HoldsLosses:
    """Mixin before a Keras model: its losses' parameters are state of the compiled steps.

    They are among the variables of the metrics, which Keras passes to each step, saves in no file
    and counts in no summary; what a parameter is when the model is saved is in its configuration.
    """

    _losses_held = types.SimpleNamespace(losses=())

    def compile(self, *args, **kwargs):
        """As in Keras."""
        super().compile(*args, **kwargs)
        given = {id(x): x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, Loss)}
        for loss in given.values():
            loss._models.add(self)
        # in a namespace, because Keras wraps lists and tuples that are attributes of a model
        self._losses_held = types.SimpleNamespace(losses=tuple(given.values()))

    @property
    def metrics_variables(self):
        """The variables of the metrics and of the losses."""
        return super().metrics_variables + [
            variable for loss in self._losses_held.losses for variable in loss.variables
        ]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """As in Keras; the losses know whether this is a training step."""
        with phase(training):
            return super().compute_loss(x, y, y_pred, sample_weight, training=training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """As in Keras; losses given as metrics know that they only evaluate."""
        with phase(False):
            return super().compute_metrics(x, y, y_pred, sample_weight)

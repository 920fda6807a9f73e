"""Metrics as real `keras.metrics.Metric`: weighted by the samples that they saw."""

import keras
from keras import ops

from lipkit.losses.functional import _aligned


def _binary_accuracy(y_true, y_pred):
    positive, y_pred = _aligned(y_true, y_pred)
    right = ops.equal(positive, ops.greater(y_pred, 0))
    return ops.mean(ops.cast(right, keras.config.floatx()), axis=-1)


@keras.saving.register_keras_serializable("lipkit")
class HKRBinaryAccuracy(keras.metrics.MeanMetricWrapper):
    """Share of samples where the sign of f agrees with the label ({0, 1} or {-1, 1}).

    f = 0 counts as the negative class.
    """

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(_binary_accuracy, name=name, dtype=dtype)

    def get_config(self):
        """Keras configuration."""
        return {"name": self.name, "dtype": self.dtype}

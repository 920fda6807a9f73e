"""The binary losses as Keras objects, usable in `loss=` and in `metrics=[...]`.

Keras averages a loss object in `metrics=` over the batches, not over the samples.
"""

import math

import keras

from lipkit._checks import real
from lipkit.losses import functional


class _ClassMeans(keras.losses.Loss):
    """A loss whose sample weights belong inside its means over the classes.

    Keras would multiply the values by them. So `__call__` hands them to `call` beside the labels.
    """

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            y_true = (y_true, sample_weight)
        return super().__call__(y_true, y_pred)

    def call(self, y_true, y_pred):
        labels, weight = y_true if isinstance(y_true, tuple) else (y_true, None)
        return self.weighted(labels, y_pred, weight)

    def weighted(self, y_true, y_pred, sample_weight):
        """Values (B,) whose mean is the weighted loss."""
        raise NotImplementedError


@keras.saving.register_keras_serializable("lipkit")
class KR(_ClassMeans):
    """`lipkit.losses.kr`: positive sign, to be maximised. Train with `HKR(alpha=0)`.

    As a metric, the mean of its values on the batches: that of the whole sample if the batches
    have the same size and equally many of each class.
    """

    def __init__(self, reduction="sum_over_batch_size", name="KR", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def weighted(self, y_true, y_pred, sample_weight):
        """See `lipkit.losses.kr`."""
        return functional.kr(y_true, y_pred, sample_weight)


@keras.saving.register_keras_serializable("lipkit")
class HingeMargin(keras.losses.Loss):
    """`lipkit.losses.hinge_margin`: mean of relu(min_margin - y f), the full margin.

    Args:
        min_margin: margin asked for on each side of 0. deel-lip from 1.4 on uses half of it.

    As a metric, the mean of its values on the batches: that of the samples if these are equally
    large.
    """

    def __init__(
        self, min_margin=1.0, reduction="sum_over_batch_size", name="HingeMargin", dtype=None
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.min_margin = real("min_margin", min_margin, "]0, inf[")

    def call(self, y_true, y_pred):
        return functional.hinge_margin(y_true, y_pred, self.min_margin)

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "min_margin": self.min_margin}


@keras.saving.register_keras_serializable("lipkit")
class HKR(_ClassMeans):
    """`lipkit.losses.hkr`: -KR + alpha * hinge.

    Args:
        alpha: weight of the hinge, >= 0; `math.inf` for the hinge alone.
        min_margin: margin asked for on each side of 0.

    As a metric, averaged as `KR` is.
    """

    def __init__(
        self,
        alpha=10.0,
        min_margin=1.0,
        reduction="sum_over_batch_size",
        name="HKR",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.alpha = real("alpha", math.inf if alpha == "inf" else alpha, "[0, inf]")
        self.min_margin = real("min_margin", min_margin, "]0, inf[")

    def weighted(self, y_true, y_pred, sample_weight):
        """See `lipkit.losses.hkr`."""
        return functional.hkr(y_true, y_pred, self.alpha, self.min_margin, sample_weight)

    def get_config(self):
        """Keras configuration, valid JSON (infinity as a string)."""
        alpha = "inf" if math.isinf(self.alpha) else self.alpha
        return {**super().get_config(), "alpha": alpha, "min_margin": self.min_margin}

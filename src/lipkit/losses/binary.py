"""The binary losses as Keras objects, usable in `loss=` and in `metrics=[...]`."""

import math

import keras

from lipkit.losses import functional


def _number(name, value, low, *, strict):
    """A float above (or at) `low`, never NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"`{name}` must be a number. Received: {name}={value!r}")
    if math.isnan(value) or value < low or (strict and value == low):
        relation = ">" if strict else ">="
        raise ValueError(f"`{name}` must be {relation} {low}. Received: {name}={value!r}")
    return float(value)


@keras.saving.register_keras_serializable("lipkit")
class KR(keras.losses.Loss):
    """`lipkit.losses.kr`: positive sign, to be maximised. Train with `HKR(alpha=0)`."""

    def __init__(self, reduction="sum_over_batch_size", name="KR", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        return functional.kr(y_true, y_pred)


@keras.saving.register_keras_serializable("lipkit")
class HingeMargin(keras.losses.Loss):
    """`lipkit.losses.hinge_margin`: mean of relu(min_margin - y f), the full margin.

    Args:
        min_margin: margin asked for on each side of 0. deel-lip from 1.4 on uses half of it.
    """

    def __init__(
        self, min_margin=1.0, reduction="sum_over_batch_size", name="HingeMargin", dtype=None
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.min_margin = _number("min_margin", min_margin, 0, strict=True)

    def call(self, y_true, y_pred):
        return functional.hinge_margin(y_true, y_pred, self.min_margin)

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "min_margin": self.min_margin}


@keras.saving.register_keras_serializable("lipkit")
class HKR(keras.losses.Loss):
    """`lipkit.losses.hkr`: -KR + alpha * hinge.

    Args:
        alpha: weight of the hinge, >= 0; `math.inf` for the hinge alone.
        min_margin: margin asked for on each side of 0.
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
        self.alpha = _number("alpha", float("inf") if alpha == "inf" else alpha, 0, strict=False)
        self.min_margin = _number("min_margin", min_margin, 0, strict=True)

    def call(self, y_true, y_pred):
        return functional.hkr(y_true, y_pred, self.alpha, self.min_margin)

    def get_config(self):
        """Keras configuration, valid JSON (infinity as a string)."""
        alpha = "inf" if math.isinf(self.alpha) else self.alpha
        return {**super().get_config(), "alpha": alpha, "min_margin": self.min_margin}

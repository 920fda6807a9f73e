"""Losses as pure functions of (y_true, y_pred), one value per sample.

Labels are {0, 1} or {-1, 1}: a label is positive iff it is above one half. Predictions have shape
(B,) or (B, C), labels the same up to a last axis of length 1; those of exclusive classes may be
integers, (B,) or (B, 1). The value has shape (B,), so that its mean over the batch is the loss, and
at least 32 bits.

`sample_weight` of shape (B,) or (B, 1) weighs the samples by one convention for all terms:
weights c w give c times the values of w, and a weight of 2 gives the same sum of the values as the
sample twice. So the mean is that of the weighted samples, times the mean weight sum(w) / n: of a
hinge h that is sum(w h) / n, as everywhere in Keras; of `kr` the means sum(w f) / sum(w) over each
class, times sum(w) / n. A class without weight contributes 0.

Parameters may be tensors, also traced ones. `min_margin` is the full margin in every hinge.
"""

from lipkit.losses.functional.binary import (
    hinge_margin,
    hkr,
    kr,
    neg_kr,
    tau_binary_crossentropy,
)
from lipkit.losses.functional.multiclass import (
    categorical_hinge,
    lse_hkr,
    multi_margin,
    multiclass_hinge,
    multiclass_hkr,
    multiclass_kr,
    multiclass_neg_kr,
    multiclass_soft_hkr,
    tau_categorical_crossentropy,
)

__all__ = [
    "categorical_hinge",
    "hinge_margin",
    "hkr",
    "kr",
    "lse_hkr",
    "multi_margin",
    "multiclass_hinge",
    "multiclass_hkr",
    "multiclass_kr",
    "multiclass_neg_kr",
    "multiclass_soft_hkr",
    "neg_kr",
    "tau_binary_crossentropy",
    "tau_categorical_crossentropy",
]

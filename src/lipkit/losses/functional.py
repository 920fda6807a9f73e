"""Losses as pure functions of (y_true, y_pred), one value per sample.

Labels are {0, 1} or {-1, 1}: a label is positive iff it is above 0. Predictions have shape (B,)
or (B, C), labels the same up to a last axis of length 1. The value has shape (B,), so that its
mean over the batch is the loss.

`sample_weight` of shape (B,) or (B, 1) weighs the samples: inside the class means of `kr`, and as
everywhere in Keras in `hinge_margin`, where it multiplies the values.
"""

import math

from keras import ops


def _aligned(y_true, y_pred):
    """Predictions (B, C) and a boolean array of the same shape: which labels are positive."""
    y_pred = ops.convert_to_tensor(y_pred)
    y_true = ops.convert_to_tensor(y_true)
    if len(y_pred.shape) == 1:
        y_pred = ops.expand_dims(y_pred, -1)
    if len(y_true.shape) == 1:
        y_true = ops.expand_dims(y_true, -1)
    fits = all(
        a == b or a is None or b is None for a, b in zip(y_true.shape, y_pred.shape, strict=False)
    )
    if len(y_true.shape) != 2 or len(y_pred.shape) != 2 or not fits:
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape, (B,) or (B, C). Received: "
            f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    return ops.greater(y_true, 0), y_pred


def _weights(sample_weight, y_pred):
    """The weights as (B, 1), or 1."""
    if sample_weight is None:
        return 1.0
    weight = ops.cast(sample_weight, y_pred.dtype)
    return ops.expand_dims(weight, -1) if len(weight.shape) == 1 else weight


def _shares(weight):
    """Weights over their sum in each column, 0 where that is 0: (B, C) -> (B, C)."""
    total = ops.sum(weight, axis=0, keepdims=True)
    return weight / ops.where(ops.equal(total, 0), 1.0, total)


def kr(y_true, y_pred, sample_weight=None):
    """Kantorovich-Rubinstein term: mean of f over the positive class minus over the negative.

    For a 1-Lipschitz f it is a lower bound of the Wasserstein-1 distance between the classes, to
    be maximised. A class missing from the batch contributes 0.

    With weights w a class mean is sum(w f) / sum(w).

    Returns:
        (B,) values whose mean is the term (averaged over the columns of `y_pred`).

    Reference: Serrurier et al., "Achieving robustness in classification using optimal transport
    with hinge regularization", CVPR 2021, arXiv:2006.06520.
    """
    positive, y_pred = _aligned(y_true, y_pred)
    up = ops.cast(positive, y_pred.dtype)
    batch = ops.cast(ops.shape(y_pred)[0], y_pred.dtype)
    weight = _weights(sample_weight, y_pred)
    signed = _shares(weight * up) - _shares(weight * (1 - up))
    return ops.mean(batch * signed * y_pred, axis=-1)


def hinge_margin(y_true, y_pred, min_margin=1.0, sample_weight=None):
    """Hinge relu(min_margin - y f) with y = +-1, averaged over the columns: (B,)."""
    positive, y_pred = _aligned(y_true, y_pred)
    hinge = ops.relu(min_margin - ops.where(positive, y_pred, -y_pred))
    return ops.mean(_weights(sample_weight, y_pred) * hinge, axis=-1)


def hkr(y_true, y_pred, alpha=10.0, min_margin=1.0, sample_weight=None):
    """Hinge-regularised Kantorovich-Rubinstein loss: -KR + alpha * hinge, (B,).

    `alpha=inf` is the hinge alone.

    Reference: Serrurier et al., CVPR 2021, arXiv:2006.06520.
    """
    hinge = hinge_margin(y_true, y_pred, min_margin, sample_weight)
    return hinge if math.isinf(alpha) else alpha * hinge - kr(y_true, y_pred, sample_weight)

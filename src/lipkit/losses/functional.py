"""Losses as pure functions of (y_true, y_pred), one value per sample.

Labels are {0, 1} or {-1, 1}: a label is positive iff it is above 0. Predictions have shape (B,)
or (B, C), labels the same up to a last axis of length 1. The value has shape (B,), so that its
mean over the batch is the loss.
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


def kr(y_true, y_pred):
    """Kantorovich-Rubinstein term: mean of f over the positive class minus over the negative.

    For a 1-Lipschitz f it is a lower bound of the Wasserstein-1 distance between the classes, to
    be maximised. A class missing from the batch contributes 0.

    Returns:
        (B,) values whose mean is the term (averaged over the columns of `y_pred`).

    Reference: Serrurier et al., "Achieving robustness in classification using optimal transport
    with hinge regularization", CVPR 2021, arXiv:2006.06520.
    """
    positive, y_pred = _aligned(y_true, y_pred)
    weight = ops.cast(positive, y_pred.dtype)
    batch = ops.cast(ops.shape(y_pred)[0], y_pred.dtype)
    n_positive = ops.sum(weight, axis=0, keepdims=True)
    mean_weight = weight / ops.maximum(n_positive, 1) - (1 - weight) / ops.maximum(
        batch - n_positive, 1
    )
    return ops.mean(batch * mean_weight * y_pred, axis=-1)


def hinge_margin(y_true, y_pred, min_margin=1.0):
    """Hinge relu(min_margin - y f) with y = +-1, averaged over the columns: (B,)."""
    positive, y_pred = _aligned(y_true, y_pred)
    return ops.mean(ops.relu(min_margin - ops.where(positive, y_pred, -y_pred)), axis=-1)


def hkr(y_true, y_pred, alpha=10.0, min_margin=1.0):
    """Hinge-regularised Kantorovich-Rubinstein loss: -KR + alpha * hinge, (B,).

    `alpha=inf` is the hinge alone.

    Reference: Serrurier et al., CVPR 2021, arXiv:2006.06520.
    """
    hinge = hinge_margin(y_true, y_pred, min_margin)
    return hinge if math.isinf(alpha) else alpha * hinge - kr(y_true, y_pred)

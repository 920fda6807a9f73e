"""Losses of C >= 2 exclusive classes: labels one-hot (B, C), or integers (B,) or (B, 1)."""

import math

import numpy as np
from keras import ops

from lipkit.losses.functional import labels
from lipkit.losses.functional.binary import mean_gap, regularised, signed_hinge, weighted


def _entry(own, y_pred):
    """The prediction for the true class: (B, 1)."""
    return ops.sum(ops.where(own, y_pred, 0.0), axis=-1, keepdims=True)


def _others(own, y_pred):
    """The predictions with that for the true class at -inf: (B, C)."""
    return ops.where(own, -np.inf, y_pred)


def multiclass_kr(y_true, y_pred, sample_weight=None):
    """`lipkit.losses.kr` of each class against the others, averaged over the classes.

    Args:
        y_true: labels, one-hot (B, C), or integers (B,) or (B, 1).
        y_pred: logits (B, C), C >= 2.
        sample_weight: None, or weights (B,) or (B, 1).

    Returns:
        (B,) values whose mean is the term, to be maximised.

    Example:
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> float(ops.mean(lipkit.losses.multiclass_kr(np.array([0, 1]), y_pred)))
    1.0
    """
    return mean_gap(*labels.own_class(y_true, y_pred), sample_weight)


def multiclass_neg_kr(y_true, y_pred, sample_weight=None):
    """-`lipkit.losses.multiclass_kr`, to be minimised.

    Args:
        y_true, y_pred, sample_weight: as in `lipkit.losses.multiclass_kr`.

    Returns:
        (B,) values whose mean is the loss.

    Example:
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> float(ops.mean(lipkit.losses.multiclass_neg_kr(np.array([0, 1]), y_pred)))
    -1.0
    """
    return -multiclass_kr(y_true, y_pred, sample_weight)


def multiclass_hinge(y_true, y_pred, min_margin=1.0, sample_weight=None):
    """Mean over the classes of w relu(min_margin - y f), w = C - 1 for the true class, else 1.

    Args:
        y_true, y_pred, sample_weight: as in `lipkit.losses.multiclass_kr`.
        min_margin: required margin on each side of 0, > 0, in units of the logits; not halved,
            unlike in deel-lip >= 1.4.

    Returns:
        (B,) values whose mean is the loss.

    Example:
    >>> loss = lipkit.losses.multiclass_hinge(np.array([0]), np.array([[0.5, -1.0, 0.5]]))
    >>> round(float(loss[0]), 4)
    0.8333
    """
    return _balanced_hinge(*labels.own_class(y_true, y_pred), min_margin, sample_weight)


def _balanced_hinge(own, y_pred, min_margin, sample_weight):
    balance = ops.where(own, y_pred.shape[-1] - 1.0, 1.0)
    hinge = signed_hinge(own, y_pred, min_margin)
    return weighted(labels.number(balance, hinge) * hinge, sample_weight)


def multiclass_hkr(y_true, y_pred, alpha=10.0, min_margin=1.0, sample_weight=None):
    """-`multiclass_kr` + alpha * `multiclass_hinge`.

    Args:
        y_true, y_pred, sample_weight: as in `lipkit.losses.multiclass_kr`.
        alpha: weight of the hinge, >= 0; `math.inf` for the hinge alone.
        min_margin: required margin on each side of 0, > 0, in units of the logits; not halved,
            unlike in deel-lip >= 1.4.

    Returns:
        (B,) values whose mean is the loss.

    Example:
    >>> y_pred = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> float(ops.mean(lipkit.losses.multiclass_hkr(np.array([0, 1]), y_pred, alpha=2.0)))
    0.0
    """
    own, y_pred = labels.own_class(y_true, y_pred)
    hinge = _balanced_hinge(own, y_pred, min_margin, sample_weight)
    return regularised(mean_gap(own, y_pred, sample_weight), hinge, alpha)


def mean_size(y_pred, sample_weight=None):
    """Weighted mean of |f| over the batch and the classes: a scalar, not differentiated."""
    size = ops.abs(ops.stop_gradient(labels.floats(y_pred)))
    return labels.mean(size, labels.weights(sample_weight, size) * ops.ones_like(size))


def multiclass_soft_hkr(
    y_true, y_pred, alpha=10.0, min_margin=1.0, temperature=1.0, mean=None, sample_weight=None
):
    """An HKR loss of single samples whose wrong classes are weighted by a softmax.

    With p the softmax of T f over the wrong classes,
    (sum p f - f_true) / alpha + relu(min_margin - f_true) + sum p relu(min_margin + f), where
    T = temperature * min_margin / max(mean, min_margin), within [0.005, 250].

    Args:
        y_true, y_pred, sample_weight: as in `lipkit.losses.multiclass_kr`.
        alpha: weight of the hinge, > 0; `math.inf` for the hinge alone.
        min_margin: required margin on each side of 0, > 0, in units of the logits; not halved,
            unlike in deel-lip >= 1.4.
        temperature: of the softmax, > 0; the larger, the sharper.
        mean: the size of the predictions, to scale T by; None for the mean of |f| over the batch.

    Returns:
        (B,) values whose mean is the loss.

    Example:
    >>> loss = lipkit.losses.multiclass_soft_hkr(np.array([0]), np.array([[1.0, -1.0, -1.0]]))
    >>> round(float(loss[0]), 4)
    -0.2
    """
    own, y_pred = labels.own_class(y_true, y_pred)
    margin, scale = labels.number(min_margin, y_pred), labels.number(temperature, y_pred)
    mean = mean_size(y_pred, sample_weight) if mean is None else labels.number(mean, y_pred)
    sharpness = ops.clip(scale * margin / ops.clip(mean, margin, 2e4), 0.005, 250.0)
    wrong = ops.softmax(_others(own, sharpness * y_pred), axis=-1)
    share = ops.where(own, 1.0, wrong)
    gap = ops.sum(share * ops.where(own, y_pred, -y_pred), axis=-1)
    hinge = ops.sum(share * signed_hinge(own, y_pred, margin), axis=-1)
    values = hinge - gap / labels.number(alpha, y_pred)
    return weighted(ops.expand_dims(values, -1), sample_weight)


def lse_hkr(
    y_true,
    y_pred,
    alpha=10.0,
    min_margin=1.0,
    temperature=1.0,
    penalty=1.0,
    sample_weight=None,
):
    """An HKR loss of the true class against the smooth maximum of the others.

    With f scaled by `temperature` and lse = logsumexp(t f) / t over the wrong classes,
    -(f_true - lse) + alpha * (relu(min_margin - f_true) + relu(min_margin + lse)). Here
    t = log(C - 1) / (penalty * min_margin), so that max f <= lse <= max f + penalty * min_margin.
    For C = 2 lse is the other prediction.

    Args:
        y_true, y_pred, sample_weight: as in `lipkit.losses.multiclass_kr`.
        alpha: weight of the hinge, >= 0; `math.inf` for the hinge alone.
        min_margin: required margin on each side of 0, > 0, in units of the logits; not halved,
            unlike in deel-lip >= 1.4.
        temperature: factor of the predictions, > 0.
        penalty: how far lse may exceed the maximum, > 0, in units of `min_margin`.

    Returns:
        (B,) values whose mean is the loss.

    Example:
    >>> float(lipkit.losses.lse_hkr(np.array([0]), np.array([[1.0, -1.0]]))[0])
    -2.0
    """
    own, y_pred = labels.own_class(y_true, y_pred)
    margin = labels.number(min_margin, y_pred)
    y_pred = labels.number(temperature, y_pred) * y_pred
    # of a single term lse is the term for every t: any but log 1 = 0
    t = math.log(max(y_pred.shape[-1] - 1, 2)) / (labels.number(penalty, y_pred) * margin)
    smooth = ops.logsumexp(_others(own, t * y_pred), axis=-1, keepdims=True) / t
    true = _entry(own, y_pred)
    hinge = ops.relu(margin - true) + ops.relu(margin + smooth)
    return weighted(regularised(true - smooth, hinge, alpha), sample_weight)


def multi_margin(y_true, y_pred, min_margin=1.0, sample_weight=None):
    """Mean over the classes of relu(min_margin - f_true + f), 0 for the true one.

    Args:
        y_true, y_pred, sample_weight: as in `lipkit.losses.multiclass_kr`.
        min_margin: by how much the true class is to exceed each other, > 0.

    Returns:
        (B,) values whose mean is the loss.

    Example:
    >>> float(lipkit.losses.multi_margin(np.array([0]), np.array([[1.0, 0.5]]))[0])
    0.25
    """
    own, y_pred = labels.own_class(y_true, y_pred)
    gap = labels.number(min_margin, y_pred) - _entry(own, y_pred) + y_pred
    return weighted(ops.where(own, 0.0, ops.relu(gap)), sample_weight)


def categorical_hinge(y_true, y_pred, min_margin=1.0, sample_weight=None):
    """relu(min_margin - f_true + max of the others).

    Args:
        y_true, y_pred, sample_weight: as in `lipkit.losses.multiclass_kr`.
        min_margin: by how much the true class is to exceed the best other, > 0.

    Returns:
        (B,) values whose mean is the loss.

    Example:
    >>> float(lipkit.losses.categorical_hinge(np.array([0]), np.array([[1.0, 0.5]]))[0])
    0.5
    """
    own, y_pred = labels.own_class(y_true, y_pred)
    best = ops.max(_others(own, y_pred), axis=-1, keepdims=True)
    gap = labels.number(min_margin, y_pred) - _entry(own, y_pred) + best
    return weighted(ops.relu(gap), sample_weight)


def tau_categorical_crossentropy(y_true, y_pred, tau=1.0, sample_weight=None):
    """Cross-entropy of the logits tau * f, over tau.

    A large tau sharpens it towards `max f - f_true`: a 1-Lipschitz network cannot scale its logits
    itself.

    Args:
        y_true: as in `lipkit.losses.multiclass_kr`, or probabilities (B, C).
        y_pred, sample_weight: as in `lipkit.losses.multiclass_kr`.
        tau: inverse temperature, > 0.

    Returns:
        (B,) values whose mean is the loss.

    Example:
    >>> y_pred = np.array([[0.0, 0.5]])
    >>> loss = lipkit.losses.tau_categorical_crossentropy(np.array([0]), y_pred, tau=100.0)
    >>> round(float(loss[0]), 4)
    0.5

    Reference: Béthune et al., NeurIPS 2022, arXiv:2104.05097.
    """
    y_true, y_pred = labels.targets(y_true, y_pred, soft=True)
    tau = labels.number(tau, y_pred)
    target = ops.relu(labels.number(y_true, y_pred))  # -1 is 0
    values = ops.categorical_crossentropy(target, tau * y_pred, from_logits=True)
    return weighted(ops.expand_dims(values, -1), sample_weight) / tau

"""Losses of one output, or of several independent ones."""

from keras import ops

from lipkit import _backend as backend
from lipkit.losses.functional import labels


def mean_gap(positive, y_pred, sample_weight):
    """Values (B,) whose mean is E[f | +] - E[f | -] times the mean weight, over the columns too.

    Classes are those of all replicas, so no value has the batch's size in it.
    """
    weight = labels.weights(sample_weight, y_pred)
    up = weight * ops.cast(positive, y_pred.dtype)
    down = weight - up
    ups, downs = (backend.over_replicas(ops.sum(w, axis=0, keepdims=True)) for w in (up, down))
    total = ups + downs
    signed = ops.divide_no_nan(total, ups) * up - ops.divide_no_nan(total, downs) * down
    return ops.mean(signed * y_pred, axis=-1)


def weighted(values, sample_weight):
    """Values (B, C) averaged over the columns, times the weights: (B,)."""
    return ops.mean(labels.weights(sample_weight, values) * values, axis=-1)


def signed_hinge(positive, y_pred, min_margin):
    """relu(min_margin - y f) with y = +-1: (B, C)."""
    margin = labels.number(min_margin, y_pred)
    return ops.relu(margin - ops.where(positive, y_pred, -y_pred))


def regularised(gap, hinge, alpha):
    """-gap + alpha * hinge; the hinge alone where alpha is infinite, also a traced alpha."""
    alpha = labels.number(alpha, hinge)
    alone = ops.isinf(alpha)
    finite = ops.where(alone, 1.0, alpha)  # selected beforehand: inf * 0 would be NaN
    return finite * hinge - ops.where(alone, 0.0, gap)


def kr(y_true, y_pred, sample_weight=None):
    """Kantorovich-Rubinstein term: mean of f over the positive class minus over the negative.

    For a 1-Lipschitz f it is a lower bound on the Wasserstein-1 distance between the classes, to
    be maximised. A class missing from the batch contributes 0.

    Args:
        y_true: labels (B,) or (B, C), {0, 1} or {-1, 1}.
        y_pred: values of f, of the same shape.
        sample_weight: None, or weights (B,) or (B, 1).

    Returns:
        (B,) values whose mean is the term (averaged over the columns of `y_pred`).

    Example:
    >>> float(ops.mean(lipkit.losses.kr(np.array([1, 0]), np.array([0.5, -0.25]))))
    0.75

    Reference: Serrurier et al., "Achieving robustness in classification using optimal transport
    with hinge regularization", CVPR 2021, arXiv:2006.06520.
    """
    return mean_gap(*labels.positives(y_true, y_pred), sample_weight)


def neg_kr(y_true, y_pred, sample_weight=None):
    """-`kr`, to be minimised.

    Args:
        y_true, y_pred, sample_weight: as in `lipkit.losses.kr`.

    Returns:
        (B,) values whose mean is the loss.

    Example:
    >>> float(ops.mean(lipkit.losses.neg_kr(np.array([1, 0]), np.array([0.5, -0.25]))))
    -0.75
    """
    return -kr(y_true, y_pred, sample_weight)


def hinge_margin(y_true, y_pred, min_margin=1.0, sample_weight=None):
    """Hinge relu(min_margin - y f) with y = +-1, averaged over the columns.

    Args:
        y_true, y_pred, sample_weight: as in `lipkit.losses.kr`.
        min_margin: required margin on each side of 0, > 0, in units of the logits; not halved,
            unlike in deel-lip >= 1.4.

    Returns:
        (B,) values whose mean is the loss.

    Example:
    >>> loss = lipkit.losses.hinge_margin(np.array([1, 0]), np.array([0.5, -0.25]))
    >>> ops.convert_to_numpy(loss).tolist()
    [0.5, 0.75]
    """
    hinge = signed_hinge(*labels.positives(y_true, y_pred), min_margin)
    return weighted(hinge, sample_weight)


def hkr(y_true, y_pred, alpha=10.0, min_margin=1.0, sample_weight=None):
    """Hinge-regularised Kantorovich-Rubinstein loss: -KR + alpha * hinge.

    Args:
        y_true, y_pred, sample_weight: as in `lipkit.losses.kr`.
        alpha: weight of the hinge, >= 0; `math.inf` for the hinge alone.
        min_margin: required margin on each side of 0, > 0, in units of the logits; not halved,
            unlike in deel-lip >= 1.4.

    Returns:
        (B,) values whose mean is the loss.

    Example:
    >>> y_true, y_pred = np.array([1, 0]), np.array([0.5, -0.25])
    >>> float(ops.mean(lipkit.losses.hkr(y_true, y_pred, alpha=2.0)))
    0.5

    Reference: Serrurier et al., CVPR 2021, arXiv:2006.06520.
    """
    positive, y_pred = labels.positives(y_true, y_pred)
    hinge = weighted(signed_hinge(positive, y_pred, min_margin), sample_weight)
    return regularised(mean_gap(positive, y_pred, sample_weight), hinge, alpha)


def tau_binary_crossentropy(y_true, y_pred, tau=1.0, sample_weight=None):
    """Binary cross-entropy of the logits tau * f, over tau.

    A large tau sharpens it towards the hinge relu(-y f): a 1-Lipschitz network cannot scale its
    logits itself.

    Args:
        y_true: as in `lipkit.losses.kr`, or probabilities.
        y_pred, sample_weight: as in `lipkit.losses.kr`.
        tau: inverse temperature, > 0.

    Returns:
        (B,) values whose mean is the loss.

    Example:
    >>> loss = lipkit.losses.tau_binary_crossentropy(np.array([1.0]), np.array([-0.5]), tau=100.0)
    >>> round(float(loss[0]), 4)
    0.5

    Reference: Béthune et al., "Pay attention to your loss: understanding misconceptions about
    1-Lipschitz neural networks", NeurIPS 2022, arXiv:2104.05097.
    """
    y_true, y_pred = labels.aligned(y_true, y_pred, soft=True)
    tau = labels.number(tau, y_pred)
    positive = ops.relu(labels.number(y_true, y_pred))  # -1 is 0
    values = ops.binary_crossentropy(positive, tau * y_pred, from_logits=True)
    return weighted(values, sample_weight) / tau

"""The losses of one or several independent outputs as Keras objects, for `loss=` and `metrics=`.

Keras averages a loss object in `metrics=` over the batches, not over the samples.
"""

from lipkit._registry import register
from lipkit.losses import functional
from lipkit.losses.base import Loss, Parameter


@register
class KR(Loss):
    """`lipkit.losses.kr`: positive sign, to be maximised. Train with `NegKR` or `HKR(alpha=0)`.

    As a metric, the mean of its values on the batches: that of the whole sample if the batches
    have the same size and equally many of each class.

    Labels (B,) or (B, C), {0, 1} or {-1, 1}; predictions of the same shape: logits.

    Example:
    >>> float(lipkit.losses.KR()(np.array([1, 0]), np.array([0.5, -0.25])))
    0.75
    """

    function = staticmethod(functional.kr)


@register
class NegKR(Loss):
    """`lipkit.losses.neg_kr`: -KR, to be minimised. As a metric, averaged as `KR` is.

    Labels (B,) or (B, C), {0, 1} or {-1, 1}; predictions of the same shape: logits.

    Example:
    >>> float(lipkit.losses.NegKR()(np.array([1, 0]), np.array([0.5, -0.25])))
    -0.75
    """

    function = staticmethod(functional.neg_kr)


@register
class HingeMargin(Loss):
    """`lipkit.losses.hinge_margin`: mean of relu(min_margin - y f), the full margin.

    As a metric, the mean of its values on the batches: that of the samples if these are equally
    large.

    Labels (B,) or (B, C), {0, 1} or {-1, 1}; predictions of the same shape: logits.

    Example:
    >>> float(lipkit.losses.HingeMargin(0.5)(np.array([1, 0]), np.array([0.5, -0.25])))
    0.125
    """

    function = staticmethod(functional.hinge_margin)
    min_margin = Parameter("(0, inf)")

    def __init__(
        self,
        min_margin=1.0,
        reduction="sum_over_batch_size",
        name=None,
        dtype=None,
        multi_gpu=False,
    ):
        super().__init__(reduction, name, dtype, multi_gpu)
        self.min_margin = min_margin


@register
class HKR(Loss):
    """`lipkit.losses.hkr`: -KR + alpha * mean(relu(min_margin - y f)).

    As a metric, averaged as `KR` is. Labels (B,) or (B, C), {0, 1} or {-1, 1}; predictions of the
    same shape: logits, without a sigmoid.

    Raises:
        ValueError: when called, the shapes of labels and predictions differ, or labels in a NumPy
            array or list are neither all in {0, 1} nor all in {-1, 1}. `fit` does not check values:
            a label above 0.5 is positive.

    Example:
    >>> loss = lipkit.losses.HKR(alpha=2.0, min_margin=1.0)
    >>> float(loss(np.array([1, 0]), np.array([0.5, -0.25])))
    0.5
    >>> loss.alpha = 4.0  # at any time, in training too

    Reference: Serrurier et al., "Achieving robustness in classification using optimal transport
    with hinge regularization", CVPR 2021, arXiv:2006.06520.
    """

    function = staticmethod(functional.hkr)
    alpha = Parameter("[0, inf]")
    min_margin = Parameter("(0, inf)")

    def __init__(
        self,
        alpha=10.0,
        min_margin=1.0,
        reduction="sum_over_batch_size",
        name=None,
        dtype=None,
        multi_gpu=False,
    ):
        super().__init__(reduction, name, dtype, multi_gpu)
        self.alpha = alpha
        self.min_margin = min_margin


@register
class TauBinaryCrossentropy(Loss):
    """`lipkit.losses.tau_binary_crossentropy`: that of the logits tau * f, over tau.

    Labels (B,) or (B, C), {0, 1}, {-1, 1} or probabilities; logits of the same shape.

    Example:
    >>> loss = lipkit.losses.TauBinaryCrossentropy(tau=100.0)
    >>> round(float(loss(np.array([1.0]), np.array([-0.5]))), 4)
    0.5
    """

    function = staticmethod(functional.tau_binary_crossentropy)
    tau = Parameter("(0, inf)")

    def __init__(
        self,
        tau,
        reduction="sum_over_batch_size",
        name=None,
        dtype=None,
        multi_gpu=False,
    ):
        super().__init__(reduction, name, dtype, multi_gpu)
        self.tau = tau

"""The losses of exclusive classes as Keras objects; labels one-hot, or integers."""

from lipkit._checks import real
from lipkit._registry import register
from lipkit.losses import base, functional
from lipkit.losses.base import Loss, Parameter
from lipkit.losses.binary import HKR, HingeMargin, TauBinaryCrossentropy
from lipkit.losses.functional.multiclass import mean_size


@register
class MulticlassKR(Loss):
    """`lipkit.losses.multiclass_kr`: positive sign, to be maximised.

    Labels: one-hot (B, C), or integers (B,) or (B, 1); predictions: logits (B, C).

    Example:
    >>> float(lipkit.losses.MulticlassKR()(np.array([0, 1]), np.eye(2)))
    1.0
    """

    function = staticmethod(functional.multiclass_kr)


@register
class MulticlassNegKR(Loss):
    """`lipkit.losses.multiclass_neg_kr`: -MulticlassKR, to be minimised.

    Labels: one-hot (B, C), or integers (B,) or (B, 1); predictions: logits (B, C).

    Example:
    >>> float(lipkit.losses.MulticlassNegKR()(np.array([0, 1]), np.eye(2)))
    -1.0
    """

    function = staticmethod(functional.multiclass_neg_kr)


@register
class MulticlassHinge(HingeMargin):
    """`lipkit.losses.multiclass_hinge`: hinge of each class, that of the true one C - 1 times.

    Labels: one-hot (B, C), or integers (B,) or (B, 1); predictions: logits (B, C).

    Example:
    >>> float(lipkit.losses.MulticlassHinge()(np.array([0]), np.array([[0.5, -1.0]])))
    0.25
    """

    function = staticmethod(functional.multiclass_hinge)


@register
class MulticlassHKR(HKR):
    """`lipkit.losses.multiclass_hkr`: -MulticlassKR + alpha * MulticlassHinge.

    Labels: one-hot (B, C), or integers (B,) or (B, 1); predictions: logits (B, C).

    Example:
    >>> float(lipkit.losses.MulticlassHKR(alpha=2.0)(np.array([0, 1]), np.eye(2)))
    0.0
    """

    function = staticmethod(functional.multiclass_hkr)


@register
class MulticlassSoftHKR(Loss):
    """`lipkit.losses.multiclass_soft_hkr`: wrong classes are weighted by a softmax.

    It is scaled by a running mean of |f|, updated in the training steps of `lipkit.Model` and
    `lipkit.Sequential`, left alone in evaluation, and saved. Elsewhere, in a plain Keras model or a
    call of the loss, nothing tells training from evaluation, and the mean is the batch's own.

    Labels: one-hot (B, C), or integers (B,) or (B, 1); predictions: logits (B, C).

    Args:
        alpha_mean: what the running mean keeps at each step, in [0, 1].
        mean: the running mean to start with; None for `min_margin`.

    Example:
    >>> loss = lipkit.losses.MulticlassSoftHKR(alpha=10.0)
    >>> round(float(loss(np.array([0]), np.array([[1.0, -1.0, -1.0]]))), 4)
    -0.2
    """

    function = staticmethod(functional.multiclass_soft_hkr)
    alpha = Parameter("(0, inf]")
    min_margin = Parameter("(0, inf)")
    temperature = Parameter("(0, inf)")
    mean = Parameter("[0, inf]")

    def __init__(
        self,
        alpha=10.0,
        min_margin=1.0,
        alpha_mean=0.99,
        temperature=1.0,
        mean=None,
        reduction="sum_over_batch_size",
        name=None,
        dtype=None,
        multi_gpu=False,
    ):
        super().__init__(reduction, name, dtype, multi_gpu)
        self.alpha = alpha
        self.min_margin = min_margin
        self.temperature = temperature
        self.mean = min_margin if mean is None else mean
        self.alpha_mean = real("alpha_mean", alpha_mean, "[0, 1]")

    def _numbers(self, y_pred, sample_weight):
        numbers = super()._numbers(y_pred, sample_weight)
        training = base.training()
        if training:
            numbers["mean"] = self._moved(numbers["mean"], mean_size(y_pred, sample_weight))
        return {**numbers, "mean": None} if training is None else numbers

    def _moved(self, mean, size):
        """The running mean after a step, remembered."""
        return self._values["mean"].assign(self.alpha_mean * mean + (1 - self.alpha_mean) * size)

    def get_config(self):
        """Keras configuration."""
        return {**super().get_config(), "alpha_mean": self.alpha_mean}


@register
class LseHKR(Loss):
    """`lipkit.losses.lse_hkr`: the true class against the smooth maximum of the others.

    Labels: one-hot (B, C), or integers (B,) or (B, 1); predictions: logits (B, C).

    Args:
        alpha: weight of the hinge, >= 0; `math.inf` for the hinge alone. torchlip's a in [0, 1] is
            a / (1 - a) here, up to a factor of the loss.
        temperature: factor of the predictions, > 0.
        penalty: how far the smooth maximum may exceed the maximum, > 0, in units of `min_margin`.

    Example:
    >>> float(lipkit.losses.LseHKR()(np.array([0]), np.array([[1.0, -1.0]])))
    -2.0
    """

    function = staticmethod(functional.lse_hkr)
    alpha = Parameter("[0, inf]")
    min_margin = Parameter("(0, inf)")
    temperature = Parameter("(0, inf)")
    penalty = Parameter("(0, inf)")

    def __init__(
        self,
        alpha=10.0,
        min_margin=1.0,
        temperature=1.0,
        penalty=1.0,
        reduction="sum_over_batch_size",
        name=None,
        dtype=None,
        multi_gpu=False,
    ):
        super().__init__(reduction, name, dtype, multi_gpu)
        self.alpha = alpha
        self.min_margin = min_margin
        self.temperature = temperature
        self.penalty = penalty


@register
class MultiMargin(HingeMargin):
    """`lipkit.losses.multi_margin`: mean over the classes of relu(min_margin - f_true + f).

    Labels: one-hot (B, C), or integers (B,) or (B, 1); predictions: logits (B, C).

    Args:
        min_margin: by how much the true class is to exceed each other, > 0.

    Example:
    >>> float(lipkit.losses.MultiMargin()(np.array([0]), np.array([[1.0, 0.5]])))
    0.25
    """

    function = staticmethod(functional.multi_margin)


@register
class CategoricalHinge(HingeMargin):
    """`lipkit.losses.categorical_hinge`: relu(min_margin - f_true + max of the others).

    Labels: one-hot (B, C), or integers (B,) or (B, 1); predictions: logits (B, C).

    Args:
        min_margin: by how much the true class is to exceed the best other, > 0.

    Example:
    >>> float(lipkit.losses.CategoricalHinge()(np.array([0]), np.array([[1.0, 0.5]])))
    0.5
    """

    function = staticmethod(functional.categorical_hinge)


@register
class TauCategoricalCrossentropy(TauBinaryCrossentropy):
    """`lipkit.losses.tau_categorical_crossentropy`: that of the logits tau * f, over tau.

    Labels: probabilities or one-hot (B, C), or integers (B,) or (B, 1); predictions: logits (B, C).

    Example:
    >>> loss = lipkit.losses.TauCategoricalCrossentropy(tau=100.0)
    >>> round(float(loss(np.array([0]), np.array([[0.0, 0.5]]))), 4)
    0.5
    """

    function = staticmethod(functional.tau_categorical_crossentropy)


@register
class TauSparseCategoricalCrossentropy(TauCategoricalCrossentropy):
    """`TauCategoricalCrossentropy`, which takes integer labels, under deel-lip's second name.

    Example:
    >>> loss = lipkit.losses.TauSparseCategoricalCrossentropy(tau=100.0)
    >>> round(float(loss(np.array([0]), np.array([[0.0, 0.5]]))), 4)
    0.5
    """

"""Metrics: true averages over samples, as instances of `keras.metrics.Metric`."""

import keras
import numpy as np
from keras import ops

from lipkit._checks import real
from lipkit._registry import register
from lipkit.certifier.api import margin_bound
from lipkit.losses.functional.labels import own_class, positives


def _binary_accuracy(y_true, y_pred):
    positive, y_pred = positives(y_true, y_pred)
    right = ops.where(positive, ops.greater(y_pred, 0), ops.less_equal(y_pred, 0))
    return ops.mean(ops.cast(right, keras.config.floatx()), axis=-1)


@register
class HKRBinaryAccuracy(keras.metrics.MeanMetricWrapper):
    """Share of samples where the sign of f agrees with the label ({0, 1} or {-1, 1}).

    f = 0 counts as the negative class, an undefined f (NaN) as wrong.

    Args:
        name, dtype: as in `keras.metrics.Metric`.

    Example:
    >>> metric = lipkit.metrics.HKRBinaryAccuracy()
    >>> float(metric(np.array([1, -1, 1]), np.array([0.5, -2.0, 3.0])))
    1.0
    """

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(_binary_accuracy, name=name, dtype=dtype)

    def get_config(self):
        """Keras configuration."""
        return {"name": self.name, "dtype": self.dtype}


def _binary_margin(y_true, y_pred):
    """The margin y f with y = +-1: (B,)."""
    positive, y_pred = positives(y_true, y_pred)
    return ops.mean(ops.where(positive, y_pred, -y_pred), axis=-1)


def _categorical_margin(y_true, y_pred):
    """Logit of the true class minus the largest other: (B,). One-hot or sparse labels."""
    own, y_pred = own_class(y_true, y_pred)
    others = ops.max(ops.where(own, -np.inf, y_pred), axis=-1)
    return ops.sum(ops.where(own, y_pred, 0), axis=-1) - others


class _Provable(keras.metrics.MeanMetricWrapper):
    """Mean over the samples of a function of margin / constant, the radius around the true label.

    An estimate for training: it divides float32 logits by a constant. `lipkit.certify` is the
    proof.

    Args:
        lip_const: Lipschitz constant of the logits; or a built model, whose proven bound is
            computed here and whenever the state is reset, as at the start of each epoch and
            evaluation.
        name, dtype: as in `keras.metrics.Metric`; the name is that of the class.
        reduction: deel-lip's keyword; `"auto"`, the mean, is the only one.
        **options: the other arguments of the class, kept for the configuration.
    """

    _margin = staticmethod(_binary_margin)

    def __init__(self, lip_const=1.0, name=None, dtype=None, reduction="auto", **options):
        if reduction not in ("auto", "mean", "sum_over_batch_size"):
            raise ValueError(
                "`reduction` of a metric can only be the mean, 'auto'. For the values of each "
                f"sample use `lipkit.certify`. Received: reduction={reduction!r}"
            )
        super().__init__(self._values, name=name or type(self).__name__, dtype=dtype)
        self._options = options
        self._model = lip_const if isinstance(lip_const, keras.Model) else None
        if self._model is None:
            self._lip_const = real("lip_const", lip_const, "(0, inf)")
        self._constant = self.add_variable(shape=(), initializer="ones", name="constant")
        self._refresh()

    def _factor(self):
        """Constant of the margin."""
        if self._model is None:
            return self._lip_const
        return margin_bound(self._model)

    def _refresh(self):
        self._constant.assign(self._factor())

    def reset_state(self):
        """Start again, with the constant of the model as it is now."""
        super().reset_state()
        self._refresh()

    def _values(self, y_true, y_pred):
        margin = self._margin(y_true, y_pred)
        return self._value(margin / ops.cast(self._constant, margin.dtype))

    def get_config(self):
        """Keras configuration; of a model, the constant that it has now."""
        lip_const = self._factor() if self._model is not None else self._lip_const
        config = {"lip_const": lip_const, "name": self.name, "dtype": self.dtype}
        return {**config, **self._options}


class _Accuracy:
    """Share of the samples with a radius above epsilon."""

    def _value(self, radius):
        return ops.cast(radius > self._options["epsilon"], keras.config.floatx())


class _AverageRobustness:
    """Mean radius, 0 (or its negative) for samples on the wrong side."""

    def _value(self, radius):
        return radius if self._options["negative_robustness"] else ops.relu(radius)


class _Categorical:
    """Margins of two logits, which grow at most `2 L` apart, or `sqrt(2) L` if joint."""

    _margin = staticmethod(_categorical_margin)

    def _factor(self):
        factor = super()._factor()
        if self._model is not None:
            return factor
        return factor * (2.0 if self._options["disjoint_neurons"] else 2.0**0.5)


@register
class BinaryProvableRobustAccuracy(_Accuracy, _Provable):
    """Share of samples with y f / lip_const > epsilon: right within distance epsilon.

    An estimate in float32, for training; `lipkit.certify` is the proof.

    Args:
        epsilon: radius, >= 0, in units of the input.
        lip_const: Lipschitz constant of the logit, > 0, or a built model to compute it from.
        name, dtype: as in `keras.metrics.Metric`; the name is that of the class.
        reduction: deel-lip's keyword; `"auto"`, the mean, is the only one.

    Example:
    >>> metric = lipkit.metrics.BinaryProvableRobustAccuracy(epsilon=0.25, lip_const=2.0)
    >>> float(metric(np.array([1, 0]), np.array([1.0, -0.25])))  # radii 0.5 and 0.125
    0.5
    """

    def __init__(self, epsilon=36 / 255, lip_const=1.0, name=None, dtype=None, reduction="auto"):
        epsilon = real("epsilon", epsilon, "[0, inf]")
        super().__init__(lip_const, name, dtype, reduction, epsilon=epsilon)


@register
class CategoricalProvableRobustAccuracy(_Categorical, _Accuracy, _Provable):
    """Share of samples whose label holds within distance epsilon. One-hot or sparse labels.

    An estimate in float32, for training; `lipkit.certify` is the proof.

    Args:
        epsilon: radius, >= 0, in units of the input.
        lip_const: Lipschitz constant, > 0, of each logit (`disjoint_neurons`) or of all together;
            or a built model, from which the exact constants of the differences are computed.
        disjoint_neurons: whether `lip_const` is that of each logit alone.
        name, dtype: as in `keras.metrics.Metric`; the name is that of the class.
        reduction: deel-lip's keyword; `"auto"`, the mean, is the only one.

    Example:
    >>> metric = lipkit.metrics.CategoricalProvableRobustAccuracy(epsilon=0.25)
    >>> float(metric(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 0.25]])))  # radii 0.5, 0.125
    0.5
    """

    def __init__(
        self,
        epsilon=36 / 255,
        lip_const=1.0,
        disjoint_neurons=True,
        name=None,
        dtype=None,
        reduction="auto",
    ):
        super().__init__(
            *(lip_const, name, dtype, reduction),
            epsilon=real("epsilon", epsilon, "[0, inf]"),
            disjoint_neurons=bool(disjoint_neurons),
        )


@register
class BinaryProvableAvgRobustness(_AverageRobustness, _Provable):
    """Mean of relu(y f) / lip_const, the radius of samples on the right side.

    An estimate in float32, for training; `lipkit.certify` is the proof.

    Args:
        lip_const: Lipschitz constant of the logit, > 0, or a built model to compute it from.
        negative_robustness: count samples on the wrong side by minus their radius, not by 0.
        name, dtype: as in `keras.metrics.Metric`; the name is that of the class.
        reduction: deel-lip's keyword; `"auto"`, the mean, is the only one.

    Example:
    >>> metric = lipkit.metrics.BinaryProvableAvgRobustness(lip_const=2.0)
    >>> float(metric(np.array([1, 0]), np.array([1.0, 0.5])))  # the second is on the wrong side
    0.25
    """

    def __init__(
        self,
        lip_const=1.0,
        negative_robustness=False,
        name=None,
        dtype=None,
        reduction="auto",
    ):
        super().__init__(
            *(lip_const, name, dtype, reduction), negative_robustness=bool(negative_robustness)
        )


@register
class CategoricalProvableAvgRobustness(_Categorical, _AverageRobustness, _Provable):
    """Mean radius of samples on the right side. One-hot or sparse labels.

    An estimate in float32, for training; `lipkit.certify` is the proof.

    Args:
        lip_const, disjoint_neurons: as in `CategoricalProvableRobustAccuracy`.
        negative_robustness: count samples on the wrong side by minus their radius, not by 0.
        name, dtype: as in `keras.metrics.Metric`; the name is that of the class.
        reduction: deel-lip's keyword; `"auto"`, the mean, is the only one.

    Example:
    >>> metric = lipkit.metrics.CategoricalProvableAvgRobustness()
    >>> float(metric(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 0.5]])))
    0.375
    """

    def __init__(
        self,
        lip_const=1.0,
        disjoint_neurons=True,
        negative_robustness=False,
        name=None,
        dtype=None,
        reduction="auto",
    ):
        super().__init__(
            *(lip_const, name, dtype, reduction),
            disjoint_neurons=bool(disjoint_neurons),
            negative_robustness=bool(negative_robustness),
        )

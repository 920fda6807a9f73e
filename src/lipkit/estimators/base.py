"""What the estimators share: arguments, checked inputs, values and certificates."""

import functools
import inspect
from dataclasses import replace

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from lipkit._choices import PATIENCE
from lipkit.certifier import certify, reweighted
from lipkit.certifier.interval import values
from lipkit.recipes import BUDGET, Trained, train, train_further


class LipschitzEstimator(BaseEstimator):
    """Base of the estimators.

    Args:
        recipe, epochs, batch_size, learning_rate, feature_weights, verbose: as in
            `lipkit.recipes.train`.
        eps: the same; `"auto"` or None for the radius that is found.
        random_state: seed of the initial values and the batches: an integer, a
            `numpy.random.RandomState`, or None for NumPy's global one.

    Attributes:
        model_: the lipkit model of raw inputs.
        history_: lists of floats, one for each epoch.
        settings_: all that was used, defaults resolved.
        n_features_in_: size of the first axis of a sample.
    """

    def __init__(
        self,
        recipe="auto",
        *,
        eps="auto",
        epochs=None,
        batch_size=None,
        learning_rate=None,
        feature_weights="auto",
        random_state=None,
        verbose=0,
    ):
        self.recipe = recipe
        self.eps = eps
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.feature_weights = feature_weights
        self.random_state = random_state
        self.verbose = verbose

    def _train(self, train, X, *y, **more):
        """Train with those parameters that `train` takes, and keep what is returned."""
        taken = inspect.signature(train).parameters
        given = self.get_params(deep=False).items()
        own = {name: value for name, value in given if name in taken and name not in more}
        own["seed"] = check_random_state(self.random_state).randint(2**31 - 1)
        trained = train(X, *y, **own, **more)
        self.model_, self.history_ = trained.model, trained.history
        self.settings_ = trained.settings

    def _validated(self, X, *y, reset=False, **checks):
        """X, and y where it is given, as arrays: X in float64, (n, ...)."""
        if not reset:
            check_is_fitted(self)
        checks |= {"dtype": "float64", "allow_nd": True, "ensure_min_samples": 1 + reset}
        given = validate_data(self, X, *y, reset=reset, **checks)
        x = given[0] if y else given
        if not reset and list(x.shape[1:]) != self.settings_["input_shape"]:
            raise ValueError(
                f"X must have samples of shape {self.settings_['input_shape']}, as in `fit`. "
                f"Received: shape {x.shape}"
            )
        return given

    def _values(self, X):
        """The outputs of the model in float64, (n, outputs)."""
        X = self._validated(X)
        return values(self.model_, X)


class Supervised(LipschitzEstimator):
    """Base of the estimators that learn from classes or targets.

    Args:
        recipe, eps, epochs, batch_size, learning_rate, feature_weights, random_state, verbose: as
            in `LipschitzEstimator`.
        budget, validation_fraction, early_stopping, patience: as in `lipkit.recipes.train`.
        warm_start: whether `fit` goes on from the model that is there, see `train_further` of
            `lipkit.recipes`, with samples of the same shape and classes that are known.
    """

    def __init__(
        self,
        recipe="auto",
        *,
        budget=BUDGET,
        validation_fraction=None,
        early_stopping=False,
        patience=PATIENCE,
        warm_start=False,
        **options,
    ):
        super().__init__(recipe, **options)
        self.budget = budget
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.patience = patience
        self.warm_start = warm_start

    @property
    def _fitted(self):
        return hasattr(self, "model_")

    def _learn(self, further, once, X, y, at_first, **more):
        """Train, with the arguments `at_first`; or go on from the model that is there.

        `once`: whether to go on for one epoch.
        """
        if not further:
            return self._train(train, X, y, **at_first, **more)
        more |= {"epochs": 1, "early_stopping": False} if once else {}
        known = Trained(self.model_, self.history_, self.settings_)
        return self._train(functools.partial(train_further, known), X, y, **more)


class CertifiedMixin:
    """Certificates of an estimator whose model decides between `_labels()`."""

    def certify(self, X, y=None):
        """Certify the predictions.

        Args:
            X: (n, ...) samples.
            y: (n,) true labels, for certified accuracies; None if they are not known.

        Returns:
            `lipkit.certifier.Certificates`. Radii are in units of the data, or of the feature
            weights if they were given. `label` and `y` are indices into `classes_`, or 1 for
            inliers and 0 for outliers; -2 in `y` for a label that is none of these.

        Raises:
            ValueError: X or y does not have the shape that is needed.
        """
        X = self._validated(X)
        weights = self.settings_["feature_weights"]
        certificates = reweighted(certify(self.model_, X), self.model_, weights)
        if y is None:
            return certificates
        y, labels = np.asarray(y), self._labels()
        if y.shape != (len(certificates),):
            raise ValueError(
                f"y must have one label for each of {len(certificates)} samples. Received: shape "
                f"{y.shape}"
            )
        known = np.isin(y, labels)
        places = np.full(len(y), -2)
        places[known] = np.searchsorted(labels, y[known])
        return replace(certificates, y=places)

    def predict_radius(self, X):
        """Radii within which no input has another prediction, and 0 where nothing is proven.

        Args:
            X: (n, ...) samples.

        Returns:
            (n,) float64, as in `certify`.
        """
        return self.certify(X).radius

    def score_certified(self, X, y, eps):
        """Share of the samples for which the prediction is y everywhere within distance `eps`.

        Args:
            X, y: (n, ...) samples and (n,) true labels.
            eps: radius >= 0, in units of `certify`.

        Returns:
            The share, in [0, 1].
        """
        return self.certify(X, y).certified_accuracy(eps)

"""`LipschitzRegressor`."""

from sklearn.base import RegressorMixin

from lipkit._choices import PATIENCE
from lipkit.certifier import output_interval
from lipkit.certifier.weights import weighted_bound
from lipkit.estimators.base import Supervised
from lipkit.recipes import BUDGET


class LipschitzRegressor(RegressorMixin, Supervised):
    """A regressor with a proven Lipschitz constant, and so an interval around each prediction.

    scikit-learn's interface to `lipkit.recipes.train(task="regression")`.

    Args:
        recipe, eps, epochs, batch_size, learning_rate, feature_weights, verbose: as in
            `lipkit.recipes.train`.
        random_state: seed of the initial values and the batches: an integer, a
            `numpy.random.RandomState`, or None for NumPy's global one.
        budget, validation_fraction, early_stopping, patience: as in `lipkit.recipes.train`.
        warm_start: whether `fit` goes on from the model that is there, as
            `lipkit.recipes.train_further`.
        lipschitz: largest constant of the model, in units of the target per unit of distance; the
            smaller, the smoother, with narrower intervals. None for a search.

    Attributes:
        lipschitz_: the proven constant.
        model_, history_, settings_, n_features_in_: as in `LipschitzClassifier`.

    Example:
        >>> regressor = lipkit.estimators.LipschitzRegressor(lipschitz=2.0, epochs=2).fit(x, y)
        >>> lower, upper = regressor.predict_interval(x, radius=0.1)
        >>> bool((upper - lower <= 0.41).all()), regressor.lipschitz_ <= 2
        (True, True)
    """

    def __init__(
        self,
        recipe="auto",
        *,
        lipschitz=None,
        eps="auto",
        epochs=None,
        batch_size=None,
        learning_rate=None,
        budget=BUDGET,
        validation_fraction=None,
        early_stopping=False,
        patience=PATIENCE,
        warm_start=False,
        feature_weights="auto",
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            recipe,
            eps=eps,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            budget=budget,
            validation_fraction=validation_fraction,
            early_stopping=early_stopping,
            patience=patience,
            warm_start=warm_start,
            feature_weights=feature_weights,
            random_state=random_state,
            verbose=verbose,
        )
        self.lipschitz = lipschitz

    def fit(self, X, y, sample_weight=None):
        """Train.

        Args:
            X: (n, ...) samples, finite numbers.
            y: (n,) targets, finite numbers.
            sample_weight: (n,) weights >= 0 in the loss.

        Returns:
            The estimator.
        """
        return self._go(self.warm_start and self._fitted, X, y, sample_weight)

    def partial_fit(self, X, y, sample_weight=None):
        """Train on one batch of a stream: the first as in `fit`, later ones for one epoch each.

        Args:
            X, y, sample_weight: as in `fit`; the first batch should be like the others.

        Returns:
            The estimator.
        """
        return self._go(self._fitted, X, y, sample_weight, once=True)

    def _go(self, further, X, y, sample_weight, once=False):
        X, y = self._validated(X, y, reset=not further, y_numeric=True)
        self._learn(further, once, X, y, {"task": "regression"}, sample_weight=sample_weight)
        self.lipschitz_ = weighted_bound(self.model_, self.settings_["feature_weights"])
        return self

    def predict(self, X):
        """Predictions in float64 (n,)."""
        return self._values(X)[:, 0]

    def predict_interval(self, X, radius):
        """Proven bounds on the predictions at all inputs within a radius.

        Args:
            X: (n, ...) samples.
            radius: distance >= 0 in units of the data, or of the feature weights; a number or (n,).

        Returns:
            (lower, upper), each float64 (n,).
        """
        X, weights = self._validated(X), self.settings_["feature_weights"]
        lower, upper = output_interval(self.model_, X, radius, weights)
        return lower[:, 0], upper[:, 0]

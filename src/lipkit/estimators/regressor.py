"""`LipschitzRegressor`."""

from sklearn.base import RegressorMixin

from lipkit.certifier import output_interval
from lipkit.certifier.weights import weighted_bound
from lipkit.estimators.base import LipschitzEstimator
from lipkit.recipes import BUDGET, train


class LipschitzRegressor(RegressorMixin, LipschitzEstimator):
    """A regressor with a proven Lipschitz constant, and so an interval around each prediction.

    scikit-learn's interface to `lipkit.recipes.train(task="regression")`.

    Args:
        recipe, eps, epochs, batch_size, learning_rate, feature_weights, verbose: as in
            `lipkit.recipes.train`.
        random_state: seed of the initial values and the batches: an integer, a
            `numpy.random.RandomState`, or None for NumPy's global one.
        budget, validation_fraction: as in `lipkit.recipes.train`.
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
        eps=None,
        epochs=None,
        batch_size=None,
        learning_rate=None,
        budget=BUDGET,
        validation_fraction=None,
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
            feature_weights=feature_weights,
            random_state=random_state,
            verbose=verbose,
        )
        self.lipschitz = lipschitz
        self.budget = budget
        self.validation_fraction = validation_fraction

    def fit(self, X, y, sample_weight=None):
        """Train.

        Args:
            X: (n, ...) samples, finite numbers.
            y: (n,) targets, finite numbers.
            sample_weight: (n,) weights >= 0 in the loss.

        Returns:
            The estimator.
        """
        X, y = self._validated(X, y, reset=True, y_numeric=True)
        self._train(train, X, y, task="regression", sample_weight=sample_weight)
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

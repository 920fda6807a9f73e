"""`LipschitzRegressor`."""

from sklearn.base import RegressorMixin

from lipkit.certifier import output_interval
from lipkit.certifier.weights import weighted_bound
from lipkit.estimators.base import LipschitzEstimator
from lipkit.recipes import train


class LipschitzRegressor(RegressorMixin, LipschitzEstimator):
    """A regressor with a proven Lipschitz constant, and so an interval around each prediction.

    scikit-learn's interface over `lipkit.recipes.train(task="regression")`.

    Args:
        recipe, eps, epochs, batch_size, learning_rate, feature_weights, random_state, verbose: as
            in `lipkit.recipes.train`.
        lipschitz: largest constant of the model, in units of the target per unit of distance; the
            smaller, the smoother, with narrower intervals. None for a mild penalty on it.

    Attributes:
        lipschitz_: the proven constant.
        model_, history_, settings_, n_features_in_: as in `LipschitzClassifier`.

    Example:
    >>> regressor = LipschitzRegressor(lipschitz=2.0, random_state=0).fit(X, y)
    >>> lower, upper = regressor.predict_interval(X_test, radius=0.1)
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
        feature_weights=None,
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

    def fit(self, X, y):
        """Train on samples (n, ...) and targets (n,)."""
        X, y = self._validated(X, y, reset=True, y_numeric=True)
        self._train(train, X, y, task="regression", lipschitz=self.lipschitz)
        self.lipschitz_ = weighted_bound(self.model_, self.settings_["feature_weights"])
        return self

    def predict(self, X):
        """Predictions in float64 (n,)."""
        return self._values(X)[:, 0]

    def predict_interval(self, X, radius):
        """Proven bounds of the predictions at all inputs within `radius`: (lower, upper), (n,).

        Args:
            X: samples.
            radius: distance in units of the data, or of the feature weights; one or (n,).
        """
        X, weights = self._validated(X), self.settings_["feature_weights"]
        lower, upper = output_interval(self.model_, X, radius, weights)
        return lower[:, 0], upper[:, 0]

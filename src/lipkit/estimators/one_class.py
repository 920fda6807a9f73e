"""`OneClassLipschitz`."""

import numpy as np
from sklearn.base import OutlierMixin

from lipkit._checks import real
from lipkit.certifier.interval import values
from lipkit.certifier.weights import weighted_bound
from lipkit.estimators.base import CertifiedMixin, LipschitzEstimator
from lipkit.recipes import train_one_class


class OneClassLipschitz(OutlierMixin, CertifiedMixin, LipschitzEstimator):
    """An outlier detector whose score is 1-Lipschitz: no attack within r lowers it by more than r.

    The score is about the signed distance to the boundary of the data's support, positive inside,
    learned from mined negatives: see `lipkit.recipes.train_one_class`.

    Args:
        contamination: share of outliers in the training data, in (0, 0.5]: that share of them gets
            -1; or `"auto"` for the boundary as it was learned.
        recipe, eps, epochs, batch_size, learning_rate, feature_weights, verbose: as in
            `lipkit.recipes.train_one_class`.
        random_state: seed of the initial values and the batches: an integer, a
            `numpy.random.RandomState`, or None for NumPy's global one.

    Attributes:
        offset_: `decision_function` is `score_samples` minus it.
        lipschitz_: proven constant of the model, by which its output is divided to get the score.
        model_: lipkit model of raw inputs, positive for inliers.
        history_, settings_, n_features_in_: as in `LipschitzClassifier`.

    That scores and radii bound the effect of a change of the input is proven; that the score is a
    distance is an estimate.

    Example:
        >>> detector = lipkit.estimators.OneClassLipschitz(0.05, epochs=1, random_state=0).fit(x)
        >>> detector.predict(x).shape, bool((detector.predict_radius(x) >= 0).all())
        ((200,), True)

    Reference: Béthune et al., ICML 2023, arXiv:2303.01978.
    """

    def __init__(
        self,
        contamination="auto",
        *,
        recipe="auto",
        eps="auto",
        epochs=None,
        batch_size=None,
        learning_rate=None,
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
        self.contamination = contamination

    def fit(self, X, y=None):
        """Train.

        Args:
            X: (n, ...) samples, most of them inliers.
            y: ignored.

        Returns:
            The estimator.

        Raises:
            ValueError: the samples or `contamination` do not fit.
        """
        auto = isinstance(self.contamination, str) and self.contamination == "auto"
        share = None if auto else real("contamination", self.contamination, "(0, 0.5]")
        X = self._validated(X, reset=True)
        self._train(train_one_class, X)
        output = values(self.model_, X)[:, 0]
        threshold = 0.0 if share is None else float(np.quantile(output, share))
        bias = self.model_.layers[-1].bias
        bias.assign_sub([threshold])
        self.lipschitz_ = weighted_bound(self.model_, self.settings_["feature_weights"])
        self.offset_ = threshold / self.lipschitz_
        return self

    def decision_function(self, X):
        """Distances within which the decision holds, positive for inliers: (n,).

        In units of the data, or of the feature weights; up to rounding in float64, which the radii
        of `certify` account for.
        """
        return self._values(X)[:, 0] / self.lipschitz_

    def score_samples(self, X):
        """Scores (n,), the higher the more normal: they change by at most the distance moved."""
        return self.decision_function(X) + self.offset_

    def predict(self, X):
        """1 for inliers, -1 for outliers: (n,)."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def _labels(self):
        return np.array([-1, 1])

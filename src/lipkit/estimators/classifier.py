"""`LipschitzClassifier`."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from lipkit.estimators.base import CertifiedMixin, LipschitzEstimator
from lipkit.recipes import train


class LipschitzClassifier(ClassifierMixin, CertifiedMixin, LipschitzEstimator):
    """A classifier whose predictions are certified: each has a radius within which it holds.

    scikit-learn's interface to `lipkit.recipes.train`; samples are vectors (n, features) or
    images (n, h, w, c). There is no `predict_proba`: margins are distances, not probabilities.

    Args:
        recipe, eps, epochs, batch_size, learning_rate, feature_weights, verbose: as in
            `lipkit.recipes.train`.
        random_state: seed of the initial values and the batches: an integer, a
            `numpy.random.RandomState`, or None for NumPy's global one.

    Attributes:
        classes_: the labels, sorted.
        model_, history_, settings_, n_features_in_: the lipkit model of raw inputs, and what was
            used and seen in training.

    Radii are proven for the network in real arithmetic: see `lipkit.certify`.

    Example:
        >>> classifier = lipkit.estimators.LipschitzClassifier("linear", epochs=2, random_state=0)
        >>> classifier = classifier.fit(x, y)
        >>> classifier.predict(x).shape, classifier.predict_radius(x).shape
        ((200,), (200,))
        >>> bool(classifier.score_certified(x, y, eps=0.1) <= classifier.score(x, y))
        True
    """

    def fit(self, X, y):
        """Train.

        Args:
            X: (n, ...) samples, finite numbers.
            y: (n,) labels of at least 2 classes.

        Returns:
            The estimator.

        Raises:
            ValueError: the samples or labels do not fit.
        """
        X, y = self._validated(X, y, reset=True)
        check_classification_targets(y)
        self.classes_, indices = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must have at least 2 classes. Received: one class, {y[0]!r}")
        self._train(train, X, indices)
        return self

    def decision_function(self, X):
        """Logits in float64: (n,) for two classes, positive for the second; else (n, classes)."""
        logits = self._values(X)
        return logits[:, 0] if len(self.classes_) == 2 else logits

    def predict(self, X):
        """Labels (n,), those that `certify` certifies."""
        logits = self.decision_function(X)
        return self.classes_[(logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(1)]

    def _labels(self):
        return self.classes_

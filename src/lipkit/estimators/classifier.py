"""`LipschitzClassifier`."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from lipkit.estimators.base import CertifiedMixin, LipschitzEstimator
from lipkit.recipes import BUDGET, train


class LipschitzClassifier(ClassifierMixin, CertifiedMixin, LipschitzEstimator):
    """A classifier whose predictions are certified: each has a radius within which it holds.

    scikit-learn's interface to `lipkit.recipes.train`; samples are vectors (n, features) or
    images (n, h, w, c). There is no `predict_proba`: margins are distances, not probabilities.

    Args:
        recipe, eps, epochs, batch_size, learning_rate, feature_weights, verbose: as in
            `lipkit.recipes.train`.
        alpha, min_margin, budget, validation_fraction: the same.
        class_weight: weights of the classes: a dictionary {label: weight}, 1 for those that it
            leaves out, `"balanced"` for equal weights of all classes together, or None.
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

    def __init__(
        self,
        recipe="auto",
        *,
        eps=None,
        alpha=None,
        min_margin=None,
        epochs=None,
        batch_size=None,
        learning_rate=None,
        budget=BUDGET,
        validation_fraction=None,
        feature_weights="auto",
        class_weight=None,
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
        self.alpha = alpha
        self.min_margin = min_margin
        self.budget = budget
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight

    def fit(self, X, y, sample_weight=None):
        """Train.

        Args:
            X: (n, ...) samples, finite numbers.
            y: (n,) labels of at least 2 classes.
            sample_weight: (n,) weights >= 0, in the loss and in the judgement of the search.

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
        weights = self.class_weight
        if isinstance(weights, dict):
            weights = self._by_number(weights)
        self._train(train, X, indices, sample_weight=sample_weight, class_weight=weights)
        return self

    def _by_number(self, weights):
        """Weights of the classes by number."""
        numbers = {label: number for number, label in enumerate(self.classes_.tolist())}
        for label in weights:
            if label not in numbers:
                raise ValueError(
                    f"class_weight must be of labels in y, such as {list(numbers)[:5]}. Received: "
                    f"{label!r}"
                )
        return {numbers[label]: weight for label, weight in weights.items()}

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

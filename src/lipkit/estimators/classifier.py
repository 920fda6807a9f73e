"""`LipschitzClassifier`."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from lipkit._choices import PATIENCE
from lipkit.estimators.base import CertifiedMixin, Supervised
from lipkit.recipes import BUDGET


class LipschitzClassifier(ClassifierMixin, CertifiedMixin, Supervised):
    """A classifier whose predictions are certified: each has a radius within which it holds.

    scikit-learn's interface to `lipkit.recipes.train`; samples are vectors (n, features) or
    images (n, h, w, c). There is no `predict_proba`: margins are distances, not probabilities.

    Args:
        recipe, epochs, batch_size, learning_rate, feature_weights, verbose: as in
            `lipkit.recipes.train`.
        eps: the same; `"auto"` or None for the radius that the search finds.
        alpha, min_margin, budget, validation_fraction, early_stopping, patience: the same.
        warm_start: whether `fit` goes on from the model that is there, as
            `lipkit.recipes.train_further`, with classes that are known.
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
        eps="auto",
        alpha=None,
        min_margin=None,
        epochs=None,
        batch_size=None,
        learning_rate=None,
        budget=BUDGET,
        validation_fraction=None,
        early_stopping=False,
        patience=PATIENCE,
        warm_start=False,
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
            budget=budget,
            validation_fraction=validation_fraction,
            early_stopping=early_stopping,
            patience=patience,
            warm_start=warm_start,
            feature_weights=feature_weights,
            random_state=random_state,
            verbose=verbose,
        )
        self.alpha = alpha
        self.min_margin = min_margin
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
        further = self.warm_start and self._fitted
        X, y = self._labelled(X, y, further)
        if not further:
            self.classes_ = np.unique(y)
            if len(self.classes_) < 2:
                raise ValueError(f"y must have at least 2 classes. Received: one class, {y[0]!r}")
        return self._go(further, X, y, sample_weight)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train on one batch of a stream: the first as in `fit`, later ones for one epoch each.

        The search of `fit` judges on rows of the first batch, which should be like the others, and
        have some hundred rows.

        Args:
            X: (n, ...) samples, finite numbers.
            y: (n,) labels, of `classes`.
            classes: labels of all batches, which the first call needs; None in later ones.
            sample_weight: (n,) weights >= 0.

        Returns:
            The estimator.

        Raises:
            ValueError: the samples, labels or classes do not fit.
        """
        further = self._fitted
        if not further and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        classes = self.classes_ if classes is None else np.unique(classes)
        if further and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"classes must be those of the first call, {self.classes_}. Received: {classes}"
            )
        X, y = self._labelled(X, y, further)
        self.classes_ = classes
        return self._go(further, X, y, sample_weight, once=True)

    def _labelled(self, X, y, further):
        """X and y, if y has one label for each sample."""
        shape = np.asarray(y).shape
        if len(shape) == 2 and shape[1] > 1:
            raise ValueError(
                f"y must be a 1d array, one label for each sample. Received: shape {shape}. "
                "Of one-hot rows it is y.argmax(axis=1). For several labels of a sample use "
                "sklearn.multioutput.MultiOutputClassifier, which trains a classifier for each."
            )
        X, y = self._validated(X, y, reset=not further)
        check_classification_targets(y)
        return X, y

    def _go(self, further, X, y, sample_weight, once=False):
        """Train on labels of `classes_`."""
        places = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1)
        if len(unknown := y[self.classes_[places] != y]):
            raise ValueError(f"y must have labels of {self.classes_}. Received: {unknown[0]!r}")
        weights = self.class_weight
        if isinstance(weights, dict):
            weights = self._by_number(weights)
        weights = {"sample_weight": sample_weight, "class_weight": weights}
        self._learn(further, once, X, places, {"classes": len(self.classes_)}, **weights)
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

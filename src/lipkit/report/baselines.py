"""The same split, learned by two models of scikit-learn."""

import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipkit.data import files
from lipkit.report.markup import Html, table, tag
from lipkit.report.numbers import at_least, percent

NAMES = "logistic regression", "neural network"


@dataclass(frozen=True)
class Baselines:
    """How many test points each baseline gets right.

    Attributes:
        right: numbers by name; {} where nothing could be compared.
        problem: why not, or "".
    """

    right: dict[str, int]
    problem: str = ""


def compare(run) -> Baselines:
    """Train the baselines on the rows that the run was trained on.

    Raises:
        ImportError: scikit-learn is missing.
    """
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError:
        raise ImportError(
            "`baselines` (--baselines) needs scikit-learn: pip install 'lipkit[sklearn]'."
        ) from None
    try:
        x, y = _training(run)
    except (ValueError, OSError, ImportError) as error:
        return Baselines({}, str(error))
    test = run.x.reshape(len(run.x), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the iterations end before the optimum
        models = {name: model.fit(x, y) for name, model in _models().items()}
        right = {name: int(np.sum(m.predict(test) == run.y)) for name, m in models.items()}
    return Baselines(right)


def _models():
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifiers = LogisticRegression(max_iter=1000), MLPClassifier(max_iter=500, random_state=0)
    return {
        name: make_pipeline(StandardScaler(), classifier)
        for name, classifier in zip(NAMES, classifiers, strict=True)
    }


def _training(run):
    """The rows of the data that are not among the test rows, (n, d) and (n,).

    Raises:
        ValueError: the data are not those of the run.
        OSError: they cannot be read.
    """
    info = run.info
    path = Path(info.data.path)
    if not path.exists():
        raise ValueError(f"{path} is not there any more.")
    if files.sha256(path) != info.data.sha256:
        raise ValueError(f"{path} has changed since the training.")
    data = files.read(path, info.data.target, encoding=info.data.encoding, classes=info.classes)
    left, kept = Counter(_keys(run.x, run.y)), np.ones(len(data.x), bool)
    for i, key in enumerate(_keys(data.x, data.y)):
        if left[key]:
            left[key] -= 1
            kept[i] = False
    if len(data.x) - kept.sum() != len(run.x):
        raise ValueError(f"{path} does not hold the test rows as they were read in the training.")
    return data.x[kept].reshape(kept.sum(), -1), np.asarray(data.y)[kept]


def _keys(x, y):
    """What equal rows have in common: their bytes."""
    rows = np.column_stack([x.reshape(len(x), -1).astype("float64"), np.asarray(y)])
    return (row.tobytes() for row in rows)


def baselines(found) -> Html | None:
    """The accuracies beside one another."""
    run, compared = found.run, found.baselines
    if compared is None:
        return None
    if compared.problem:
        return tag("p", f"There is no comparison: {compared.problem}", class_="note")
    n, own = len(run.y), round(len(run.y) * run.certificates.certified_accuracy(found.eps))
    rows = [("this model", int(run.right.sum()), percent(own, n))]
    rows += [(name, right, "–") for name, right in compared.right.items()]
    cells = [(name, f"{right:,}", percent(right, n), proven) for name, right, proven in rows]
    header = ("model", f"right, of {n:,}", "accuracy", f"proven within {at_least(found.eps)}")
    return tag(
        "div",
        tag(
            "p",
            "The same rows for training and for the test. The others are scikit-learn's "
            "LogisticRegression and MLPClassifier, default but for more iterations, on "
            "standardised columns; nothing is proven of their answers here.",
        ),
        table(header, cells, "Accuracy on the test data", "lrrr"),
    )

"""The same split, learned by two models of scikit-learn."""

import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lipkit.data import files
from lipkit.report.markup import Html, table, tag
from lipkit.report.numbers import at_least, at_most, number, percent

CLASSIFIERS = "logistic regression", "neural network"
REGRESSORS = "ridge regression", "neural network"


@dataclass(frozen=True)
class Baselines:
    """What each baseline predicts of the test points.

    Attributes:
        predicted: (n,) classes or numbers, by name; {} where nothing could be compared.
        problem: why not, or "".
    """

    predicted: dict[str, np.ndarray]
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
        models = _regressors() if run.info.regression else _classifiers()
        return Baselines({name: model.fit(x, y).predict(test) for name, model in models.items()})


def _classifiers():
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    models = LogisticRegression(max_iter=1000), MLPClassifier(max_iter=500, random_state=0)
    return _standardised(CLASSIFIERS, models)


def _regressors():
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.linear_model import Ridge
    from sklearn.neural_network import MLPRegressor
    from sklearn.preprocessing import StandardScaler

    network = MLPRegressor(max_iter=500, random_state=0)
    # whose steps suit targets of about 1
    network = TransformedTargetRegressor(network, transformer=StandardScaler())
    return _standardised(REGRESSORS, (Ridge(), network))


def _standardised(names, models):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        name: make_pipeline(StandardScaler(), model)
        for name, model in zip(names, models, strict=True)
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
    data = files.read(
        path,
        info.data.target,
        encoding=info.data.encoding,
        classes=info.classes,
        targets=info.regression,
    )
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
    """The scores beside one another."""
    run, compared = found.run, found.baselines
    if compared is None:
        return None
    if compared.problem:
        return tag("p", f"There is no comparison: {compared.problem}", class_="note")
    scores = _values if run.info.regression else _decisions
    names, header, cells, caption = scores(found, compared.predicted)
    return tag(
        "div",
        tag(
            "p",
            f"The same rows for training and for the test. The others are scikit-learn's {names}, "
            "default but for more iterations, on standardised columns; nothing is proven of their "
            "answers here.",
        ),
        table(header, cells, caption, "lrrr"),
    )


def _decisions(found, predicted):
    run, n = found.run, len(found.run.y)
    own = round(n * run.certificates.certified_accuracy(found.eps))
    rows = [("this model", int(run.right.sum()), percent(own, n))]
    rows += [(name, int(np.sum(labels == run.y)), "–") for name, labels in predicted.items()]
    cells = [(name, f"{right:,}", percent(right, n), proven) for name, right, proven in rows]
    header = ("model", f"right, of {n:,}", "accuracy", f"proven within {at_least(found.eps)}")
    names = "LogisticRegression and MLPClassifier"
    return names, header, cells, "Accuracy on the test data"


def _values(found, predicted):
    run, intervals = found.run, found.run.certificates
    known = np.isfinite(intervals.value)
    rows = [("this model", intervals, f"± {at_most(found.reach)}")]
    for name, values in predicted.items():
        rows.append((name, replace(intervals, value=np.where(known, values, np.nan)), "–"))
    cells = [
        (name, number(of.r2()), number(np.median(np.abs(of.error[known]))), proven)
        for name, of, proven in rows
    ]
    header = ("model", "R²", "median error", f"moves within {at_least(found.eps)}")
    names = "Ridge and MLPRegressor (on standardised targets)"
    return names, header, cells, f"Errors on {known.sum():,} test {run.unit}s"

"""Files of scikit-learn's pipelines by skl2onnx, and what scikit-learn says of some inputs.

pip install skl2onnx==1.20.0
python tests/data/make_sklearn.py
"""

import math
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

FOLDER = Path(__file__).parent


def norm(matrix):
    return np.linalg.norm(np.atleast_2d(matrix), 2)


def mlp(x, y, scaler, **arguments):
    model = MLPClassifier((8,), max_iter=60, random_state=0, **arguments)
    return make_pipeline(scaler, model).fit(x, y)


def save(name, fitted, x, scale, weights, last, **options):
    """A file; its inputs, answers, and the product of the constants of the steps."""
    options = {id(fitted[-1]): options} if options else None
    proto = to_onnx(fitted, x[:1].astype("float32"), options=options)
    (FOLDER / f"sklearn_{name}.onnx").write_bytes(proto.SerializeToString())
    x = x[::7].astype("float32")
    probabilities = fitted.predict_proba(x) if hasattr(fitted, "predict_proba") else ()
    np.savez(
        FOLDER / f"sklearn_{name}.npz",
        x=x,
        answers=fitted.predict(x),
        probabilities=probabilities,
        right=np.max(scale) * math.prod(map(norm, weights)) * last,
    )


def main():
    x, y = load_iris(return_X_y=True)
    three = mlp(x, y, StandardScaler())
    save("three", three, x, 1 / three[0].scale_, three[-1].coefs_, 0.5)
    x, y = load_breast_cancer(return_X_y=True)
    two = mlp(x, y, MinMaxScaler(), activation="tanh")
    save("two", two, x, two[0].scale_, two[-1].coefs_, math.sqrt(2) / 4, zipmap=False)
    linear = make_pipeline(RobustScaler(), LogisticRegression(max_iter=500)).fit(x, y)
    scale, weights = 1 / linear[0].scale_, [linear[-1].coef_]
    save("logistic", linear, x, scale, weights, math.sqrt(2) / 4, zipmap=False)
    x, y = load_diabetes(return_X_y=True)
    line = make_pipeline(StandardScaler(), LinearRegression()).fit(x, y)
    save("regression", line, x, 1 / line[0].scale_, [line[-1].coef_], 1.0)


if __name__ == "__main__":
    main()

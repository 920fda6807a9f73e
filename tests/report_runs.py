"""Small runs, written without `lipkit train`, and a reader of their pages."""

import hashlib
import json
from dataclasses import asdict
from html.parser import HTMLParser

import keras
import numpy as np

import lipkit
from lipkit.data.tables import Column
from lipkit.layers import FrobeniusDense
from lipkit.runs import DataInfo, RunInfo, Split
from lipkit.runs.schema import MANIFEST
from lipkit.runs.writing import write

VOID = {"meta", "img", "wbr"}


def scaled(x):
    scale = 1 / x.std(axis=0)
    return keras.layers.Rescaling(scale.tolist(), (-scale * x.mean(axis=0)).tolist())


def write_run(folder, x, y, body, epochs=4, hold=5, **facts):
    """A run as `lipkit train` writes it; every fifth point is held out."""
    folder.mkdir()
    keras.utils.set_random_seed(0)
    x, y, k = x.astype("float32"), y.astype("int64"), int(y.max()) + 1
    test = np.arange(len(x)) % hold == 0
    model = lipkit.Sequential([keras.Input(x.shape[1:]), *body, FrobeniusDense(1 if k == 2 else k)])
    loss = (lipkit.losses.HKR if k == 2 else lipkit.losses.MulticlassHKR)(10.0, min_margin=0.3)
    model.compile(keras.optimizers.Adam(0.02), loss)
    history = model.fit(
        x[~test], y[~test].astype("float32"), batch_size=64, epochs=epochs, verbose=0
    ).history
    plain = model.vanilla_export()
    certificates = lipkit.certify(plain, x[test], y[test])
    info = RunInfo(
        lipkit=lipkit.__version__,
        backend=keras.backend.backend(),
        created="2025-11-25T10:30:00+00:00",
        command=["lipkit", "train", "data/some.csv", "--out", "a folder"],
        seconds=1.25,
        data=DataInfo(
            path="data/some.csv",
            sha256=hashlib.sha256(b"data").hexdigest(),
            rows=len(x),
            kind="table" if x.ndim == 2 else "images",
            target="species",
            features=[f"feature {i}" for i in range(x.shape[1])] if x.ndim == 2 else [],
            image_shape=None if x.ndim == 2 else list(x.shape[1:]),
            encoding={},
        ),
        classes=[f"class {i}" for i in range(k)],
        settings={"eps": 0.4, "recipe": "mlp", "feature_weights": None},
        split=Split(train=int((~test).sum()), test=int(test.sum())),
        history={name: [float(v) for v in values] for name, values in history.items()},
        accuracy=float(np.mean(certificates.label == y[test])),
        lipschitz_bound=float(lipkit.lipschitz_bound(plain)),
    )
    write(folder, info, model, x[test], y[test], certificates)
    (folder / MANIFEST).unlink()  # the tests change files, to see more found than another hash
    run = json.loads((folder / "run.json").read_text())
    for name, value in facts.items():
        run[name] = {**run[name], **value} if isinstance(value, dict) else value
    columns = [asdict(Column(name, "number")) for name in run["data"]["features"]]
    run["data"]["encoding"] = {"columns": columns}
    (folder / "run.json").write_text(json.dumps(run))


class Reader(HTMLParser):
    """Tags with attributes, the texts of tables, and whether all tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.tables, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        names = [key for key, _ in attributes]
        assert len(set(names)) == len(names), attributes
        self.tags.append((name, dict(attributes)))
        if name == "table":
            self.tables.append([])
        elif name == "tr":
            self.tables[-1].append([])
        elif name in ("td", "th"):
            self.tables[-1][-1].append("")
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data

    def table(self, first):
        """The rows of the table whose first column is headed so."""
        return next(rows for rows in self.tables if rows[0][0] == first)

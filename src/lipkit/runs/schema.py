"""What a run folder holds: the names of its files, and what its record says.

The record of a run is the JSON object of `RunInfo`; the types of the fields are its schema.
"""

import math
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

from lipkit.certifier.weights import checked
from lipkit.data.dataset import encoded_columns, encoded_format

INFO, TEST, CERTIFICATES = "run.json", "test.npz", "certificates.json"
PLAIN, TRAINED = "model.keras", "lipkit.keras"  # what is certified, and what was trained
FILES = (INFO, TEST, CERTIFICATES, PLAIN, TRAINED)
MANIFEST = "manifest.json"  # the hash of each of them
REPORT = "report.html"
SEEDS = "seeds.json"  # the scores of runs with other seeds
DERIVED = (SEEDS, REPORT, "report-[0-9].html", "report.html.partial")  # may be added at any time
KINDS = ("table", "images")
CLOSE = 1e-4  # relative: kernels are computed anew in float32, on this machine
SCORES = {"classification": "accuracy", "regression": "r2"}  # the field with the test score
UNITS = {  # of distances with feature weights, by where these come from
    "spread": "in robust spreads of the columns",
    "std": "in standard deviations of the columns",
}


class Invalid(ValueError):
    """What is wrong with the content of a file, to be said after its name."""


def require(holds, problem) -> None:
    """Raise `Invalid` unless something holds."""
    if not holds:
        raise Invalid(problem)


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """What a run says of its data.

    Attributes:
        path: file or folder, as it was given.
        sha256: of the file, or of the names and contents of a folder's images.
        rows: number of samples.
        kind: `"table"` or `"images"`.
        target: column of the classes, or numbers; None for data that are not a table.
        features: names of the numbers of a row of a table; [] for images.
        image_shape: [height, width, channels]; None for a table.
        encoding: how columns become numbers, as in `lipkit.data.dataset.Dataset.encoding`.

    Example:
        >>> lipkit.runs.read(run).info.data.features
        ['a', 'b']
    """

    path: str
    sha256: str
    rows: int
    kind: str
    target: str | None
    features: list
    image_shape: list | None = None
    encoding: dict


@dataclass(frozen=True, kw_only=True)
class Split:
    """How many samples a run trained on, and how many it held out.

    Attributes:
        train, test: numbers of samples.

    Example:
        >>> lipkit.runs.read(run).info.split.test
        12
    """

    train: int
    test: int


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """The record of a run: how it came about, and what was found.

    Attributes:
        lipkit: the version that wrote it.
        backend: Keras's backend in training.
        created: date and time in ISO format.
        task: `"classification"` or `"regression"`.
        classes: names of the classes, in the order of the model's outputs; [] for a regression.
        settings: all that `lipkit.recipes.train` used, defaults resolved.
        split: numbers of samples in training and test.
        history: a list of numbers, one for each epoch, of the loss and each metric.
        accuracy: share of the test samples that the model decides as their labels say; None for a
            regression.
        balanced_accuracy: the same if each class counts alike; None for a regression, and in runs
            that did not count it.
        r2: of a regression, the share of the variance of the test samples' targets that the model
            explains; otherwise None.
        lipschitz_bound: the proven bound on the constant of the exported model.
        command: the command line that made the run.
        seconds: time that it took.
        data: what it was trained on.

    Example:
        >>> info = lipkit.runs.read(run).info
        >>> info.classes, info.settings["recipe"]
        (['left', 'right'], 'mlp')
    """

    lipkit: str
    backend: str
    created: str
    task: str = "classification"
    classes: list
    settings: dict
    split: Split
    history: dict
    accuracy: int | float | None = None
    balanced_accuracy: int | float | None = None
    r2: int | float | None = None
    lipschitz_bound: int | float
    command: list
    seconds: int | float
    data: DataInfo

    @property
    def date(self) -> datetime:
        """When the run was made, with its time zone: UTC if none is stored."""
        found = datetime.fromisoformat(self.created)
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    @property
    def regression(self) -> bool:
        """Whether the model predicts a number, and not a class."""
        return self.task == "regression"

    @property
    def score(self) -> float:
        """The test score: the accuracy, or R2."""
        return float(getattr(self, SCORES[self.task]))

    @property
    def distances(self) -> str:
        """What the radii of the run count."""
        if self.settings.get("feature_weights") is None:
            return "in units of the data"
        return UNITS.get(str(self.settings.get("feature_weights_source")), "in weighted units")

    @classmethod
    def of(cls, document) -> "RunInfo":
        """The record in a JSON document, if all of it can be right; fields beside are ignored.

        Raises:
            ValueError: what is wrong with it.
        """
        require(isinstance(document, dict), "must hold a JSON object")
        info = _typed(cls, document, INFO)
        require(info.task in SCORES, f"has the task {info.task!r}, not one of {[*SCORES]}")
        require(getattr(info, SCORES[info.task]) is not None, f"has no {SCORES[info.task]!r}")
        for field in ("seconds", SCORES[info.task], "balanced_accuracy", "lipschitz_bound"):
            value = getattr(info, field)
            require(value is None or math.isfinite(value), f"has {field!r} {value}")
        datetime.fromisoformat(info.created)
        require(info.data.kind in KINDS, f"has the kind {info.data.kind!r}, not table or images")
        count = len(info.classes)
        if info.regression:
            require(not count, f"names {count} classes, but is a regression")
        else:
            require(count > 1, f"names {count} classes, not at least 2")
        named = all(isinstance(name, str) for name in info.classes)
        require(named, "has names of classes that are not strings")
        _check_features(info)
        for metric, values in info.history.items():
            good = isinstance(values, list) and all(
                v is None or isinstance(v, int | float) for v in values
            )
            require(good, f"has a history of {metric!r} that is not a list of numbers")
        return info


def _typed(cls, values, where) -> Any:
    """An instance of a dataclass from a JSON object, whose values have the types of the fields."""
    kinds, found = get_type_hints(cls), {}
    for field in fields(cls):
        absent = ... if field.default is MISSING else field.default
        value, kind = values.get(field.name, absent), kinds[field.name]
        good = isinstance(value, dict if is_dataclass(kind) else kind)
        good &= not isinstance(value, bool)
        require(good, f"has no valid {field.name!r} in {where}: {values.get(field.name)!r:.80}")
        found[field.name] = _typed(kind, value, field.name) if is_dataclass(kind) else value
    return cls(**found)


def _check_features(info):
    data, settings = info.data, info.settings
    encoded_format(data.encoding)  # which raises for one that there is not
    if data.kind == "table" and Path(data.path).suffix.lower() != ".npz":  # which has no columns
        columns = encoded_columns(data.encoding)
        encoded = [feature for column in columns for feature in column.features]
        require(encoded == data.features, "has columns that do not give its features")
    require("feature_weights" in settings, "has no 'feature_weights' in settings")
    if (weights := settings["feature_weights"]) is not None:
        shape = (len(data.features),) if data.kind == "table" else tuple(data.image_shape or ())
        require(isinstance(weights, list), "has 'feature_weights' that are not a list")
        checked(weights, shape, "feature_weights")

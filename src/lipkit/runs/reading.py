"""A run, read and checked: its files must be whole, and belong to each other."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lipkit._files.opened import sha256 as file_hash
from lipkit.certifier import LipschitzBound, lipschitz_bound
from lipkit.data.arrays import read_npz
from lipkit.errors import NotCertifiable
from lipkit.recipes.scaling import weighted_space, weights_of
from lipkit.runs import models
from lipkit.runs.folder import RunFolder
from lipkit.runs.schema import (
    CERTIFICATES,
    CLOSE,
    FILES,
    INFO,
    MANIFEST,
    PLAIN,
    TEST,
    TRAINED,
    RunInfo,
)
from lipkit.runs.scores import Scores
from lipkit.runs.tasks import TASKS

SAMPLE, VALUES = 128, 2**21  # test points that are looked at closely: so many, fewer if large


@dataclass(frozen=True, eq=False)
class Run:
    """What a run folder holds, and what was found when it was checked: see `read`.

    Attributes:
        directory: where the files are.
        info: the record.
        x, y: the held-out inputs (n, ...) and classes, or numbers to predict (n,).
        certificates: certificates of all these inputs; of a regression their `Intervals`.
        model: the exported model, which the certificates are of.
        bound: its proven Lipschitz bound, computed anew.
        sample: (m,) the test points that were certified anew, and are to be attacked.
        difference: the largest difference of an output of the two models on the sample.
        sha256: hash of each file, by name.

    Example:
        >>> found = lipkit.runs.read(run)
        >>> found.x.shape, found.unit, len(found.certificates)
        ((12, 2), 'row', 12)
    """

    directory: Path
    info: RunInfo
    x: np.ndarray
    y: np.ndarray
    certificates: Any
    model: keras.Model
    bound: LipschitzBound
    sample: np.ndarray
    difference: float
    sha256: dict[str, str]

    @property
    def right(self) -> np.ndarray:
        """Whether each test point is decided as its label says."""
        return self.certificates.label == self.y

    @property
    def certified(self) -> np.ndarray:
        """Whether each test point has a certificate."""
        return self.certificates.certified

    @property
    def unit(self) -> str:
        """What a test point is called."""
        return "row" if self.info.data.kind == "table" else "picture"

    @property
    def weights(self) -> np.ndarray:
        """Weights of the features in all distances: of the shape of an input, or ()."""
        weights = weights_of(self.info.settings)
        return np.ones(()) if weights is None else weights

    @property
    def distances(self) -> str:
        """What radii count."""
        return self.info.distances

    @property
    def weighted(self) -> bool:
        """Whether there are such weights."""
        return self.weights.ndim > 0

    @cached_property
    def space(self) -> tuple[keras.Model, np.ndarray, Any]:
        """Model, inputs and certificates where distances are Euclidean, to search in."""
        if not self.weighted:
            return self.model, self.x, self.certificates
        model, z = weighted_space(self.model, self.x, self.weights)
        settings = {**self.info.settings, "feature_weights": None}
        return model, z, TASKS[self.info.task].proven(model, z, self.y, settings, progress=False)

    @cached_property
    def scores(self) -> Scores | None:
        """The scores of runs with other seeds, if there are any."""
        return Scores.load(self.directory)

    @property
    def date(self) -> str:
        """When the run was made."""
        return f"{self.info.date:%Y-%m-%d %H:%M %Z}"


def read(directory) -> Run:
    """Read a run folder and check it, cheap checks first.

    The Lipschitz bound is proven anew, up to 128 test points are certified anew, and the exported
    model is compared with the trained one on them.

    Args:
        directory: folder that `lipkit train ... --out DIR`, or `lipkit.runs.train`, wrote.

    Returns:
        The `Run`.

    Raises:
        ValueError: a file is missing, cannot be read, or does not belong to the others.

    Example:
        >>> bool(lipkit.runs.read(run).bound < 1)
        True
    """
    files = RunFolder.open(directory)
    info = files.info
    x, y = _test(files, info)
    task = TASKS[info.task]
    certificates = files.load(CERTIFICATES, task.load)
    task.check(files, info, y, certificates)
    model = _model(files, PLAIN, info, x)
    trained = _model(files, TRAINED, info, x)
    bound = _bound(files, model, info)
    count = max(8, min(SAMPLE, VALUES // x[0].size))
    sample = np.sort(np.random.default_rng(0).permutation(len(x))[:count])
    task.check_again(files, model, x[sample], certificates, sample, info.settings)
    difference = _difference(files, model, trained, x[sample])
    sha256 = files.hashes or {name: file_hash([files.directory / name]) for name in FILES}
    if files.sha256 is not None:
        sha256 = {**sha256, MANIFEST: files.sha256}
    return Run(files.directory, info, x, y, certificates, model, bound, sample, difference, sha256)


def _arrays(path):
    arrays = read_npz(path)
    return arrays["x"], arrays["y"]


def _test(files: RunFolder, info):
    name, data = TEST, info.data
    x, y = files.load(name, _arrays)
    n = info.split.test
    good = x.ndim > 1 and x.dtype.kind == "f" and len(x) == n > 0 and np.isfinite(x).all()
    files.check(name, good, f"must hold {n} finite inputs x. Received: {x.dtype} {x.shape}")
    TASKS[info.task].check_truth(files, info, y)
    if data.kind == "table":
        good = x.shape == (n, len(data.features))
        files.check(name, good, f"has x of shape {x.shape}, for which {INFO} has no names")
    else:
        good = x.ndim in (3, 4) and list(x.shape[1:]) == (data.image_shape or [])
        files.check(name, good, f"has pictures {x.shape[1:]}, not {data.image_shape}")
    return x, y


def _model(files: RunFolder, name, info, x):
    model = files.load(name, models.read)
    shapes = [tuple(t.shape) for t in (*(model.inputs or ()), *(model.outputs or ()))]
    outputs = TASKS[info.task].outputs(info)
    good = (
        len(shapes) == 2
        and shapes[0][1:] == x.shape[1:]
        and shapes[1][1:] in {(n,) for n in outputs}
    )
    files.check(name, good, f"has inputs and outputs {shapes}, not those of {TEST} and {INFO}")
    return model


def _bound(files: RunFolder, model, info):
    name = PLAIN
    try:
        bound = lipschitz_bound(model)
    except NotCertifiable as error:
        files.fail(name, f"has no proven bound ({error})")
    good = math.isclose(bound, info.lipschitz_bound, rel_tol=CLOSE)
    files.check(name, good, f"has the bound {bound:.9g}, {INFO} {info.lipschitz_bound:.9g}")
    return bound


def _difference(files: RunFolder, model, trained, x):
    first, second = (np.asarray(m.predict(x, verbose=0), "float64") for m in (model, trained))
    difference = float(np.abs(first - second).max())
    good = difference <= CLOSE * max(1.0, float(np.abs(first).max()))
    files.check(TRAINED, good, f"differs from {PLAIN} by {difference:.3g} in an output")
    return difference

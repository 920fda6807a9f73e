"""Models from files and run folders, with what a run says of the data."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from lipkit._files.atomic import existing, sweep
from lipkit._files.opened import regular, sha256
from lipkit.certifier.reader.onnx import import_onnx
from lipkit.recipes.scaling import weights_of
from lipkit.runs import models
from lipkit.runs.folder import RunFolder
from lipkit.runs.schema import INFO, PLAIN, RunInfo


@dataclass(frozen=True)
class Loaded:
    """A model from a file, and what its run says of the data.

    Attributes:
        model: Keras model, or the path of an ONNX file.
        info: the record of its run; None for a model without a run.
        folder: the run that the model belongs to; None for a model in a file.
        files: those that the model was read from, if it is not that of a folder.
        loaded: hash of them, when they were read.

    Example:
        >>> loaded = lipkit.runs.load(run)
        >>> loaded.model.input_shape, loaded.info.classes
        ((None, 2), ['left', 'right'])
    """

    model: keras.Model | Path
    info: RunInfo | None = None
    folder: RunFolder | None = None
    files: tuple[Path, ...] = ()
    loaded: str | None = None

    @property
    def sha256(self) -> str | None:
        """Hash of the file, or of the manifest of the run; None for a run that has none.

        Raises:
            ValueError: it is not the file any more that was loaded.
        """
        if self.folder is not None or not self.files:
            return self.folder and self.folder.sha256
        if _hash(self.files) != self.loaded:
            raise ValueError(f"{self.files[0]} changed while it was read.")
        return self.loaded

    @property
    def regression(self) -> bool:
        """Whether its run says that the model predicts numbers."""
        return self.info is not None and self.info.regression

    @property
    def weights(self) -> np.ndarray | None:
        """Weights of the features in the distances that the run is about."""
        return weights_of(self.info.settings if self.info else {})


def load(path, run=None) -> Loaded:
    """The model in a file, or the exported one in a run folder.

    Args:
        path: a run folder, or a .keras, .h5 or .onnx file.
        run: folder of the run that says how data for a model in a file are read; None for `path`.

    Returns:
        `Loaded`: the model, and what its run says of the data.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: the file or the run is damaged, or is not a model.
        NotCertifiable: the model has a layer of an unknown class.

    Example:
        >>> lipkit.lipschitz_bound(lipkit.runs.load(run).model) < 1
        True
    """
    path, run = Path(path), None if run is None else Path(run)
    sweep(path.absolute().parent)
    existing(path)
    about = RunFolder.open(run or path, (INFO,)) if run or path.is_dir() else None
    info = about.info if about else None
    if path.is_dir():
        folder = about if about and about.directory == path else RunFolder.open(path)
        return Loaded(folder.load(PLAIN, models.read), info, folder)
    files = (regular(path),)
    if path.suffix == ".onnx":
        files += _beside(path)
    elif path.suffix not in (".keras", ".h5"):
        raise ValueError(
            f"{path} is not a model: expected the folder of a run, a .keras or an .onnx file."
        )
    digest = _hash(files)
    return Loaded(path if path.suffix == ".onnx" else models.read(path), info, None, files, digest)


def _hash(files):
    return sha256(files, files[0].parent if len(files) > 1 else None)


def _beside(path):
    """The files of weights that an ONNX file refers to."""
    onnx = import_onnx()
    try:
        tensors = onnx.load(path, load_external_data=False).graph.initializer
    except Exception:  # of protobuf; the reader of the file will say it
        return ()
    places = {e.value for t in tensors for e in t.external_data if e.key == "location"}
    return tuple(found for name in sorted(places) if (found := path.parent / name).is_file())

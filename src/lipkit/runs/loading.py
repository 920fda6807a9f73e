"""Models from files and run folders, with what a run says of the data."""

from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from lipkit._files.atomic import sweep
from lipkit._files.opened import regular, sha256
from lipkit.certifier.reader.onnx import import_onnx
from lipkit.recipes.scaling import weights_of
from lipkit.runs import models
from lipkit.runs.folder import RunFolder, check_info


@dataclass(frozen=True)
class Loaded:
    """A model from a file, and what its run says of the data.

    Attributes:
        model: Keras model, or the path of an ONNX file.
        run: contents of run.json; {} for a model without a run.
        folder: the run that the model is of; None for a model in a file.
    """

    model: keras.Model | Path
    run: dict = field(default_factory=dict)
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
    def weights(self) -> np.ndarray | None:
        """Weights of the features in the distances that the run is about."""
        return weights_of(self.run.get("settings", {}))


def load(path: Path, run: Path | None = None) -> Loaded:
    """The model in a file, or the plain one in the folder of a run.

    Args:
        path: the file or folder.
        run: folder of the run that says how data for a model in a file are read.

    Raises:
        ValueError: what is wrong with the file.
        NotCertifiable: the model has a layer of a class that is not known.
    """
    sweep(path.absolute().parent)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    about = RunFolder.open(run or path, ("run.json",)) if run or path.is_dir() else None
    info = check_info(about) if about else {}
    if path.is_dir():
        folder = about if about and about.directory == path else RunFolder.open(path)
        return Loaded(folder.load("model.keras", models.read), info, folder)
    files = (regular(path),)
    if path.suffix == ".onnx":
        files += _beside(path)
    elif path.suffix not in (".keras", ".h5"):
        raise ValueError(
            f"{path} is no model: expected the folder of a run, a .keras or an .onnx file."
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

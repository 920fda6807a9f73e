"""Run folders, and models from files."""

import json
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from lipkit.errors import NotCertifiable
from lipkit.recipes.scaling import weights_of
from lipkit.report import folder

FILES = (*folder.FILES, "report.html")


@dataclass(frozen=True)
class Loaded:
    """A model from a file, and what its run says of the data.

    Attributes:
        model: Keras model, or the path of an ONNX file.
        run: contents of run.json; {} for a model without a run.
    """

    model: keras.Model | Path
    run: dict = field(default_factory=dict)

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
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    about = folder.read_info(run or path) if run or path.is_dir() else {}
    if path.is_dir():
        return Loaded(_keras(path / "model.keras"), about)
    if path.suffix == ".onnx":
        return Loaded(path, about)
    if path.suffix in (".keras", ".h5"):
        return Loaded(_keras(path), about)
    raise ValueError(
        f"{path} is no model: expected the folder of a run, a .keras or an .onnx file."
    )


def _keras(path):
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras and HDF5 raise every kind for a damaged file
        if layer := _unknown_layer(path, str(error)):
            raise NotCertifiable(
                f"{layer} of {path} cannot be loaded, so nothing is proven about it: Keras's own "
                "layers and lipkit's can. In Python, lipkit.certify.register_rule adds a rule."
            ) from None
        reason = str(error).rpartition("Exception encountered: ")[2][:200]
        raise ValueError(f"{path} is not a readable Keras model: {reason}") from None


def _unknown_layer(path, message):
    """The first layer that cannot be made from the file's configuration, or None."""
    if not zipfile.is_zipfile(path):  # HDF5, whose layers have a format of their own
        found = re.search("Unknown layer: '(.*?)'", message)
        return found and f"layer {found[1]!r}"
    try:
        with zipfile.ZipFile(path) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return None
    for layer in layers:
        try:
            keras.saving.deserialize_keras_object(layer)
        except (TypeError, ValueError):
            return f"layer {layer['config'].get('name', '')!r} ({layer['class_name']})"
    return None

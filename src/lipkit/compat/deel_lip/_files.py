"""deel-lip's saved models, as models of Keras 3."""

import io
import json
import re
import zipfile
from collections import Counter
from pathlib import Path

import h5py
import keras

from lipkit._files.opened import regular
from lipkit.compat.deel_lip._translation import MODELS, STORED, Translation, class_of, is_model
from lipkit.export import vanilla_model

AGAIN = (
    "In the environment that wrote it, load it, and save `model.vanilla_export()` as .keras or .h5."
)
BY_HAND = (
    "Where it was written, save the kernels that the layers use as NumPy arrays; here, build the "
    "same model and give them to its layers by `set_weights`."
)


def load_model(path, lipschitz=False, custom_objects=None):
    """Load a model that deel-lip 1.x saved with Keras 2, as `.keras` or `.h5`.

    The result computes the function that the file's model computes at inference: the kernels are
    the stored `wbar`, those of the last training step before saving. It is not compiled.
    `lipkit.lipschitz_bound` of it is a proven constant, for stride-1 convolutions of deel-lip
    above the nominal one.

    deel-lip's own model may differ from what it saved, in two layers of a `lip.Sequential`: a
    `GroupSort` built before the model set its constant went on without it, and loading gives
    `ScaledGlobalAveragePooling2D` another factor. Here the constant is the file's, and the factor
    sound.

    Args:
        path: the file.
        lipschitz: False: plain Keras layers, whose kernels nothing constrains in further training.
            True: lipkit's layers, their free kernels set to `wbar`, to train on. Orthogonal
            kernels stay what they are; convolutions shrink to lipkit's sound factor.
        custom_objects: classes for layers of the file that are not known here, by class name. They
            get the stored configuration and weights.

    Returns:
        A Keras model, not compiled.

    Raises:
        ValueError: the file, or a layer in it, cannot be read exactly.
    """
    custom_objects = custom_objects or {}
    entry, arrays = _read(Path(path))
    with keras.saving.custom_object_scope(custom_objects):
        model = Translation(lipschitz, custom_objects).model(entry)
        for names, folder, layer in _leaves(entry):
            found = model
            for name in names:
                found = found.get_layer(name)
            _fill(found, class_of(layer), arrays(names, folder))
        return model if lipschitz else vanilla_model(model)


def _refuse(path, reason, way_out=AGAIN):
    return ValueError(f"`path` cannot be loaded: {reason}. {way_out} Received: path={str(path)!r}")


def _read(path):
    """The configuration of the model, and a function of a layer's place that gives its arrays."""
    if path.is_dir():
        raise _refuse(path, "a SavedModel folder holds a TensorFlow graph, not layers")
    if path.exists():
        regular(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            metadata, entry = (
                json.loads(archive.read(f"{n}.json")) for n in ("metadata", "config")
            )
            weights = io.BytesIO(archive.read("model.weights.h5"))
        version = metadata.get("keras_version", "")
        read = _read_folder
    elif h5py.is_hdf5(path):
        weights = path
        with h5py.File(path) as file:
            if "model_config" not in file.attrs:
                raise _refuse(path, "it holds weights only")
            entry = json.loads(file.attrs["model_config"])
            version = str(file.attrs.get("keras_version", ""))
        read = _read_names
    else:
        raise _refuse(path, "it is neither a .keras nor an .h5 file")
    if not version.startswith("2."):
        raise _refuse(path, f"it was written by Keras {version or '(no version)'}, not 2", BY_HAND)
    if class_of(entry) not in MODELS or "layers" not in entry["config"]:
        raise _refuse(path, f"{class_of(entry)} is a class of its own, not a graph of layers")

    def arrays(names, folder):
        with h5py.File(weights) as file:
            try:
                return read(file, names, folder)
            except KeyError:
                raise _refuse(path, f"the weights of layer {names[-1]!r} are not there") from None

    return entry, arrays


def _read_folder(file, names, folder):
    group = file[f"{folder}/vars"]
    return [group[str(i)][()] for i in range(len(group))]


def _read_names(file, names, folder):
    group = file["model_weights"][names[0]]  # holds the weights of a nested model in one list
    return [
        group[name][()] for name in group.attrs["weight_names"] if name.split("/")[-2] == names[-1]
    ]


def _leaves(entry, folder=""):
    """(names from the outermost model on, folder in a .keras file, entry) of all layers."""
    used = Counter()
    for layer in entry["config"]["layers"]:
        name = layer["config"]["name"]
        snake = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", class_of(layer))
        snake = re.sub("([a-z])([A-Z])", r"\1_\2", snake).lower()
        inner = f"{folder}layers/{snake}" + (f"_{used[snake]}" if used[snake] else "")
        used[snake] += 1
        if is_model(layer):
            for names, below, leaf in _leaves(layer, f"{inner}/"):
                yield (name, *names), below, leaf
        elif class_of(layer) != "InputLayer":
            yield (name,), inner, layer


def _fill(layer, deel_lip_class, arrays):
    if deel_lip_class in STORED:
        *first, wbar = arrays
        arrays = [wbar, first[1]] if layer.use_bias else [wbar]
    layer.set_weights(arrays)

"""Keras models from files: layers that are known, and no more memory than the file has numbers."""

import io
import math
import zipfile
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import h5py
import keras
import numpy as np

from lipkit._files.limits import TooLarge, check_bytes
from lipkit._files.opened import parse_json, regular
from lipkit.errors import NotCertifiable

SPARE = 2**20  # bytes that a model may have beside twice those of its file


def read(path) -> keras.Model:
    """The model in a .keras or .h5 file.

    Raises:
        OSError: there is no such file.
        NotCertifiable: a layer is of a class that is not known, or may not be loaded.
        ValueError: the file is damaged, or asks for more memory than is allowed.
    """
    path, layers, most, unknown = regular(path), [], SPARE, None
    try:
        config, stored = _contents(path)
        layers = config["config"]["layers"] if isinstance(config.get("config"), dict) else []
        with _no_larger(path, most := 2 * stored + SPARE):
            return keras.models.load_model(path, compile=False)
    except TooLarge:
        raise
    except Exception as error:  # Keras and HDF5 raise every kind for a damaged file
        with suppress(Exception), _no_larger(path, most):  # of a damaged configuration
            unknown = _unknown(layers)
        if unknown:
            raise NotCertifiable(
                f"{unknown} of {path} cannot be loaded, so nothing is proven about it: Keras's own "
                "layers and lipkit's can. In Python, lipkit.certifier.register_rule adds a rule."
            ) from None
        reason = str(error).rpartition("Exception encountered: ")[2][:200]
        raise ValueError(f"{path} is not a readable Keras model: {reason}") from None


def _contents(path):
    """The configuration in a file, and the number of bytes of its weights."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            check_bytes(path, sum(member.file_size for member in archive.infolist()), "its parts")
            config = parse_json(archive.read("config.json"))
            stored = 0
            for name in archive.namelist():
                if name.endswith(".h5"):
                    with h5py.File(io.BytesIO(archive.read(name))) as file:
                        stored += _bytes(path, file)
            return config, stored
    if not h5py.is_hdf5(path):
        raise ValueError("it is neither a zip archive nor HDF5, or is cut off")
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise ValueError("it has weights, but no model")
        config: Any = file.attrs["model_config"]
        text = config.encode() if isinstance(config, str) else config
        return parse_json(text), _bytes(path, file)


def _bytes(path, file) -> int:
    """Bytes of all arrays in an HDF5 file, which may be compressed, and in no other file."""
    found = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(f"its array {name!r} is in another file")
            found.append(math.prod(item.shape) * item.dtype.itemsize)

    file.visititems(visit)
    check_bytes(path, sum(found), "its weights")
    return sum(found)


@contextmanager
def _no_larger(path, most):
    """Refuse layers that ask for more bytes than these, before they are taken."""
    add_weight, taken = keras.layers.Layer.add_weight, 0

    def counted(layer, shape: Any = None, initializer=None, dtype=None, **kwargs):
        nonlocal taken
        format = keras.backend.standardize_dtype(dtype or layer.variable_dtype)
        size = 2 if format == "bfloat16" else np.dtype(format).itemsize
        taken += math.prod(shape or ()) * size
        if taken > most:
            raise TooLarge(
                f"{path}: layer {layer.name!r} asks for more numbers than the file holds: "
                f"{tuple(shape)}"
            )
        return add_weight(layer, shape, initializer, dtype, **kwargs)

    with mock.patch.object(keras.layers.Layer, "add_weight", counted):
        yield


def _unknown(layers):
    """The first layer that cannot be made from its configuration, or None."""
    for layer in layers:
        config, kind = layer["config"], layer["class_name"]
        try:
            if "module" in layer:
                keras.layers.deserialize(layer)
            elif inner := config.get("layers"):  # from here on HDF5, where names stand alone
                if found := _unknown(inner):
                    return found
            elif kind == "Lambda" or not (
                hasattr(keras.layers, kind) or keras.saving.get_registered_object(kind)
            ):
                raise ValueError(kind)
        except (TypeError, ValueError):
            return f"layer {config.get('name', '')!r} ({kind})"
    return None

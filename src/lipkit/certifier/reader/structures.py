"""Inputs in the structure that a model is called with: lists, tuples, dictionaries, nested."""

import keras
import numpy as np

from lipkit._keras.graphs import inputs_outputs
from lipkit.certifier.reader.constants import is_tensor
from lipkit.certifier.reader.onnx import OnnxFile


def in_order(model, x):
    """`x` as one batch, or as a list of batches in the order of the inputs."""
    if not isinstance(model, OnnxFile):
        return batches(model, x) if getattr(model, "inputs", None) else x
    if not isinstance(x, dict):
        return x
    names = [value.name for value in model.inputs]
    if missing := [name for name in names if name not in x]:
        raise ValueError(f"`x` has no batch for the inputs {missing} of {model.name!r}.")
    return [x[name] for name in names] if len(names) > 1 else x[names[0]]


def open_shape(model, x):
    """The shape of x where the model leaves sizes open."""
    tensors = getattr(model, "inputs", None) or []
    shapes = model.shapes if isinstance(model, OnnxFile) else [t.shape[1:] for t in tensors]
    if not any(n is None for shape in shapes for n in shape):
        return None
    given = x if len(shapes) > 1 else [x]
    return [tuple(np.shape(value))[1:] for value in given]


def batches(model, given):
    """What a Keras model is given, as one batch, or a list in the order of `model.inputs`.

    Structures are matched as Keras does; a list in that order is taken whatever the structure.

    Raises:
        ValueError: if a dictionary does not fit the model's inputs.
    """
    structure = inputs_outputs(model)[0]
    tensors = keras.tree.flatten(structure)
    single = len(tensors) == 1
    if isinstance(given, dict) and not isinstance(structure, dict):
        structure = {tensor.name: tensor for tensor in tensors}
    listed = single and isinstance(given, (list, tuple))
    if listed and np.ndim(given[0] if len(given) else 0) < len(tensors[0].shape):
        return given  # numbers in lists are one batch
    found: dict = {}
    if _match(structure, given, found):
        arrays = [found[id(tensor)] for tensor in tensors]
        return arrays[0] if single else arrays
    if not isinstance(given, dict):
        return given
    received = f"Received: a dict with the keys {sorted(map(str, given))}"
    if single:
        names = list(structure) if isinstance(structure, dict) else [tensors[0].name]
        raise ValueError(
            f"Model {model.name!r} has one input: pass an array, or a dict with the keys {names}. "
            f"{received}"
        )
    raise ValueError(
        f"Inputs of model {model.name!r} must have the structure "
        f"{keras.tree.map_structure(lambda tensor: tensor.name, structure)!r}. {received}"
    )


def _match(structure, given, found):
    """Find what is given for each tensor of a structure; whether there is one for each."""
    if is_tensor(structure):
        found[id(structure)] = given
        return True
    if isinstance(structure, dict):
        fits = isinstance(given, dict) and structure.keys() <= given.keys()
        return fits and all(_match(structure[k], given[k], found) for k in structure)
    fits = isinstance(given, (list, tuple)) and len(given) == len(structure)
    return fits and all(map(_match, structure, given, [found] * len(structure)))

"""Inputs in the structure that a model is called with: lists, tuples, dictionaries, nested."""

import keras
import numpy as np

from lipkit.certify.reader.constants import is_tensor
from lipkit.export.vanilla import inputs_outputs


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
    raise ValueError(
        f"Inputs of model {model.name!r} must have the structure "
        f"{keras.tree.map_structure(lambda tensor: tensor.name, structure)!r}. "
        f"Received: a dict with the keys {sorted(map(str, given))}"
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

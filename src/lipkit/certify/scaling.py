"""`finalize`: a plain model whose proven bound is at most a given number."""

import math

import keras
import numpy as np
from keras import ops

from lipkit.certify.api import lipschitz_bound
from lipkit.certify.certificate import refuse_sigmoid
from lipkit.certify.norms import up
from lipkit.certify.reader import read
from lipkit.errors import NotCertifiable
from lipkit.export import vanilla_model


def finalize(model, k: float = 1.0):
    """A plain Keras model of the same decisions whose proven bound is at most `k`.

    Where the bound of the export is above k, its logits are scaled down by just that factor: in the
    last layer's weights if that is a linear one, otherwise by a `Rescaling` layer at the end.

    Args:
        model: built Sequential or Functional model with one output, not from a sigmoid.
        k: bound asked for.

    Returns:
        A new plain `keras.Model`; `model` is unchanged.
    """
    if isinstance(k, bool) or not isinstance(k, (int, float)) or not 0 < k < math.inf:
        raise ValueError(f"`k` must be a positive finite number. Received: k={k!r}")
    plain, factor = vanilla_model(model), 1.0
    bound = lipschitz_bound(plain)
    for attempt in range(8):
        if bound <= k:
            return plain
        # float32 weights round by up to 6e-8, so the factor may have to be a little smaller
        factor *= k / up(float(bound)) * (1 - 2.0 ** (attempt - 26))
        plain = _scaled(vanilla_model(model), factor)
        bound = lipschitz_bound(plain)
    raise NotCertifiable(f"Model {model.name!r} could not be scaled to a bound of {k}: {bound:.9g}")


def _scaled(model, factor):
    """The model with its outputs times `factor`."""
    refuse_sigmoid(read(model).graph, model.name)
    last = model.outputs[0]._keras_history.operation
    if (
        len(model.outputs) == 1
        and type(last) is keras.layers.Dense
        and last.activation is keras.activations.linear
        and len(last._inbound_nodes) == 1  # not shared
    ):
        for weight in last.weights:
            weight.assign(ops.convert_to_numpy(weight) * np.asarray(factor, weight.dtype))
        return model
    outputs = [keras.layers.Rescaling(factor)(output) for output in model.outputs]
    return keras.Model(model.inputs, outputs, name=model.name)

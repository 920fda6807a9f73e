"""`finalize`: a model scaled down until its bound is proven."""

import keras
import numpy as np
from keras import ops

from lipkit._checks import real
from lipkit._keras.graphs import inputs_outputs
from lipkit.certifier.api import lipschitz_bound
from lipkit.certifier.certificate import refuse_sigmoid
from lipkit.certifier.norms import up
from lipkit.certifier.reader import read
from lipkit.errors import NotCertifiable
from lipkit.export import vanilla_model

VANISHING = 2.0**-100  # of such weights float32 loses less to underflow than to rounding


def finalize(model: keras.Model, k: float = 1.0) -> keras.Model:
    """A plain Keras model of the same decisions whose proven bound is at most `k`.

    Where the bound on the export is above k, its logits are scaled down by just that factor: in the
    last layer's weights if that is a linear one, otherwise by a `Rescaling` layer at the end.

    Args:
        model: built Sequential or Functional model whose outputs are not from a sigmoid.
        k: required bound, > 0.

    Returns:
        A new plain `keras.Model`; `model` is unchanged.

    Raises:
        NotCertifiable: the model has a layer without a rule, ends with a sigmoid, or is so far
            above k that the scaled weights would vanish.

    Example:
    >>> bool(lipkit.lipschitz_bound(lipkit.finalize(model, 0.5)) <= 0.5)
    True
    """
    k, factor, plain = real("k", k, "(0, inf)"), 1.0, vanilla_model(model)
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
    linear = (
        len(model.outputs) == 1
        and type(last) is keras.layers.Dense
        and last.activation is keras.activations.linear
        and len(last._inbound_nodes) == 1  # not shared
    )
    largest = np.abs(ops.convert_to_numpy(last.kernel)).max() if linear else 1.0
    if largest * factor < VANISHING:
        raise NotCertifiable(
            f"Model {model.name!r} cannot be scaled by {factor:.3g}: its weights would vanish. If "
            "training diverged, restore an earlier checkpoint."
        )
    if linear:
        for weight in last.weights:
            weight.assign(ops.convert_to_numpy(weight) * np.asarray(factor, weight.dtype))
        return model
    inputs, outputs = inputs_outputs(model)
    factor = float(np.float32(factor))  # as some backends round it, in float64 too
    scaled = keras.tree.map_structure(
        lambda y: keras.layers.Rescaling(factor, dtype=y.dtype)(y), outputs
    )
    return keras.Model(inputs, scaled, name=model.name)

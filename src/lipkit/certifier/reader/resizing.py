"""Rules of what resizes images: interpolation as a matrix along each axis."""

import inspect

import keras
import numpy as np
from keras import layers as kl

from lipkit.certifier import graph as g
from lipkit.certifier.reader.layers import sample_axis
from lipkit.certifier.reader.refusals import refusal
from lipkit.certifier.reader.registry import register_rule


def interpolates(operation):
    """Whether weights are computed in the program's arithmetic, so that they are not exact."""
    return getattr(operation, "interpolation", "nearest") != "nearest"


def _matrix(size, count, interpolation, antialias):
    """(count, size): pixels are centred at halves; weights of a row add up to 1."""
    scale = size / count
    centres = (np.arange(count)[:, None] + 0.5) * scale
    if interpolation == "nearest":
        return np.eye(size)[np.floor(centres[:, 0]).astype(int)]
    reach = max(1.0, scale) if antialias else 1.0
    weights = np.maximum(0, 1 - np.abs(np.arange(size) + 0.5 - centres) / reach)
    return weights / weights.sum(axis=1, keepdims=True)


def resized(operation, shape, counts):
    """The operation of images (height, width, channels), or with channels first, to other sizes."""
    kind = operation.interpolation
    changed = [n for n in ("crop_to_aspect_ratio", "pad_to_aspect_ratio") if _has(operation, n)]
    if kind not in ("nearest", "bilinear") or changed or len(shape) != 3:
        raise refusal(
            operation,
            f"images of rank 3 are resized by interpolation='nearest' or 'bilinear', and neither "
            f"cropped nor padded. Received: interpolation={kind!r}, "
            f"{', '.join(f'{name}=True' for name in changed) or f'samples of shape {shape}'}",
        )
    first = getattr(operation, "data_format", "channels_last") == "channels_first"
    axes = [sample_axis(operation, axis, shape) for axis in ((-2, -1) if first else (-3, -2))]
    antialias = _has(operation, "antialias")
    pairs = zip(axes, counts, strict=True)
    return g.AxisMaps(tuple((i, _matrix(shape[i], m, kind, antialias)) for i, m in pairs))


def _has(operation, name):
    return bool(getattr(operation, name, False))


@register_rule(kl.Resizing)
def _resizing(layer, shape):
    return resized(layer, shape, (layer.height, layer.width))


def check_training(model):
    """Refuse a `Resizing` that puts other layers in training mode.

    The default of its `call` is `training=True`, which Keras hands to all layers that follow and do
    not say themselves, unless the model is called with `training=False`. Inside of models and
    wrappers it hands it to those too that have a default.
    """
    inner = [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]
    outer = {id(layer) for layer in model.layers}
    trained = [x.name for x in inner if _takes_the_mode(x, inside=id(x) not in outer)]
    for layer in inner:
        calls = [node.arguments.kwargs for node in layer._inbound_nodes]
        if trained and isinstance(layer, kl.Resizing) and any(c.get("training") for c in calls):
            raise refusal(
                layer,
                f"it puts {trained[0]!r} in training mode where the model is called without "
                "`training`. Call it with training=False in a functional model.",
            )


# they take `training` and compute the same with it, but for quantised weights, which are refused;
# the wrapper hands it to a layer inside
_SAME_IN_TRAINING = (kl.Dense.call, kl.EinsumDense.call, kl.TimeDistributed.call)


def _takes_the_mode(layer, inside):
    """Whether the layer computes something else where what is called before it trains."""
    same = type(layer).call in _SAME_IN_TRAINING or isinstance(layer, kl.Resizing)
    if same or not getattr(layer, "differs_in_training", True):
        return False
    training = inspect.signature(layer.call).parameters.get("training")
    return training is not None and (inside or training.default is None)


def _resize(op, arguments, shapes):
    return resized(op, shapes[0], op.size)


RULES = {"Resize": _resize}

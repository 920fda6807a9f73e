"""Rules of the layers without windows: dense, activations, merges, shapes, normalisation."""

from typing import Any

import keras
import numpy as np
from keras import layers as kl
from keras import ops

from lipkit import layers as ll
from lipkit.certifier import graph as g
from lipkit.certifier.reader.refusals import refusal
from lipkit.certifier.reader.registry import (
    activation_ops,
    array,
    as_wrapped,
    register_rule,
)


@register_rule(
    *(kl.Dropout, kl.SpatialDropout1D, kl.SpatialDropout2D, kl.SpatialDropout3D, kl.AlphaDropout),
    *(kl.GaussianDropout, kl.GaussianNoise, kl.ActivityRegularization, kl.Identity, kl.InputLayer),
)
def _identity(layer, shape):
    return []


def refuse_quantized(layer):
    """Refuse layers whose `kernel` is not what `call` uses."""
    if getattr(layer, "quantization_mode", None):
        raise refusal(
            layer, f"it is quantized ({layer.quantization_mode}). Certify one with float kernels."
        )


@register_rule(kl.Dense)
def _dense(layer, shape):
    refuse_quantized(layer)
    op = g.Dense(array(layer.kernel), array(layer.bias))
    return [op, *activation_ops(layer, (*shape[:-1], layer.units))]


@register_rule(kl.EinsumDense)
def _einsum(layer, shape):
    refuse_quantized(layer)
    op = contraction(layer, layer.equation, array(layer.kernel), array(layer.bias))
    return [op, *activation_ops(layer, tuple(layer.compute_output_shape((1, *shape)))[1:])]


def contraction(operation, equation, kernel, bias=None):
    """An `Einsum` of samples with a kernel, from an equation with the batch axis."""
    left, output = equation.replace(" ", "").split("->")
    inputs, letters = left.split(",")
    batch = inputs[:1]
    prefix = "..." if batch == "." else batch
    one_batch = output.startswith(prefix) and batch not in letters
    inputs, output = inputs.removeprefix(prefix), output.removeprefix(prefix)
    new = [letter for letter in letters if letter not in inputs]
    kept = [letter for letter in inputs if letter not in letters]
    shared = [letter for letter in letters if letter in inputs and letter in output]
    repeated = any(len(set(part)) < len(part) for part in (inputs, letters, output))
    fits = sorted(output) == sorted(new + kept) and "." not in inputs + output
    if shared or repeated or not fits or not one_batch:
        raise refusal(
            operation, f"its equation {equation!r} is not one matrix applied to some axes."
        )
    return g.Einsum(f"{inputs},{letters}->{output}", kernel, bias)


@register_rule(kl.Activation)
def _activation(layer, shape):
    return activation_ops(layer, shape)


@register_rule(kl.ReLU)
def _relu(layer, shape):
    if layer.threshold:
        raise refusal(layer, f"it jumps at its threshold {layer.threshold}. Use threshold=0.")
    if not layer.negative_slope and layer.max_value is None:
        return g.Elementwise("relu")
    top = np.inf if layer.max_value is None else float(layer.max_value)
    return g.Elementwise("relu", (float(layer.negative_slope), top))


@register_rule(kl.LeakyReLU)
def _leaky_relu(layer, shape):
    return g.Elementwise("relu", (float(layer.negative_slope),))


@register_rule(kl.PReLU)
def _prelu(layer, shape):
    return g.Elementwise("relu", (array(layer.alpha),))


@register_rule(kl.ELU)
def _elu(layer, shape):
    return g.Elementwise("elu", (float(layer.alpha),))


@register_rule(kl.Softmax)
def _softmax(layer, shape):
    return g.Softmax(sample_axis(layer, layer.axis, shape))


def sample_axis(layer, axis, shape):
    """An axis counted with the batch axis, as one of the sample's."""
    if isinstance(axis, (list, tuple)) and len(axis) == 1:
        (axis,) = axis
    if isinstance(axis, int):
        place = axis - 1 if axis >= 0 else len(shape) + axis
        if 0 <= place < len(shape):
            return place
    raise refusal(
        layer,
        f"it must work along one axis other than the batch's. Received: axis={axis!r} for samples "
        f"of shape {shape}",
    )


@register_rule(ll.MaxMin)
def _max_min(layer, shape):
    axis = len(shape) - 1 if layer.data_format == "channels_last" else 0
    return [g.ConcatReLU(axis), *_scale(layer)]


@register_rule(ll.GroupSort, ll.GroupSort2, ll.FullSort)
def _group_sort(layer, shape):
    n = layer.group_size(shape[-1])
    groups = (*shape[:-1], shape[-1] // n, n)
    return [g.Reshape(groups), g.Sort(), g.Reshape(tuple(shape)), *_scale(layer)]


register_rule(kl.TimeDistributed, kl.SpectralNormalization)(as_wrapped)


def diagonal(scale, shift: Any = 0.0, magnitude=None):
    """A `Diagonal` of float64 arrays."""
    scale, shift = np.asarray(scale, dtype="float64"), np.asarray(shift, dtype="float64")
    return g.Diagonal(scale, shift, np.abs(shift) if magnitude is None else magnitude)


def _scale(layer):
    return [] if layer.k_coef_lip == 1.0 else [diagonal(layer.k_coef_lip)]


@register_rule(kl.Flatten)
def _flatten(layer, shape):
    ops = [g.Reshape((int(np.prod(shape)),))]
    if layer.data_format == "channels_first" and len(shape) > 1:
        return [g.Permute((*range(1, len(shape)), 0)), *ops]
    return ops


@register_rule(kl.Reshape)
def _reshape(layer, shape):
    return g.Reshape(tuple(layer.compute_output_shape((1, *shape)))[1:])


@register_rule(kl.Permute)
def _permute(layer, shape):
    return g.Permute(tuple(axis - 1 for axis in layer.dims))


@register_rule(kl.RepeatVector)
def _repeat_vector(layer, shape):
    return [g.Reshape((1, *shape)), g.AxisMaps(((0, np.ones((layer.n, 1))),))]


@register_rule(kl.Rescaling)
def _rescaling(layer, shape):
    if layer.scale is None or isinstance(layer.scale, dict):
        raise refusal(
            layer, f"`scale` must be a number or an array. Received: scale={layer.scale!r}"
        )
    numbers = (ops.cast(number, layer.compute_dtype) for number in (layer.scale, layer.offset))
    return diagonal(*map(array, numbers))  # as the backend casts them: TensorFlow to float32 first


def standardize(mean, variance, gamma, beta, epsilon):
    """Gamma (x - mean) / root + beta; the exact factor differs by at most 8 roundings."""
    root = np.sqrt(variance + epsilon) if epsilon is not None else np.sqrt(variance)
    scale = gamma / root
    return scale, beta - mean * scale, np.abs(beta) + np.abs(mean * scale)


@register_rule(kl.BatchNormalization)
def _batch_normalization(layer, shape):
    mean, variance = array(layer.moving_mean), array(layer.moving_variance)
    gamma = array(layer.gamma) if layer.scale else 1.0
    beta = array(layer.beta) if layer.center else 0.0
    if (variance < 0).any():
        raise refusal(layer, "it has negative variances.")
    axis = sample_axis(layer, layer.axis, shape)
    broadcast = [1] * len(shape)
    broadcast[axis] = shape[axis]
    parts = standardize(mean, variance, gamma, beta, layer.epsilon)
    return g.Diagonal(*(np.broadcast_to(p, mean.shape).reshape(broadcast) for p in parts))


@register_rule(kl.Normalization)
def _normalization(layer, shape):
    if layer.mean is None:
        raise refusal(layer, "it has no statistics yet: call its `adapt` first.")
    mean, variance = (array(v).reshape(np.shape(v)[1:]) for v in (layer.mean, layer.variance))
    root = np.maximum(np.sqrt(variance), keras.config.epsilon())
    if layer.invert:
        return diagonal(root, mean)
    return diagonal(1 / root, -mean / root)


@register_rule(kl.Add)
def _add(layer, *shapes):
    return g.Sum()


@register_rule(kl.Subtract)
def _subtract(layer, *shapes):
    return g.Sum(signs=(1, -1))


@register_rule(kl.Average)
def _average(layer, *shapes):
    return [g.Sum(), diagonal(1 / len(shapes))]


@register_rule(kl.Maximum)
def _maximum(layer, *shapes):
    return g.Maximum()


@register_rule(kl.Minimum)
def _minimum(layer, *shapes):
    return g.Maximum(sign=-1)


@register_rule(kl.Concatenate)
def _concatenate(layer, *shapes):
    return g.Concat(sample_axis(layer, layer.axis, shapes[0]))

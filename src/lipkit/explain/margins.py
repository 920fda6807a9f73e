"""Margins of a class and their gradients with respect to raw inputs."""

from functools import partial

import keras
import numpy as np
from keras import ops

from lipkit._checks import samples
from lipkit.attacks.target import NEVER, compile_gradient, in_batches

_PROBABILITIES = ("sigmoid", "hardsigmoid", "softmax")


def saliency(model, x, target=None):
    """How the margin of a class changes with each feature: its gradient at raw inputs.

    The margin of class t is f_t - max over c != t of f_c; with one logit f, it is f for class 1
    and -f for class 0. For networks trained with the HKR loss the gradient has norm almost 1, and
    minus the gradient of the decision's margin is the direction of the transport to another class.

    Args:
        model: Keras model of one input whose one output is a logit (decision f > 0, labels 1 and
            0) or a vector of logits, not probabilities.
        x: (n, ...) inputs.
        target: class t, one or (n,); None: the model's decision at each input.

    Returns:
        (n, ...) gradients in float32, in logits per unit of the raw input.

    Raises:
        ValueError: bad arguments, or a model that ends with a sigmoid or softmax.

    Example:
    >>> lipkit.explain.saliency(model, x).shape
    (200, 2)

    Reference: Serrurier et al., "On the explainable properties of 1-Lipschitz neural networks: an
    optimal transport perspective", NeurIPS 2023, arXiv:2206.06854.
    """
    margins = Margins(model, x)
    return margins(margins.x, margins.labels(target))[1]


class Margins:
    """The checked inputs of a model, its decisions, and margins with gradients, compiled once.

    Attributes:
        x: (n, ...) inputs in the model's dtype.
        decision: (n,) the model's labels at x.
        classes: their number; 2 for one logit.
    """

    def __init__(self, model, x):
        self.x = _inputs(model, x)
        self._model = model
        logits = self._logits(self.x)
        self.classes = max(logits.shape[1], 2)
        self.decision = _decisions(logits)
        self._compiled = compile_gradient(partial(_margin, outputs=logits.shape[1]), model)

    def __call__(self, x, labels):
        """Margins (n,) of the classes `labels`, and gradients (n, ...)."""
        own = np.eye(self.classes, dtype="float32")[labels]
        return in_batches(self._compiled, x, own)

    def decide(self, x):
        """The model's labels at other inputs."""
        return _decisions(self._logits(x))

    def labels(self, target):
        """The classes whose margins are meant, (n,)."""
        if target is None:
            return self.decision
        target = np.asarray(target)
        n = len(self.x)
        if (
            target.shape not in ((), (n,))
            or target.dtype.kind not in "iu"
            or not ((target >= 0) & (target < self.classes)).all()
        ):
            raise ValueError(
                f"`target` must be one class in 0 ... {self.classes - 1}, or {n} of them. "
                f"Received: target={target!r}"
            )
        return np.broadcast_to(target, (n,)).astype(int)

    def _logits(self, x):
        def call(batch):
            logits = self._model(ops.convert_to_tensor(batch), training=False)
            return (ops.convert_to_numpy(_flat(logits)),)

        return in_batches(call, x)[0]


def _flat(logits):
    return ops.cast(ops.reshape(logits, (ops.shape(logits)[0], -1)), "float32")


def _decisions(logits):
    return np.argmax(logits, axis=1) if logits.shape[1] > 1 else (logits[:, 0] > 0).astype(int)


def _margin(model, x, own, outputs):
    """Margins (n,) of the classes that are 1 in `own` (n, classes)."""
    logits = ops.reshape(_flat(model(x, training=False)), (-1, outputs))
    if outputs == 1:
        return (own[:, 1] - own[:, 0]) * logits[:, 0]
    return ops.sum(own * logits, axis=1) - ops.max(logits + NEVER * own, axis=1)


def _inputs(model, x):
    x, tensors = samples("x", x), getattr(model, "inputs", None)
    if not tensors or len(tensors) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "`model` must be a built Sequential or Functional Keras model of one input and one "
            f"output. Received: {model!r}"
        )
    shape = tensors[0].shape[1:]
    fits = [size in (None, given) for size, given in zip(shape, x.shape[1:], strict=False)]
    if not len(x) or len(shape) != x.ndim - 1 or not all(fits):
        raise ValueError(
            f"`x` must have shape {('n', *shape)} with n >= 1. Received: shape {x.shape}"
        )
    if not keras.backend.is_float_dtype(tensors[0].dtype):
        raise ValueError(f"`model` must read floating-point inputs, not {tensors[0].dtype}.")
    _refuse_probabilities(model)
    return x.astype(tensors[0].dtype)


def _refuse_probabilities(model):
    """Behind them gradients vanish, and f > 0 is not the decision."""
    last = model.outputs[0]._keras_history.operation
    if isinstance(last, keras.Model):
        _refuse_probabilities(last)
    activation = getattr(getattr(last, "activation", None), "__name__", type(last).__name__)
    if activation.lower().replace("_", "") in _PROBABILITIES:
        raise ValueError(
            f"`model` must end with logits, but {last.name!r} at its end gives probabilities "
            f"({activation}). Take the model without that activation."
        )

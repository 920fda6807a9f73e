"""What Keras lacks, or has no fast version of, once per backend."""

import contextlib
import functools
import importlib
from typing import Any

import keras
from keras import ops

from lipkit.errors import BackendError

_BACKENDS = ("jax", "tensorflow", "torch")


def value_and_input_gradient(function, variables):
    """Compile a function of inputs together with its gradient.

    Args:
        function: maps tensors x (n, ...) and further ones to values (n,), each of its own sample.
        variables: the Keras variables that it reads.

    Returns:
        A function of NumPy arrays x (n, ...) and further ones that returns the values (n,) and
        their gradients with respect to x (n, ...), as NumPy arrays.
    """
    return _module().value_and_input_gradient(function, variables)


def is_constant_of_a_step(variable_value, argument):
    """Whether a variable's value becomes a constant of the function of `argument` in compilation.

    It does on JAX, where the variable is not part of the function's state.
    """
    own = getattr(_module(), "is_constant_of_a_step", None)
    return own(variable_value, argument) if own else False


@contextlib.contextmanager
def full_precision():
    """Context, or decorator, in which float32 matrix products are not rounded to TF32 or bfloat16.

    JAX rounds them on GPUs and TPUs unless told otherwise, for a part of a program or all of it.
    TensorFlow and PyTorch have one switch for the whole program, which is left to its owner.
    """
    with getattr(_module(), "full_precision", contextlib.nullcontext)():
        yield


def compiled(function):
    """Decorator of functions of a tensor and of options.

    On JAX, calls with an array and hashable options are compiled as a whole outside of compiled
    steps, where each operation by itself is slow; other calls, and other backends, are unchanged.
    """

    @functools.wraps(function)
    def call(*args, **options):
        own = getattr(_module(), "compiled", functools.partial)
        return own(function, *args, **options)()

    return call


def over_replicas(total):
    """The sum of the replicas' totals, where a step runs in several at once, each with its share.

    That is TensorFlow's `tf.distribute`; on JAX a step sees the whole batch. Not differentiated.
    """
    own = getattr(_module(), "over_replicas", None)
    return own(total) if own else total


def makes_a_graph():
    """Whether PyTorch traces, exports or compiles: its graphs, and files, lack some operations."""
    own = getattr(_module(), "makes_a_graph", None)
    return own() if own else False


def with_gradient(forward, backward, *inputs):
    """The value of `forward`, with a gradient of its own.

    Args:
        forward: maps the inputs to a tuple: the value, and what else the gradient needs, which is
            not differentiated itself.
        backward: maps (inputs, outputs, delta), with the outputs of `forward` and the upstream
            gradient of its value, to a tuple: the gradient of each input. A pure function of
            these, so that it can be batched and differentiated.
        *inputs: tensors.
    """
    if own := getattr(_module(), "with_gradient", None):
        return own(forward, backward, *inputs)

    @ops.custom_gradient
    def apply(*inputs):
        outputs = forward(*inputs)

        def gradient(delta):
            gradients = backward(inputs, outputs, delta)
            return gradients if len(inputs) > 1 else gradients[0]

        return outputs[0], gradient

    return apply(*inputs)


def exchange(keep, axis=-1):
    """A function that exchanges pairs along an axis of length 2, where `keep` is false.

    `keep` lacks that axis. The function is for pairs of one kind and those of their gradients: what
    they share is computed once.
    """
    if axis == -1 and (own := getattr(_module(), "exchange", None)):
        return own(keep)

    def exchanged(pairs):
        low, high = ops.unstack(pairs, 2, axis)
        return ops.stack((ops.where(keep, low, high), ops.where(keep, high, low)), axis)

    return exchanged


_name = keras.config.backend()
# once: PyTorch's compiler cannot see through an import
_own = importlib.import_module(f"lipkit._backend.{_name}") if _name in _BACKENDS else None


def _module():
    if _own is None:
        raise BackendError(f"lipkit needs one of the backends {_BACKENDS}. Received: {_name!r}")
    return _own


class _NoModule:
    """A mixin that adds nothing, for other backends."""


Module: Any = getattr(_own, "Module", _NoModule)  # mixin of models, which are modules on PyTorch

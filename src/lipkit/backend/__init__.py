"""What Keras has no name for, or not a fast one, once per backend."""

import contextlib
import importlib

import keras

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
    return _module().is_constant_of_a_step(variable_value, argument)


@contextlib.contextmanager
def full_precision():
    """Context, or decorator, in which float32 matrix products are not rounded to TF32 or bfloat16.

    JAX rounds them on GPUs and TPUs unless told otherwise, for a part of a program or all of it.
    TensorFlow and PyTorch have one switch for the whole program, which is left to its owner.
    """
    with _module().full_precision():
        yield


def exchange(pairs, keep):
    """Pairs (..., 2) of tensors, exchanged where `keep` (...) is false."""
    return _module().exchange(pairs, keep)


def _module():
    name = keras.config.backend()
    if name not in _BACKENDS:
        raise BackendError(f"lipkit needs one of the backends {_BACKENDS}. Received: {name!r}")
    return importlib.import_module(f"lipkit.backend.{name}")

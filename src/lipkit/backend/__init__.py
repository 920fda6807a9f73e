"""What Keras has no name for, once per backend: the gradient with respect to an input."""

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
    name = keras.config.backend()
    if name not in _BACKENDS:
        raise BackendError(f"Gradients need one of the backends {_BACKENDS}. Received: {name!r}")
    module = importlib.import_module(f"lipkit.backend.{name}")
    return module.value_and_input_gradient(function, variables)

"""What Keras lacks, on JAX."""

import contextlib
import functools

import jax
import keras
import numpy as np


def value_and_input_gradient(function, variables):
    """See `lipkit._backend.value_and_input_gradient`."""

    def summed(x, state, *args):
        # state as an argument: XLA would spend minutes folding kernels computed from constants
        with keras.StatelessScope(state_mapping=list(zip(variables, state, strict=True))):
            values = function(x, *args)
        return jax.numpy.sum(values), values

    compiled = jax.jit(jax.value_and_grad(summed, has_aux=True))

    def run(x, *args):
        (_, values), gradient = compiled(x, [v.value for v in variables], *args)
        return np.asarray(values), np.asarray(gradient)

    return run


def is_constant_of_a_step(variable_value, argument):
    """See `lipkit._backend.is_constant_of_a_step`."""
    # An argument that is only being differentiated is a tracer too, but not without its tangent.
    compiled = isinstance(jax.lax.stop_gradient(argument), jax.core.Tracer)
    return compiled and not isinstance(variable_value, jax.core.Tracer)


def full_precision():
    """See `lipkit._backend.full_precision`."""
    return jax.default_matmul_precision("highest")


def compiled(function, *args, **options):
    """See `lipkit._backend.compiled`."""
    if args and isinstance(args[0], jax.Array):
        with contextlib.suppress(TypeError):  # an option that is not hashable
            return functools.partial(_jitted(function, *args[1:], **options), args[0])
    return functools.partial(function, *args, **options)


@functools.lru_cache(maxsize=256, typed=True)
def _jitted(function, *args, **options):
    return jax.jit(lambda x: function(x, *args, **options), inline=True)

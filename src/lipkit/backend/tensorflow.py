"""What Keras has no name for, on TensorFlow."""

from typing import Any

import tensorflow as tf


def value_and_input_gradient(function, variables):
    """See `lipkit.backend.value_and_input_gradient`."""
    del variables  # read where they are

    def traced(x, *args):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            values = function(x, *args)
        zero = tf.UnconnectedGradients.ZERO
        return values, tape.gradient(values, x, unconnected_gradients=zero)

    compiled: Any = tf.function(traced)

    def run(x, *args):
        tensors = [tf.convert_to_tensor(a) for a in (x, *args)]
        # called directly, TensorFlow warns of retracing for each new function of this name
        values, gradient = compiled.get_concrete_function(*tensors)(*tensors)
        return values.numpy(), gradient.numpy()

    return run

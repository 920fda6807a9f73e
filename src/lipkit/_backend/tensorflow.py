"""What Keras lacks, on TensorFlow."""

from typing import Any

import tensorflow as tf


def value_and_input_gradient(function, variables):
    """See `lipkit._backend.value_and_input_gradient`."""
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


def over_replicas(total):
    """See `lipkit._backend.over_replicas`."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return total
    return tf.stop_gradient(replica.all_reduce(tf.distribute.ReduceOp.SUM, total))


def exchange(keep):
    """See `lipkit._backend.exchange`: pairs as integers of twice the size, rotated by half of it.

    In half the time of two selections and a stack, whose every other entry is slow to read.
    """

    def exchanged(pairs):
        size = pairs.dtype.size
        if size == 8:  # there are no integers of 128 bits
            return tf.where(keep[..., None], pairs, tf.reverse(pairs, [-1]))
        whole = tf.bitcast(pairs, {2: tf.uint32, 4: tf.uint64}[size])
        half = tf.constant(8 * size, whole.dtype)
        turned = tf.bitwise.left_shift(whole, half) | tf.bitwise.right_shift(whole, half)
        return tf.bitcast(tf.where(keep, whole, turned), pairs.dtype)

    return exchanged

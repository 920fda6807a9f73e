"""Times of functions that take turns, so that what else the machine does hits all."""

import statistics
import time


def turns(functions, rounds):
    """Milliseconds of each of the named functions, round by round."""
    times = {name: [] for name in functions}
    for function in functions.values():
        function()  # compile
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(1e3 * (time.perf_counter() - start))
    return times


def interleaved(functions, rounds):
    """Median milliseconds of each of the named functions."""
    return {name: statistics.median(ms) for name, ms in turns(functions, rounds).items()}


def untuned(size, *arrays):
    """A data set of TensorFlow, of the arrays in batches: its pipeline does not tune itself.

    The thread that does so sleeps for longer and longer, and the end of an epoch waits for it: up
    to half of what `fit` or `predict` of arrays take would be that.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size).with_options(options)


def fed(size, *arrays):
    """The arguments, and those with names, of `fit` or `predict` of a model of Keras 3."""
    import keras

    if keras.backend.backend() == "tensorflow":
        return (untuned(size, *arrays),), {}
    return arrays, {"batch_size": size}

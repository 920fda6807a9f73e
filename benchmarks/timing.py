"""Times of functions that take turns, so that what else the machine does hits all."""

import statistics
import time


def interleaved(functions, rounds):
    """Median milliseconds of each of the named functions."""
    times = {name: [] for name in functions}
    for function in functions.values():
        function()  # compile
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}

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

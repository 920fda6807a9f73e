"""One contender of one workload, in whatever environment runs this: a line in, a time out.

    python worker.py CONTENDER WORKLOAD

It builds and warms up, says what it is as a line of JSON, and for each line it then receives it
runs a round and answers with the milliseconds of a training step.
"""

import json
import os
import re
import sys
import time
from pathlib import Path

import numpy as np

WIDTHS = {"moons": (256, 128, 64), "mlp": (1024, 1024, 1024)}
BATCHES = {"moons 256": 256, "cnn 64": 64, "mlp 256": 256, "mlp 2048": 2048}
STEPS = {"moons 256": 40, "cnn 64": 4, "mlp 256": 4, "mlp 2048": 2}


def data(workload):
    """The same inputs and labels for everybody: (steps, batch, ...), classes (steps, batch)."""
    rng = np.random.default_rng(0)
    shape = {"moons": (2,), "cnn": (32, 32, 3), "mlp": (784,)}[workload.split()[0]]
    lead = STEPS[workload], BATCHES[workload]
    x = rng.standard_normal((*lead, *shape)).astype("float32")
    return x, (x.reshape(*lead, -1)[..., 0] > 0).astype("int64")


def peak_mib():
    """The largest resident set so far."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


def main():
    contender, workload = sys.argv[1:]
    start = time.perf_counter()
    package, _, variant = contender.partition(" ")
    builders = {
        "plain": "keras_models",
        "lipkit": "keras_models",
        "deel-lip": "deel_lip_models",
        "torchlip": "torch_models",
        "orthogonium": "torch_models",
        "torch": "torch_models",
    }
    builder = __import__(f"peers.{builders[package]}", fromlist=["rounds"])
    epoch, about = builder.rounds(package, variant, workload, *data(workload))
    loss = [epoch()]
    first = time.perf_counter() - start
    loss.append(epoch())
    say = {"first_step_s": first, "threads": len(os.sched_getaffinity(0))}
    say |= {"peak_mib": peak_mib(), **about()}  # before the norms are computed, which take some
    print(json.dumps(say), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        loss.append(epoch())
        ms = 1e3 * (time.perf_counter() - start) / STEPS[workload]
        print(json.dumps({"ms": ms, "loss": float(loss[-1])}), flush=True)


if __name__ == "__main__":
    main()

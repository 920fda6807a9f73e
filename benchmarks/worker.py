"""One contender of one workload, in whatever environment runs this: a line in, a time out.

    python worker.py CONTENDER WORKLOAD [gpu]

It builds and warms up, says what it is as a line of JSON, and for each line it then receives it
runs a round and answers with the milliseconds of a training step; at the end, with the norms.
"""

import json
import os
import re
import sys
import time
from pathlib import Path

import numpy as np

ALPHA, MARGIN = 10, 0.29  # of HKR
BATCHES = {"moons 256": 256, "cnn 64": 64, "mlp 256": 256, "mlp 2048": 2048}
# of a round, which is one `fit`: enough of them that its fixed cost is small
STEPS = {"moons 256": 200, "cnn 64": 20, "mlp 256": 8, "mlp 2048": 4}
STEPS_ON_A_GPU = 120  # of a round, or more: the same data at least twice


def data(workload):
    """The same inputs and labels for everybody: (steps, batch, ...), classes (steps, batch)."""
    rng = np.random.default_rng(0)
    shape = {"moons": (2,), "cnn": (32, 32, 3), "mlp": (784,)}[workload.split()[0]]
    lead = STEPS[workload], BATCHES[workload]
    x = rng.standard_normal((*lead, *shape)).astype("float32")
    return x, (x.reshape(*lead, -1)[..., 0] > 0).astype("int64")


def peak_mib(device):
    """The largest resident set so far; on a GPU, of JAX or PyTorch, the most that was in use."""
    if device == "cpu":
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024
    if device == "jax":
        return sys.modules["jax"].local_devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20
    return sys.modules["torch"].cuda.max_memory_allocated() / 2**20


def norm(kernel):
    """Spectral norm of a kernel (m, n); of a convolution (height, width, m, n) on a 32 x 32 torus.

    Its discrete Fourier transform makes that one block diagonal (Sedghi et al., arXiv:1805.10408).
    """
    if not np.isfinite(kernel).all():
        return float("nan")
    kernel = kernel.astype("float64")
    if kernel.ndim == 4:
        kernel = np.fft.fft2(kernel, (32, 32), axes=(0, 1))
    kernel = kernel if kernel.shape[-2] >= kernel.shape[-1] else kernel.swapaxes(-2, -1)
    squares = np.linalg.eigvalsh(kernel.conj().swapaxes(-2, -1) @ kernel)
    return float(np.sqrt(squares.max()))


def main():
    contender, workload, *gpu = sys.argv[1:]
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
    repeats = max(2, STEPS_ON_A_GPU // STEPS[workload]) if gpu else 1
    task = (package, variant, workload, *data(workload), repeats)
    epoch, parameters, kernels = builder.rounds(*task)
    loss = [epoch()]
    first = time.perf_counter() - start
    loss.append(epoch())
    say = {"first_step_s": first, "threads": int(os.environ["OMP_NUM_THREADS"])}
    device = "cpu" if not gpu else "jax" if variant.startswith("jax") else "torch"
    say |= {"parameters": parameters, "peak_mib": peak_mib(device)}
    print(json.dumps(say), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        loss.append(epoch())
        ms = 1e3 * (time.perf_counter() - start) / STEPS[workload] / repeats
        print(json.dumps({"ms": ms, "loss": float(loss[-1])}), flush=True)
    print(json.dumps({"norms": float(np.max([norm(kernel) for kernel in kernels()]))}), flush=True)


if __name__ == "__main__":
    main()

"""lipkit beside its peers and its unconstrained twins: one run, in turns, equal threads.

    python benchmarks/compare.py [WORKLOAD ...] [--rounds 7] [--only REGEX] [--gpu]

Each contender is a process of its own in its own environment; they take turns, round by round, so
that what else the machine does hits all. Medians and quartiles of the milliseconds of a training
step, and of its ratio to the twin's of the same round. That they do equal work is checked by the
loss that they reach and the norm that they keep. Peers whose environment is missing (`make bench`
makes them) are left out, and said to be. With `--only` nothing is written. With
`--gpu` JAX and PyTorch alone, on the GPU that they find; results/steps_gpu.json.
"""

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from provenance import provenance
from worker import ALPHA, MARGIN

HERE = Path(__file__).parent
OUT = HERE / "results"
PEERS = Path(os.environ.get("PEERS", HERE.parent / ".venv-peers"))
BACKENDS = ("jax", "tensorflow", "torch")
WORKLOADS = ("moons 256", "cnn 64", "mlp 256", "mlp 2048")
# Equal work: no norm above 1 by more than rounding, and a loss within this part of what the median
# of all constrained contenders has gained over an output of 0, whose loss is known.
NORM, PART = 1 + 1e-5, 0.1
AT_ZERO = {"moons": ALPHA * MARGIN, "cnn": math.log(10), "mlp": math.log(10)}
PYTHON = {
    "deel-lip": PEERS / "tensorflow/bin/python",
    "torchlip": PEERS / "torch/bin/python",
    "orthogonium": PEERS / "torch/bin/python",
    "torch": PEERS / "torch/bin/python",
}


def contenders(workload, gpu):
    """(name, name of its unconstrained twin)."""
    rules = ("stiefel", "cholesky") if gpu else ("stiefel",)  # beside the default
    for backend in BACKENDS:
        if gpu and backend == "tensorflow":
            continue
        yield f"plain {backend}", f"plain {backend}"
        yield f"lipkit {backend}", f"plain {backend}"
        for rule in rules if workload.startswith("mlp") else ():
            yield f"lipkit {backend} {rule}", f"plain {backend}"
    yield "torch", "torch"
    for peer in ("torchlip", "orthogonium"):
        yield peer, "torch"
    if not gpu:
        yield "deel-lip", "plain tensorflow"


class Contender:
    """A worker process that runs one round at a time."""

    def __init__(self, name, workload, gpu):
        package, *rest = name.split()
        # on a GPU they all start at the same time
        threads = "2" if gpu else str(len(os.sched_getaffinity(0)))
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": threads}
        paths = filter(None, [str(HERE), os.environ.get("PYTHONPATH")])
        env["PYTHONPATH"] = os.pathsep.join(paths)
        env |= {} if gpu else {"CUDA_VISIBLE_DEVICES": ""}
        env |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # they share the memory of a GPU
        if rest:
            env["KERAS_BACKEND"] = rest[0]
        command = [PYTHON.get(package, sys.executable), HERE / "worker.py", name, workload]
        command += ["gpu"] if gpu else []
        pipe = subprocess.PIPE
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, env=env, stdin=pipe, stdout=pipe, stderr=self.errors, text=True
        )
        self.rounds = []

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        status = self.process.wait()
        self.errors.seek(0)
        raise RuntimeError(f"{self.process.args} ended with {status}:\n{self.errors.read()}")

    def ready(self):
        """Wait for the end of its warm-up."""
        self.about = self._read()

    def turn(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.rounds.append(self._read())

    def end(self):
        """Ask for the norms."""
        self.process.stdin.close()
        self.about |= self._read()
        self.process.wait()


def summary(values):
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "quartiles": [low, high]}


def mark_unequal(rows, at_zero):
    """Say of each constrained contender what is not equal work: "loss", "norm", both or ""."""
    constrained = [row for name, row in rows.items() if name != row["twin"]]
    losses = [row["loss"] for row in constrained if row["norms"] <= NORM]
    loss = statistics.median(losses) if losses else math.nan
    for row in constrained:
        equal = {
            "loss": abs(row["loss"] - loss) <= PART * (at_zero - loss),
            "norm": row["norms"] <= NORM,
        }
        row["unequal"] = " and ".join(part for part, holds in equal.items() if not holds)


def run(workload, rounds, only, gpu):
    """The rows of one workload."""
    print(workload, flush=True)
    pairs = []
    for name, twin in contenders(workload, gpu):
        if not re.search(only, name):
            continue
        if PYTHON.get(name.split()[0], Path(sys.executable)).exists():
            pairs.append((name, twin))
        else:
            print(f"  {name}: left out, no environment: see the Makefile", flush=True)
    running = {}
    for name, _ in pairs:
        running[name] = Contender(name, workload, gpu)
        if not gpu:
            running[name].ready()  # together they would wait for the cores
    for contender in running.values() if gpu else ():
        contender.ready()
    for _ in range(rounds):
        for contender in running.values():
            contender.turn()
    for contender in running.values():
        contender.end()
    rows = {}
    for name, twin in pairs:
        own, other = running[name], running[twin]
        ms, base = ([r["ms"] for r in c.rounds] for c in (own, other))
        rows[name] = {
            "ms": summary(ms),
            "twin": twin,
            "ratio": summary([a / b for a, b in zip(ms, base, strict=True)]),
            "peak_ratio": own.about["peak_mib"] / other.about["peak_mib"],
            "loss": own.rounds[-1]["loss"],
            **own.about,
        }
    mark_unequal(rows, AT_ZERO[workload.split()[0]])
    for name, row in rows.items():
        print(
            f"  {name:26s} {row['ms']['median']:9.2f} ms"
            f"  {row['ratio']['median']:6.2f} x {row['twin']:18s}"
            f" {row['peak_mib']:6.0f} MiB  norm {row['norms']:.6f}  loss {row['loss']:.4f}"
            + (f"  UNEQUAL: {row['unequal']}" if row.get("unequal") else ""),
            flush=True,
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workloads", nargs="*", default=WORKLOADS, metavar="WORKLOAD")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", metavar="REGEX", help="of contenders")
    parser.add_argument("--gpu", action="store_true")
    arguments = parser.parse_args()
    out = OUT / ("steps_gpu.json" if arguments.gpu else "steps.json")
    result = json.loads(out.read_text())["workloads"] if out.exists() else {}
    for workload in arguments.workloads:
        rows = run(workload, arguments.rounds, arguments.only, arguments.gpu)
        if not arguments.only:
            result[workload] = {**provenance(), "rows": rows}
            if arguments.gpu:
                query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
                result[workload]["machine"] = subprocess.check_output(query, text=True).strip()
            out.write_text(json.dumps({"workloads": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()

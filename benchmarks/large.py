"""`lipkit train` and `lipkit certify` on a table of a million rows: CPU time and peak memory.

OMP_NUM_THREADS=1 python benchmarks/large.py

The table is drawn with a seed, written as CSV and as Parquet below build/, and certified as a
whole. What the commands said is kept as well.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE / "results" / "large.json"
BACKENDS, SUFFIXES = ("jax", "torch"), ("csv", "parquet")
FEATURES, TARGET, DIGITS = 20, "class", 5
COMMAND = [sys.executable, "-c", "from lipkit_command import main; main()"]


def make(path, rows):
    """Columns in units from 1e-2 to 1e3, rounded to 5 digits, and a class that is no half-space."""
    import numpy as np
    from pyarrow import csv, parquet, table

    rng = np.random.default_rng(0)
    z = rng.standard_normal((rows, FEATURES))
    hidden = z @ rng.standard_normal((FEATURES, 8)) / FEATURES**0.5
    score = np.sin(hidden).sum(axis=1) + 0.3 * rng.standard_normal(rows)
    units = rng.integers(-2, 4, FEATURES)
    z += rng.standard_normal(FEATURES)
    columns = {
        f"x{i}": (z[:, i] * 10.0**unit).round(DIGITS - 1 - unit) for i, unit in enumerate(units)
    }
    found = table({**columns, TARGET: np.where(score > 0, "yes", "no")})
    csv.write_csv(found, path.with_suffix(".csv"))
    parquet.write_table(found, path.with_suffix(".parquet"))


def about():
    """Where the result comes from."""
    from provenance import provenance

    return {name: value for name, value in provenance().items() if name != "backend"}


def alone(function, *arguments):
    """What a function returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def measured(backend, *arguments):
    """What a command printed with --json, its CPU time in s and its peak memory in MiB.

    Linux counts the peak of the parent as well, which therefore imports nothing that is large.
    """
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "KERAS_BACKEND": backend}
    command = [*COMMAND, *map(str, arguments), "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        said = json.load(process.stdout)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[3:])} ended with status {process.returncode}")
    return said, {"cpu_s": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 2**10}


def row(backend, path):
    """Both commands on one file."""
    run, radii = path.parent / f"large-{backend}", path.parent / "radii.csv"
    said, train = measured(
        *(backend, "train", path, "--target", TARGET, "--out", run, "--overwrite")
    )
    settings = ("recipe", "epochs", "steps_per_epoch", "batch_size", "constant", "eps")
    found = {name: said["settings"][name] for name in settings}
    found |= {name: said[name] for name in ("accuracy", "certified_accuracy", "median_radius")}
    said, certify = measured(backend, "certify", run, path, "--out", radii, "--overwrite")
    return {"train": train, "certify": certify, "certified": said["certified"], **found}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--backends", nargs="*", default=BACKENDS)
    parser.add_argument("--formats", nargs="*", default=SUFFIXES)
    parser.add_argument("--folder", type=Path, default=Path("build"))
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    arguments.folder.mkdir(exist_ok=True)
    path = arguments.folder / f"large-{arguments.rows}"
    if not path.with_suffix(".parquet").exists():
        alone(make, path, arguments.rows)
    found = {"rows": arguments.rows, "features": FEATURES, **alone(about), "results": {}}
    for suffix in arguments.formats:
        for backend in arguments.backends:
            result = row(backend, path.with_suffix(f".{suffix}"))
            found["results"][f"{backend}, {suffix}"] = result
            arguments.out.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{backend}, {suffix}: {json.dumps(result)}", flush=True)


if __name__ == "__main__":
    main()

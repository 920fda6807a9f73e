"""Random graphs, and attempts to refute what lipkit claims of them.

    KERAS_BACKEND=torch python benchmarks/fuzz.py --graphs 5000 [--kind onnx] [--minutes 10]

Graph n of a seed is the same at every run: `--only n` repeats one. Results are kept after every
chunk of graphs, and a run of the same commit and seed goes on where the last one stopped.
"""

import argparse
import importlib
import json
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import keras
from provenance import provenance

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from fuzzing.tally import Tally, run  # noqa: E402

CHUNK = 250  # in a process of its own, which on JAX has to compile what others did


def chunk(kind, seed, start, stop):
    """The tally of some graphs, and its seconds."""
    warnings.simplefilter("ignore")  # of values that overflow, on purpose
    begun = time.perf_counter()
    draw = importlib.import_module(f"fuzzing.{kind}_graphs").draw
    return run(draw, seed, range(start, stop)), time.perf_counter() - begun


def survived(job, context):
    """The result of a chunk; if its process dies, one of its graphs has a violation."""
    kind, seed, start, stop = job
    try:
        with ProcessPoolExecutor(1, context) as pool:
            return pool.submit(chunk, *job).result()
    except BrokenProcessPool:
        if stop - start == 1:
            return Tally(1, violations=[{"number": start, "violations": ["the process died"]}]), 0.0
    middle = (start + stop) // 2
    (a, spent), (b, more) = (
        survived((kind, seed, *ends), context) for ends in ((start, middle), (middle, stop))
    )
    return a + b, spent + more


def kept(path, head):
    """The result of an earlier run with the same head, or an empty one."""
    if path.exists() and not head["commit"].endswith("+"):  # of a changed tree nothing is known
        found = json.loads(path.read_text())
        if {name: found.get(name) for name in head} == head:
            return Tally.load(found), found["seconds"]
    return Tally(), 0.0


def write(path, head, tally, seconds):
    text = json.dumps(
        {**provenance(), **head, "seconds": round(seconds), **tally.report()}, indent=1
    )
    path.with_suffix(".partial").write_text(text + "\n")
    path.with_suffix(".partial").replace(path)


def line(path, tally, wanted):
    """What came of it, in one line."""
    share = f"{tally.caught}/{tally.piecewise_linear}"
    return (
        f"{path.stem}: {tally.graphs} of {wanted} graphs, {tally.bounded} bounded, {tally.refused} "
        f"refused, {tally.certificates} certificates attacked; {len(tally.violations)} VIOLATED; "
        f"bounds scaled by 0.97 caught: {tally.attained_caught}/{tally.attained} of those attained "
        f"by construction, {share} of all piecewise linear ones"
    )


def main(arguments):
    if arguments.only is not None:
        tally, _ = chunk(arguments.kind, arguments.seed, arguments.only, arguments.only + 1)
        print(json.dumps(tally.report(), indent=1))
        return int(bool(tally.violations))
    name = keras.backend.backend() if arguments.kind == "keras" else "onnx"
    path = Path(arguments.out) / f"fuzz_{name}.json"
    head = {"commit": provenance()["commit"], "seed": arguments.seed}
    tally, seconds = kept(path, head)
    end = time.monotonic() + 60 * arguments.minutes
    starts = range(tally.graphs, arguments.graphs, CHUNK)
    jobs = [(arguments.kind, arguments.seed, s, min(s + CHUNK, arguments.graphs)) for s in starts]
    context = get_context("spawn")
    with ThreadPoolExecutor(arguments.jobs) as threads:
        for i in range(0, len(jobs), arguments.jobs):
            for part, spent in threads.map(survived, jobs[i : i + arguments.jobs], repeat(context)):
                tally, seconds = tally + part, seconds + spent
                for found in part.violations:
                    print(json.dumps(found), flush=True)
            write(path, head, tally, seconds)
            if time.monotonic() > end:
                break
    print(line(path, tally, arguments.graphs))
    return int(bool(tally.violations) or tally.graphs < arguments.graphs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--graphs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=("keras", "onnx"), default="keras")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after a chunk")
    parser.add_argument("--only", type=int, help="one graph, by its number")
    parser.add_argument("--out", default=HERE / "results", help="folder of the result")
    sys.exit(main(parser.parse_args()))

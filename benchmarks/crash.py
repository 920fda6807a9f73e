"""What is left when commands break off, and when files of a run are damaged.

KERAS_BACKEND=torch python benchmarks/crash.py [--scale 0.1]     about half an hour

Kills: each command runs in a process of its own, which kills itself at or just after its n-th event
on files (a file opened to be written, synchronised, made, renamed or removed), for every n, and is
killed from outside at random moments: 10 times at each rename and each file that is written, else
twice, 30 times at random, and once at each event by Ctrl-C. Then what was there before must be
there whole, or what is new; and after the next command nothing else that is not whole.

Damages: bits of the files of a run are flipped, and files cut off; no command may end well with
another answer.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import matplotlib.pyplot as plt
import numpy as np
from provenance import provenance
from typer.testing import CliRunner

import lipkit
from lipkit import _demo as demo
from lipkit import plots, recipes
from lipkit._files import atomic
from lipkit.runs import RunFolder
from lipkit.runs.models import read as read_model
from lipkit.runs.schema import FILES, MANIFEST
from lipkit_command.commands import app

OUT = Path(__file__).parent / "results" / "crash.json"
DELAYS = (0, 0, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # seconds after an event
EVENTS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link")
RENAMES_AND_WRITES = ("rename", "os.rename", "open")
WRITES = os.O_WRONLY | os.O_RDWR
FORK = multiprocessing.get_context("fork")


def invoke(*arguments):
    """A command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def prepared(folder):
    """A folder with data and a run; from here on training, which is long, is its result."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    rows = [",".join(map(repr, [*map(float, row), "uv"[int(row[0] > 0)]])) for row in x]
    (folder / "data.csv").write_text("\n".join(["a,b,c,y", *rows]).replace("'", "") + "\n")
    train = ["train", folder / "data.csv", "--target", "y", "--recipe", "linear", "--epochs", 1]
    assert invoke(*train, "--out", folder / "run").exit_code == 0
    assert invoke("report", folder / "run").exit_code == 0
    info = json.loads((folder / "run" / "run.json").read_text())
    model = read_model(folder / "run" / "lipkit.keras")
    trained = SimpleNamespace(model=model, history=info["history"], settings=info["settings"])
    recipes.train = lambda *_, **__: trained
    demo.network = lambda _: lipkit.Sequential(
        [keras.Input((2,)), lipkit.layers.SpectralDense(4), lipkit.layers.FrobeniusDense(1)]
    )
    toy = demo.train(replace(demo.Settings(), epochs=1, steps=1, samples=40))
    demo.train = lambda *_: toy
    for name in ("scatter", "decision_function", "decision_surface"):
        setattr(plots, name, lambda *_: plt.subplots(figsize=(1, 1))[1])
    return train


def whole_run(path):
    RunFolder.open(path)


def whole_demo(path):
    json.loads((path / "metrics.json").read_text())
    for name in ("model", "export"):
        read_model(path / f"{name}.keras")
    for name in ("data", "model", "export", "surface"):
        assert (path / f"{name}.png").read_bytes().endswith(b"IEND\xaeB`\x82"), name


def whole_page(path):
    assert path.read_text().endswith("</html>\n")


def whole_table(path):
    assert len(path.read_text().splitlines()) == 61


def commands(folder, train):
    """Of each command: its arguments, where it writes, and the check that this is whole."""
    run, data = folder / "run", folder / "data.csv"
    export = ["export", run, "--overwrite", "--to"]
    return {
        "train": ([*train, "--overwrite", "--out"], folder / "trained", whole_run),
        "train, free": ([*train, "--out"], folder / "first", whole_run),
        "demo": (
            ["demo", "--epochs", 1, "--samples", 40, "--overwrite", "--out"],
            folder / "demo",
            whole_demo,
        ),
        "report": (["report", run], run / "report.html", whole_page),
        "export": ([*export, "keras", "--out"], folder / "m.keras", read_model),
        "export to ONNX": ([*export, "onnx", "--out"], folder / "m.onnx", lipkit.lipschitz_bound),
        "certify": (["certify", run, data, "--overwrite", "--out"], folder / "r.csv", whole_table),
    }


def content(path):
    """Names and bytes of what is at a path, or None."""
    if path.is_dir():
        return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*"))}
    return path.read_bytes() if path.exists() else None


def counting(act, root):
    """Call act(n) at the n-th event on files under a folder, from 1 on."""
    seen, exchange, sync = [], atomic._renamed, os.fsync

    def count(kind):
        seen.append(kind)
        act(len(seen))

    def hook(event, arguments):
        mine = arguments and str(arguments[0]).startswith(str(root))
        if mine and (event in EVENTS or (event == "open" and (arguments[2] or 0) & WRITES)):
            count(event)

    def wrapped(function):
        def call(*arguments, **options):
            count("rename" if function is exchange else "sync")
            return function(*arguments, **options)

        return call

    atomic._renamed, os.fsync = wrapped(exchange), wrapped(sync)
    sys.addaudithook(hook)
    return seen


def child(function):
    """A process that runs a function, with nothing on its streams."""

    def run():
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        function()

    process = FORK.Process(target=run)
    process.start()
    return process


def killed(arguments, root, event=None, delay=0.0, number=signal.SIGKILL):
    """Run a command that is killed at an event, or after a time; whether it ended by itself."""

    def kill(n):
        if n == event and not delay:
            signal.raise_signal(number)
        elif n == event:
            signal.setitimer(signal.ITIMER_REAL, delay)  # whose signal ends a process at once

    def command():
        if event:
            counting(kill, root)
        os._exit(invoke(*arguments).exit_code)

    process = child(command)
    if event is None:
        process.join(delay)
        process.kill()
    process.join()
    return process.exitcode == 0


def events_of(arguments, root):
    """The kinds of the events of a command, in order, and the seconds that it takes."""
    kinds = FORK.SimpleQueue()

    def command():
        seen = counting(lambda n: None, root)
        status = invoke(*arguments).exit_code
        kinds.put(seen)
        os._exit(status)

    start = time.monotonic()
    process = child(command)
    process.join()
    assert process.exitcode == 0, (arguments, process.exitcode)
    return kinds.get(), time.monotonic() - start


class Tally:
    """What was found after kills of one command."""

    def __init__(self, arguments, out, whole, root):
        where = [] if arguments[0] == "report" else [out]
        self.arguments, self.out, self.whole, self.root = [*arguments, *where], out, whole, root
        self.found = {"kills": 0, "as it was": 0, "new": 0, "lost": 0, "half-written": 0}
        self.found |= {"left over": 0, "kept beside": 0}
        if "--overwrite" not in arguments and arguments[0] == "train":
            self.before = None
        else:
            assert invoke(*self.arguments).exit_code == 0
            self.before = content(out)

    def kill(self, **how):
        """Kill the command once, look at what is there, and put back what was."""
        done = killed(self.arguments, self.root, **how)
        now, found = content(self.out), self.found
        found["kills"] += 1
        if now is None and (done or self.before is not None):
            found["lost"] += 1
        elif now == self.before:
            found["as it was"] += 1
        else:
            try:
                self.whole(self.out)
                found["new"] += 1
            except Exception as error:
                print("half-written:", self.arguments, how, repr(error), file=sys.stderr)
                found["half-written"] += 1
        for folder in (self.out.parent, self.root):
            atomic.sweep(folder)
            left = list(folder.glob(".lipkit-*"))
            found["left over"] += len(left)
        for path in self.out.parent.glob(f"{self.out.stem}-[0-9]*"):
            found["kept beside"] += 1
            self.whole(path)  # what was written, or what it has replaced
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.put_back()

    def put_back(self):
        """What was there before."""
        if self.out.is_dir():
            shutil.rmtree(self.out)
        self.out.unlink(missing_ok=True)
        if isinstance(self.before, dict):
            self.out.mkdir()
            for name, data in self.before.items():
                (self.out / name).write_bytes(data)
        elif self.before is not None:
            self.out.write_bytes(self.before)


def kills(folder, train, scale):
    """Each command, killed at every event and at random moments."""
    results, rng = {}, np.random.default_rng(0)
    for name, (arguments, out, whole) in commands(folder, train).items():
        tally = Tally(arguments, out, whole, folder)
        kinds, seconds = events_of(tally.arguments, folder)
        tally.put_back()
        for event, kind in enumerate(kinds, 1):
            often = len(DELAYS) if kind in RENAMES_AND_WRITES else 2
            for delay in DELAYS[: max(1, round(scale * often))]:
                tally.kill(event=event, delay=delay)
            tally.kill(event=event, number=signal.SIGINT)
        for delay in rng.uniform(0, seconds, max(1, round(30 * scale))):
            tally.kill(delay=float(delay))
        results[name] = {"events": len(kinds), **tally.found}
        print(name, results[name], flush=True)
    return results


def two_trainings(folder, train, scale):
    """Two processes that train into one folder at a time; how many of them say no."""
    fast, refused, tries = recipes.train, 0, max(1, round(10 * scale))
    out = folder / "both"
    for _ in range(tries):
        barrier = FORK.Barrier(2)

        def train_slowly(*_, barrier=barrier, **__):
            try:
                barrier.wait(2)  # for the other, which must not come so far
            except threading.BrokenBarrierError:
                return fast()
            raise AssertionError("two trainings")

        recipes.train = train_slowly
        first, second = (
            child(lambda: os._exit(invoke(*train, "--out", out).exit_code)) for _ in range(2)
        )
        first.join(), second.join()
        refused += sorted([first.exitcode, second.exitcode]) == [0, 2]
        whole_run(out)
        shutil.rmtree(out)
    recipes.train = fast
    return {"pairs": tries, "one says no": refused}


ASKED = (
    lambda folder: ["bound", folder / "run"],
    lambda folder: ["certify", folder / "run", folder / "data.csv"],
    lambda folder: ["report", folder / "run"],
)


def answers(folder):
    """What commands say about the run."""
    results = [invoke(*make(folder), "--json") for make in ASKED]
    return [(r.exit_code, json.loads(r.stdout) if r.exit_code == 0 else None) for r in results]


def damages(folder, flips, cuts):
    """Flip bits of, and cut off, each file of the run; count what the commands say."""
    rng, run = np.random.default_rng(0), folder / "run"
    right = answers(folder)
    assert [status for status, _ in right] == [0, 0, 0]
    names = (*FILES, MANIFEST)
    found = {"refused": 0, "same answers": 0, "silently different": 0}
    kinds = ["flip"] * flips + ["cut"] * cuts
    for i, kind in enumerate(kinds):
        # the page is read by nobody: a few damages show it
        path = run / ("report.html" if i % 400 == 399 else names[i % len(names)])
        data = path.read_bytes()
        if kind == "flip":
            place = int(rng.integers(len(data)))
            changed = bytes([data[place] ^ 1 << int(rng.integers(8))])
            path.write_bytes(data[:place] + changed + data[place + 1 :])
        else:
            path.write_bytes(data[: int(rng.integers(len(data)))])
        for got, expected in zip(answers(folder), right, strict=True):
            same = got == expected
            refused = got[0] != 0
            key = "same answers" if same else "refused" if refused else "silently different"
            found[key] += 1
            if key == "silently different":
                print(kind, path.name, got, file=sys.stderr)
        path.write_bytes(data)
    return {"flips": flips, "cuts": cuts, **found}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the kills and damages")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train = prepared(folder)
        result = {
            **provenance(),
            "damages": damages(folder, round(2000 * args.scale), round(200 * args.scale)),
            "two trainings": two_trainings(folder, train, args.scale),
            "kills": kills(folder, train, args.scale),
        }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

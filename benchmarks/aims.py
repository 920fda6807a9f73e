"""The aims of the library's speed beside what was measured: a table of benchmarks.md."""

import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
BACKENDS = ("jax", "tensorflow", "torch")
PEERS = ("deel-lip", "torchlip", "orthogonium")
UNEQUAL = "(unequal work)"  # ends the name of a value that does not count


def _read(name):
    return json.loads((RESULTS / name).read_text())


def _most(aim, bar, values):
    """A row whose values, by name, should be at most `bar`."""
    return _row(f"{aim}: at most {bar:g}", values, lambda v: v <= bar)


def _least(aim, bar, values):
    """A row whose values, by name, should be at least `bar`."""
    return _row(f"{aim}: at least {bar:g}", values, lambda v: v >= bar)


def _row(aim, values, met):
    missed = [name for name, value in values.items() if name.endswith(UNEQUAL) or not met(value)]
    measured = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
    state = "no" if len(missed) == len(values) else "not on all" if missed else "yes"
    return aim, measured or "not yet", state


def _own(rows, rule):
    """The rows of lipkit with a rule, by backend."""
    names = {b: f"lipkit {b} {rule}".strip() for b in BACKENDS}
    return {b: rows[name] for b, name in names.items() if name in rows}


def _named(name, row):
    return f"{name} {UNEQUAL}" if row["unequal"] else name


def _ratios(rows, rule=""):
    """Times of the unconstrained step, by backend."""
    return {_named(b, row): row["ratio"]["median"] for b, row in _own(rows, rule).items()}


def _times_of_peers(rows, rule=""):
    """How many times longer each peer takes than lipkit on its best backend."""
    best = min(row["ms"]["median"] for row in _own(rows, rule).values() if not row["unequal"])
    return {_named(p, rows[p]): rows[p]["ms"]["median"] / best for p in PEERS if p in rows}


def _memory(rows):
    own = {name: row for name, row in rows.items() if name.startswith("lipkit")}
    return {_named(name, row): row["peak_ratio"] for name, row in own.items()}


def _steps():
    rows = {name: w["rows"] for name, w in _read("steps.json")["workloads"].items()}
    moons, cnn, wide, wider = (rows[k] for k in ("moons 256", "cnn 64", "mlp 256", "mlp 2048"))
    yield _most("moons 256: times the plain step", 1.5, {"jax": _ratios(moons)["jax"]})
    for name, bar in zip(PEERS, (5, 2, 5), strict=True):
        slower = {k: v for k, v in _times_of_peers(moons).items() if k.startswith(name)}
        yield _least("moons 256: times faster than a peer", bar, slower)
    yield _most("cnn 64: times the plain step", 1.1, _ratios(cnn))
    yield _least("cnn 64: times faster than each peer", 1.6, _times_of_peers(cnn))
    yield _most('mlp 256, "stiefel": times the plain step', 1.8, _ratios(wide, "stiefel"))
    yield _least("mlp 256: times faster than each peer", 15, _times_of_peers(wide, "stiefel"))
    yield _most('mlp 2048, "stiefel": times the plain step', 1.4, _ratios(wider, "stiefel"))
    for name, own in rows.items():
        yield _most(f"{name}: times the plain peak memory", 1.2, _memory(own))


def _steps_on_a_gpu():
    workloads = _read("steps_gpu.json")["workloads"]
    for name, rule, bar in (("cnn 64", "", 1.1), ("mlp 2048", "stiefel", 1.4)):
        ratios = _ratios(workloads[name]["rows"], rule) if name in workloads else {}
        yield _most(f"{name} on a GPU: times the plain step", bar, ratios)


def _pieces():
    pieces = {b: _read(f"pieces_{b}.json") for b in BACKENDS}
    times = {b: p["inference"] for b, p in pieces.items()}
    exported = {b: t["export"] / t["plain"] for b, t in times.items()}
    yield _most("export: times plain Keras", 1.03, exported)
    rows = {
        f"{b} {n}": row["sort of the backend"] / row["FullSort"]
        for b, p in pieces.items()
        for n, row in p["activations"].items()
    }
    yield _least("FullSort of 256 x 256: times faster than the sort", 10, {"jax": rows["jax 256"]})
    yield _least("FullSort: times faster than the sort, at each size", 0.97, rows)
    for loss, plain in (("HKR", "binary cross-entropy"), ("MulticlassHKR", "cross-entropy")):
        ratios = {b: p["losses"][loss] / p["losses"][plain] for b, p in pieces.items()}
        yield _most(f"{loss}: times the step with {plain}", 1.05, ratios)


def _others():
    muon = _read("moons/jax_stiefel_cosine_stiefel_muon_0.01.json")
    yield _most("StiefelMuon on moons, cosine, median loss", -0.842, {"5 seeds": muon["loss"]})
    cnn = _read("certify_speed.json")["cnn"]
    minutes = cnn["certify_s"] / cnn["inputs"] * 10_000 / 60
    yield _most("10,000 certificates of a CNN, at the rate of 1,000, minutes", 5, {"jax": minutes})


def _large():
    found = _read("large.json")
    for command in ("train", "certify"):
        rows = {n.replace(",", ""): row[command] for n, row in found["results"].items()}
        what = f"lipkit {command}, {found['rows']:,} rows of {found['features']} numbers"
        yield _most(f"{what}: CPU s", 120, {n: row["cpu_s"] for n, row in rows.items()})
        peaks = {n: row["peak_mib"] / 1024 for n, row in rows.items()}
        yield _most(f"{what}: peak GiB", 1.5, peaks)


def aims():
    """(aim, what was measured, whether it is met)."""
    return [*_steps(), *_steps_on_a_gpu(), *_pieces(), *_others(), *_large()]

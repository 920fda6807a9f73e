"""A slice of `benchmarks/conv_grid.py`, its committed results, and that it finds a wrong factor."""

import importlib.util
import itertools
import json
import sys
from pathlib import Path

import keras
import pytest

from lipkit import padding, views

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def grid():
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location("conv_grid", FOLDER / "conv_grid.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(FOLDER))
    return module


# class, input channels, arguments, rule: each class and padding, few shapes to compile
SLICE = [
    ("SpectralConv1D", 1, {"filters": 4, "padding": "causal", "dilation_rate": 3}, "aol"),
    ("SpectralConv2D", 2, {"filters": 4, "padding": "same", "strides": 2, "groups": 2}, "aol"),
    ("SpectralConv2D", 4, {"filters": 2, "padding": "valid", "dilation_rate": (3, 1)}, "polar"),
    ("SpectralConv2D", 2, {"filters": 4, "padding": "circular", "strides": (2, 1)}, "bjorck"),
    ("SpectralConv2D", 1, {"filters": 4, "padding": "reflect"}, "spectral"),
    ("SpectralConv3D", 1, {"filters": 2, "padding": "replicate"}, "polar"),
    ("SpectralConv1DTranspose", 1, {"filters": 4, "padding": "valid", "strides": 3}, "aol"),
    ("SpectralConv2DTranspose", 4, {"filters": 2, "padding": "same", "strides": 2}, "polar"),
    ("SpectralConv3DTranspose", 1, {"filters": 2, "padding": "same"}, "aol"),
    ("SpectralDepthwiseConv1D", 2, {"depth_multiplier": 2, "padding": "constant"}, "polar"),
    ("SpectralDepthwiseConv2D", 2, {"depth_multiplier": 2, "padding": "symmetric"}, "aol"),
    ("FrobeniusConv2D", 1, {"filters": 4, "padding": "same", "strides": 3}, None),
]

# JAX compiles each operation for each new shape, for seconds
ROWS = SLICE[::2] if keras.backend.backend() == "jax" else SLICE


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[2]['padding']}")
def test_norms_never_exceed_the_constant(row, grid, monkeypatch):
    name, inputs, arguments, rule = row
    monkeypatch.setattr(grid, "STEPS", 2)
    few = {rank: sizes[:1] for rank, sizes in grid.SIZES.items()} | {1: [(5,)], 3: [(3, 2, 4)]}
    monkeypatch.setattr(grid, "SIZES", few)
    geometry = {"strides": 1, "dilation_rate": 1, "kernel_size": 3, **arguments}
    tally = grid.run([grid.Case(name, inputs, geometry, rule)])
    assert tally.cases.total() == 8 + 5 and not tally.violations
    assert max(tally.largest.values()) > 0.2  # it constrains, it does not destroy


@pytest.mark.parametrize("rule", ["polar", "aol"])
def test_a_factor_that_is_too_small_is_found(rule, grid, monkeypatch):
    monkeypatch.setattr(grid, "SIZES", {2: [(7, 5)]})
    case = grid.Case("SpectralConv2D", 1, {"filters": 9, "kernel_size": 3, "padding": "same"}, rule)
    init = views.ConvView.__init__

    def wrong(self, *arguments, **keywords):
        init(self, *arguments, **keywords)
        self.unfold_norm /= 1.1
        self.pad_norm /= 1.1

    monkeypatch.setattr(views.ConvView, "__init__", wrong)
    tally = grid.Tally()
    grid.check_kernels(case, tally)
    assert tally.violations and tally.report()["violations"] == len(tally.violations)


def test_the_grid_has_all_axes_and_its_results_no_violation(grid):
    cases = list(grid.grid())
    names = {case.name for case in cases}
    assert {f"SpectralConv{n}D{t}" for n, t in itertools.product("123", ("", "Transpose"))} < names
    assert {row[0] for row in SLICE} == names
    seen = {key: {str(c.arguments.get(key)) for c in cases} for key in cases[0].arguments}
    assert {"valid", "same", "causal", *padding.MODES} == seen["padding"]
    assert all(len(seen[key]) >= 4 for key in ("kernel_size", "strides", "dilation_rate"))
    assert {case.arguments.get("groups", 1) for case in cases} == {1, 2, 4}
    results = json.loads(grid.OUT.read_text())
    assert results["violations"] == 0 and results["cases"]["total"] > 20_000
    assert max(results["largest norm / k"].values()) <= results["limit"] == 1 + 1e-5

import functools
import gc
import os
import signal
import subprocess
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("MPLBACKEND", "agg")

import keras
import numpy as np
import pytest

import lipkit  # noqa: F401

gc.freeze()  # what was imported stays, and is much: no collection need look at it
BACKEND = keras.backend.backend()
ONCE = "torch"  # which starts fastest


def pytest_collection_modifyitems(items):
    """Tests marked `once` run on one backend.

    They are of the site, of how processes start and choose a backend, of code that runs in a
    process with a backend of its own, of what is done in NumPy or by others alone (the certifier's
    core, data files, ONNX files), of how files are written, or of what scikit-learn asks of its
    estimators, around a training that other tests have on each backend.
    """
    if BACKEND != ONCE:
        skip = pytest.mark.skip(reason=f"the same on every backend; runs on {ONCE}")
        for item in items:
            if item.get_closest_marker("once"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def handler():
    """Set the handler of SIGINT, which processes in the background may have to ignore."""
    usual = signal.getsignal(signal.SIGINT)
    yield functools.partial(signal.signal, signal.SIGINT)
    signal.signal(signal.SIGINT, usual)


@pytest.fixture
def python(tmp_path):
    """Run code in a new interpreter, in an empty folder and without the user's configuration."""

    def run(code, *arguments, hidden=(), **environment):
        """`hidden` packages count as not installed."""
        kept = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "KERAS_HOME")}
        return subprocess.run(
            [sys.executable, "-c", HIDE.format(hidden=hidden) + code, *map(str, arguments)],
            env={**kept, "HOME": str(tmp_path), "KERAS_HOME": str(tmp_path), **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return run


HIDE = """
import importlib.util, sys
hidden = {hidden!r}
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name in hidden else find(name, *a)
for name in hidden:
    sys.modules[name] = None
"""

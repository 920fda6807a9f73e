import os
import subprocess
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("MPLBACKEND", "agg")

import keras
import numpy as np
import pytest

import lipkit  # noqa: F401


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


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

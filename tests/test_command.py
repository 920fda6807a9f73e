"""The process around the command line: its streams, signals, and what it imports."""

import json
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from test_cli import COMMAND, invoke, line_of

from lipkit import recipes


@pytest.fixture
def model(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


@pytest.mark.once
def test_nothing_in_the_working_folder_is_imported(python, tmp_path):
    """`--backend` starts a process; a keras.py that lay there was run."""
    for name in ("keras", "lipkit", "numpy", "typer", "encodings"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')")
    other = {"jax": "torch", "torch": "tensorflow", "tensorflow": "jax"}[keras.backend.backend()]
    code = "sys.path.remove('')\n" + COMMAND  # as the installed command has it
    result = python(code, "train", "none.csv", "--out", "run", "--backend", other)
    assert result.stderr == "lipkit: There is no file or folder none.csv.\n"
    assert result.returncode == 2 and not (tmp_path / "ran").exists()


@pytest.mark.once
@pytest.mark.parametrize(
    ("closed", "name", "status"), [("2>&-", "m.keras", 0), (">&- 2>&-", "none.keras", 2)]
)
def test_streams_may_be_closed(closed, name, status, model):
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend(), "CODE": COMMAND}
    command = f'exec "$PYTHON" -c "$CODE" bound {name} --json {closed}'
    result = subprocess.run(
        ["sh", "-c", command],
        env={**environment, "PYTHON": sys.executable},
        cwd=model.parent,
        capture_output=True,
    )
    assert result.returncode == status and result.stderr == b""
    assert (json.loads(result.stdout)["model"] == name) if status == 0 else result.stdout == b""


@pytest.mark.parametrize("wrapped", [True, False])
def test_ctrl_c_ends_with_status_130(wrapped, handler, tmp_path, monkeypatch):
    """Tracing made of it a ValueError, 'Invalid dtype: object', and so bad input."""

    def train(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if wrapped:
                raise ValueError("Invalid dtype: object") from None
            raise

    monkeypatch.setattr(recipes, "train", train)
    np.savez(tmp_path / "d.npz", x=np.eye(4), y=[0, 1, 0, 1])
    handler(signal.default_int_handler)
    line = line_of(invoke("train", tmp_path / "d.npz", "--out", tmp_path / "run"), 130)
    assert line == "lipkit: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["d.npz"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_ignored(model, handler):
    handler(signal.SIG_IGN)
    assert invoke("bound", model).exit_code == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN

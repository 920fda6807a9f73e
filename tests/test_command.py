"""The process around the command line: its streams, signals, and what it imports."""

import json
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from test_cli import COMMAND, COMMANDS, invoke, line_of
from test_run_home import SAVED

import lipkit
from lipkit import recipes


@pytest.fixture
def model(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


@pytest.mark.once
def test_nothing_in_the_working_folder_is_imported(python, tmp_path):
    """A keras.py that lay there was run when `--backend` started a process of its own."""
    for name in ("keras", "lipkit", "numpy", "typer", "encodings"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')")
    other = {"jax": "torch", "torch": "tensorflow", "tensorflow": "jax"}[keras.backend.backend()]
    code = "sys.path.remove('')\n" + COMMAND  # as the installed command has it
    result = python(code, "train", "none.csv", "--out", "run", "--backend", other)
    assert result.stderr == "lipkit: There is no file or folder none.csv.\n"
    assert result.returncode == 2 and not (tmp_path / "ran").exists()


CHECK = """
import sys, lipkit_command
try:
    lipkit_command.main()
finally:
    heavy = {"lipkit", "keras", "numpy", "jax", "tensorflow", "torch"} & {*sys.modules}
    assert not heavy, heavy
"""


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ("--version", 0, f"lipkit {lipkit.__version__}\n"),
        ("--help", 0, "lipkit train DATA.csv"),
        *((f"{name} --help", 0, f"Usage: lipkit {name}") for name in COMMANDS),
        ("", 0, "lipkit train DATA.csv"),
        ("trian", 2, "No such command 'trian'"),
        ("train d.csv --out run --tarjet y", 2, "--tarjet"),
        ("train d.csv", 2, "Missing option '--out'"),
        ("train d.csv --out run --recipe magic", 2, "'--recipe': must be one of auto"),
        ("train d.csv --out run --image-size x", 2, "HEIGHT,WIDTH"),
        ("train none.csv --out run", 2, "no file or folder none.csv"),
        ("train d.csv --out run --feature-weights none.json", 2, "no file or folder none.json"),
        ("certify none.keras d.csv", 2, "no file or folder none.keras"),
        ("certify d.csv d.csv --arithmetic bfloat16", 2, "must be one of real, float32, float64"),
        ("certify d.csv d.csv --require 0.5", 2, "needs a radius"),
        ("certify d.csv d.csv --out r.txt", 2, "expected a .csv or .json file"),
        ("bound d.csv --input-shape x", 2, "28,28,1"),
        ("export d.csv --to onnx --out m.keras", 2, "end in .onnx"),
        ("demo --backend mxnet", 2, "must be one of tensorflow, jax, torch"),
        ("demo squares", 2, "must be one of moons, circles"),
    ],
)
def test_arguments_are_checked_before_keras_is_imported(arguments, status, said, python, tmp_path):
    (tmp_path / "d.csv").write_text("a,y\n")
    result = python(CHECK, *arguments.split())
    assert result.returncode == status, result.stderr
    assert said in (result.stderr if status else result.stdout)


ORDER = """
import sys
class Order:
    def find_spec(self, name, *_):
        assert name != "keras" or "lipkit" in sys.modules, "which chooses a backend"
sys.meta_path.insert(0, Order())
"""


@pytest.mark.once
@pytest.mark.parametrize(
    "command", ["attack RUN RUN/test.npz --steps 1", "export RUN --to keras --out m.keras"]
)
def test_keras_is_imported_after_the_package(command, python):
    """Keras alone takes TensorFlow, whatever is installed."""
    arguments = command.replace("RUN", str(SAVED)).split()
    result = python(ORDER + COMMAND, *arguments, KERAS_BACKEND="torch")
    assert result.returncode == 0, result.stderr


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
            for _ in range(2):  # the first ends an epoch
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

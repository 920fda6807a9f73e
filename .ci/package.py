"""Build wheel and sdist, look into them, and run the README's first program with the wheel.

The wheel is installed with JAX into an environment of its own; the sdist's tests of saved files run
with the interpreter that runs this script, so that it has their conftest and their data.
"""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNPACKAGED = {".gitignore"}


def run(*command, **options):
    """Run a command, and stop where it fails."""
    return subprocess.run([str(c) for c in command], check=True, **options)


def build():
    """The paths of a new wheel and sdist, in dist/."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    run(sys.executable, "-m", "build", ROOT, stdout=subprocess.DEVNULL)
    (wheel,), (sdist,) = (ROOT / "dist").glob("*.whl"), (ROOT / "dist").glob("*.tar.gz")
    return wheel, sdist


def check_wheel(path):
    """It is typed, has the package alone, and a description without links to files beside it."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        text = email.message_from_bytes(wheel.read(metadata)).get_payload()
    assert "lipkit/py.typed" in names
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if "dist-info" not in t} == {"lipkit", "lipkit_command"}, tops
    assert "```python" in text and not re.search(r"\]\((?!https?:)", text)


def check_sdist(path, folder):
    """It has every file of the repository, and its tests find what they read."""
    with tarfile.open(path) as sdist:
        sdist.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    listed = run("git", "ls-files", "-z", cwd=ROOT, capture_output=True, text=True).stdout
    tracked = {name for name in listed.split("\0") if name and (ROOT / name).exists()}
    missing = {name for name in tracked - UNPACKAGED if not (unpacked / name).is_file()}
    assert tracked and not missing, f"not in the sdist: {sorted(missing)}"
    tests = ("tests/test_saved_files.py", "tests/test_package.py", "-k", "plain or onnx or core")
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=unpacked)


def check_readme(wheel, folder):
    """The README's first program runs where nothing but the wheel and JAX is installed."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    alone = {**os.environ, "MPLBACKEND": "agg"}
    alone.pop("PYTHONPATH", None)
    constraints = ROOT / "requirements.txt"
    run(python, "-m", "pip", "install", "-q", "-c", constraints, f"{wheel}[jax]", env=alone)
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    run(python, "-c", code, cwd=folder, env=alone, stdout=subprocess.DEVNULL)
    assert (folder / "two_moons.keras").is_file()
    run(folder / "venv" / "bin" / "lipkit", "bound", folder / "two_moons.keras", env=alone)


if __name__ == "__main__":
    wheel, sdist = build()
    check_wheel(wheel)
    for check, path in ((check_sdist, sdist), (check_readme, wheel)):
        with tempfile.TemporaryDirectory() as folder:
            check(path, Path(folder))
    print(f"{wheel.name} and {sdist.name} hold what they should, and run")

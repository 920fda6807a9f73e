"""Choose an installed Keras backend if, and only if, the user chose none.

Keras falls back to TensorFlow whatever is installed, and dies at import if it is missing.
"""

import importlib.util
import json
import logging
import os
import sys
from pathlib import Path

from lipkit._choices import BACKENDS
from lipkit.errors import BackendError

INSTALL = "Install one: pip install 'lipkit[jax]', 'lipkit[tensorflow]' or 'lipkit[torch]'."


def _installed() -> list[str]:
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def _check_known(backend, source):
    if backend not in BACKENDS:
        raise BackendError(
            f"Unknown Keras backend {backend!r}, chosen by {source}. Known to lipkit: "
            f"{', '.join(BACKENDS)}."
        )


def check_backend(backend: str, source: str) -> None:
    """Raise `BackendError` unless the backend is known and installed."""
    _check_known(backend, source)
    if backend not in _installed():
        raise BackendError(
            f"Keras backend {backend!r}, chosen by {source}, is not installed. "
            f"Installed: {', '.join(_installed()) or 'none'}. {INSTALL}"
        )


def _from_file() -> tuple[str, Path]:
    """The backend that Keras would take from its file, or its default, and the file."""
    home = os.environ.get("KERAS_HOME")
    path = (Path(home) if home else Path.home() / ".keras") / "keras.json"
    try:
        return json.loads(path.read_text()).get("backend") or BACKENDS[0], path
    except (OSError, ValueError, AttributeError):
        return BACKENDS[0], path


def select_backend() -> None:
    """Make `import keras` work, or raise `BackendError` with the way out."""
    if "keras" in sys.modules:
        return
    if backend := os.environ.get("KERAS_BACKEND"):
        return check_backend(backend, "the environment variable KERAS_BACKEND")
    # The file is not the user's choice: Keras writes it at its first import, with its default.
    # So a backend that it names and that is not installed is replaced; the variable's is an error.
    backend, path = _from_file()
    _check_known(backend, path)
    available = _installed()
    if backend in available:
        return
    if not available:
        raise BackendError(f"lipkit needs a Keras backend and found none. {INSTALL}")
    os.environ["KERAS_BACKEND"] = available[0]
    if (backend, available) == (BACKENDS[0], available[:1]):
        return  # nobody chose, and there is nothing to choose
    logging.getLogger("lipkit").warning(
        "Keras would use the backend %s, which is not installed; lipkit chose %s. "
        "Set KERAS_BACKEND to choose yourself.",
        backend,
        available[0],
    )

"""Choose an installed Keras backend, if and only if the user chose none.

Keras falls back to TensorFlow whatever is installed, and dies at import if it is missing.
"""

import importlib.util
import json
import logging
import os
import sys
from pathlib import Path

from lipkit.errors import BackendError

PREFERRED = ("tensorflow", "jax", "torch")  # Keras's own default first
MODULES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
INSTALL = "Install one: pip install 'lipkit[jax]', 'lipkit[tensorflow]' or 'lipkit[torch]'."


def _installed(backend: str) -> bool:
    module = MODULES.get(backend)
    return module is None or importlib.util.find_spec(module) is not None


def _users_choice() -> tuple[str, str] | None:
    """The backend that the user asked for and where, or None."""
    if backend := os.environ.get("KERAS_BACKEND"):
        return backend, "the environment variable KERAS_BACKEND"
    home = os.environ.get("KERAS_HOME")
    path = (Path(home) if home else Path.home() / ".keras") / "keras.json"
    try:
        backend = json.loads(path.read_text()).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
    return (backend, str(path)) if backend else None


def select_backend() -> None:
    """Make `import keras` work, or raise `BackendError` with the way out."""
    if "keras" in sys.modules:
        return
    choice = _users_choice()
    if choice is not None and _installed(choice[0]):
        return
    available = [name for name in PREFERRED if _installed(name)]
    if choice is not None and (choice[1].startswith("the env") or not available):
        raise BackendError(
            f"Keras backend {choice[0]!r}, chosen by {choice[1]}, is not installed. "
            f"Installed: {', '.join(available) or 'none'}. {INSTALL}"
        )
    if not available:
        raise BackendError(f"lipkit needs a Keras backend and found none. {INSTALL}")
    os.environ["KERAS_BACKEND"] = available[0]
    if choice is not None or available[0] != PREFERRED[0]:
        logging.getLogger("lipkit").warning(
            "Keras would use the backend %s, which is not installed; lipkit chose %s. "
            "Set KERAS_BACKEND to choose yourself.",
            choice[0] if choice else PREFERRED[0],
            available[0],
        )

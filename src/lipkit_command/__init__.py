"""The `lipkit` command, outside the package: importing that one takes Keras and a usable backend.

Arguments are checked without it; each command imports what it needs when it runs.
"""

import os
import sys
import warnings
from contextlib import contextmanager


def _opened():
    """Open streams that were closed (2>&-) on nothing, before a file takes their number."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which is the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


@contextmanager
def _quiet():
    """Keep stderr for Python: TensorFlow's other code writes there, at any level of its log.

    Keras imports TensorFlow where it is installed, on every backend.
    """
    sys.stderr.flush()
    python, kept = sys.stderr, os.dup(2)
    with open(os.devnull, "w") as nowhere, open(kept, "w", buffering=1) as sys.stderr:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            sys.stderr = python


def _run():
    """Run the command line, or say in one line why it cannot be."""
    try:
        from lipkit_command.commands import app
    except ImportError as error:
        print(f"lipkit: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("lipkit: interrupted", file=sys.stderr)
        sys.exit(130)
    app(prog_name="lipkit")


def main():
    """Run the command line; TF_CPP_MIN_LOG_LEVEL=0 lets the libraries say what they do."""
    _opened()
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") in ("0", "1"):
        return _run()
    warnings.simplefilter("ignore")
    with _quiet():
        _run()

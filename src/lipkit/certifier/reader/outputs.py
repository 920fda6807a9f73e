"""Which of several outputs is certified."""

from typing import Any


def chosen(names, output: Any, model) -> int:
    """The index of an output that is given by its name or index.

    Raises:
        ValueError: there is no such output, or more than one of the name.
    """
    names = list(names)
    if isinstance(output, str) and names.count(output) == 1:
        return names.index(output)
    if type(output) is int and 0 <= output < len(names):
        return output
    raise ValueError(
        f"`output` must be the name or index of an output of {model!r}: {listed(names)}. "
        f"Received: output={output!r}"
    )


def listed(names):
    """Names of outputs with their indices, for messages."""
    return ", ".join(f"{name!r} ({i})" for i, name in enumerate(names))


def several(model, names, what):
    """Why a model of several outputs is not certified or exported, and the way out."""
    return (
        f"Model {model!r} has {len(names)} outputs: choose the one to {what} by its name or index, "
        f"output=... (--output): {listed(names)}."
    )

"""The tasks that a run can have: each a module of the same functions."""

from types import ModuleType

from lipkit.runs import classification, regression

TASKS: dict[str, ModuleType] = {"classification": classification, "regression": regression}


def batch_size(x) -> int:
    """Samples to certify at a time: the values of all layers are in memory at once."""
    return 4096 if x.ndim == 2 else 256

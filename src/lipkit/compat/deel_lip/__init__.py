"""deel-lip's module tree, with lipkit's classes behind its names.

A program for deel-lip changes one line, and goes on:

    import lipkit.compat.deel_lip as lip  # was: from deel import lip

Every submodule can be imported by its path there, such as
`from lipkit.compat.deel_lip.layers import SpectralDense`. What is different is listed in
docs/migration.md. `load_model` reads the files of models that deel-lip saved.
"""

import sys
import types

import lipkit
from lipkit.compat.deel_lip import _names
from lipkit.compat.deel_lip._files import load_model
from lipkit.models import Model, Sequential, vanillaModel

__version__ = lipkit.__version__


def _unknown(module):
    def getter(name):
        raise AttributeError(
            f"{module} has no {name!r}: deel-lip has no such public name, or lipkit nothing of its "
            "kind. See docs/migration.md."
        )

    return getter


def _make(path):
    """The module at this path below the package, with its names bound."""
    module = types.ModuleType(f"{__name__}.{path}", f"The names of deel.lip.{path}.")
    module.__getattr__ = _unknown(module.__name__)
    for name in _names.MODULES[path]:
        setattr(module, name, _names.find(path, name))
    module.__all__ = list(_names.MODULES[path])
    parent, _, own = module.__name__.rpartition(".")
    sys.modules[module.__name__] = module
    setattr(sys.modules[parent], own, module)
    return own


__all__ = [
    *("Model", "Sequential", "load_model", "vanillaModel"),
    *(_make(path) for path in sorted(_names.MODULES) if "." not in path),
]
for _path in _names.MODULES:
    if "." in _path:
        _make(_path)

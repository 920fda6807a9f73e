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


def _make(path):
    """The module at this path below the package; returns its own name."""
    module = types.ModuleType(f"{__name__}.{path}", f"The names of deel.lip.{path}.")
    module.__all__ = list(_names.MODULES[path])
    module.__getattr__ = lambda name: _names.find(path, name)
    module.__dir__ = lambda: module.__all__
    sys.modules[module.__name__] = module
    parent, _, own = module.__name__.rpartition(".")
    setattr(sys.modules[parent], own, module)
    return own


__all__ = ["Model", "Sequential", "load_model", "vanillaModel"]
__all__ += [_make(path) for path in sorted(_names.MODULES) if "." not in path]
for _path in _names.MODULES:
    if "." in _path:
        _make(_path)

"""Modules of the package that import nothing of it, read without the package.

The import of the package takes seconds, because it imports Keras and a backend.
"""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path


def _module(name):
    package = find_spec("lipkit")
    assert package is not None and package.origin is not None
    path = Path(package.origin).parent / f"{name}.py"
    spec = spec_from_file_location(f"{__name__}.{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


choices = _module("_choices")
existing = _module("_files/atomic").existing
printable = _module("_table").printable
version = _module("_version").__version__

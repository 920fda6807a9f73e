"""Which modules of lipkit are public."""

import importlib
import pkgutil

import lipkit

# what stands for another library's modules
HIDDEN = {"lipkit.compat"}


def public_modules():
    """{name: module} of the modules that a user may import, the package after its parts."""
    found = {"lipkit.certifier.graph": lipkit.certifier.graph}
    for info in pkgutil.iter_modules(lipkit.__path__, "lipkit."):
        if not info.name.startswith("lipkit._") and info.name not in HIDDEN:
            found[info.name] = importlib.import_module(info.name)
    return {**found, "lipkit": lipkit}

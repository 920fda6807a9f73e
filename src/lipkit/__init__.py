"""lipkit: neural networks with a Lipschitz constant under control, on Keras 3."""

from importlib import import_module as _import_module

from lipkit._selection import INSTALL, select_backend
from lipkit._version import __version__
from lipkit.errors import BackendError, NotCertifiable

select_backend()
try:
    import keras as _keras
except ImportError as error:
    raise BackendError(f"Keras could not be imported ({error}). {INSTALL}") from error

if not hasattr(_keras, "layers"):  # a first `import keras` failed half-way and was swallowed
    raise BackendError(
        "Keras was imported before lipkit with a backend that is not usable. Restart Python and "
        f"set KERAS_BACKEND to an installed backend before importing Keras. {INSTALL}"
    )

from lipkit import (  # noqa: E402
    attacks,
    callbacks,
    certifier,
    compute_layer_sv,
    constraints,
    data,
    explain,
    initializers,
    layers,
    losses,
    metrics,
    models,
    normalizers,
    optimizers,
    parametrizations,
    plots,
    regularizers,
    utils,
    wasserstein,
)
from lipkit import models as model  # noqa: E402  # deel-lip's names
from lipkit.certifier import certify, lipschitz_bound  # noqa: E402
from lipkit.export.onnx import export_onnx  # noqa: E402
from lipkit.export.scaling import finalize  # noqa: E402
from lipkit.layers import activations  # noqa: E402
from lipkit.lipschitzify import lipschitzify  # noqa: E402
from lipkit.models import Model, Sequential, vanillaModel  # noqa: E402
from lipkit.wasserstein import wasserstein_distance  # noqa: E402

__all__ = [
    "Model",
    "NotCertifiable",
    "Sequential",
    "__version__",
    "activations",
    "attacks",
    "callbacks",
    "certifier",
    "certify",
    "compute_layer_sv",
    "constraints",
    "data",
    "explain",
    "export_onnx",
    "finalize",
    "initializers",
    "layers",
    "lipschitz_bound",
    "lipschitzify",
    "losses",
    "metrics",
    "model",
    "models",
    "normalizers",
    "optimizers",
    "parametrizations",
    "plots",
    "regularizers",
    "utils",
    "vanillaModel",
    "wasserstein",
    "wasserstein_distance",
]


# imported at their first use: scikit-learn is optional, and most programs need none of the others
_LAZY = ("compat", "estimators", "recipes", "report", "runs", "testing")


def __getattr__(name):
    if name in _LAZY:
        return _import_module(f"lipkit.{name}")
    raise AttributeError(f"module 'lipkit' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LAZY})

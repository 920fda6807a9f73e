"""scikit-learn estimators with certificates; they need `pip install 'lipkit[sklearn]'`."""

try:
    from sklearn.utils.validation import validate_data as _needed  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"lipkit.estimators needs scikit-learn 1.6 or later ({error}). Install it: "
        "pip install 'lipkit[sklearn]'"
    ) from error

from lipkit.estimators.classifier import LipschitzClassifier
from lipkit.estimators.one_class import OneClassLipschitz
from lipkit.estimators.regressor import LipschitzRegressor

__all__ = ["LipschitzClassifier", "LipschitzRegressor", "OneClassLipschitz"]

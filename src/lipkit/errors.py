"""Exceptions of lipkit. Bad values raise `ValueError`; these name what has no value to blame."""


class LipkitError(Exception):
    """Base class of lipkit's own exceptions."""


class BackendError(LipkitError, ImportError):
    """No usable Keras backend was found."""


class NotCertifiable(LipkitError, ValueError):
    """A part of the model has no proven rule, or the model is not what its layers say."""

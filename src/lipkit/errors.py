"""Exceptions of lipkit. Bad values raise `ValueError`; these name what has no value to blame."""


class LipkitError(Exception):
    """Base class of lipkit's own exceptions: `except lipkit.errors.LipkitError` catches them."""


class BackendError(LipkitError, ImportError):
    """Keras has no backend that can be used: none is installed, or the one chosen is not."""


class NotCertifiable(LipkitError, ValueError):
    """A part of the model has no proven rule, or the model is not what its layers say.

    Args:
        reason: what is wrong, and what to do. A whole sentence if there is no `where`.
        where: the layer, operation, node or file, as messages call it: `"Layer 'relu' (ReLU)"`.
            None for what concerns the model as a whole.

    Example:
    >>> layer = keras.layers.LayerNormalization(name="normalise")
    >>> try:
    ...     lipkit.lipschitz_bound(keras.Sequential([keras.Input((2,)), layer]))
    ... except lipkit.NotCertifiable as error:
    ...     print(error.where, error.reason, sep=" | ")
    Layer 'normalise' (LayerNormalization) | its slope has no bound over all inputs. ...
    """

    def __init__(self, reason: str, where: str | None = None):
        super().__init__(reason, where)
        self.reason = reason
        self.where = where

    def __str__(self):
        return (
            self.reason
            if self.where is None
            else f"{self.where} cannot be certified: {self.reason}"
        )

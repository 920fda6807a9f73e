"""The one way in which readers of Keras models and ONNX files refuse a part of them."""

import keras

from lipkit.errors import NotCertifiable


def refusal(part, reason) -> NotCertifiable:
    """The error for a part of a model.

    Args:
        part: layer or operation of Keras, or what messages call another part.
        reason: what is wrong with it, and what to do.
    """
    if not isinstance(part, str):
        what = "Layer" if isinstance(part, keras.layers.Layer) else "Operation"
        part = f"{what} {part.name!r} ({type(part).__name__})"
    return NotCertifiable(reason, part)

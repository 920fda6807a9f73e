"""Images as PNG inside the page."""

import base64
import io

import numpy as np

from lipkit.plots import CLASS_COLORS
from lipkit.report.markup import Html, tag


def _png(pixels, alt, caption) -> Html:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return tag("figure", tag("img", src=source, alt=alt), tag("figcaption", caption))


def _bytes(values, low, high):
    return np.round(255 * np.clip((values - low) / ((high - low) or 1.0), 0, 1)).astype("uint8")


def _channels(image):
    """(height, width, 3) as it is, anything else as a mean (height, width)."""
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    return image.mean(axis=2) if image.ndim == 3 else image


def picture(image, alt, caption, low, high) -> Html:
    """An image, with the range of values from black to white."""
    return _png(_bytes(_channels(image), low, high), alt, caption)


def difference(delta, alt, caption) -> Html:
    """Where an image gains (orange) and loses (blue); nothing where it stays."""
    if delta.ndim == 3:  # the channel that changes most
        strongest = np.abs(delta).argmax(axis=2, keepdims=True)
        delta = np.take_along_axis(delta, strongest, axis=2)[..., 0]
    largest = float(np.abs(delta).max()) or 1.0
    colors = {sign: [int(CLASS_COLORS[sign][i : i + 2], 16) for i in (1, 3, 5)] for sign in (1, -1)}
    pixels = np.where(delta[..., None] > 0, colors[1], colors[-1]).astype("uint8")
    return _png(np.dstack([pixels, _bytes(np.abs(delta), 0, largest)]), alt, caption)

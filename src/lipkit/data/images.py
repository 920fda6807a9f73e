"""Images from a folder, one sub-folder per class."""

import logging
import math
import warnings
from pathlib import Path

import numpy as np

from lipkit._files.limits import PIXELS, check_bytes
from lipkit._files.opened import regular
from lipkit.data.delimited import some

LOG = logging.getLogger("lipkit")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
GREY, COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "YCbCr", "CMYK", "HSV", "LAB")
DEEP = ("I;16", "I;16L", "I;16B")  # grey, from 0 to 65535
BESIDE = ("thumbs.db", "desktop.ini")  # of file managers


def find(folder: Path) -> tuple[list[Path], list[str] | None]:
    """Image files in order, and the sub-folder of each: None if the images are in no sub-folder."""
    found = [path for path in sorted(folder.glob("*/*")) if _is_image(path)]
    loose = [path for path in sorted(folder.iterdir()) if _is_image(path)]
    if found and loose:
        raise ValueError(
            f"{folder} has images beside its sub-folders, such as {loose[0].name}: put each into "
            "the sub-folder of its class."
        )
    if not found and not loose:
        deeper = next(filter(_is_image, sorted(folder.glob("*/*/*"))), None)
        where = f" {deeper} is one folder too deep: choose {deeper.parents[1]}." if deeper else ""
        raise ValueError(f"{folder} has no images: expected one sub-folder for each class.{where}")
    return found or loose, [path.parent.name for path in found] or None


def warn_of_others(folder: Path) -> None:
    """Say that files which are not images are left out, but for those of file managers."""
    beside = (path for path in sorted((*folder.glob("*/*"), *folder.iterdir())) if path.is_file())
    names = [path.name for path in beside if not _is_image(path)]
    names = [name for name in names if not name.startswith(".") and name.lower() not in BESIDE]
    if names:
        LOG.warning("%s: left out as not images: %s", folder, some(names, 5))


def _is_image(path):
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _open(path):
    """A decoded image, in mode L, RGB, or F for numbers up to 65535."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we have a limit
            with Image.open(regular(path)) as image:
                if image.width * image.height > PIXELS:
                    raise ValueError(f"it has {image.width} x {image.height} pixels, too many")
                stored = str(image.tile)  # how, before Pillow makes 8 bits of colours with 16
                image.load()
                frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a readable image: {error}") from None
    if frames > 1:
        raise ValueError(f"{path} has {frames} frames: save each as an image of its own.")
    if image.mode in DEEP:
        return Image.fromarray(np.asarray(image, "float32"))
    if image.mode not in GREY + COLOUR or any(f";16{order}" in stored for order in "BLN"):
        raise ValueError(
            f"{path} has pixels of mode {image.mode} that do not have 8 bits per channel: save it "
            "with 8, or as grey with 16."
        )
    transparent = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
    if transparent and image.convert("RGBA").getextrema()[3][0] < 255:
        raise ValueError(f"{path} is transparent in places: save it without transparency.")
    return image.convert("L" if image.mode in GREY else "RGB")


def read(paths, size=None, shape=None, problems=None) -> np.ndarray:
    """Values from 0 to 1, float64 (n, height, width, channels): 1 if all files are grey, or 3.

    Args:
        paths: image files.
        size: (height, width) that all are resized to; None: all must have one size.
        shape: (height, width, channels) that is asked for; None: that of the files.
        problems: a dictionary that gets {number: why} of the images that do not fit, which are NaN;
            None: they are an error.

    Raises:
        ValueError: naming the first file that does not fit, or the first if none does.
    """
    if shape is None:
        shape = _common(paths, size, problems is not None)
    largest = max(math.prod(shape), math.prod(size or ()))
    check_bytes(paths[0].parent, 8 * len(paths) * largest, f"{len(paths)} images of {shape}")
    values = np.empty((len(paths), *shape))
    for number, path in enumerate(paths):
        try:
            values[number] = _pixels(path, size, shape)
        except ValueError as error:
            if problems is None:
                raise
            values[number], problems[number] = np.nan, str(error)
    return values


def _common(paths, size, partly):
    """The shape of images: the first has their size, and one in colour makes all of them so."""
    sizes, colour, error = [], False, None
    for path in paths:
        try:
            image = _open(path)
        except ValueError as problem:
            if not partly:
                raise
            error = error or problem
            continue
        sizes.append(image.size[::-1])
        colour |= image.mode == "RGB"
    if error and not sizes:
        raise error
    return (*(size or sizes[0]), 3 if colour else 1)


def _pixels(path, size, shape):
    """The values of one image: (height, width, channels), or 1 for the channels of a grey one."""
    image = _open(path)
    if image.mode == "RGB" and shape[2] == 1:
        raise ValueError(f"{path} is in colour, but the model takes grey images.")
    if size is not None:
        image = image.resize(size[::-1])
    if image.size[::-1] != tuple(shape[:2]):
        raise ValueError(
            f"{path} has {image.height} x {image.width} pixels, expected {shape[0]} x "
            f"{shape[1]}. To resize all images at training: --image-size HEIGHT,WIDTH."
        )
    pixels = np.asarray(image, "float64") / (65535 if image.mode == "F" else 255)
    return pixels if pixels.ndim == 3 else pixels[..., None]  # grey: in all channels

"""NPZ files: arrays of numbers, read only if they are as large as they say, and not too large."""

import math
import zipfile
import zlib

import numpy as np

from lipkit._files.limits import TooLarge, check_bytes
from lipkit._files.opened import regular
from lipkit.data.encoders import LARGEST
from lipkit.data.tables import exact

HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# what zipfile and NumPy raise for damaged archives
DAMAGES = (
    *(ValueError, OSError, EOFError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


def read_npz(path) -> dict[str, np.ndarray]:
    """The arrays in a file, by name.

    Raises:
        ValueError: it is not an archive of arrays, one is cut off or holds objects, or all together
            take more memory than is allowed.
    """
    path = regular(path)
    try:
        with path.open("rb") as opened:
            with zipfile.ZipFile(opened) as archive:
                _check(path, archive)
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as file:
                return dict(file)
    except TooLarge:
        raise
    except DAMAGES as error:
        raise ValueError(f"{path} is not a readable NPZ file of numbers: {error}") from None


def _check(path, archive):
    """Refuse arrays that are larger than what is stored of them, or than what is allowed."""
    total = 0
    for member in archive.infolist():
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            if version not in HEADERS:
                raise ValueError(f"{member.filename} has the unknown format version {version}")
            shape, _, dtype = HEADERS[version](file)
            numbers = math.prod(shape)
            stored = member.file_size - file.tell()
        if dtype.hasobject or numbers * dtype.itemsize > stored:
            raise ValueError(f"{member.filename} holds objects, or is cut off")
        total += numbers * max(dtype.itemsize, np.dtype("float64").itemsize)
    check_bytes(path, total, "the arrays")


def targets(y, name) -> np.ndarray:
    """Numbers to predict in float64 (n,), finite in float32.

    Raises:
        ValueError: it does not hold one number for each row, or not a finite one.
    """
    if y.dtype.kind not in "biuf" or y.ndim != 1:
        raise ValueError(
            f"{name} must hold one number for each row, shape (n,). Received: {y.dtype} of shape "
            f"{y.shape}."
        )
    y = exact(y, name)
    bad = ~(np.abs(y) <= LARGEST)
    if bad.any():
        raise ValueError(
            f"{name} has numbers that are missing, infinite or too large for float32 in "
            f"{bad.sum()} rows, first in row {np.argmax(bad) + 1}. Leave these rows out."
        )
    return y


def numbers(x, name) -> tuple[np.ndarray, np.ndarray]:
    """An array of samples in float64, and which of them are not finite in float32: (n,).

    Raises:
        ValueError: it does not hold numbers, or has too few or many axes.
    """
    if x.dtype.kind not in "biuf" or not 2 <= x.ndim <= 4 or not x.size:
        raise ValueError(
            f"{name} must hold numbers of shape (n, ...) with 2 to 4 axes, n >= 1. Received: "
            f"{x.dtype} of shape {x.shape}."
        )
    x = exact(x, name)
    return x, ~(np.abs(x) <= LARGEST).reshape(len(x), -1).all(axis=1)

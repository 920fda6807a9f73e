"""Class names and class numbers."""

import logging

import numpy as np

from lipkit._files.limits import TEXT

LOG = logging.getLogger("lipkit")
MOST_CLASSES = 1000
NUMBERS = "predict numbers: lipkit train --task regression"


def text_of(value) -> str:
    """One text for equal values: 1 and 1.0 are the class or category "1"."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def check_texts(texts, name) -> None:
    """Refuse texts that are too long for a name."""
    longest = max(map(len, texts), default=0)
    if longest > TEXT:
        raise ValueError(
            f"{name} has a text of {longest} characters; classes and categories have at most "
            f"{TEXT}. Shorten it, or leave the column out (--drop)."
        )


def warn_alike(texts, name) -> None:
    """Say which texts differ in blanks or case only, or have blanks around them."""
    first = {}
    for text in texts:
        alike = first.setdefault(" ".join(text.split()).casefold(), text)
        if alike != text:
            LOG.warning(
                "%s has %r and %r, which count as different: correct the file if they are one",
                *(name, alike, text),
            )
        elif text != text.strip():
            LOG.warning("%s has %r, with blanks around it", name, text)


def encode(
    values, name, classes=None, names=None, partly=False
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Integers int64 (n,) from 0, and the names of the classes in their order.

    Args:
        values: (n,) integers, booleans or texts; floats that are whole numbers.
        name: what the values are, for errors.
        classes: names known from training; None: all that occur, sorted.
        names: (k,) names of the classes that the values count from 0; None: they are the names.
        partly: whether some classes may be unknown, and are -1.

    Raises:
        ValueError: a value is missing, the values are continuous, or a class is not known.
    """
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "biufUOS":
        raise ValueError(
            f"{name} must hold one class for each row. Received: {values.dtype} of shape "
            f"{values.shape}." + " Of one-hot rows it is y.argmax(axis=1)." * (values.ndim == 2)
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{name} has {np.sum(~np.isfinite(values))} missing or infinite values.")
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        between = values[values != np.floor(values)][0]
        raise ValueError(
            f"{name} is continuous (such as {between:g}), but classes are needed. Turn it into "
            f"classes, or {NUMBERS}."
        )
    if names is not None:
        values = _named(values, np.asarray(names), name)
    if values.dtype.kind == "O":  # not by np.unique, which sorts them all
        texts = [*map(str, values)]
        found = sorted({*texts})
        place = {text: i for i, text in enumerate(found)}
        y = np.array([place[text] for text in texts])
    else:
        found, y = np.unique(values, return_inverse=True)
    names = [text_of(value) for value in found]
    check_texts(names, name)
    if classes is None:
        if len(names) > MOST_CLASSES or len(names) > max(20, len(values) // 2):
            raise ValueError(
                f"{name} has {len(names)} different values in {len(values)} rows: is it continuous "
                f"or an identifier? Classes are needed, each with several rows; or {NUMBERS}."
            )
        warn_alike(names, name)
        return y.astype("int64"), tuple(names)
    places = {text: i for i, text in enumerate(classes)}
    y = np.array([places.get(text, -1) for text in names], "int64")[y]
    unknown = [text for text in names if text not in places]
    if unknown:
        known = ", ".join(map(repr, classes[:10])) + (", ..." if len(classes) > 10 else "")
        said = f"{name} has the class {unknown[0]!r}; the model has {known}."
        if not partly or (y < 0).all():
            raise ValueError(f"{said} Correct it, or leave out these rows.")
        LOG.warning("%s %d rows count as if they had no class", said, np.sum(y < 0))
    return y, tuple(classes)


def _named(values, names, name):
    if values.dtype.kind not in "iu" or not ((values >= 0) & (values < len(names))).all():
        raise ValueError(f"{name} must number the {len(names)} classes from 0.")
    return names[values]

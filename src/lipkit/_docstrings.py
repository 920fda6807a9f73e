"""Docstrings of classes say of every argument what it is, though each says so only once."""

import inspect
import re
import textwrap
from typing import NamedTuple

ARGS = re.compile(r"(?m)^Args:\n((?:[ \t]+\S.*\n?|[ \t]*\n(?=[ \t]*\n|[ \t]+\S))+)")
HEAD = re.compile(r"(?m)^ ?(?=[`*]*\w[\w*`, ]*:(?:\s|$))")
AFTER_ARGS = re.compile(r"(?m)^(?=(?:Returns|Raises|Examples?|References?)\b.*)")


# arguments of all layers that Keras's own pages leave out
UNSAID = """All layers.

Args:
    activity_regularizer: regularizer of the outputs, or None.
    autocast: whether floating point inputs are cast to the layer's dtype.
"""


class Entry(NamedTuple):
    """What a docstring says of one or several arguments."""

    names: tuple[str, ...]
    text: str


def entries(docstring):
    """The entries of the section `Args`."""
    found = ARGS.search(docstring + "\n")
    for part in HEAD.split(textwrap.dedent(found[1]) if found else ""):
        names, colon, text = part.partition(":")
        if colon:
            yield Entry(tuple(name.strip(" `*") for name in names.split(",")), text.strip("\n"))


def complete(cls, arguments):
    """Give a class's `Args` what its bases, Keras's among them, say of the other arguments.

    So does the `function` that a loss puts into a class.
    """
    docstring = inspect.cleandoc(cls.__doc__ or "")
    said: dict[str, Entry] = {}
    homes = [home for base in cls.__mro__[:-1] for home in (base, vars(base).get("function"))]
    for text in (*(home.__doc__ for home in homes if home), UNSAID):
        for entry in entries(inspect.cleandoc(text or "")):
            for name in entry.names:
                said.setdefault(name, entry)
    lines = []
    for entry in dict.fromkeys(said[name] for name in arguments if name in said):
        names = [name for name in entry.names if name in arguments and said[name] is entry]
        lines.append(f"{', '.join(names)}:{entry.text}")
    if not lines:
        return
    text = textwrap.indent("\n".join(lines), "    ")
    place = ARGS.search(docstring + "\n") or AFTER_ARGS.search(docstring)
    start, end = place.span() if place else (len(docstring), len(docstring))
    parts = (docstring[:start].rstrip(), f"Args:\n{text}", docstring[end:].lstrip("\n"))
    cls.__doc__ = "\n\n".join(filter(None, parts))

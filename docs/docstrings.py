"""An extension of Griffe: docstrings that are written for terminals become Markdown."""

import importlib
import inspect
import re
import textwrap

import griffe

EXAMPLE = re.compile(r"(?m)^Example:\n((?:.+\n?)+)")
RETURNS = re.compile(r"(?m)^Returns:\n((?:    .+\n?)+)")
CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)


def markdown(text):
    """Examples as code, and no accidental HTML: `a < b` outside of code."""
    text = EXAMPLE.sub(lambda m: f"Example:\n\n```pycon\n{m[1].rstrip()}\n```\n", text)
    # without types a list of what is returned would have nothing before its dash
    text = RETURNS.sub(lambda m: f"**Returns:** {textwrap.dedent(m[1])}", text)
    parts = CODE.split(text)
    return "".join(_linked(p) if i % 2 else p.replace("<", "&lt;") for i, p in enumerate(parts))


def _linked(code):
    """A name of the package as a link, if it has a place in the reference."""
    name = re.fullmatch(r"`(lipkit(?:\.\w+)+)`", code)
    return f'<autoref optional identifier="{name[1]}">{code}</autoref>' if name else code


def completed(obj):
    """The docstring of a class as `help` shows it: with the arguments that its bases explain."""
    home = importlib.import_module(obj.module.path)
    return inspect.getdoc(getattr(home, obj.name))


class Plain(griffe.Extension):
    """Rewrites every docstring when it is read."""

    def on_instance(self, *, obj, **kwargs):
        """One object of the package."""
        if not obj.is_alias and obj.docstring:
            complete = obj.is_class and obj.parent.is_module
            obj.docstring.value = markdown(completed(obj) if complete else obj.docstring.value)

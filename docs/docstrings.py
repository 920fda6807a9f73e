"""An extension of Griffe: docstrings that are written for terminals become Markdown."""

import re

import griffe

EXAMPLE = re.compile(r"(?m)^Example:\n((?:.+\n?)+)")
CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)


def markdown(text):
    """Examples as code, and no accidental HTML: `a < b` outside of code."""
    text = EXAMPLE.sub(lambda m: f"Example:\n\n```pycon\n{m[1].rstrip()}\n```\n", text)
    parts = CODE.split(text)
    return "".join(p if i % 2 else p.replace("<", "&lt;") for i, p in enumerate(parts))


class Plain(griffe.Extension):
    """Rewrites every docstring when it is read."""

    def on_instance(self, *, obj, **kwargs):
        """One object of the package."""
        if not obj.is_alias and obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)

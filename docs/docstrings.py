"""An extension of Griffe: docstrings for terminals become Markdown, functions precede classes."""

import importlib
import inspect
import re
import textwrap

import griffe

EXAMPLE = re.compile(r"(?m)^Example:\n((?:.+\n?)+)")
RETURNS = re.compile(r"(?m)^Returns:\n((?:    .+\n?)+)")
CODE = re.compile(r"(```.*?```|`[^`\n]+`|(?<=\n\n)(?:    [^\n]+\n)+)", re.DOTALL)


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


def running(obj):
    """The class itself: it knows of arguments and docstrings that its bases complete."""
    return getattr(importlib.import_module(obj.module.path), obj.name)


def constructor(cls):
    """The constructor as `help` shows it, for a class that lists what it takes."""
    found = inspect.signature(cls.__init__).parameters.values()
    parameters = (
        griffe.Parameter(
            p.name,
            kind=griffe.ParameterKind(p.kind.description),
            default=None if p.default is p.empty else repr(p.default).replace("Ellipsis", "..."),
        )
        for p in found
    )
    return griffe.Function("__init__", parameters=griffe.Parameters(*parameters))


class Plain(griffe.Extension):
    """Rewrites every docstring when it is read."""

    def on_instance(self, *, obj, **kwargs):
        """One object of the package."""
        if not obj.is_alias and obj.docstring:
            whole = obj.is_class and obj.parent.is_module
            text = inspect.getdoc(running(obj)) if whole else obj.docstring.value
            obj.docstring.value = markdown(text)

    def on_class_members(self, *, cls, **kwargs):
        """One class with all that is in it."""
        if cls.parent.is_module and hasattr(running(cls).__init__, "__signature__"):
            cls.set_member("__init__", constructor(running(cls)))

    def on_package(self, *, pkg, **kwargs):
        """The whole package, before its pages are written."""
        modules = [pkg]
        for module in modules:
            modules += [m for m in module.members.values() if not m.is_alias and m.is_module]
            module.exports = in_order(module)


def in_order(module):
    """The names of a module: functions before classes, each as they stand in the source."""
    found = []
    for name, member in module.members.items():
        listed = not member.is_alias if module.exports is None else name in module.exports
        if listed:
            line = member.alias_lineno if member.is_alias else member.lineno
            found.append((_kind(member) == griffe.Kind.CLASS, line or 0, name))
    return [name for *_, name in sorted(found)]


def _kind(member):
    try:
        return member.kind if not member.is_alias else member.final_target.kind
    except (griffe.AliasResolutionError, griffe.CyclicAliasError):  # of no page
        return None

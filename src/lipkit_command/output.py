"""What commands show on stdout."""

import json

import typer

from lipkit_command.plain import printable


def show(as_json: bool, document: dict, lines) -> None:
    """Print a result: one JSON object, or lines of text."""
    texts = [json.dumps(document, allow_nan=False)] if as_json else map(printable, lines)
    typer.echo("\n".join(texts))


def identity(path, sha256) -> str:
    """A line that says which file or run a result belongs to."""
    return f"SHA-256 of {path}: {sha256 or 'none (the run has no manifest)'}"


def facts(rows) -> list[str]:
    """Lines of (name, text) pairs, the texts below one another."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    return [f"{name.ljust(width)}  {text}" for name, text in rows]

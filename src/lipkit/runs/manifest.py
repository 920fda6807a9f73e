"""The manifest of a run: SHA-256 of each of its files. Its own hash stands for the whole run."""

import hashlib
import json
from pathlib import Path

from lipkit._files.opened import parse_json, regular, sha256
from lipkit.runs.schema import MANIFEST

SCHEMA = 1


def _text(hashes):
    document = {"schema": SCHEMA, "files": dict(sorted(hashes.items()))}
    return json.dumps(document, indent=1) + "\n"


def write(folder: Path) -> str:
    """Write the manifest of all files in a folder, the last of them; gives its hash."""
    hashes = {path.name: sha256([path]) for path in folder.iterdir()}
    content = _text(hashes).encode()
    (folder / MANIFEST).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def read(folder: Path) -> tuple[dict[str, str], str]:
    """The hashes of a folder's files, and that of the manifest.

    Raises:
        OSError: there is none.
        ValueError: it is not one that `write` wrote, down to the last character.
    """
    content = regular(folder / MANIFEST).read_bytes()
    document = parse_json(content)
    hashes = document.get("files") if isinstance(document, dict) else None
    if not isinstance(hashes, dict) or _text(hashes).encode() != content:
        raise ValueError("it is damaged, or of another version of lipkit")
    return hashes, hashlib.sha256(content).hexdigest()

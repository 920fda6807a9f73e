"""Files as they were read: regular ones only, with the hash of what was in them."""

import hashlib
import json
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lipkit._files.limits import DOCUMENT

KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def regular(path) -> Path:
    """The path, if it is that of a regular file: reading others may never end.

    Raises:
        OSError: there is none, or it may not be looked at.
        ValueError: it is something else.
    """
    path = Path(path)
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise ValueError(f"{path} is {kind}, not a file. Copy its content to a file.")
    return path


def sha256(paths, root=None) -> str:
    """Hash of a file's content, or of the names, sizes and contents of files in a folder.

    Args:
        paths: the files.
        root: the folder that their names are relative to; None for one file.
    """
    digest = hashlib.sha256()
    for path in paths:
        with regular(path).open("rb") as file:
            if root is not None:
                name = path.relative_to(root).as_posix()
                digest.update(f"{name}\0{path.stat().st_size}\0".encode("utf-8", "surrogateescape"))
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _state(path):
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextmanager
def unchanged(paths, root=None):
    """Gives the `sha256` of files that the block reads.

    Raises:
        ValueError: at the end, if one is not what it was: the hash may be of something else.
    """
    before = [_state(regular(path)) for path in paths]
    yield sha256(paths, root)
    for path, state in zip(paths, before, strict=True):
        if _state(path) != state:
            raise ValueError(f"{path} changed while it was read.")


def read_json(path: str | Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, not a regular file, or too large.
    """
    with regular(path).open("rb") as file:
        return parse_json(file.read(DOCUMENT + 1))


def parse_json(content: bytes):
    """What a JSON document holds: a ValueError for any that cannot be read."""
    if len(content) > DOCUMENT:
        raise ValueError(f"a JSON document of more than {DOCUMENT} bytes")
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("a JSON document that is nested too deeply") from None

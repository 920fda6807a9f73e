"""Folders and files of results: at a place that is free, or holds what may be replaced."""

import tempfile
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from lipkit._files.atomic import PREFIX, replacing, sweep


def writable(directory: Path) -> Path:
    """Make the directory and prove that a file can be written there, before any work is done."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ValueError(f"Cannot write to {directory}: {error.strerror}.") from None
    return directory


def _state(path):
    found = path.lstat()
    return path.name, found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def new_folder(out: Path, files, what, overwrite=False, derived=()):
    """A folder to fill, which becomes `out` at the end; after an error `out` is as it was.

    Args:
        out: the place.
        files: names of the files that it will have. A folder of others is never replaced.
        what: the name of such a folder, for errors.
        overwrite: whether one may be replaced.
        derived: names, or patterns of names, of files that may be added to it at any time.
    """
    out = out.resolve()

    def seen(path):
        """What tells one folder from another, if it may be replaced."""
        if not path.is_dir():
            raise ValueError(f"{out} is not a folder.")
        sweep(path)
        held = sorted(path.iterdir())
        known = (*files, *derived, f"{PREFIX}*")
        strange = [p.name for p in held if not any(fnmatch(p.name, name) for name in known)]
        if strange:
            raise ValueError(
                f"{out} holds {strange[0]!r}, which does not belong to {what}. Choose another "
                "folder."
            )
        if held and not overwrite:
            raise ValueError(
                f"{out} holds {what}. Choose another folder, or overwrite it (--overwrite)."
            )
        return [_state(p) for p in held if p.name in files]

    if out == Path.cwd():
        raise ValueError(f"{out} is the working folder. Choose a folder of its own.")
    if out.exists():
        seen(out)
    writable(out.parent)
    with replacing(out, seen) as new:
        new.mkdir()
        yield new


@contextmanager
def new_file(out: Path, overwrite=False):
    """A path to write, file or folder of a SavedModel, which becomes `out` at the end."""

    def seen(path):
        """What tells one file from another, if it may be replaced."""
        if path.is_dir() and not (path / "saved_model.pb").exists():
            raise ValueError(f"{out} is a folder with other files. Choose another name.")
        if not overwrite:
            raise ValueError(f"{out} exists. Choose another name, or overwrite it (--overwrite).")
        if not path.is_dir() and not path.is_file():
            raise ValueError(f"{out} is not a file. Choose another name.")
        return _state(path)

    if out.exists():
        seen(out)
    writable(out.absolute().parent)
    with replacing(out, seen) as new:
        yield new

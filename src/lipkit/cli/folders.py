"""Folders and files that appear whole or not at all."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from lipkit.cli.runs import FILES


def writable(directory: Path) -> Path:
    """Make the directory and prove that a file can be written there, before any work is done."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ValueError(f"--out: cannot write to {directory}: {error.strerror}.") from None
    return directory


def _check_free(out, overwrite):
    """Refuse a place that holds anything but a run that may be replaced."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ValueError(f"--out: {out} is no folder.")
    if out == Path.cwd():
        raise ValueError(f"--out: {out} is the working folder. Choose a folder of its own.")
    held = sorted(path.name for path in out.iterdir()) if out.exists() else []
    strange = [name for name in held if name not in FILES]
    if strange:
        raise ValueError(
            f"--out: {out} holds {strange[0]!r}, which is no part of a run. Choose another folder."
        )
    if held and not overwrite:
        raise ValueError(f"--out: {out} holds a run. Choose another folder, or add --overwrite.")


@contextmanager
def new_run(out: Path, overwrite=False):
    """A folder to fill, which becomes `out` at the end; after an error `out` is as it was."""
    out = out.resolve()
    _check_free(out, overwrite)
    writable(out.parent)
    with tempfile.TemporaryDirectory(
        dir=out.parent, prefix=f".{out.name}-", ignore_cleanup_errors=True
    ) as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        new.mkdir()
        yield new
        if out.exists():
            out.rename(old)
        try:
            new.rename(out)
        except BaseException:
            if old.exists():
                old.rename(out)
            raise


@contextmanager
def new_file(out: Path, overwrite=False):
    """A path to write, file or folder, which becomes `out` at the end."""
    if out.exists() and not overwrite:
        raise ValueError(f"--out: {out} exists. Choose another name, or add --overwrite.")
    if out.is_dir() and not (out / "saved_model.pb").exists():
        raise ValueError(f"--out: {out} is a folder with other files. Choose another name.")
    writable(out.absolute().parent)
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=f".{out.name}-") as scratch:
        new = Path(scratch, out.name)
        yield new
        if out.is_dir():
            out.rename(Path(scratch, "old"))
        os.replace(new, out)

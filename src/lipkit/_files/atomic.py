"""Files and folders that appear whole or not at all, and replace nothing that was not seen.

Next to a place P stands `.lipkit-P` while something is written there: a folder with the file
`lock`, locked by the process, and `new`, which is filled. Filled and on the disk it becomes
`ready`, and is exchanged with what is at P in one step. What came out of there is looked at before
it becomes `dead` and is removed. So a process that ends at any moment leaves P as it was or as it
is to be, and whoever locks `.lipkit-P` next knows what the rest is: `ready` is kept, under a
name of its own, and `new` and `dead` are removed.

Where a system has no such exchange, what was at P is called `old` for an instant; the next one to
lock brings it back if nothing has taken its place.
"""

import ctypes
import errno
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # of POSIX systems
    fcntl = None

LOG = logging.getLogger("lipkit")
PREFIX = ".lipkit-"
OTHER = "Something else appeared at {} while it was being written."
PARTS = ("new", "ready", "old", "dead")
UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def replacing(out: str | os.PathLike[str], seen: Any = None) -> Iterator[Path]:
    """A path to write, file or folder, which becomes `out` at the end of the block.

    After an exception `out` is as it was. The path has the name of `out`.

    Args:
        out: the place.
        seen: seen(path) looks at what is at `out` and gives what tells it from another; it raises
            what is to be raised if that must not be replaced. None: any file may be replaced.

    Raises:
        ValueError: another process writes there, or something that must not be replaced, or was
            not there at the start, is there at the end; then what was written is kept under a
            name that the error says.
        OSError: the place cannot be written to.
    """
    out = Path(out)
    out = out.parent.resolve() / out.name if out.name not in ("", "..") else out.resolve()
    if not out.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {out.parent}.")
    seen = seen or _any_file
    sweep(out.parent)
    with _claimed(out) as scratch:
        before = seen(out) if os.path.lexists(out) else None
        (scratch / "new").mkdir()
        yield scratch / "new" / out.name
        _to_disk(scratch / "new")
        os.rename(scratch / "new", scratch / "ready")
        ready = scratch / "ready" / out.name
        try:
            _install(ready, out, before, seen)
        except Changed as error:
            kept = _beside(ready, out)
            raise ValueError(f"{error} Nothing was replaced; what was written is {kept}.") from None
        _to_disk(out.parent, deep=False)


class Changed(Exception):
    """What is at a place is not what was there."""


def _any_file(path):
    if not path.is_file():
        raise FileExistsError(errno.EEXIST, "Something that is not a file is there", str(path))
    return True


def _install(new, out, before, seen):
    """Put `new` at `out`, if that holds what was seen there, or None for nothing."""
    other = Changed(OTHER.format(out))
    if os.path.lexists(out) and (before is None or _looked(seen, out) != before):
        raise other
    if not os.path.lexists(out):
        try:
            return _move(new, out)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR):
                raise other from None
            raise
    if not _exchange(new, out):
        return os.replace(new, out) if new.is_file() else _in_two_steps(new, out, before, seen)
    if _looked(seen, new) != before:  # it came in the last instant
        _exchange(new, out)
        raise other
    os.rename(new.parent, new.parent.with_name("dead"))


def _looked(seen, path):
    try:
        return seen(path)
    except (OSError, ValueError):
        return ...


def _in_two_steps(new, out, before, seen):
    old = new.parent.with_name("old") / out.name
    old.parent.mkdir()
    os.rename(out, old)
    if _looked(seen, old) != before:
        _move(old, out)
        raise Changed(OTHER.format(out))
    _move(new, out)
    os.rename(old.parent, old.parent.with_name("dead"))


def _renamed(first, second, linux, mac):
    """Rename by the system's call with flags; False where there is none."""
    libc: Any = ctypes.CDLL(None, use_errno=True) if fcntl else None
    paths = os.fsencode(first), os.fsencode(second)
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(*paths, ctypes.c_uint(mac))
    elif sys.platform == "linux" and hasattr(libc, "renameat2"):
        here = -100  # AT_FDCWD
        failed = libc.renameat2(here, paths[0], here, paths[1], ctypes.c_uint(linux))
    else:
        return False
    if not failed:
        return True
    code = ctypes.get_errno()
    if code in UNKNOWN:
        return False
    raise OSError(code, os.strerror(code), str(second))


def _exchange(first, second):
    """Exchange two paths in one step; False where the system has none."""
    return _renamed(first, second, linux=2, mac=2)


def _move(new, out):
    """Rename, unless something is at `out`: an OSError."""
    if _renamed(new, out, linux=1, mac=4):
        return
    if new.is_dir():
        os.rename(new, out)  # which replaces an empty folder at most
        return
    try:
        os.link(new, out)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(out):
            raise FileExistsError(errno.EEXIST, "File exists", str(out)) from None
        os.rename(new, out)
    else:
        os.unlink(new)


def _beside(path, out):
    """Move what is at `path` to the first free name like that of `out`."""
    for number in range(2, 10_000):
        free = out.with_name(f"{out.stem}-{number}{out.suffix}")
        try:
            _move(path, free)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR):
                raise
        else:
            return free
    return path


def _to_disk(path, deep=True):
    """Wait until a file, or a folder with all in it, is on the disk."""
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir() if deep else ():
            _to_disk(inner)
        if os.name != "posix":
            return
    elif not path.is_file():
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNKNOWN:  # a file system that has no such thing
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _claimed(out):
    """The folder `.lipkit-P` of a place, ours until the end of the block, and then gone."""
    scratch = out.with_name(PREFIX + out.name)
    while (lock := _locked(scratch, make=True)) is None:
        if os.path.lexists(scratch):
            raise ValueError(f"Another process is writing {out}. If none is, remove {scratch}.")
    try:
        _clean(scratch, out)
        yield scratch
    finally:
        _remove(scratch, out, lock)


def _locked(scratch, make=False):
    """A descriptor that holds the lock of `.lipkit-P`, or None."""
    made = False
    if make:
        with suppress(FileExistsError):
            scratch.mkdir(mode=0o700)
            made = True
    try:
        lock = os.open(scratch / "lock", os.O_RDWR | os.O_CREAT * make, 0o600)
    except (FileNotFoundError, NotADirectoryError):  # removed in this instant, or never there
        return None
    try:
        if _flock(lock, made) and os.path.samestat(os.fstat(lock), os.stat(scratch / "lock")):
            return lock
    except OSError:  # another holds it, or has removed it
        pass
    os.close(lock)
    return None


def _flock(lock, made):
    """Whether the lock is ours; where there are no locks, whether we made the folder."""
    if fcntl is None:
        return made
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return made and error.errno in (*UNKNOWN, errno.ENOLCK)
    return True


def _clean(scratch, out):
    """Remove what is in `.lipkit-P`, but keep what is whole."""
    if (old := scratch / "old" / out.name).exists() and not os.path.lexists(out):
        os.rename(old, out)
    for whole in ("old", "ready"):
        if os.path.lexists(place := scratch / whole / out.name):
            kept = _beside(place, out)
            LOG.warning("What an interrupted command wrote, or replaced, is now %s", kept)
    for part in PARTS:
        shutil.rmtree(scratch / part, ignore_errors=True)


def _remove(scratch, out, lock):
    """Remove `.lipkit-P`, and unlock it."""
    try:
        _clean(scratch, out)
        with suppress(OSError):
            os.unlink(scratch / "lock")
    finally:
        os.close(lock)
    with suppress(OSError):
        scratch.rmdir()


def existing(path: Path) -> Path:
    """The path, if there is something; else FileNotFoundError."""
    if not path.exists():
        sweep(path.absolute().parent)  # which brings back what was called `old`
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    return path


def sweep(folder) -> None:
    """Remove what processes that ended half-way left in a folder, but keep what was whole."""
    for scratch in sorted(Path(folder).glob(PREFIX + "*")):
        with suppress(OSError):
            if scratch.is_symlink() or not {p.name for p in scratch.iterdir()} <= {"lock", *PARTS}:
                continue
            if (lock := _locked(scratch)) is not None:
                _remove(scratch, scratch.with_name(scratch.name.removeprefix(PREFIX)), lock)
            elif not any(scratch.iterdir()):
                scratch.rmdir()

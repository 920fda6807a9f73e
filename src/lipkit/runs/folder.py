"""A run folder whose files are those that were written, and where runs are."""

import logging
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from lipkit._files.atomic import sweep
from lipkit._files.opened import read_json, unchanged
from lipkit.errors import NotCertifiable
from lipkit.runs import manifest
from lipkit.runs.schema import FILES, INFO, MANIFEST, Invalid, RunInfo

LOG = logging.getLogger("lipkit")


@dataclass(frozen=True)
class RunFolder:
    """A run folder whose files are those of its manifest; see `open`.

    Attributes:
        directory: where they are.
        hashes: SHA-256 of each file; {} for a run without a manifest, of an older lipkit.
        sha256: of the manifest, which stands for the run; None without one.

    Example:
        >>> folder = lipkit.runs.RunFolder.open(run)
        >>> folder.info.classes, len(folder.hashes)
        (['left', 'right'], 5)
    """

    directory: Path
    hashes: dict[str, str]
    sha256: str | None

    @classmethod
    def open(cls, directory, names=FILES) -> "RunFolder":
        """The folder, if it has files of these names, and its files are those of the manifest.

        Args:
            directory: path of the folder.
            names: the files that a folder without a manifest must have. A manifest names all.

        Raises:
            ValueError: a file is missing, or is not the one that was written.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise ValueError(
                "`directory` must be a folder that `lipkit train ... --out DIR` wrote. "
                f"Received: {str(directory)!r}"
            )
        sweep(directory)
        hashes, own = {}, None
        if os.path.lexists(directory / MANIFEST):
            names = FILES
            hashes, own = cls(directory, {}, None).load(MANIFEST, lambda _: _manifest(directory))
        elif all((directory / name).is_file() for name in names):
            LOG.warning(
                "%s has no %s (older versions wrote none): nothing shows whether its files belong "
                "together",
                *(directory, MANIFEST),
            )
        found = cls(directory, hashes, own)
        for name in names:
            if not (directory / name).is_file():
                found.fail(name, "is missing")
        for name in hashes:
            found.load(name, lambda _: None)
        return found

    @cached_property
    def info(self) -> RunInfo:
        """The record of the run.

        Raises:
            ValueError: it is damaged, or something in it cannot be right.
        """
        return self.load(INFO, lambda path: RunInfo.of(read_json(path)))

    def fail(self, name, problem) -> NoReturn:
        """Give up on a file."""
        raise ValueError(
            f"{self.directory / name} {problem}. Train again with `lipkit train DATA --out DIR`, "
            "or restore the files that it wrote."
        ) from None

    def load(self, name, function, *args, **kwargs) -> Any:
        """What a function reads from a file, which must be the one that was written."""
        path = self.directory / name
        try:
            with unchanged([path]) as digest:
                same = self.hashes.get(name, digest) == digest
                found = function(path, *args, **kwargs) if same else None
        except NotCertifiable:
            raise
        except Invalid as error:
            self.fail(name, error)
        except Exception as error:  # a damaged archive can raise anything
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.fail(name, f"cannot be read ({first[:200]})")
        self.check(name, same, f"is not the file that was written: {MANIFEST} has another hash")
        return found

    def check(self, name, holds, problem):
        """Give up on a file unless something holds."""
        if not holds:
            self.fail(name, problem)


def _manifest(directory):
    """What the manifest says, if it is about all files of a run."""
    hashes, own = manifest.read(directory)
    if not set(hashes) >= set(FILES):
        raise ValueError(f"it does not name {', '.join(sorted({*FILES} - {*hashes}))}")
    return hashes, own


def find(folder) -> list[Path]:
    """The runs in a folder, the oldest first.

    Args:
        folder: path of a folder, whose own folders are looked at, and no deeper ones.

    Returns:
        Paths of the run folders, in the order of the dates in their records.

    Raises:
        ValueError: there is no such folder, or a run in it is damaged.

    Example:
        >>> [path.name for path in lipkit.runs.find(".")]
        []
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"`folder` must be a folder with runs. Received: {str(folder)!r}")
    found = [path for path in folder.iterdir() if (path / INFO).is_file()]
    dates = {path: RunFolder.open(path).info.date for path in found}
    return sorted(found, key=lambda path: (dates[path], path.name))


def latest(folder) -> Path:
    """The newest run in a folder.

    Args:
        folder: path of a folder, as in `find`.

    Returns:
        The path of the run folder.

    Raises:
        ValueError: the folder has no run, or a run in it is damaged.

    Example:
        >>> from pathlib import Path
        >>> lipkit.runs.latest(Path(run).parent).name
        'run'
    """
    found = find(folder)
    if not found:
        raise ValueError(f"{folder} has no runs. `lipkit train DATA --out DIR` writes one.")
    return found[-1]

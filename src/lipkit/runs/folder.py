"""The files of a run directory, and what its run.json says."""

import logging
import math
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from lipkit._files.atomic import sweep
from lipkit._files.opened import read_json, unchanged
from lipkit.certifier.weights import checked
from lipkit.data.files import encoded_columns
from lipkit.errors import NotCertifiable
from lipkit.runs import manifest

FILES = ("run.json", "test.npz", "certificates.json", "model.keras", "lipkit.keras")
DERIVED = ("report.html", "report-[0-9].html", "report.html.partial")
LOG = logging.getLogger("lipkit")
NUMBER = (int, float)
FIELDS = {
    "run.json": {
        "lipkit": str,
        "backend": str,
        "created": str,
        "command": list,
        "seconds": NUMBER,
        "data": dict,
        "classes": list,
        "settings": dict,
        "split": dict,
        "history": dict,
        "accuracy": NUMBER,
        "lipschitz_bound": NUMBER,
    },
    "data": {
        "path": str,
        "sha256": str,
        "rows": int,
        "kind": str,
        "target": (str, type(None)),
        "features": list,
        "encoding": dict,
    },
    "split": {"train": int, "test": int},
}


@dataclass(frozen=True)
class RunFolder:
    """A run directory whose files are those of its manifest; see `open`.

    Attributes:
        directory: where they are.
        hashes: SHA-256 of each file; {} for a run without a manifest, of an older lipkit.
        sha256: of the manifest, which stands for the run; None without one.
    """

    directory: Path
    hashes: dict[str, str]
    sha256: str | None

    @classmethod
    def open(cls, directory, names=FILES):
        """The folder, if it has files of these names, and its files are those of the manifest.

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
        if os.path.lexists(directory / manifest.NAME):
            names = FILES
            hashes, own = cls(directory, {}, None).load(
                manifest.NAME, lambda _: _manifest(directory)
            )
        elif all((directory / name).is_file() for name in names):
            LOG.warning(
                "%s has no %s, as runs of older versions: nothing shows whether its files belong "
                "together",
                *(directory, manifest.NAME),
            )
        found = cls(directory, hashes, own)
        for name in names:
            if not (directory / name).is_file():
                found.fail(name, "is missing")
        for name in hashes:
            found.load(name, lambda _: None)
        return found

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
        except Exception as error:  # a damaged archive can raise anything
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.fail(name, f"cannot be read ({first[:200]})")
        self.check(
            name, same, f"is not the file that was written: {manifest.NAME} has another hash"
        )
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


def check_info(files: RunFolder) -> dict:
    """The contents of run.json, if each of them can be right."""
    name = "run.json"
    info = files.load(name, read_json)
    files.check(name, isinstance(info, dict), "must hold a JSON object")
    for part, fields in FIELDS.items():
        values = info if part == name else info[part]
        for field, kind in fields.items():
            value = values.get(field, ...)
            good = isinstance(value, kind) and not isinstance(value, bool)
            files.check(name, good, f"has no valid {field!r} in {part}: {values.get(field)!r:.80}")
    for field in ("seconds", "accuracy", "lipschitz_bound"):
        files.check(name, math.isfinite(info[field]), f"has {field!r} {info[field]}")
    files.load(name, lambda _: datetime.fromisoformat(info["created"]))
    kind, classes = info["data"]["kind"], info["classes"]
    files.check(name, kind in ("table", "images"), f"has the kind {kind!r}, not table or images")
    files.check(name, len(classes) > 1, f"names {len(classes)} classes, not at least 2")
    files.check(name, all(isinstance(c, str) for c in classes), "has classes that are no texts")
    settings, data = info["settings"], info["data"]
    names, picture = data["features"], data.get("image_shape") or ()
    if kind == "table" and Path(data["path"]).suffix.lower() != ".npz":  # which has no columns
        columns = files.load(name, lambda _: encoded_columns(data["encoding"]))
        encoded = [feature for column in columns for feature in column.features]
        files.check(name, encoded == names, "has columns that are not its features")
    files.check(name, "feature_weights" in settings, "has no 'feature_weights' in settings")
    if (weights := settings["feature_weights"]) is not None:
        shape = (len(names),) if kind == "table" else tuple(picture)
        files.check(name, isinstance(weights, list), "has 'feature_weights' that are no list")
        files.load(name, lambda _: checked(weights, shape, "feature_weights"))
    for metric, values in info["history"].items():
        good = isinstance(values, list) and all(v is None or isinstance(v, NUMBER) for v in values)
        files.check(name, good, f"has a history of {metric!r} that is no list of numbers")
    return info

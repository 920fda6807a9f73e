"""Writing a run: all of its files or none, at a place that is free or holds another run."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lipkit._files.places import new_folder
from lipkit.runs import manifest
from lipkit.runs.schema import (
    CERTIFICATES,
    DERIVED,
    FILES,
    INFO,
    MANIFEST,
    PLAIN,
    TEST,
    TRAINED,
    RunInfo,
)


def new_run(out, overwrite=False):
    """A folder to fill by `write`, which becomes `out` at the end: see `new_folder`."""
    return new_folder(Path(out), (*FILES, MANIFEST), "a run", overwrite, DERIVED)


def write(folder: Path, info: RunInfo, model, x, y, certificates) -> str:
    """Write the files of a run.

    Args:
        folder: an empty folder.
        info: the record.
        model: lipkit's model; its export is written beside it.
        x, y: (n, ...) the samples held out, and (n,) their classes, or numbers.
        certificates: certificates of these samples.

    Returns:
        The hash of the manifest.
    """
    model.save(folder / TRAINED)
    model.vanilla_export().save(folder / PLAIN)
    np.savez_compressed(folder / TEST, x=x, y=y, classes=np.array(info.classes, str))
    certificates.save(folder / CERTIFICATES)
    (folder / INFO).write_text(json.dumps(asdict(info), indent=1, allow_nan=False) + "\n")
    return manifest.write(folder)

"""What a training leaves beside the place of its run until that is there, so that it can go on."""

from contextlib import contextmanager, suppress
from pathlib import Path

import keras

from lipkit._files.atomic import sweep
from lipkit._version import __version__
from lipkit.recipes import Stages

STATES = "[0-9]*.npz"


def unfinished(out) -> Path:
    """The folder of the training whose run is to be at `out`."""
    out = Path(out).resolve()
    return out.with_name(f"{out.name}.unfinished")


def check(out, resume, overwrite) -> None:
    """Refuse to begin a training anew where another one can go on, unless that is asked for."""
    folder = unfinished(out)
    if any(folder.glob(STATES)) and not (resume or overwrite):
        raise ValueError(
            f"{folder} is of a training that did not end. Go on with it (--resume), or begin anew "
            "(--overwrite)."
        )


@contextmanager
def kept(out, asked, resume=False):
    """`Stages` that are kept beside `out`, until `clear`.

    Args:
        out: the place of the run.
        asked: what the training depends on, by name, beside the versions.
        resume: whether to go on with what an earlier training left there.
    """
    if not resume:
        clear(out)
    versions = {"lipkit": __version__, "keras": keras.__version__}
    stages = Stages(unfinished(out), {**asked, **versions, "backend": keras.backend.backend()})
    try:
        yield stages
    except ValueError:  # it would be raised again
        clear(out)
        raise


def clear(out) -> None:
    """Remove what is kept, and nothing else that lies there."""
    folder = unfinished(out)
    sweep(folder)
    for state in folder.glob(STATES):
        state.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()

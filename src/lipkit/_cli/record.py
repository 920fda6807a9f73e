"""What `lipkit train` keeps of a run."""

import datetime
import json

import keras
import numpy as np

from lipkit._cli import options
from lipkit._cli.app import NOT_CERTIFIED, fail
from lipkit._version import __version__
from lipkit.certifier import certify, lipschitz_bound, reweighted
from lipkit.runs import manifest


def results(dataset, trained, held):
    """Certificates of the held-out samples, and what run.json says of them."""
    plain = trained.model.vanilla_export()
    bound = float(lipschitz_bound(plain))
    history = trained.history
    if not all(np.isfinite(values).all() for values in history.values()):
        fail("the training gave infinite or undefined values; nothing was written", NOT_CERTIFIED)
    certificates = certify(
        plain, dataset.x[held], dataset.y[held], batch_size=options.batch_size(dataset.x)
    )
    certificates = reweighted(certificates, plain, trained.settings["feature_weights"])
    return certificates, {
        "lipkit": __version__,
        "backend": keras.backend.backend(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "classes": list(dataset.classes),
        "settings": trained.settings,
        "split": {"train": len(dataset.y) - len(held), "test": len(held)},
        "history": history,
        "accuracy": float(np.mean(certificates.label == certificates.y)),
        "lipschitz_bound": bound,
    }


def description(dataset, data, target) -> dict:
    """What run.json says of the data."""
    return {
        "path": str(data),
        "sha256": dataset.sha256,
        "rows": len(dataset.x),
        "kind": dataset.kind,
        "target": target,
        "features": list(dataset.features),
        "image_shape": list(dataset.x.shape[1:]) if dataset.kind == "images" else None,
        "encoding": dataset.encoding,
    }


def write(folder, model, dataset, held, certificates, run) -> str:
    """Write the files of a run; gives the hash of its manifest."""
    model.save(folder / "lipkit.keras")
    model.vanilla_export().save(folder / "model.keras")
    x, y, names = dataset.x[held], dataset.y[held], np.array(dataset.classes)
    np.savez_compressed(folder / "test.npz", x=x, y=y, classes=names)
    certificates.save(folder / "certificates.json")
    (folder / "run.json").write_text(json.dumps(run, indent=1, allow_nan=False) + "\n")
    return manifest.write(folder)

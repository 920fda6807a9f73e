"""`lipkit train`: from a data file to the folder of a run."""

import datetime
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import typer

from lipkit._version import __version__
from lipkit.certify import certify, lipschitz_bound
from lipkit.cli import folders, options, output
from lipkit.cli.app import NOT_CERTIFIED, fail
from lipkit.data import files, imputation, splits, tables

LARGEST_TEST = 100_000
POSITIVE = options.checked(lambda value: 0 < value < float("inf"), "must be a finite number > 0")


def _size(text):
    """(height, width) from "64" or "64,48"."""
    if text is None:
        return None
    numbers = text.split(",") * (2 if "," not in text else 1)
    if len(numbers) != 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise typer.BadParameter(f"must be HEIGHT,WIDTH, got {text}")
    return tuple(int(number) for number in numbers)


def train(
    data: options.Data,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder for the results.")],
    target: options.Target = None,
    eps: Annotated[
        float | None,
        typer.Option(
            metavar="R", callback=POSITIVE, help="Radius to train for. (By default from the data.)"
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="Kind of network: auto, mlp, cnn, linear.")] = "auto",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="(By default from the size of the data.)")
    ] = None,
    test_size: Annotated[
        float, typer.Option(callback=options.share, help="Share of the rows to hold out.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    categorical: Annotated[
        list[str] | None, typer.Option(metavar="COL", help="Column of categories. Repeatable.")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="COL", help="Column to leave out. Repeatable.")
    ] = None,
    impute: Annotated[
        str | None,
        typer.Option(
            metavar="median|mean",
            callback=options.one_of(imputation.METHODS),
            help="Fill missing cells with it, or with the most frequent category.",
        ),
    ] = None,
    feature_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='JSON, as {"age": 2.0}: a year then counts as 2.'),
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(metavar="H,W", help="Resize all images; radii are those after it.")
    ] = None,
    backend: options.Backend = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
):
    """Train a classifier on your own data, with a proven radius for each answer.

    The scaler becomes the first layer of the model, so inputs and radii are in the units of the
    data. Categories become one number each (a change of category is a step of sqrt(2)), images
    have values from 0 to 1.

    RUN will hold: model.keras (plain Keras, needs no lipkit), lipkit.keras (to go on training),
    test.npz and certificates.json (held-out samples and their certificates), run.json (all
    settings).

    For example:

        lipkit train cancer.csv --target diagnosis --out runs/cancer
        lipkit train homes.parquet --target city --eps 0.5 --impute median --drop id --out runs/h
        lipkit train photos/ --image-size 64,64 --epochs 20 --out runs/photos
    """
    from lipkit import recipes

    options.use_backend(backend)
    started = time.monotonic()
    with folders.new_run(out, overwrite) as folder:
        dataset = files.read(
            data,
            target,
            categorical=categorical or (),
            drop=drop or (),
            impute=impute is not None,
            image_size=_size(image_size),
        )
        _check_classes(dataset, data)
        rows, held = splits.stratified(dataset.y, test_size, seed, LARGEST_TEST, dataset.classes)
        if impute:
            dataset = files.impute(dataset, impute, rows)
        trained = recipes.train(
            dataset.x[rows],
            dataset.y[rows],
            recipe=recipe,
            eps=eps,
            epochs=epochs,
            seed=seed,
            feature_weights=feature_weights and _weights(feature_weights, dataset),
            callbacks=[output.Epochs()],
        )
        certificates, run = _results(dataset, trained, held)
        run |= {
            "command": ["lipkit", *sys.argv[1:]],
            "seconds": time.monotonic() - started,
            "data": _description(dataset, data, target),
        }
        _write(folder, trained.model, dataset, held, certificates, run)
    _show(as_json, run, certificates, out, capped=test_size * len(dataset.y) > LARGEST_TEST)


def _check_classes(dataset, data):
    if dataset.y is None and data.suffix.lower() in tables.SUFFIXES:
        raise ValueError("--target is missing: name the column that holds the classes.")
    if dataset.y is None:
        raise ValueError(f"{data} has no classes: expected sub-folders of images, or an array y.")
    if len(dataset.classes) < 2:
        raise ValueError(
            f"{data} has one class only, {dataset.classes[0]!r}; at least 2 are needed."
        )


def _weights(path, dataset):
    """Weights of the features from a file that names columns, or features."""
    places = {name: [i] for i, name in enumerate(dataset.features)}
    start = 0
    for column in dataset.columns():
        places[column.name] = range(start, start := start + len(column.features))
    try:
        given = json.loads(path.read_text())
        weights = {str(name): float(weight) for name, weight in given.items()}
    except (ValueError, TypeError, AttributeError):
        raise ValueError(
            f'{path} must hold weights of columns in JSON, as {{"age": 2.0}}.'
        ) from None
    values = np.ones(len(dataset.features))
    for name, weight in weights.items():
        if name not in places:
            raise ValueError(f"{path}: {name!r} is no column of the data.")
        values[places[name]] = weight
    return values


def _results(dataset, trained, held):
    """Certificates of the held-out samples, and what run.json says of them."""
    plain = trained.model.vanilla_export()
    bound = float(lipschitz_bound(plain))
    history = trained.history
    if not all(np.isfinite(values).all() for values in history.values()):
        fail("the training gave infinite or undefined values; nothing was written", NOT_CERTIFIED)
    certificates = certify(
        plain, dataset.x[held], dataset.y[held], batch_size=options.batch_size(dataset.x)
    )
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


def _description(dataset, data, target):
    return {
        "path": str(data),
        "sha256": files.sha256(data),
        "rows": len(dataset.x),
        "kind": dataset.kind,
        "target": target,
        "features": list(dataset.features),
        "image_shape": list(dataset.x.shape[1:]) if dataset.kind == "images" else None,
        "encoding": dataset.encoding,
    }


def _write(folder, model, dataset, held, certificates, run):
    model.save(folder / "lipkit.keras")
    model.vanilla_export().save(folder / "model.keras")
    x, y, names = dataset.x[held], dataset.y[held], np.array(dataset.classes)
    np.savez_compressed(folder / "test.npz", x=x, y=y, classes=names)
    certificates.save(folder / "certificates.json")
    (folder / "run.json").write_text(json.dumps(run, indent=1, allow_nan=False) + "\n")


def _show(as_json, run, certificates, out, capped):
    eps = run["settings"]["eps"]
    certified = certificates.certified_accuracy(eps)
    median = float(np.median(certificates.radius))
    data, split = run["data"], run["split"]
    size = f"{len(data['features'])} features" if data["features"] else f"{data['image_shape']}"
    lines = output.facts(
        [
            (
                "data",
                f"{data['path']}: {data['rows']} rows of {size}, {len(run['classes'])} classes",
            ),
            ("network", f"{run['settings']['recipe']}, {split['train']} rows to train on"),
            ("held out", f"{split['test']} rows" + ", the most that lipkit holds out" * capped),
            ("accuracy", f"{run['accuracy']:.4f} on the rows held out"),
            ("certified", f"{certified:.4f} are right, and stay right within {eps:.4g} (proven)"),
            ("radius", f"{median:.4g} in the median, in units of the data"),
            ("Lipschitz", f"at most {run['lipschitz_bound']:.6g} (proven)"),
            ("wrote", f"{out} in {run['seconds']:.1f} s"),
            ("next", f"lipkit report {out}"),
            ("", f"lipkit certify {out} NEW_DATA"),
            ("", f"lipkit export {out} --to onnx --out model.onnx"),
        ]
    )
    document = {**run, "eps": eps, "certified_accuracy": certified, "median_radius": median}
    output.show(as_json, {**document, "out": str(out)}, lines)

"""`lipkit train`: from a data file to the folder of a run."""

import sys
import time
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import typer

from lipkit import recipes
from lipkit._cli import options, output, record
from lipkit._files.opened import read_json
from lipkit.data import files, frames, imputation, splits
from lipkit.runs.writing import new_run

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
    recipe: Annotated[
        str,
        typer.Option(
            callback=options.one_of(recipes.RECIPES),
            help="Kind of network: " + ", ".join(recipes.RECIPES) + ".",
        ),
    ] = "auto",
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
            help="Fill missing cells (empty, NA, null ...) with it, or with the most frequent "
            "category.",
        ),
    ] = None,
    feature_weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='JSON, as {"age": 2.0}: distances, and so --eps and all radii of this run, count '
            "a year as 2.",
        ),
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
    settings), manifest.json (the SHA-256 of each).

    For example:

        lipkit train cancer.csv --target diagnosis --out runs/cancer
        lipkit train homes.parquet --target city --eps 0.5 --impute median --drop id --out runs/h
        lipkit train photos/ --image-size 64,64 --epochs 20 --out runs/photos
    """
    options.use_backend(backend)
    started = time.monotonic()
    with new_run(out, overwrite) as folder:
        dataset = files.read(
            data,
            target,
            categorical=categorical or (),
            drop=drop or (),
            impute=impute is not None,
            image_size=_size(image_size),
        )
        y = _classes(dataset, data)
        rows, held = splits.stratified(y, test_size, seed, LARGEST_TEST, dataset.classes)
        if impute:
            dataset = files.impute(dataset, impute, rows)
        keras.utils.set_random_seed(seed)  # Keras shuffles batches with a generator of its own
        trained = recipes.train(
            dataset.x[rows],
            y[rows],
            recipe=recipe,
            eps=eps,
            epochs=epochs,
            seed=seed,
            feature_weights=feature_weights and _weights(feature_weights, dataset),
            callbacks=[output.Epochs()],
        )
        certificates, run = record.results(dataset, trained, held)
        run |= {
            "command": ["lipkit", *sys.argv[1:]],
            "seconds": time.monotonic() - started,
            "data": record.description(dataset, data, target),
        }
        sha256 = record.write(folder, trained.model, dataset, held, certificates, run)
    capped = test_size * len(y) > LARGEST_TEST
    _show(as_json, {**run, "sha256": sha256}, certificates, out, capped)


def _classes(dataset, data):
    """The classes of the rows, if there are any to tell apart."""
    if dataset.y is None and data.suffix.lower() in frames.SUFFIXES:
        raise ValueError("--target is missing: name the column that holds the classes.")
    if dataset.y is None:
        raise ValueError(f"{data} has no classes: expected sub-folders of images, or an array y.")
    if len(dataset.classes) < 2:
        raise ValueError(
            f"{data} has one class only, {dataset.classes[0]!r}; at least 2 are needed."
        )
    return dataset.y


def _weights(path, dataset):
    """Weights of the features from a file that names columns, or features."""
    places = {name: [i] for i, name in enumerate(dataset.features)}
    start = 0
    for column in dataset.columns():
        places[column.name] = list(range(start, start := start + len(column.features)))
    try:
        given = read_json(path)
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


def _show(as_json, run, certificates, out, capped):
    data, split, settings = run["data"], run["split"], run["settings"]
    eps = settings["eps"]
    certified = certificates.certified_accuracy(eps)
    median = float(np.median(certificates.radius))
    size = f"{len(data['features'])} features" if data["features"] else f"{data['image_shape']}"
    lines = output.facts(
        [
            (
                "data",
                f"{data['path']}: {data['rows']} rows of {size}, {len(run['classes'])} classes",
            ),
            ("network", f"{settings['recipe']}, {split['train']} rows to train on"),
            ("held out", f"{split['test']} rows" + ", the most that lipkit holds out" * capped),
            ("accuracy", f"{run['accuracy']:.4f} on the rows held out"),
            ("certified", f"{certified:.4f} are right, and stay right within {eps:.4g} (proven)"),
            ("radius", f"{median:.4g} in the median, {output.unit(settings['feature_weights'])}"),
            ("Lipschitz", f"at most {run['lipschitz_bound']:.6g} (proven)"),
            ("wrote", f"{out} in {run['seconds']:.1f} s"),
            ("SHA-256", f"{run['sha256']} of its manifest"),
            ("next", f"lipkit report {out}"),
            ("", f"lipkit certify {out} NEW_DATA"),
            ("", f"lipkit export {out} --to onnx --out model.onnx"),
        ]
    )
    document = {**run, "eps": eps, "certified_accuracy": certified, "median_radius": median}
    output.show(as_json, {**document, "out": str(out)}, lines)

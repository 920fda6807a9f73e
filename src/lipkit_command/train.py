"""`lipkit train`: from a data file to the folder of a run."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from lipkit_command import options
from lipkit_command.app import DONE, INTERRUPTED
from lipkit_command.plain import choices

POSITIVE = options.checked(lambda value: 0 < value < float("inf"), "must be a finite number > 0")


def _size(text):
    """(height, width) from "64" or "64,48"."""
    if text is None:
        return None
    numbers = text.split(",") * (2 if "," not in text else 1)
    if len(numbers) != 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise typer.BadParameter(f"must be HEIGHT,WIDTH, got {text}")
    return tuple(int(number) for number in numbers)


def _seconds(text):
    """The seconds in "30", "30s", "2m" or "1h"; None for None."""
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in ("s", "m", "h") else (text, "s")
    try:
        found = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise typer.BadParameter(f"'--budget': must be a time such as 30s or 2m, got {text}")
    return found


OF_CLASSES = {
    "alpha": "it weighs the hinge of a classifier's loss",
    "min_margin": "it is the margin between classes",
    "class_weight": "a number to predict has no class",
}


def _check_task(task, lipschitz, **of_classes):
    """Refuse options that mean nothing for the task."""
    if task == "classification" and lipschitz is not None:
        raise typer.BadParameter(
            "'--lipschitz': applies only to --task regression: a larger constant does not change "
            "a classifier's decisions, see --eps"
        )
    for name, value in of_classes.items():
        if task == "regression" and value is not None:
            raise typer.BadParameter(
                f"'--{name.replace('_', '-')}': applies only to --task classification: "
                f"{OF_CLASSES[name]}"
            )


def _known_weights(text):
    """A kind of weights, or a file that is there."""
    return text if text in (None, *choices.WEIGHTS) else str(options.there(Path(text)))


def train(
    data: options.Data,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder for the results.")],
    target: options.Target = None,
    task: Annotated[
        str,
        typer.Option(
            callback=options.one_of(choices.TASKS),
            help="classification, or regression: the target holds numbers to predict.",
        ),
    ] = "classification",
    eps: Annotated[
        float | None,
        typer.Option(
            metavar="R",
            callback=POSITIVE,
            help="Radius to train for. (Default: the largest that costs little accuracy; of a "
            "regression about 0.3 spreads.)",
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            callback=options.one_of(choices.RECIPES),
            help="Kind of network: " + ", ".join(choices.RECIPES) + ".",
        ),
    ] = "auto",
    alpha: Annotated[
        float | None,
        typer.Option(callback=options.radius, help="Train with HKR, whose hinge has this weight."),
    ] = None,
    min_margin: Annotated[
        float | None,
        typer.Option(callback=POSITIVE, help="Train with HKR, whose hinge asks for this margin."),
    ] = None,
    lipschitz: Annotated[
        float | None,
        typer.Option(
            metavar="L",
            callback=POSITIVE,
            help="Of a regression: the largest constant, in units of the target per unit of "
            "distance. (Default: the smallest that costs little R2.)",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="CPU time of the search with 1,000 rows, such as 1m. (Default: 30s)",
        ),
    ] = None,
    class_weight: Annotated[
        str | None,
        typer.Option(
            metavar="balanced",
            callback=options.one_of(("balanced",)),
            help="Count all classes alike, however many rows they have.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="(Default: from the size of the data.)")
    ] = None,
    early_stopping: Annotated[
        bool,
        typer.Option(
            "--early-stopping",
            help="End the training when the loss on rows left out is no better for --patience "
            "epochs.",
        ),
    ] = False,
    patience: Annotated[
        int | None,
        typer.Option(min=1, metavar="EPOCHS", help=f"(Default: {choices.PATIENCE})"),
    ] = None,
    test_size: Annotated[
        float, typer.Option(callback=options.share, help="Share of the rows to hold out.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1)] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Train with so many seeds, from --seed on, for the mean and spread of the test "
            "score: the others are in RUN-seed-1 and so on.",
        ),
    ] = 1,
    categorical: Annotated[
        list[str] | None,
        typer.Option(metavar="COL", help="Column of categories. Repeatable."),
    ] = None,
    drop: options.Drop = None,
    dates: Annotated[
        list[str] | None,
        typer.Option(metavar="COL", help="Column of dates, as days since 1970. Repeatable."),
    ] = None,
    id: options.Id = None,
    encoding: options.Encoding = None,
    decimal: options.Decimal = None,
    missing: options.Missing = None,
    sheet: options.Sheet = None,
    impute: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(choices.IMPUTATIONS),
            callback=options.one_of(choices.IMPUTATIONS),
            help="Fill missing cells (empty, NA, null ...) with it, or with the most frequent "
            "category.",
        ),
    ] = None,
    feature_weights: Annotated[
        str | None,
        typer.Option(
            metavar="|".join((*choices.WEIGHTS, "FILE")),
            callback=_known_weights,
            help="Units of distances, and so of --eps and all radii of this run: robust spreads or "
            'standard deviations of the columns, raw units, or JSON such as {"age": 2.0}, which '
            "counts a year as 2. (Default: spread for tables, none for images.)",
        ),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(metavar="H,W", help="Resize all images; radii refer to the resized ones."),
    ] = None,
    backend: options.Backend = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
):
    """Train a model on your own data, with a proven radius or interval for each answer.

    The scaler becomes the first layer of the model, so inputs are in the units of the data.
    Distances, and so radii, count robust spreads of the columns of a table (a change of category
    is a step of sqrt(2)), see --feature-weights; images have values from 0 to 1.

    What is not given is searched for: small networks are trained side by side and judged on rows
    that they were not trained on; the radius is the largest that costs little accuracy.

    With --task regression the target is a number, and what is proven is an interval: the
    prediction stays in it as long as the input moves by at most --eps.

    RUN will hold: model.keras (plain Keras, needs no lipkit), lipkit.keras (for further training),
    test.npz and certificates.json (held-out samples and their certificates), run.json (all
    settings), manifest.json (the SHA-256 of each file).

    Ctrl-C ends the training after the epoch that runs, and RUN holds the model so far; pressed
    again, it leaves no RUN. What a process that ended had reached is in the folder RUN.unfinished,
    with which --resume goes on.

    For example:

        lipkit train cancer.csv --target diagnosis --out runs/cancer
        lipkit train homes.parquet --target city --eps 0.5 --impute median --drop id --out runs/h
        lipkit train homes.csv --target price --task regression --out runs/prices
        lipkit train photos/ --image-size 64,64 --epochs 20 --out runs/photos
    """
    _check_task(task, lipschitz, alpha=alpha, min_margin=min_margin, class_weight=class_weight)
    size, seconds = _size(image_size), _seconds(budget)
    if patience is not None and not early_stopping:
        raise ValueError("--patience is of --early-stopping: give both.")

    from lipkit import runs
    from lipkit.data import Format
    from lipkit.runs.training import LARGEST_TEST
    from lipkit_command import trained
    from lipkit_command.progress import Epochs

    start: Any = runs.train if seeds == 1 else partial(runs.train_seeds, seeds=seeds)
    made = start(
        data,
        out,
        target,
        task=task,
        recipe=recipe,
        eps=eps,
        alpha=alpha,
        min_margin=min_margin,
        lipschitz=lipschitz,
        epochs=epochs,
        budget=seconds,
        class_weight=class_weight,
        early_stopping=early_stopping,
        patience=patience or choices.PATIENCE,
        test_size=test_size,
        seed=seed,
        categorical=categorical or (),
        drop=drop or (),
        dates=dates or (),
        id=id,
        format=Format().changed(encoding=encoding, decimal=decimal, missing=missing, sheet=sheet),
        impute=impute,
        feature_weights=_weights(feature_weights),
        image_size=size,
        overwrite=overwrite,
        resume=resume,
        callbacks=[Epochs()],
        command=["lipkit", *sys.argv[1:]],
    )
    found, scores = (made, None) if seeds == 1 else made
    trained.show(as_json, found, scores, capped=test_size * found.info.data.rows > LARGEST_TEST)
    broken_off = scores is not None and len(scores.runs) < seeds
    return INTERRUPTED if broken_off or found.info.settings["interrupted"] else DONE


def _weights(path):
    """The weights of columns, by name, that a JSON file holds; or their kind."""
    if path in (None, *choices.WEIGHTS):
        return path
    from lipkit._files.opened import read_json

    try:
        return {str(name): float(weight) for name, weight in read_json(Path(path)).items()}
    except (ValueError, TypeError, AttributeError):
        raise ValueError(
            f'{path} must hold weights of columns in JSON, such as {{"age": 2.0}}.'
        ) from None

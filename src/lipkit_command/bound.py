"""`lipkit bound`: the proven Lipschitz constant of a model."""

import dataclasses
from typing import Annotated

import typer

from lipkit_command import options, output


def _shape(text):
    """A shape from "28,28,1"."""
    if text is None:
        return None
    numbers = text.split(",")
    if not all(number.strip().isdecimal() and int(number) for number in numbers):
        raise typer.BadParameter(f"must be sizes such as 28,28,1, got {text}")
    return tuple(map(int, numbers))


def bound(
    model: options.Model,
    input_shape: Annotated[
        str | None,
        typer.Option(metavar="SIZES", help="Such as 28,28,1, if the model leaves sizes open."),
    ] = None,
    chosen: options.Output = None,
    as_json: options.Json = False,
):
    """Prove an upper bound of a model's Lipschitz constant, layer by layer.

    No output moves by more than the bound times the distance (2-norm) by which the input moves.
    Ends with status 1 if lipkit knows no bound for a layer.

    For example:

        lipkit bound runs/cancer
        lipkit bound somebodys.keras --input-shape 28,28,1 --json
    """
    shape = _shape(input_shape)

    import lipkit
    from lipkit.certifier.weights import weighted_bound
    from lipkit.runs import load

    loaded = load(model)
    proven = lipkit.lipschitz_bound(loaded.model, shape, options.output(chosen))
    layers = [dataclasses.asdict(layer) for layer in proven.layers]
    document = {
        "model": str(model),
        "sha256": loaded.sha256,
        "lipschitz_bound": float(proven),
        "layers": layers,
    }
    lines = str(proven).splitlines()
    if loaded.info and loaded.weights is not None:
        document["weighted_bound"] = weighted_bound(loaded.model, loaded.weights)
        lines.append(f"for distances {loaded.info.distances} <= {document['weighted_bound']:.9g}")
    output.show(as_json, document, [*lines, output.identity(model, loaded.sha256)])

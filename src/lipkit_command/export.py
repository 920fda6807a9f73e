"""`lipkit export`: a model for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from lipkit_command import options, output

SUFFIXES = {"keras": ".keras", "onnx": ".onnx", "saved_model": "", "litert": ".tflite"}


def export(
    model: options.Model,
    to: Annotated[
        str, typer.Option(callback=options.one_of(SUFFIXES), help=", ".join(SUFFIXES) + ".")
    ],
    out: Annotated[Path, typer.Option(metavar="F", help="File, or folder for saved_model.")],
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
):
    """Export a model for programs that do not have lipkit.

    keras: plain Keras. onnx: logits and their certified radius in one graph, or the prediction of a
    number, with the proven constant in its metadata. saved_model: for TensorFlow Serving. litert:
    for phones and browsers.

    For example:

        lipkit export runs/cancer --to onnx --out cancer.onnx
        lipkit export runs/cancer --to saved_model --out serving/
    """
    if out.suffix != SUFFIXES[to]:
        wanted = f"end in {SUFFIXES[to]}" if SUFFIXES[to] else "be a folder, without a suffix"
        raise ValueError(f"--out must {wanted} for --to {to}. Received: {out}")

    from lipkit._files.places import new_file
    from lipkit.runs import load

    loaded = load(model)
    if to != "onnx" and isinstance(loaded.model, Path):
        raise ValueError(f"{model}: only Keras models can be exported to {to}.")
    with new_file(out, overwrite) as new:
        _export(loaded, to, new)
    lines = [str(out), output.identity(model, loaded.sha256)]
    if to == "onnx" and loaded.weights is not None:
        what = "constant is" if loaded.regression else "radii are"
        lines.append(f"its {what} in units of the data, without the feature weights, with which")
        lines.append(f"they are by: lipkit certify {out} DATA --run {model}")
    output.show(
        as_json, {"model": str(model), "sha256": loaded.sha256, "to": to, "out": str(out)}, lines
    )


def _export(loaded, to, path):
    from lipkit.export import vanilla_model

    if to == "keras":
        vanilla_model(loaded.model).save(path)
    elif to == "onnx":
        from lipkit.export.onnx import export_onnx

        classes = (loaded.info and loaded.info.classes) or None
        task = "regression" if loaded.regression else None
        export_onnx(loaded.model, path, classes=classes, task=task)
    else:
        _keras_export(vanilla_model(loaded.model), to, path)


def _keras_export(plain, to, path):
    """Keras's own export; what its backend cannot do is said in one line."""
    import keras

    name = {"saved_model": "tf_saved_model"}.get(to, to)
    try:
        plain.export(str(path), format=name, verbose=False)
    except Exception as error:  # whatever the backend's converter raises
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"Keras cannot export to {to} on the backend {keras.backend.backend()}: {reason}"
        ) from None

"""`lipschitz_bound` and `certify` for Keras models and ONNX files."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import ArrayLike

from lipkit._checks import integer
from lipkit.certifier import arguments, bounding
from lipkit.certifier import graph as g
from lipkit.certifier.activations import computed_within
from lipkit.certifier.arithmetic import FORMATS
from lipkit.certifier.certificate import LARGEST, Certifier, find_head, pairwise
from lipkit.certifier.norms import deflate
from lipkit.certifier.reader import compare, read, structures
from lipkit.certifier.reader.models import opened, output_names
from lipkit.certifier.reader.onnx import OnnxFile
from lipkit.certifier.reader.outputs import several
from lipkit.certifier.result import ASSUMPTIONS, ELEMENTARY, Certificates, LipschitzBound
from lipkit.errors import NotCertifiable


def reading_of(model, input_shape=None, x=None, output=None):
    """The reading of a Keras model or ONNX file, of all its outputs or of the one that is chosen.

    Sizes that the model leaves open are `input_shape`'s, or those of the batch `x`.
    """
    model = opened(model, output)
    if x is not None:
        input_shape = structures.open_shape(model, x)
    return model.read(input_shape) if isinstance(model, OnnxFile) else read(model, input_shape)


def analyse(model, input_shape=None, x=None, output=None):
    """What `reading_of` says, compared with what the model computes, and the bounds."""
    reading = reading_of(model, input_shape, x, output)
    bounds = bounding.compose(reading.graph)
    compare(reading, bounds)
    return reading, bounds


def lipschitz_bound(
    model: keras.Model | str | PathLike[str],
    input_shape: Sequence | None = None,
    output: str | int | None = None,
) -> LipschitzBound:
    """A proven upper bound on a model's Lipschitz constant in 2-norm.

    Computed in float64 from the kernels as they are used, rounded up; see docs/soundness.md. Inputs
    and outputs of a model with several are taken together as one vector.

    Args:
        model: built Sequential or Functional Keras model of layers with a rule, or the path of an
            ONNX file of operators with a rule (needs onnx; weights are those stored in the file).
        input_shape: input shape without the batch axis, or a list of them, for models that leave
            sizes open. None: the model's own.
        output: name or index of the one output to bound. None: all that hold real numbers, which
            leaves out the labels of a file.

    Returns:
        A `LipschitzBound`: a `float` whose attribute `layers` lists the bound of each layer;
        `print` it to see the table.

    Raises:
        NotCertifiable: a layer has no rule; the error names the first one.
        ValueError: `model` has no such output, or leaves sizes open that `input_shape` does not
            give.

    Example:
    >>> bound = lipkit.lipschitz_bound(model)
    >>> bool(0.99 < bound < 1.01), len(bound.layers)
    (True, 3)
    """
    reading, bounds = analyse(model, input_shape, output=output)
    return LipschitzBound(bounding.output_bound(reading.graph, bounds), bounds.layers)


def margin_bound(model) -> float:
    """The largest constant of a margin of a classifier: of its logit, or of two logits' difference.

    Arguments and errors as in `lipschitz_bound`; what `certify` divides by is at most this.
    """
    reading, bounds = analyse(model)
    head, task = find_head(reading.graph, None, None)
    labels = reading.graph.nodes[head.node].shape[0] if task == "multiclass" else 1
    return max(float(np.max(pairwise(head, bounds, c, task))) for c in range(labels))


def certify(
    model: keras.Model | str | PathLike[str],
    x: Any,
    y: ArrayLike | None = None,
    *,
    arithmetic: Literal["real", "float32", "float64"] = "real",
    task: str | None = None,
    preprocessing_scale: ArrayLike = 1.0,
    output: str | int | None = None,
    batch_size: int = 256,
    progress: bool | None = None,
) -> Certificates:
    """Certify decisions of a model: no input within `radius` (2-norm) has another label.

    Args:
        model: as in `lipschitz_bound`, with one output: a logit (decision f > 0, labels 1 and 0),
            or a vector of logits. A final softmax or sigmoid is seen through for `"real"`.
        x: (n, ...) inputs in the model's own layout. For a model with several, a list of such
            batches, a dict by name, or the structure that the model is called with.
        y: true labels (n,), for `certified_accuracy`: integers, {0, 1} or {-1, 1}; or one-hot
            (n, classes). None: unknown.
        arithmetic: what the certificates are true of. `"real"`: the network in real arithmetic,
            evaluated here in float64 with a bound on its error. `"float32"` or `"float64"`: also
            the program that computes in this format, with its larger error taken off the margins.
        task: `"binary"`, `"multiclass"`, `"multilabel"` (no label may change), or None: binary for
            one logit, otherwise multiclass.
        preprocessing_scale: factor by which raw inputs were multiplied to give `x` (an added offset
            does not matter): a number, not 0, or an array that broadcasts to one input. Radii are
            divided by its largest absolute value, and so are in units of the raw input.
        output: name or index of the output to certify, of a model with several. None: the only one
            that holds real numbers, such as the scores beside the labels of a file.
        batch_size: inputs evaluated at a time, at least 1.
        progress: show a progress bar; None: on a terminal, for more than 20 batches.

    Returns:
        `Certificates` with label, radius, margin, lipschitz and status of each input. Inputs of a
        wrong shape or dtype have no certificates, and their status says so.

    Raises:
        NotCertifiable: the model has a layer without a rule, several outputs, or is not a plain
            model in `arithmetic`.
        ValueError: an argument outside of what is listed here, or labels that do not fit.

    Example:
    >>> certificates = lipkit.certify(model, x, y)
    >>> certificates.radius.shape, certificates.certified.shape
    ((200,), (200,))
    >>> bool(certificates.certified_accuracy(0.1) <= certificates.certified_accuracy(0.0))
    True
    """
    if arithmetic != "real" and arithmetic not in FORMATS:
        raise ValueError(
            "`arithmetic` must be 'real', 'float32' or 'float64'. "
            f"Received: arithmetic={arithmetic!r}"
        )
    batch_size = integer("batch_size", batch_size)
    model = opened(model, output)
    x = structures.in_order(model, x)
    reading, bounds = analyse(model, x=x)
    graph = reading.graph
    scale = arguments.scale(preprocessing_scale, [graph.nodes[i].shape for i in graph.inputs])
    if len(graph.outputs) != 1:
        raise NotCertifiable(several(reading.name, output_names(model), "certify"))
    if arithmetic != "real":
        _check_deployed(model, reading, arithmetic)
    deployed = None if arithmetic == "real" else reading.arithmetic
    certifier = Certifier(graph, bounds, deployed, task)
    arrays, misfit = arguments.arrays(x, graph)
    n = len(arrays[0])
    true = arguments.labels(y, certifier.task, (n, *graph.nodes[certifier.head.node].shape))
    assumptions = ASSUMPTIONS
    if arithmetic != "real":
        assumptions += (
            f"the program computes in IEEE {arithmetic} with conventional sums in any order; "
            f"{ELEMENTARY}",
        )
    if misfit is not None or not n:
        return _none(n, misfit or ("", ""), certifier, arithmetic, assumptions, true)
    starts = range(0, n, batch_size)
    parts = [
        certifier(*(a[start : start + batch_size] for a in arrays))
        for start in tracked(starts, progress)
    ]
    label, radius, margin, constant, status = map(np.concatenate, zip(*parts, strict=True))
    if scale != 1.0:
        with np.errstate(over="ignore"):
            radius = np.minimum(deflate(radius / scale, 1), LARGEST)
    return Certificates(label, radius, margin, constant, status, arithmetic, assumptions, true)


def _check_deployed(model, reading, arithmetic):
    if reading.rewritten:
        raise NotCertifiable(
            f"Layers {', '.join(reading.rewritten)} compute in another way than they are read, for "
            f"example with kernels made anew at each call, so this model has no {arithmetic} "
            "certificates. Where the layers are lipkit's, certify model.vanilla_export(), or an "
            "ONNX file with stored weights."
        )
    if arithmetic != reading.dtype:
        raise NotCertifiable(
            f"Model {reading.name!r} computes in {reading.dtype}, not in {arithmetic}."
        )
    for tensor in model.inputs if isinstance(model, keras.Model) else ():  # a file converts none
        if tensor.dtype != arithmetic:
            raise NotCertifiable(
                f"Model {reading.name!r} converts its inputs to {tensor.dtype} first. Certify one "
                f"that starts with keras.Input(..., dtype={arithmetic!r})."
            )
        if (given := keras.config.floatx()) not in (arithmetic, "float64"):
            raise NotCertifiable(
                f"Keras converts inputs to {given} before model {reading.name!r} predicts in "
                f"{arithmetic}: call keras.config.set_floatx({arithmetic!r})."
            )
    for node in reading.graph.nodes:
        op = node.op
        if isinstance(op, g.Elementwise) and not math.isfinite(
            computed_within(op.name, op.parameters, reading.program, arithmetic)
        ):
            raise NotCertifiable(
                f"nothing is known of how exactly {op.name} is computed in {arithmetic}. Certify "
                "the model in arithmetic='real', or a float32 one.",
                f"Layer {node.layer!r} ({node.kind})",
            )


def _none(n, misfit, certifier, arithmetic, assumptions, y):
    """Certificates of nothing."""
    outputs = certifier.graph.nodes[certifier.head.node].shape
    shape = (n, *outputs) if certifier.task == "multilabel" else (n,)
    status = np.array([misfit[0]] * n, dtype=object)
    zero = np.zeros(n)
    label = np.full(shape, -1)
    columns = label, zero, zero.copy(), zero.copy(), status
    return Certificates(*columns, arithmetic, assumptions, y, misfit=misfit[1])


def tracked(starts, progress):
    """Batches one after the other, with a bar: see `certify`."""
    if progress is None:
        progress = len(starts) > 20 and sys.stderr.isatty()
    if not progress:
        return starts
    from rich.progress import track

    return track(starts, description="certifying")

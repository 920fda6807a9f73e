"""`export_onnx`: a file with a model's logits, its decision and its certified radius."""

import hashlib
import json
import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

import keras

from lipkit._files.atomic import replacing
from lipkit._version import __version__
from lipkit.certifier import graph as g
from lipkit.certifier.api import analyse
from lipkit.certifier.certificate import find_head
from lipkit.certifier.reader.onnx import OnnxFile, import_onnx
from lipkit.certifier.result import ASSUMPTIONS, ELEMENTARY
from lipkit.errors import NotCertifiable
from lipkit.export.onnx import radius
from lipkit.export.onnx.activations import IN_SINGLE
from lipkit.export.onnx.builder import Nodes, Program
from lipkit.export.onnx.error_bounds import DEPLOYED, DOUBLE, program_error
from lipkit.export.onnx.operations import write

__all__ = ["export_onnx", "weights_sha256"]

OPSET, IR_VERSION = 20, 9  # of 2023: the first in which GELU is one operator
OUTPUTS = ("logits", "label", "radius")


def export_onnx(
    model: keras.Model | str | PathLike[str],
    path: str | PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    task: str | None = None,
    arithmetic: Literal["real", "float32"] = "real",
    input_shape: Sequence | None = None,
) -> Path:
    """Write a model as an ONNX file that gives logits, label and certified radius of each input.

    Of a regression it gives one output, `value` (batch, ...), float32.

    The file needs neither Keras nor lipkit. Inputs are float32, in the model's layout, with a batch
    axis of any size. Outputs:

    - `logits` (batch, ...), float32: the model's outputs, before a final softmax or sigmoid.
    - `label` int64: the class; for one logit, 1 for f > 0 and 0 otherwise; -1 where there is none.
    - `radius` (batch,), float64: no input within it (2-norm) has another label. It comes from a
      second evaluation in float64, less a bound on its error, and is never more than the radius
      of `lipkit.certify`. 0 where nothing is certified: non-finite values, ties, overflow, or
      logits in float32 that decide otherwise.

    Metadata properties `lipkit.*` hold the proven bound on the Lipschitz constant of the logits, or
    values, of the network in real arithmetic; classes, task, arithmetic, assumptions, version and
    the SHA-256 of the weights.

    Args:
        model: as in `lipkit.lipschitz_bound`: a Keras model or, to add certificates to it, the path
            of an ONNX file; with one output, in float32.
        path: of the file to write; one that exists is replaced.
        classes: names of the labels, in order, for the metadata. None: none.
        task: as in `lipkit.certify`, or `"regression"`. None: binary for one logit, otherwise
            multiclass.
        arithmetic: what the radius is true of. `"real"`: the network in real arithmetic.
            `"float32"`: also the program that computes `logits`; its radii are smaller.
        input_shape: sizes of the input without the batch axis, where the model leaves them open.

    Returns:
        The path.

    Raises:
        NotCertifiable: the model has a layer without a rule or without ONNX operators, several
            outputs, or does not compute in float32.
        ValueError: another `arithmetic` or `task`, or another number of `classes`; of a regression
            also `arithmetic="float32"`, or any classes.
        ImportError: onnx is missing: pip install 'lipkit[onnx]'.

    Example:
    >>> path = lipkit.export_onnx(model, "model.onnx", classes=["lower moon", "upper moon"])
    >>> path.name, bool(lipkit.lipschitz_bound(path) < 1.01)
    ('model.onnx', True)
    """
    onnx = import_onnx()
    if arithmetic not in ("real", "float32"):
        raise ValueError(
            f"`arithmetic` must be 'real' or 'float32'. Received: arithmetic={arithmetic!r}"
        )
    reading, bounds = analyse(model, input_shape)
    _check_types(reading)
    graph, nodes = reading.graph, Nodes()
    names = [graph.nodes[i].layer for i in graph.inputs]
    inputs = [(name, graph.nodes[i].shape) for name, i in zip(names, graph.inputs, strict=True)]
    if task == "regression":
        if arithmetic != "real" or classes:
            raise ValueError("task='regression' takes no `classes`, and only `arithmetic='real'`.")
        node, assumptions = graph.outputs[0], list(ASSUMPTIONS)
        nodes.op("Identity", write(graph, Program(nodes, "float32"), names, node), name="value")
    else:
        head, task = find_head(graph, task, None)
        node, assumptions = head.node, _assumptions(graph, arithmetic)
        classes = _checked_classes(classes, task, math.prod(graph.nodes[node].shape))
        _write_program(nodes, graph, bounds, head, task, names, arithmetic)
    proto = _assembled(onnx, nodes, reading.name, inputs, graph.nodes[node].shape, task)
    facts = {
        "version": __version__,
        "lipschitz_bound": repr(float(bounds.total[node])),
        "task": task,
        "classes": json.dumps(classes or None),
        "arithmetic": arithmetic,
        "assumptions": json.dumps(assumptions),
        "weights_sha256": weights_sha256(model),
    }
    onnx.helper.set_model_props(proto, {f"lipkit.{key}": value for key, value in facts.items()})
    onnx.checker.check_model(proto, full_check=True)
    with replacing(path) as new:
        new.write_bytes(proto.SerializeToString())
    return Path(path)


def weights_sha256(model) -> str:
    """SHA-256 of the bytes of all weights, in order: `get_weights()`, or initializers of a file.

    Args:
        model: a Keras model, or the path of an ONNX file.

    Returns:
        The digest as 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    is_file = not isinstance(model, keras.Model)
    for array in OnnxFile(model).weights if is_file else model.get_weights():
        digest.update(array.tobytes())
    return digest.hexdigest()


def _check_types(reading):
    if len(reading.graph.outputs) != 1:
        raise NotCertifiable(
            f"Model {reading.name!r} has {len(reading.graph.outputs)} outputs: export one with a "
            "single output, such as keras.Model(model.inputs, model.outputs[i])."
        )
    if {reading.dtype, *reading.inputs} != {"float32"}:
        raise NotCertifiable(
            f"Model {reading.name!r} cannot be exported to ONNX: it computes in {reading.dtype} on "
            f"inputs of type {', '.join(reading.inputs)}, and files are in float32. Copy the "
            "weights to a model with dtype='float32'."
        )


def _checked_classes(classes, task, outputs):
    if classes is None:
        return None
    classes, count = [str(name) for name in classes], 2 if task == "binary" else outputs
    if len(classes) != count:
        raise ValueError(f"`classes` must be {count} names. Received: classes={classes}")
    return classes


def _write_program(nodes, graph, bounds, head, task, names, arithmetic):
    """The program in float32, the one in float64, and the certificate."""
    outputs = math.prod(graph.nodes[head.node].shape)
    single, double = Program(nodes, "float32"), Program(nodes, "float64")
    result = write(graph, single, names, head.node)
    nodes.op("Identity", result, name="logits")
    exact = [double.cast(name) for name in names]
    sizes = [math.prod(graph.nodes[i].shape) for i in graph.inputs]
    norm = radius.input_norm(double, exact, sizes)
    logits = double.reshape(write(graph, double, exact, head.node), (outputs,))
    deployed = single.reshape(result, (outputs,))
    labels = [radius.decision(p, x, task) for p, x in ((double, logits), (single, deployed))]
    errors = [program_error(graph, bounds, head.node, DOUBLE)]
    if arithmetic == "float32":
        errors.append(program_error(graph, bounds, head.node, DEPLOYED, initial=DEPLOYED.unit))
    found, holds = radius.certificate(
        double, logits, norm, sum(sizes), labels[0], task, head, bounds, errors, outputs
    )
    usable = radius.usable(double, norm, logits, double.cast(deployed))
    holds = double("And", double("And", holds, usable), radius.agreement(double, *labels))
    found = double("Where", holds, found, double.weights(0.0))
    label = double("Where", usable, labels[0], double.integers(-1))
    first = double.integers(1)
    nodes.op("Squeeze", found, first, name="radius")
    if task == "multilabel":
        nodes.op("Identity", label, name="label")
    else:
        nodes.op("Squeeze", label, first, name="label")


def _assembled(onnx, nodes, name, inputs, shape, task):
    helper, types = onnx.helper, onnx.TensorProto
    of_logits = ["batch", *shape]
    results = (
        {"value": (types.FLOAT, of_logits)}
        if task == "regression"
        else {
            "logits": (types.FLOAT, of_logits),
            "label": (types.INT64, of_logits if task == "multilabel" else ["batch"]),
            "radius": (types.DOUBLE, ["batch"]),
        }
    )
    clash = {name for name, _ in inputs} & set(results)
    if clash:
        raise ValueError(f"An input must not have the name of an output: rename {sorted(clash)}.")
    graph = helper.make_graph(
        nodes.nodes,
        name,
        [helper.make_tensor_value_info(n, types.FLOAT, ["batch", *s]) for n, s in inputs],
        [helper.make_tensor_value_info(n, *given) for n, given in results.items()],
        [onnx.numpy_helper.from_array(array, n) for n, array in nodes.constants.values()],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lipkit",
        producer_version=__version__,
    )


def _assumptions(graph, arithmetic):
    formats = "float64" if arithmetic == "real" else "float64 and float32"
    found = {op.name for op in (n.op for n in graph.nodes) if isinstance(op, g.Elementwise)}
    return [
        *ASSUMPTIONS,
        f"the runtime computes in IEEE {formats} with conventional sums in any order; {ELEMENTARY}",
        *(
            f"{name} is computed in IEEE float32, and its rounding error is taken off the margins"
            for name in sorted(found & IN_SINGLE)
        ),
    ]

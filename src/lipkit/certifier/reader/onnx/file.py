"""An ONNX file: what it takes, what it gives, and how to run it."""

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lipkit.certifier.reader.onnx import outputs
from lipkit.certifier.reader.onnx.walk import Walk, initializers
from lipkit.certifier.reader.outputs import chosen
from lipkit.certifier.reader.reading import Reading, sizes
from lipkit.certifier.reader.refusals import refusal

OPSETS = range(8, 28)  # whose operators the rules were written for
MOST = 2**28  # numbers of an input
OURS = "lipkit.version"  # metadata of files that have certificates among their outputs


def import_onnx():
    """The package, or an error that says what to install."""
    try:
        import onnx
    except ImportError:
        raise ImportError("ONNX files need the package onnx: pip install 'lipkit[onnx]'") from None
    return onnx


class OnnxFile:
    """A checked ONNX model.

    Its certified outputs are `logits` in files of `export_onnx` that have them, otherwise all that
    hold real numbers: scikit-learn's pipelines give a label, an integer or text, beside scores.

    Args:
        path: of the file.
        output: name of the one output to certify, or its index among all.

    Attributes:
        name: of the file.
        shapes: of each input without the batch axis, None where a size is open.
        batch: the size of the batch axis, None where it is open.
    """

    def __init__(self, path, output=None):
        self.name = Path(path).name
        self.model = _loaded(Path(path))
        self.opset = self._opset()
        graph = self.model.graph
        weights = {tensor.name for tensor in graph.initializer}
        self.inputs = [value for value in graph.input if value.name not in weights]
        ours = any(entry.key == OURS for entry in self.model.metadata_props)
        ours &= any(value.name == "logits" for value in graph.output)  # not those of a regression
        self.outputs = ["logits"] if ours and output is None else self._chosen(output)
        tensors = [outputs.tensor_of(graph, name) for name in self.outputs]
        self._part = outputs.only(self.model, tensors)
        _checked(self._part, path, full_check=True)  # a label's branch may be what no check infers
        shapes = [self._shape(value) for value in self.inputs]
        batches = {shape[0] for shape in shapes}
        if not shapes:
            raise self._refusal("it has no inputs")
        if len(batches) != 1:
            raise self._refusal("its inputs have different batch axes")
        (self.batch,) = batches
        self.shapes = [shape[1:] for shape in shapes]

    @property
    def _tensors(self):
        return [value.name for value in self._part.graph.output]

    def _refusal(self, reason):
        return refusal(f"ONNX file {self.name!r}", f"{reason}.")

    def _chosen(self, output):
        """The names of the outputs that hold real numbers, or of the one that was asked for."""
        kinds = {value.name: outputs.kind_of(value.type) for value in self.model.graph.output}
        if len(kinds) < len(self.model.graph.output):
            raise self._refusal(f"two of its outputs have one name, of {', '.join(kinds)}")
        names = list(kinds) if output is None else [[*kinds][chosen(kinds, output, self.name)]]
        real = [name for name in names if kinds[name] in outputs.REAL]
        if not real:
            held = ", ".join(f"{name!r} holds {kinds[name]}" for name in names)
            others = ", ".join(name for name, kind in kinds.items() if kind in outputs.REAL)
            raise self._refusal(
                f"{held}, and only real numbers have a Lipschitz constant. Outputs of real "
                f"numbers: {others or 'none'}"
            )
        return real

    def _opset(self):
        versions = {o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")}
        version = max(versions, default=0)
        if len(versions) != 1 or version not in OPSETS:
            raise self._refusal(
                f"it uses opset {version}, and rules exist for {OPSETS[0]} to {OPSETS[-1]}. Export "
                "with another opset_version, or use onnx.version_converter"
            )
        return version

    def _shape(self, value):
        tensor = value.type.tensor_type
        if len(tensor.shape.dim) < 2:
            raise self._refusal(
                f"its input {value.name!r} needs a first axis that is the batch's, and others"
            )
        sizes = tuple(dim.dim_value or None for dim in tensor.shape.dim)
        known = [n for n in sizes if n is not None]
        if min(known, default=1) < 0 or math.prod(known) > MOST:
            raise self._refusal(f"its input {value.name!r} cannot have the shape {sizes}")
        return sizes

    @property
    def weights(self):
        """The values of all initializers, in order."""
        return list(initializers(self.model).values())

    @cached_property
    def dtype(self):
        """The format that the file computes in."""
        onnx = import_onnx()
        types = {value.type.tensor_type.elem_type for value in self.inputs}
        known = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.DOUBLE: "float64"}
        if len(types) != 1 or not types <= set(known):
            names = sorted(map(onnx.helper.tensor_dtype_to_string, types))
            raise self._refusal(f"its inputs must be all float32 or all float64, and are {names}")
        return known[types.pop()]

    def read(self, input_shape=None) -> Reading:
        """Lower the file's graph.

        Args:
            input_shape: sizes of the input without the batch axis, where the file leaves them open.

        Raises:
            NotCertifiable: naming the node that has no rule.
        """
        shapes = sizes(self.name, self.shapes, input_shape)
        walk = Walk(self.name, self.opset, self.batch, self.dtype)
        names = [value.name for value in self.inputs]
        graph = walk.read(self.model, dict(zip(names, shapes, strict=True)), self._tensors)
        return Reading(
            graph=graph,
            dtype=self.dtype,
            program="onnx",
            rewritten=tuple(walk.rewritten),
            name=self.name,
            inputs=(self.dtype,) * len(shapes),
            run=lambda arrays: self._run(dict(zip(names, arrays, strict=True))),
            batch=self.batch,
        )

    def _run(self, arrays):
        try:
            with np.errstate(all="ignore"):  # of NumPy in onnx's own evaluator
                return self._session().run(self._tensors, arrays)
        except Exception as error:  # of the runtime
            raise self._refusal(f"it does not run ({error})") from None

    def _session(self):
        """ONNX Runtime, operator by operator; onnx's own evaluator where there is none for this."""
        if self.dtype == "float32":  # the runtime has few kernels in float64
            try:
                import onnxruntime
            except ImportError:
                pass
            else:
                options = onnxruntime.SessionOptions()
                options.graph_optimization_level = onnxruntime.GraphOptimizationLevel(0)  # none
                options.log_severity_level = 3
                options.intra_op_num_threads = 1
                return onnxruntime.InferenceSession(
                    self._part.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(self._part)


def _checked(model, path, full_check=False) -> Any:
    """A model, or that in a file, if it is valid."""
    onnx = import_onnx()
    try:
        model = onnx.load(model) if isinstance(model, Path) else model
        onnx.checker.check_model(model, full_check=full_check)
        initializers(model)  # all of them can be read
    except Exception as error:  # of protobuf, or of the checker
        raise ValueError(
            f"`model` must be a Keras model or the path of an ONNX file, but {str(path)!r} is "
            "not a valid one. Load Keras's own files with keras.saving.load_model. "
            f"({error})"
        ) from None
    return model


def _loaded(path):
    import_onnx()
    if path.is_dir():
        raise ValueError(
            f"`model` is a folder: {str(path)!r}. Give a Keras model or the path of an ONNX file; "
            "the model of a run is loaded by `lipkit.runs.load`."
        )
    if not path.is_file():
        raise ValueError(f"`model` names a file that does not exist: {str(path)!r}")
    model = _checked(path, path)
    if not model.functions:
        return model
    from onnx.inliner import inline_local_functions

    return inline_local_functions(model)

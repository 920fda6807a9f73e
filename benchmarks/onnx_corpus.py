"""Files that others write: read, compared with ONNX Runtime, and their bounds with the right ones.

    KERAS_BACKEND=torch python benchmarks/onnx_corpus.py [--only REGEX]

Every network of `onnx_networks.py` is exported by both exporters of PyTorch and, in a process for
each backend, by Keras, which needs tf2onnx on TensorFlow and jax2onnx on JAX. Each file must be
read, its values be those of ONNX Runtime on random inputs, and its bound be at most the right one,
the product of the norms of the explicit matrices, times 1 + 1e-6. Files that no exporter writes or
ONNX Runtime does not run are listed, and not counted. With `--only` nothing is written; else
results/onnx_corpus.json.
"""

import argparse
import contextlib
import importlib.metadata
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections import defaultdict
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
from onnx_networks import IMAGE, NETWORKS, keras_model, right_bound, torch_module
from provenance import provenance

import lipkit
from lipkit.certifier import evaluate
from lipkit.certifier.reader.onnx import OnnxFile

OUT = Path(__file__).parent / "results" / "onnx_corpus.json"
EXCESS = 1e-6  # of the bound over the right one
CLOSE = 2e-5  # float32 of ONNX Runtime to float64
BACKENDS = ("torch", "tensorflow", "jax")
PACKAGES = ("keras", "torch", "tf2onnx", "jax2onnx", "onnx", "onnxruntime", "onnxscript")


def torch_files(only):
    """(name, exporter, bytes, right bound) of PyTorch's own exporters."""
    import torch

    traced = {"dynamo": False, "dynamic_axes": {"x": {0: "batch"}}}
    dynamo = {"dynamo": True, "verbose": False, "external_data": False}
    ways = [(f"torch, traced, opset {n}", traced | {"opset_version": n}) for n in (9, 13, 17, 20)]
    ways += [(f"torch, dynamo, opset {n}", dynamo | {"opset_version": n}) for n in (18, 20)]
    for name, (shape, _) in NETWORKS.items():
        example = torch.zeros(2, *((shape[2], *shape[:2]) if shape == IMAGE else shape))
        for title, arguments in ways:
            if not only.search(f"{name}, {title}"):
                continue
            arguments = {"input_names": ["x"], **arguments}
            if arguments["dynamo"]:
                arguments["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
            yield name, title, _bytes(torch_export, torch_module(name), example, arguments), None


def torch_export(file, module, example, arguments):
    import torch

    torch.onnx.export(module, (example,), str(file), **arguments)


def keras_files(only):
    """The same of Keras's export on the backend of this process."""
    opsets = {"torch": (13, 20), "tensorflow": (11, 13, 15, 18), "jax": (23,)}
    backend = keras.backend.backend()
    ways = {f", opset {n}": {"opset_version": n} for n in opsets[backend]}
    if backend == "torch":
        ways[", batch of 1"] = {}
    for name, (shape, _) in NETWORKS.items():
        model = keras_model(name)
        model(np.zeros((1, *shape), "float32"))  # it exports what was called
        for way, arguments in ways.items():
            title = f"Keras on {backend}{way}"
            if only.search(f"{name}, {title}"):
                if "batch" in way:
                    spec = keras.InputSpec(shape=(1, *shape), dtype="float32")
                    arguments = {"input_signature": [spec]}
                yield name, title, _bytes(keras_export, model, arguments), None


def keras_export(file, model, arguments):
    model.export(file, format="onnx", verbose=False, **arguments)


def _bytes(write, *arguments):
    """What an exporter writes to a file, or the error that it raises."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "m.onnx"
        try:
            write(file, *arguments)
            return file.read_bytes()
        except Exception as error:  # the exporter cannot
            return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"


# of (name, exporter, bytes or why there are none, right bound or None: that of NETWORKS[name])
GENERATORS = [torch_files]


def in_processes(only, folder):
    """The files of Keras on each backend, from a process of its own."""
    for backend in BACKENDS:
        out = folder / backend
        out.mkdir()
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, __file__, "--only", only.pattern, "--files", str(out)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        for name, title, file, error in json.loads((out / "index.json").read_text()):
            yield name, title, error or (out / file).read_bytes(), None


def write_keras_files(only, folder):
    """The part of a process: files, and an index of them."""
    index = []
    for i, (name, title, content, _) in enumerate(keras_files(only)):
        error = content if isinstance(content, str) else None
        if error is None:
            (folder / f"{i}.onnx").write_bytes(content)
        index.append((name, title, f"{i}.onnx", error))
    (folder / "index.json").write_text(json.dumps(index))


def session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def outputs(path, size):
    """Random inputs of this size and what ONNX Runtime makes of them."""
    opened = session(path)
    (given,) = opened.get_inputs()
    batch = given.shape[0] if isinstance(given.shape[0], int) else 16
    x = size * np.random.default_rng(1).standard_normal((batch, *given.shape[1:]))
    x = x.astype("float32")
    return x, opened.run(None, {given.name: x})[0].astype("float64")


def unusable(path):
    """Why a file is none that ONNX Runtime could run, or None."""
    try:
        onnx.checker.check_model(path, full_check=True)
        outputs(path, 0.0)
    except Exception as error:
        return str(error).splitlines()[0][:200]
    return None


def check(path, right):
    """What is wrong with the reading of a file, or None; and its bound over the right one, - 1."""
    try:
        bound = lipkit.lipschitz_bound(path)
        graph = OnnxFile(path).read().graph
    except lipkit.NotCertifiable as error:
        return str(error), None
    for size in (1e-2, 1.0, 3.0):
        x, values = outputs(path, size)
        expected = evaluate.run(graph, x.astype("float64"))[graph.outputs[0]]
        difference = np.abs(values.ravel() - expected.ravel()).max() / max(1, np.abs(values).max())
        if not difference <= CLOSE:
            return f"differs from ONNX Runtime by {difference:.2g}", None
    excess = float(bound) / right - 1
    if not excess <= EXCESS:
        return f"bound {float(bound):.9g}, right is {right:.9g}", excess
    return None, excess


def versions():
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=re.compile, default=re.compile(""))
    parser.add_argument("--files", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.files:
        write_keras_files(arguments.only, arguments.files)
        return
    table = defaultdict(lambda: {"files": 0, "right": 0, "largest excess": -1.0})
    failures, left_out = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        sources = [make(arguments.only) for make in GENERATORS]
        path = Path(folder) / "m.onnx"
        for source in [*sources, in_processes(arguments.only, Path(folder))]:
            for name, title, content, right in source:
                reason = content
                if isinstance(content, bytes):
                    path.write_bytes(content)
                    reason = unusable(path)
                if reason is not None:
                    left_out[f"{name}, {title}"] = reason
                    continue
                row = table[title]
                failure, excess = check(path, right_bound(name) if right is None else right)
                row["files"] += 1
                row["right"] += failure is None
                row["largest excess"] = max(
                    row["largest excess"], -1.0 if excess is None else excess
                )
                if failure:
                    failures[f"{name}, {title}"] = failure
                    print(f"{name}, {title}: {failure}", flush=True)
    result = {
        **provenance(),
        "versions": versions(),
        "files": sum(row["files"] for row in table.values()),
        "right": sum(row["right"] for row in table.values()),
        "exporters": table,
        "failures": failures,
        "not written, or not run by ONNX Runtime": left_out,
    }
    print(json.dumps(result, indent=1))
    if not arguments.only.pattern:
        OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

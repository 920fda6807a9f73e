"""Files that others write: read, compared with ONNX Runtime, and their bounds with the right ones.

    python benchmarks/onnx_corpus.py [--only REGEX]

Every network of `onnx_networks.py` is exported by both exporters of PyTorch and, in a process for
each backend, by Keras (which uses tf2onnx on TensorFlow and jax2onnx on JAX: where a package is
missing, the exporter is said to be missing). Each file must be read, its values be those of ONNX
Runtime on random inputs, and its bound be at most the right one, the product of the norms of the
explicit matrices, times 1 + 1e-6. With `--only` nothing is written; else results/onnx_corpus.json.
"""

import argparse
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
from onnx_networks import IMAGE, NETWORKS, keras_model, right_bound, torch_module
from provenance import provenance

import lipkit
from lipkit.certify import evaluate
from lipkit.certify.reader.onnx import OnnxFile

OUT = Path(__file__).parent / "results" / "onnx_corpus.json"
EXCESS = 1e-6  # of the bound over the right one
CLOSE = 2e-5  # float32 of ONNX Runtime against float64
BACKENDS = ("torch", "tensorflow", "jax")
OPSETS = {"torch, traced": (9, 13, 17, 20), "torch, dynamo": (18, 20)}


def torch_files(only):
    """(name, exporter, bytes) of PyTorch's own exporters."""
    import torch

    for name in NETWORKS:
        module = torch_module(name)
        shape = NETWORKS[name][0]
        example = torch.zeros(2, *((shape[2], *shape[:2]) if shape == IMAGE else shape))
        for exporter, opsets in OPSETS.items():
            ways = {
                "torch, traced": {"dynamo": False, "dynamic_axes": {"x": {0: "batch"}}},
                "torch, dynamo": {
                    "dynamo": True,
                    "verbose": False,
                    "dynamic_shapes": ({0: torch.export.Dim("batch")},),
                },
            }
            for opset in opsets:
                title = f"{exporter}, opset {opset}"
                if only.search(f"{name}, {title}"):
                    file, arguments = io.BytesIO(), {"input_names": ["x"], "opset_version": opset}
                    arguments |= ways[exporter]
                    yield (
                        name,
                        title,
                        _bytes(
                            lambda f=file, m=module, a=arguments: torch.onnx.export(
                                m, (example,), f, **a
                            ),
                            file,
                        ),
                    )


def _bytes(write, file):
    """What an exporter writes, or the error that it raises."""
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with quiet[0], quiet[1], warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            write()
        except Exception as error:  # the exporter cannot, which is no fault of the file
            return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return file.getvalue() if isinstance(file, io.BytesIO) else file.read_bytes()


def keras_files(only, folder):
    """(name, exporter, bytes) of Keras's export on the backend of this process."""
    backend = keras.backend.backend()
    ways = {
        "torch": {"": {}, ", opset 13": {"opset_version": 13}, ", batch of 1": {"signature": 1}},
        "tensorflow": {f", opset {n}": {"opset_version": n} for n in (11, 13, 15, 18)},
        "jax": {"": {}},
    }[backend]
    for name in NETWORKS:
        model = keras_model(name)
        model(np.zeros((1, *NETWORKS[name][0]), "float32"))  # it exports what was called
        for way, arguments in ways.items():
            title = f"Keras on {backend}{way}"
            if not only.search(f"{name}, {title}"):
                continue
            arguments = {**arguments}
            if "signature" in arguments:
                shape = (arguments.pop("signature"), *NETWORKS[name][0])
                arguments["input_signature"] = [keras.InputSpec(shape=shape, dtype="float32")]
            file = folder / "model.onnx"
            file.unlink(missing_ok=True)
            yield (
                name,
                title,
                _bytes(
                    lambda m=model, f=file, a=arguments: m.export(
                        f, format="onnx", verbose=False, **a
                    ),
                    file,
                ),
            )


GENERATORS = [torch_files]  # of (name, exporter, bytes), in the process that reads them


def in_processes(only, folder):
    """(name, exporter, bytes) of Keras on each backend."""
    for backend in BACKENDS:
        out = folder / backend
        out.mkdir()
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, __file__, "--only", only.pattern, "--files", str(out)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        for name, title, file, error in json.loads((out / "index.json").read_text()):
            yield name, title, error or (out / file).read_bytes()


def write_keras_files(only, folder):
    """The part of a process: files, and an index of them."""
    index = []
    for i, (name, title, content) in enumerate(keras_files(only, folder)):
        error = content if isinstance(content, str) else None
        if error is None:
            (folder / f"{i}.onnx").write_bytes(content)
        index.append((name, title, f"{i}.onnx", error))
    (folder / "index.json").write_text(json.dumps(index))


def unusable(path):
    """Why a file is none that ONNX Runtime could run, or None."""
    try:
        onnx.checker.check_model(path, full_check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(str(path), options)
        (given,) = session.get_inputs()
        shape = [n if isinstance(n, int) else 2 for n in given.shape]
        session.run(None, {given.name: np.zeros(shape, "float32")})
    except Exception as error:
        return str(error).splitlines()[0][:200]
    return None


def check(path, right):
    """What is wrong with the reading of a file, or None; and its bound over the right one."""
    try:
        bound = lipkit.lipschitz_bound(path)
        graph = OnnxFile(path).read().graph
    except lipkit.NotCertifiable as error:
        return str(error), None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    batch = given.shape[0] if isinstance(given.shape[0], int) else 16
    for size in (1e-2, 1.0, 3.0):
        rng = np.random.default_rng(1)
        x = (size * rng.standard_normal((batch, *given.shape[1:]))).astype("float32")
        values = session.run(None, {given.name: x})[0].astype("float64")
        expected = evaluate.run(graph, x.astype("float64"))[graph.outputs[0]]
        difference = np.abs(values.ravel() - expected.ravel()).max() / max(1, np.abs(values).max())
        if not difference <= CLOSE:
            return f"differs from ONNX Runtime by {difference:.2g}", None
    excess = bound / right - 1
    if not excess <= EXCESS:
        return f"bound {float(bound):.9g}, right is {right:.9g}", excess
    return None, excess


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=re.compile, default=re.compile(""))
    parser.add_argument("--files", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.files:
        write_keras_files(arguments.only, arguments.files)
        return
    files, read, failures, unwritten, largest = Counter(), Counter(), {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        sources = [*(make(arguments.only) for make in GENERATORS)]
        sources.append(in_processes(arguments.only, Path(folder)))
        path = Path(folder) / "m.onnx"
        for source in sources:
            for name, title, content in source:
                if isinstance(content, str):
                    unwritten[f"{name}, {title}"] = content
                    continue
                path.write_bytes(content)
                if (reason := unusable(path)) is not None:
                    unwritten[f"{name}, {title}"] = reason
                    continue
                files[title] += 1
                failure, excess = check(path, right_bound(name))
                read[title] += failure is None
                if excess is not None:
                    largest[title] = max(largest.get(title, -1), excess)
                if failure:
                    failures[f"{name}, {title}"] = failure
                    print(f"{name}, {title}: {failure}", flush=True)
    result = {
        **provenance(),
        "files": sum(files.values()),
        "right": sum(read.values()),
        "by exporter": {
            title: {"files": files[title], "right": read[title], "excess": largest.get(title)}
            for title in files
        },
        "failures": failures,
        "not written, or not run by ONNX Runtime": unwritten,
    }
    print(json.dumps(result, indent=1))
    if not arguments.only.pattern:
        OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

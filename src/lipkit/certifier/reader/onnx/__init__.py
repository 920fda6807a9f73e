"""From ONNX files to the certifier's graph: default deny, like the reading of Keras models."""

from lipkit.certifier.reader.onnx.file import OnnxFile, import_onnx

__all__ = ["OnnxFile", "import_onnx"]

"""From Keras models and ONNX files to the certifier's graph: the only part that knows them."""

from lipkit.certifier.reader.reading import Reading, compare
from lipkit.certifier.reader.registry import as_exported, register_rule
from lipkit.certifier.reader.traversal import read

__all__ = ["Reading", "as_exported", "compare", "read", "register_rule"]

"""From a Keras model to the certifier's graph: the only part that knows Keras."""

from lipkit.certify.reader.registry import register_rule
from lipkit.certify.reader.traversal import Reading, read

__all__ = ["Reading", "read", "register_rule"]

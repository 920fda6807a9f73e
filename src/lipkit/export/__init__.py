"""Plain Keras models out of lipkit's."""

from lipkit.export.vanilla import vanilla_layer, vanilla_model

__all__ = ["vanilla_layer", "vanilla_model"]

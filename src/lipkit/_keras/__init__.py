"""Keras's models as graphs, and what their layers are called with."""

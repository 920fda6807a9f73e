"""Random graphs, and attempts to refute what lipkit claims of them.

`keras_graphs` and `onnx_graphs` draw programs, `checks` attacks their bounds and certificates. Used
by `tests/test_fuzz.py` for a bounded time, and by `benchmarks/fuzz.py` for thousands of graphs.
"""

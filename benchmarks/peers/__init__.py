"""Networks of the contenders, each importable in its own environment only."""

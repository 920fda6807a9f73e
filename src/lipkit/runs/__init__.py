"""Runs of `lipkit train`: a folder with a model, its test data, their certificates and a record.

`train` writes one, whole or not at all; `read` checks that its files belong together; `load` gives
its model for new data; `find` and `latest` look for runs.
"""

from lipkit.runs.folder import RunFolder, find, latest
from lipkit.runs.loading import Loaded, load
from lipkit.runs.reading import Run, read
from lipkit.runs.schema import DataInfo, RunInfo, Split
from lipkit.runs.training import TrainedRun, train

__all__ = [
    "DataInfo",
    "Loaded",
    "Run",
    "RunFolder",
    "RunInfo",
    "Split",
    "TrainedRun",
    "find",
    "latest",
    "load",
    "read",
    "train",
]

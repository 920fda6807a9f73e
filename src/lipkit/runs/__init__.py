"""Runs of `lipkit train`: a folder with a model, its test data, their certificates and a record.

`train` writes one, whole or not at all, and `train_seeds` one for each seed; `read` checks that its
files belong together; `load` gives its model for new data; `find` and `latest` look for runs.
"""

from lipkit.runs.folder import RunFolder, find, latest
from lipkit.runs.loading import Loaded, load
from lipkit.runs.reading import Run, read
from lipkit.runs.schema import DataInfo, RunInfo, Split
from lipkit.runs.scores import Scores
from lipkit.runs.seeds import train_seeds
from lipkit.runs.training import TrainedRun, train

__all__ = [
    "DataInfo",
    "Loaded",
    "Run",
    "RunFolder",
    "RunInfo",
    "Scores",
    "Split",
    "TrainedRun",
    "find",
    "latest",
    "load",
    "read",
    "train",
    "train_seeds",
]

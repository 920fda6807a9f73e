"""Singular values of kernels while training, for TensorBoard, spreadsheets and Python."""

import csv
from pathlib import Path

import keras
import numpy as np
from keras import ops

from lipkit._registry import explains
from lipkit.callbacks._events import EventFile

_KERNELS = {"kernel": "_kernel", "wbar": "kernel"}  # of deel-lip's names, ours


@explains
class MonitorCallback(keras.callbacks.Callback):
    """Singular values of layers' kernels as matrices (prod, n), computed in float64.

    For a convolution they are those of the matrix, not of the operator. They are written to
    TensorBoard's event files in `logdir/metrics` as "{layer}_{target}_sigmas" (no package is needed
    for that), to `logdir/sigmas.csv` with the columns step, tag, index, sigma, and to `history`.
    Everything is on disk after each step; a second `fit` appends.

    Args:
        monitored_layers: names of layers, of nested models too.
        logdir: a folder, made if it does not exist.
        target: `"kernel"` for the free kernel, `"wbar"` for the kernel as it is used.
        what: `"max"` for the largest value, `"all"` for all of them (a histogram).
        on_epoch: write at the end of each epoch; the step is the number of the epoch.
        on_batch: write after each batch instead; the step is the number of batches so far.

    Attributes:
        history: dict from tag to a list of (step, value), an array (r,) if `what="all"`.

    Raises:
        ValueError: bad arguments, or, when training starts, a layer that does not exist or has no
            kernel.

    Example:
    >>> name = model.layers[0].name
    >>> monitor = lipkit.callbacks.MonitorCallback([name], "logs", target="wbar")
    >>> history = model.fit(x, y, verbose=0, callbacks=[monitor])
    >>> [(step, sigma)] = monitor.history[f"{name}_wbar_sigmas"]
    >>> step, sigma < 1.001
    (1, True)
    """

    def __init__(
        self, monitored_layers, logdir, target="kernel", what="max", on_epoch=True, on_batch=False
    ):
        super().__init__()
        if isinstance(monitored_layers, str) or not monitored_layers:
            raise ValueError(
                "`monitored_layers` must be a list of layer names. "
                f"Received: monitored_layers={monitored_layers!r}"
            )
        if target not in _KERNELS:
            raise ValueError(f"`target` must be 'kernel' or 'wbar'. Received: target={target!r}")
        if what not in ("max", "all"):
            raise ValueError(f"`what` must be 'max' or 'all'. Received: what={what!r}")
        self.monitored_layers, self.logdir = list(monitored_layers), str(logdir)
        self.target, self.what = target, what
        self.on_batch, self.on_epoch = bool(on_batch), bool(on_epoch) and not on_batch
        self.history: dict[str, list] = {}
        self._batches = 0  # of the epochs before this one
        self._last = 0  # of this one

    def on_train_begin(self, logs=None):
        """Find the layers and open the files."""
        for name in self.monitored_layers:
            self._kernel(name)
        self._events = EventFile(Path(self.logdir) / "metrics")
        self._table = Path(self.logdir) / "sigmas.csv"
        if not self._table.exists():
            self._append([("step", "tag", "index", "sigma")])

    def on_train_batch_end(self, batch, logs=None):
        """Count, and write if asked for."""
        self._last = batch + 1
        if self.on_batch:
            self._write(self._batches + self._last)

    def on_epoch_end(self, epoch, logs=None):
        """Count, and write if asked for."""
        self._batches, self._last = self._batches + self._last, 0
        if self.on_epoch:
            self._write(epoch + 1)

    def _kernel(self, name):
        found = [layer for layer in self.model._flatten_layers() if layer.name == name]
        kernels = [getattr(layer, _KERNELS[self.target], None) for layer in found]
        if len(kernels) != 1 or kernels[0] is None:
            raise ValueError(
                "`monitored_layers` must be names of layers with a kernel, each of exactly one. "
                f"Received: {name!r}, the name of {len(found)} layers of the model"
            )
        return ops.convert_to_numpy(ops.convert_to_tensor(kernels[0])).astype("float64")

    def _write(self, step):
        for name in self.monitored_layers:
            kernel = self._kernel(name)
            tag = f"{name}_{self.target}_sigmas"
            if np.isfinite(kernel).all():
                sigmas = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)
            else:  # recorded, not raised: a guard or the user decides
                sigmas = np.array([np.nan])
            value = float(sigmas[0]) if self.what == "max" else sigmas
            self.history.setdefault(tag, []).append((step, value))
            rows = enumerate(np.atleast_1d(value).tolist())
            self._append((step, tag, index, sigma) for index, sigma in rows)
            if np.isfinite(sigmas).all():
                self._events.add(tag, step, value)

    def _append(self, rows):
        with self._table.open("a", newline="") as file:
            csv.writer(file).writerows(rows)

    def get_config(self):
        """The constructor's arguments."""
        names = ("monitored_layers", "logdir", "target", "what", "on_epoch", "on_batch")
        return {name: getattr(self, name) for name in names}

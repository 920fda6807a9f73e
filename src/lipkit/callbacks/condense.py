"""Overwrite free kernels with the constrained ones while training."""

import keras

from lipkit._registry import explains
from lipkit.models import condense


@explains
class CondenseCallback(keras.callbacks.Callback):
    """Condense all constrained kernels of the model, of nested models too.

    The function of the model does not change; what changes is the point from which training
    continues.

    Args:
        on_epoch: condense at the end of each epoch.
        on_batch: condense after each batch.

    Example:
    >>> history = model.fit(x, y, verbose=0, callbacks=[lipkit.callbacks.CondenseCallback()])
    >>> free = ops.convert_to_numpy(model.layers[0]._kernel)
    >>> bool(np.linalg.norm(free, 2) < 1.001)
    True
    """

    def __init__(self, on_epoch=True, on_batch=False):
        super().__init__()
        self.on_epoch, self.on_batch = bool(on_epoch), bool(on_batch)

    def on_train_batch_end(self, batch, logs=None):
        """Condense, if asked for."""
        if self.on_batch:
            condense(self.model)

    def on_epoch_end(self, epoch, logs=None):
        """Condense, if asked for."""
        if self.on_epoch:
            condense(self.model)

    def get_config(self):
        """The constructor's arguments."""
        return {"on_epoch": self.on_epoch, "on_batch": self.on_batch}

"""Data sets that know the number of the epoch."""

import keras


class ByEpoch(keras.utils.PyDataset):
    """Batches that depend on the number of the epoch, so that a training can be resumed.

    Attributes:
        epoch: number of the epoch that is drawn: from 1 in `fit` of lipkit's models, which tell it.
    """

    # no `workers`: Keras hands batches that they drew ahead to the epoch that follows
    def __init__(self):
        super().__init__()
        self.epoch = 0

    def on_epoch_end(self):
        """Draw other batches in the next epoch."""
        self.epoch += 1

    def follow(self):
        """A callback for `fit` that sets `epoch` to the one that begins."""

        def begin(epoch, logs=None):
            self.epoch = epoch + 1

        return keras.callbacks.LambdaCallback(on_epoch_begin=begin)

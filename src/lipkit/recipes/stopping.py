"""Early stopping of candidates that are trained side by side."""

import keras
import numpy as np

TOLERANCE = 1e-4  # of the loss: what improves by less does not keep a fit going


class BestOfEach(keras.callbacks.EarlyStopping):
    """Ends a fit when no candidate has improved for a while, and gives each its best weights back.

    Adds `val_loss`, the mean of the candidates, to what callbacks behind it are told.

    Args:
        patience: epochs without an improvement after which the fit ends.
        judged: judged() gives the losses (candidates,) of the model as it is.
    """

    def __init__(self, patience, judged):
        super().__init__("val_loss", patience=patience, restore_best_weights=True)
        self._judged = judged

    def on_epoch_end(self, epoch, logs=None):
        """Keep the weights of candidates that improve; all have the candidates as first axis."""
        losses, weights = self._judged(), self.model.get_weights()
        if self.best_weights is None:
            self.best, self.best_weights = [np.inf] * len(losses), [w.copy() for w in weights]
        best = np.array(self.best)
        better, further = losses < best, losses < best - TOLERANCE
        self.best = np.minimum(losses, best).tolist()  # which a file can hold
        for kept, now in zip(self.best_weights, weights, strict=True):
            kept[better] = now[better]
        self.wait = 0 if further.any() else self.wait + 1
        if logs is not None:
            logs["val_loss"] = float(losses.mean())
        if self.wait >= self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True

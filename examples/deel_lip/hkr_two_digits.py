"""The digits 0 and 8, told apart by a 1-Lipschitz network with the HKR loss.

Written for deel-lip: only the import of `lip` is lipkit's.
"""

import numpy as np
from keras.layers import Flatten, Input
from keras.optimizers import Adam
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lipkit.compat.deel_lip as lip

EPSILON = 0.25


def digits():
    """Images of 0 and 8 with pixels in [0, 1], labels 1 and -1; training and test set."""
    x, y = load_digits(return_X_y=True)
    chosen = (y == 0) | (y == 8)
    x = x[chosen].reshape(-1, 8, 8, 1).astype("float32") / 16
    y = np.where(y[chosen] == 0, 1.0, -1.0).astype("float32").reshape(-1, 1)
    return train_test_split(x, y, test_size=0.3, random_state=0)


def main(epochs=30):
    """Train, and return the exported model, the test set, and Keras's values on it by name."""
    x_train, x_test, y_train, y_test = digits()
    model = lip.Sequential(
        [
            Input((8, 8, 1)),
            Flatten(),
            lip.layers.SpectralDense(64, use_bias=True, k_coef_lip=1.0),
            lip.layers.GroupSort2(),
            lip.layers.SpectralDense(32),
            lip.layers.MaxMin(),
            lip.layers.FrobeniusDense(1, use_bias=False),
        ],
        k_coef_lip=1.0,
        name="two_digits",
    )
    model.compile(
        loss=lip.losses.HKR(alpha=10.0, min_margin=1.0),
        metrics=[
            lip.metrics.BinaryProvableRobustAccuracy(0.0, lip_const=1.0, name="accuracy"),
            lip.metrics.BinaryProvableRobustAccuracy(EPSILON, lip_const=1.0, name="robust"),
        ],
        optimizer=Adam(0.005),
    )
    callback = lip.callbacks.LossParamScheduler("alpha", fp=[1.0, 10.0], xp=[0, 20], step=0)
    model.fit(x_train, y_train, batch_size=64, epochs=epochs, callbacks=[callback], verbose=0)
    model.condense()
    values = model.evaluate(x_test, y_test, batch_size=len(x_test), return_dict=True, verbose=0)
    return model.vanilla_export(), (x_test, y_test), values


if __name__ == "__main__":
    vanilla, (x, y), values = main()
    print(
        f"accuracy {values['accuracy']:.3f}, {values['robust']:.3f} within {EPSILON} by the metric"
    )

    from lipkit import certify, lipschitz_bound

    certified = certify(vanilla, x, y).certified_accuracy(EPSILON)
    print(f"proven: at most {lipschitz_bound(vanilla):.7f}-Lipschitz;", end=" ")
    print(f"accuracy {certified:.3f} after any change of 2-norm {EPSILON}")

"""Ten digits, classified by a 1-Lipschitz convolutional network with the multiclass HKR loss.

Written for deel-lip: only the import of `lip` is lipkit's.
"""

import numpy as np
from keras.layers import Flatten, Input
from keras.optimizers import Adam
from keras.utils import to_categorical
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import lipkit.compat.deel_lip as lip

EPSILON = 0.1


def digits():
    """Images with pixels in [0, 1] and one-hot labels; training and test set."""
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1).astype("float32") / 16
    return train_test_split(x, to_categorical(y, 10), test_size=0.3, random_state=0)


def main(epochs=20):
    """Train, and return the exported model, the test set, and Keras's values on it by name."""
    x_train, x_test, y_train, y_test = digits()
    model = lip.Sequential(
        [
            Input((8, 8, 1)),
            lip.layers.SpectralConv2D(
                filters=16,
                kernel_size=(3, 3),
                activation=lip.layers.GroupSort(2),
                use_bias=True,
                kernel_initializer="orthogonal",
            ),
            lip.layers.ScaledL2NormPooling2D(pool_size=(2, 2), data_format="channels_last"),
            lip.layers.SpectralConv2D(32, (3, 3), activation=lip.layers.GroupSort(2)),
            lip.layers.ScaledL2NormPooling2D(pool_size=(2, 2)),
            Flatten(),
            lip.layers.SpectralDense(64, activation=lip.layers.GroupSort(2)),
            lip.layers.FrobeniusDense(10, activation=None, use_bias=False),
        ],
        k_coef_lip=1.0,
        name="ten_digits",
    )
    model.compile(
        loss=lip.losses.MulticlassHKR(alpha=50.0, min_margin=0.2),
        metrics=[
            "accuracy",
            lip.losses.MulticlassKR(),
            lip.metrics.CategoricalProvableRobustAccuracy(EPSILON, 1.0, name="robust"),
        ],
        optimizer=Adam(0.01),
    )
    model.fit(x_train, y_train, batch_size=64, epochs=epochs, verbose=0)
    values = model.evaluate(x_test, y_test, batch_size=len(x_test), return_dict=True, verbose=0)
    return model.vanilla_export(), (x_test, np.argmax(y_test, axis=1)), values


if __name__ == "__main__":
    vanilla, (x, y), values = main()
    print(
        f"accuracy {values['accuracy']:.3f}, {values['robust']:.3f} within {EPSILON} by the metric"
    )

    from lipkit import certify, lipschitz_bound

    certified = certify(vanilla, x, y).certified_accuracy(EPSILON)
    print(
        f"proven: at most {lipschitz_bound(vanilla):.7f}-Lipschitz for all logits together;",
        end=" ",
    )
    print(f"accuracy {certified:.3f} after any change of 2-norm {EPSILON}")

"""Two moons, classified by a 1-Lipschitz network with the HKR loss.

Written for deel-lip: only the import of `lip` is lipkit's.
"""

import numpy as np
from keras.layers import Input
from keras.optimizers import Adam
from sklearn.datasets import make_moons

import lipkit.compat.deel_lip as lip


def moons(n, seed):
    """Points and labels -1, 1."""
    x, y = make_moons(n, noise=0.05, random_state=seed)
    return x.astype("float32"), (2.0 * y.reshape(-1, 1) - 1).astype("float32")


def main(epochs=20):
    """Train, and return the exported model, the test set and the accuracy on it."""
    x, y = moons(2000, seed=0)
    inputs = Input((2,))
    z = lip.layers.SpectralDense(64, kernel_initializer="orthogonal")(inputs)
    z = lip.layers.GroupSort(2)(z)
    z = lip.layers.SpectralDense(64, lip.layers.GroupSort2())(z)
    z = lip.layers.SpectralDense(32)(z)
    z = lip.layers.FullSort()(z)
    outputs = lip.layers.FrobeniusDense(1)(z)
    model = lip.Model(inputs=inputs, outputs=outputs, name="moons")
    model.compile(
        loss=lip.losses.HKR(10.0, 0.3),
        metrics=[lip.losses.KR(), lip.losses.HingeMargin(0.3)],
        optimizer=Adam(0.01),
    )
    model.fit(x, y, batch_size=256, epochs=epochs, verbose=0)
    x, y = moons(1000, seed=1)
    accuracy = np.mean((model.predict(x, verbose=0) > 0) == (y > 0))
    return lip.vanillaModel(model), (x, y), accuracy


if __name__ == "__main__":
    vanilla, (x, y), accuracy = main()
    print(f"accuracy {accuracy:.3f}")

    from lipkit import certify, lipschitz_bound

    certified = certify(vanilla, x, y).certified_accuracy(0.1)
    print(f"proven: at most {lipschitz_bound(vanilla):.7f}-Lipschitz;", end=" ")
    print(f"accuracy {certified:.3f} after any change of 2-norm 0.1")

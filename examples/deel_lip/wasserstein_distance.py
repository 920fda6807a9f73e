"""Wasserstein-1 distance of two sets of images, estimated by a 1-Lipschitz network.

The second set is the first one's distribution moved by a fixed pattern, so the exact distance is
the norm of the pattern. Written for deel-lip: only the import of `lip` is lipkit's.
"""

import numpy as np
from keras.layers import Flatten, Input
from keras.optimizers import Adam

import lipkit.compat.deel_lip as lip

SIZE = 8


def images(n, seed=0):
    """Noise (label 1) and noise with a bright square (label -1), and the distance of the two."""
    rng = np.random.default_rng(seed)
    pattern = np.zeros((SIZE, SIZE, 1))
    pattern[2:6, 2:6] = 0.5
    noise = rng.normal(0.0, 0.1, (2, n, SIZE, SIZE, 1))
    x = np.concatenate([noise[0], noise[1] + pattern]).astype("float32")
    y = np.repeat([[1.0], [-1.0]], n, axis=0).astype("float32")
    return x, y, np.linalg.norm(pattern)


def main(epochs=20):
    """Train, and return the exported model, the estimate on new images and the exact distance."""
    x, y, _ = images(1000)
    model = lip.Sequential(
        [
            Input((SIZE, SIZE, 1)),
            Flatten(),
            lip.layers.SpectralDense(64),
            lip.layers.GroupSort(2),
            lip.layers.SpectralDense(32),
            lip.layers.FullSort(),
            lip.layers.FrobeniusDense(1, activation=None, use_bias=False),
        ],
        name="wasserstein",
    )
    model.compile(
        loss=lip.losses.HKR(alpha=0),  # without the hinge: minus the distance
        metrics=[lip.losses.KR()],
        optimizer=Adam(0.01),
    )
    model.fit(x, y, batch_size=200, epochs=epochs, verbose=0)
    x, y, exact = images(1000, seed=1)
    f = model.predict(x, verbose=0)
    return model.vanilla_export(), f[y > 0].mean() - f[y < 0].mean(), exact


if __name__ == "__main__":
    vanilla, estimate, exact = main()
    print(f"Wasserstein distance: {estimate:.4f} estimated, {exact:.4f} exact")

    from lipkit import lipschitz_bound

    print(f"proven: the network's Lipschitz constant is at most {lipschitz_bound(vanilla):.7f}")

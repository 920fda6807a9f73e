"""Train, certify and attack a 1-Lipschitz classifier of MNIST, from the files that it comes in.

    python mnist_hkr.py --data FOLDER [--epochs 20] [--out mnist.keras]

FOLDER holds train-images-idx3-ubyte, train-labels-idx1-ubyte and the same of t10k, as they are or
with .gz, under these names or with a dot before "idx". Without --data, scikit-learn's small digits
are used instead. Fashion-MNIST has the same format.
"""

import argparse
import gzip
from pathlib import Path

import keras
import numpy as np

import lipkit
from lipkit.layers import FrobeniusDense, GroupSort2, SpectralDense


def read_idx(path):
    """The array in an IDX file of unsigned bytes."""
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    if data[:3] != b"\0\0\x08":
        raise SystemExit(f"{path} is not an IDX file of unsigned bytes")
    shape = np.frombuffer(data, ">u4", data[3], offset=4).astype(int)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def find(folder, part, kind):
    """The file of a part ("train", "t10k") and a kind ("images-idx3", "labels-idx1")."""
    for name in (f"{part}-{kind}-ubyte", f"{part}-{kind}-ubyte".replace("-idx", ".idx")):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.exists():
                return path
    raise SystemExit(f"{folder} has no {part}-{kind}-ubyte, nor the same with .gz")


def mnist(folder):
    """Images (n, 784) with pixels in [0, 1] and labels (n,): training set, test set."""
    sets = []
    for part in ("train", "t10k"):
        images = read_idx(find(folder, part, "images-idx3"))
        labels = read_idx(find(folder, part, "labels-idx1"))
        sets.append((images.reshape(len(images), -1).astype("float32") / 255, labels.astype(int)))
    return sets


def digits():
    """The same of scikit-learn's digits: 1,797 images (n, 64)."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)
    return (x, y), (x_test, y_test)


def network(inputs, width):
    """Three hidden layers; 1-Lipschitz in each output."""
    hidden = [layer for _ in range(3) for layer in (SpectralDense(width), GroupSort2())]
    return lipkit.Sequential([keras.Input((inputs,)), *hidden, FrobeniusDense(10)])


def main():
    """Parse the arguments, train, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's four files")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--alpha", type=float, default=50.0)
    parser.add_argument("--margin", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("mnist.keras"))
    args = parser.parse_args()

    (x, y), (x_test, y_test) = mnist(args.data) if args.data else digits()
    print(f"{len(x):,} images for training, {len(x_test):,} for the test, {x.shape[1]} pixels")

    keras.utils.set_random_seed(0)
    model = network(x.shape[1], args.width)
    steps = args.epochs * -(-len(x) // args.batch)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, steps)),
        lipkit.losses.LseHKR(alpha=args.alpha, min_margin=args.margin),
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=args.batch, epochs=args.epochs, verbose=0)

    export = model.vanilla_export()
    export.save(args.out)
    result = lipkit.certify(export, x_test, y_test)
    print(f"proven constant of all logits together: {float(lipkit.lipschitz_bound(export)):.4f}")
    print(result)
    print("radius    proven right   right after an attack")
    right = result.label == result.y
    for radius in (0.3, 0.6, 1.0, 1.58):
        attack = lipkit.attacks.pgd(export, x_test, result, radius=radius)
        proven, left = result.certified_accuracy(radius), np.mean(right & ~attack.broken)
        print(f"{radius:6.2f}    {proven:12.3f}   {left:21.3f}")


if __name__ == "__main__":
    main()

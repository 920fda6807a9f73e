"""Write and execute `hkr_two_moons.ipynb`: python examples/make_notebook.py [--epochs N] [--out F].

The text and code live here, once; the notebook is what they print.
"""

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient

CELLS = [
    """# A certified classifier of two moons

Two classes of points in the plane, and one question: how far can a point move before the answer
changes? An ordinary network cannot say. A network whose Lipschitz constant is 1 can: its output
changes by at most the distance that the input moves, so **|f(x)| is a radius inside which the sign
of f cannot change**. This notebook trains such a network, looks at it, and exports it to a plain
Keras model.""",
    """import keras
import matplotlib.pyplot as plt
import numpy as np

import lipkit
from lipkit import data, losses, metrics, plots
from lipkit.layers import FrobeniusDense, FullSort, SpectralDense

keras.utils.set_random_seed(0)
print("backend:", keras.backend.backend())""",
    """## The data

5,000 points on two interleaved half circles, with a little noise. The labels are +1 and -1.""",
    """x, y = data.moons(5000, noise=0.05, seed=0)
plots.scatter(x, y)
plt.show()""",
    """## What the network should learn

**Optimal transport.** Think of each class as a heap of sand. The Wasserstein-1 distance between the
classes is the least work, mass times distance, that turns one heap into the other.

**Duality.** Kantorovich and Rubinstein showed that this least work equals a maximum over functions:

$$W_1(P_+, P_-) = \\max_{\\mathrm{Lip}(f) \\le 1} \\; \\mathbb{E}_{P_+} f - \\mathbb{E}_{P_-} f .$$

So a 1-Lipschitz network that maximises the difference of its means over the classes (the **KR
term**) estimates a distance. The best f rises along the paths of the transport, at slope 1.

**The hinge.** That f separates the classes on average, yet need not put its zero between them. The
HKR loss adds a hinge that asks every point for a margin:

$$\\mathcal{L} = -\\left(\\mathbb{E}_{P_+} f - \\mathbb{E}_{P_-} f\\right)
+ \\alpha \\; \\mathbb{E} \\max(0, m - y f(x)) .$$

`alpha` weighs margins against transport; `min_margin` m is in the units of the data, because the
constant is 1.""",
    """alpha, min_margin = 10.0, 0.29
loss = losses.HKR(alpha=alpha, min_margin=min_margin)""",
    """## The network

`SpectralDense` is `Dense` with an orthogonal kernel: it neither stretches nor (where shapes allow)
shrinks. `FullSort` sorts the activations, a nonlinearity that keeps the norm of the gradient, which
ReLU does not. `FrobeniusDense` ends with a vector of norm 1. A composition of 1-Lipschitz maps is
1-Lipschitz.""",
    """model = lipkit.Sequential(
    [
        keras.Input((2,)),
        SpectralDense(256),
        FullSort(),
        SpectralDense(128),
        FullSort(),
        SpectralDense(64),
        FullSort(),
        FrobeniusDense(1),
    ]
)
model.summary()""",
    """## Training

Any Keras optimizer does. Both terms compare the classes, so half of each batch is
drawn from each.""",
    """model.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss=loss,
    metrics=[losses.KR(), losses.HingeMargin(min_margin), metrics.HKRBinaryAccuracy()],
)
batches = data.BalancedBatches(x, y, batch_size=256, steps=158, seed=0)
history = model.fit(batches, epochs=EPOCHS, verbose=2)""",
    """## The function that it learnt

The slope of f is close to 1 between the classes, where the contour lines are nearly evenly spaced,
and never above. The bold line is f = 0. A point on the line labelled 0.4 cannot be moved across the
bold line by less than 0.4.""",
    """plots.decision_function(model, x, y)
plt.show()""",
    """plots.decision_surface(model, x, y)
plt.show()""",
    """## Export

The export has the same function and no trace of lipkit: it loads wherever Keras does, on any
backend. Its kernels are orthogonal: here are their singular values in double precision.""",
    """export = model.vanilla_export()
export.save("two_moons.keras")
difference = np.abs(model.predict(x, verbose=0) - export.predict(x, verbose=0)).max()
print(f"largest difference between model and export: {difference:.1e}")
for layer in export.layers:
    if isinstance(layer, keras.layers.Dense):
        kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float64")
        sigma = np.linalg.svd(kernel, compute_uv=False)
        print(f"{layer.name:20s} singular values in [{sigma.min():.7f}, {sigma.max():.7f}]")""",
    """plots.decision_function(export, x, y)
plt.show()""",
    """## How robust is it?

|f(x)| is the radius inside which the answer holds, up to the float32 rounding seen above (an
estimate: a certificate bounds the norms and the rounding as well).""",
    """f = model.predict(x, verbose=0)[:, 0]
right = (f > 0) == (y > 0)
for radius in (0.0, 0.1, 0.2, 0.3):
    share = np.mean(right & (np.abs(f) > radius))
    print(f"right, and so within {radius}: {share:.1%}")""",
]


def write(epochs: int, out: Path) -> None:
    """Execute the cells with `epochs` epochs of training and write the notebook."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    for index, text in enumerate(CELLS):
        is_text = text.startswith("#")
        new = nbformat.v4.new_markdown_cell if is_text else nbformat.v4.new_code_cell
        notebook.cells.append(new(text.replace("EPOCHS", str(epochs)), id=f"cell-{index}"))
    resources = {"metadata": {"path": str(out.parent)}}
    NotebookClient(notebook, timeout=900, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":  # the backends' start-up logs
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    nbformat.write(notebook, out)


def main():
    """Parse the arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("hkr_two_moons.ipynb"))
    args = parser.parse_args()
    write(args.epochs, args.out)


if __name__ == "__main__":
    main()

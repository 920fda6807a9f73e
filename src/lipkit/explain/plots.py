"""Pictures of explanations. Matplotlib is imported when they are drawn."""

import numpy as np

from lipkit import plots
from lipkit.explain.counterfactuals import counterfactual
from lipkit.explain.margins import saliency


def transport_plot(model, x, y, ax=None, *, arrows=100, overshoot=1.0):
    """Arrows from points in the plane to their counterfactuals, over the model's contour lines.

    With `overshoot=1` a point goes as far beyond the decision line as it was before it: for a
    network that was trained with the HKR loss, to about where the optimal transport takes it.

    Args:
        model: Keras model with inputs (n, 2) and one logit.
        x, y: points (n, 2) and labels (n,), positive iff above 0.
        ax: Matplotlib Axes, or None for new ones.
        arrows: about how many points get one: every n/arrows-th whose decision can be flipped.
        overshoot: as in `lipkit.explain.counterfactual`.

    Returns:
        The Axes.

    Example:
    >>> ax = lipkit.explain.transport_plot(model, x, y, arrows=20)
    >>> ax.figure.savefig("transport.png")
    """
    ax = plots.decision_function(model, x, y, ax)
    shown = np.unique(np.linspace(0, len(x) - 1, min(arrows, len(x))).astype(int))
    result = counterfactual(model, np.asarray(x)[shown], overshoot=overshoot)
    found = result.flipped
    start, end = np.asarray(x)[shown][found].astype("float64"), result.x[found].astype("float64")
    colors = [plots.CLASS_COLORS[1 if label else -1] for label in result.before[found]]
    arrow = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.0025, "alpha": 0.75}
    ax.quiver(*start.T, *(end - start).T, color=colors, **arrow)
    ax.update_datalim(end)
    ax.autoscale_view()
    return ax


def image_plot(model, images, target=None, *, overshoot=1.0, classes=None):
    """A row for each image: input, saliency, counterfactual, and what the latter changed.

    Args:
        model: Keras model with inputs (n, height, width) or (n, height, width, 1 or 3).
        images: some of them; one row each.
        target, overshoot: as in `lipkit.explain.counterfactual`.
        classes: names of the classes, or None for their numbers.

    Returns:
        (n, 4) Axes of a new figure, `axes[0, 0].figure`.

    Raises:
        ValueError: images of another shape, or as in `lipkit.explain.counterfactual`.

    Example:
    >>> layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(1)]
    >>> images = np.random.default_rng(0).uniform(size=(2, 4, 4, 1)).astype("float32")
    >>> axes = lipkit.explain.image_plot(keras.Sequential(layers), images, classes=("no", "yes"))
    >>> axes.shape
    (2, 4)
    """
    import matplotlib.pyplot as plt

    images = np.asarray(images)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise ValueError(
            "`images` must have shape (n, height, width) or (n, height, width, 1 or 3). Received: "
            f"shape {images.shape}"
        )
    gradients = saliency(model, images, target)
    result = counterfactual(model, images, target, overshoot=overshoot)
    names = range(max(result.before.max(), result.label.max()) + 1) if classes is None else classes
    n = len(images)
    _, axes = plt.subplots(n, 4, figsize=(8, 2.15 * n), layout="constrained", squeeze=False)
    for i, row in enumerate(axes):
        changed = result.x[i].astype("float64") - images[i]
        end = names[result.label[i]] if result.flipped[i] else "none found"
        _image(row[0], images[i], f"input: {names[result.before[i]]}")
        _signed(row[1], gradients[i], "saliency")
        _image(row[2], result.x[i], f"counterfactual: {end}", like=images[i])
        _signed(row[3], changed, f"change: {result.distance[i]:.3g}")
    return axes


def _image(ax, image, title, like=None):
    """An image on the scale of values of another one."""
    like = image if like is None else like
    low, high = float(like.min()), float(like.max())
    image = np.clip((image - low) / ((high - low) or 1.0), 0, 1)
    ax.imshow(image.squeeze(-1) if image.shape[2:] == (1,) else image, cmap="gray", vmin=0, vmax=1)
    _title(ax, title)


def _signed(ax, values, title):
    """Signed values, summed over the channels: red raises, blue lowers."""
    values = values if values.ndim == 2 else values.sum(axis=-1)
    limit = float(np.abs(values).max()) or 1.0
    ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
    _title(ax, title)


def _title(ax, title):
    ax.set_title(title, fontsize=9)
    ax.set(xticks=[], yticks=[])

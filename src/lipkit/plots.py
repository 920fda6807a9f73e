"""Figures. Each function draws on the Axes that it is given, or on new ones, and returns them."""

import numpy as np

CLASS_COLORS = {1: "#c2491d", -1: "#1d5fc2"}


def _axes(ax, **kwargs):
    import matplotlib.pyplot as plt

    return (
        plt.subplots(figsize=(6, 4.5), layout="constrained", subplot_kw=kwargs)[1]
        if (ax is None)
        else ax
    )


def _points(x, y):
    x, y = np.asarray(x), np.asarray(y).reshape(-1)
    if x.ndim != 2 or x.shape[1] != 2 or len(x) != len(y) or not len(x):
        raise ValueError(
            "Expected points x of shape (n, 2) and n labels y. Received: "
            f"x.shape={x.shape}, y.shape={np.shape(y)}"
        )
    return x, y


def _grid(model, x, resolution):
    """Values of the model on a grid around the points: three (resolution, resolution) arrays."""
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.15 * (high - low) + 1e-6
    axes = [np.linspace(a, b, resolution) for a, b in zip(low - margin, high + margin, strict=True)]
    first, second = np.meshgrid(*axes)
    points = np.stack([first.ravel(), second.ravel()], axis=1).astype("float32")
    values = np.asarray(model.predict(points, batch_size=4096, verbose=0))
    if values.size != len(points):
        raise ValueError(
            f"Expected a model with one output. Received outputs of shape {values.shape}"
        )
    return first, second, values.reshape(first.shape)


def scatter(x, y, ax=None):
    """The two classes as points in the plane.

    Args:
        x, y: points (n, 2) and labels (n,), positive iff above 0.
        ax: Matplotlib Axes, or None for new ones.

    Returns:
        The Axes.

    Example:
    >>> ax = lipkit.plots.scatter(x, y)
    >>> ax.get_xlabel()
    '$x_1$'
    """
    x, y = _points(x, y)
    ax = _axes(ax)
    for sign, chosen in ((1, y > 0), (-1, y <= 0)):
        name = f"class {'+' if sign > 0 else '−'}1"
        ax.scatter(*x[chosen].T, s=4, alpha=0.35, linewidths=0, c=CLASS_COLORS[sign], label=name)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    legend = ax.legend(loc="upper right", markerscale=3, frameon=True)
    for handle in legend.legend_handles:
        handle.set_alpha(1)
    return ax


def decision_function(model, x, y, ax=None, *, levels=13, resolution=151):
    """Labelled contour lines of a model f: R² -> R over the two classes; f = 0 is bold.

    Args:
        model: Keras model with inputs (n, 2) and outputs (n,) or (n, 1).
        x, y: points (n, 2) and labels (n,), positive iff above 0.
        ax: Matplotlib Axes, or None for new ones.
        levels: about how many contour lines.
        resolution: grid points along each axis.

    Returns:
        The Axes.

    Example:
    >>> ax = lipkit.plots.decision_function(model, x, y, resolution=31)
    >>> ax.figure.savefig("decision.png")
    """
    from matplotlib.ticker import MaxNLocator

    x, y = _points(x, y)
    first, second, values = _grid(model, x, resolution)
    ax = scatter(x, y, ax)
    ticks = MaxNLocator(levels, symmetric=True).tick_values(values.min(), values.max())
    ticks = ticks[ticks != 0]
    lines = ax.contour(first, second, values, levels=ticks, colors="#555555", linewidths=0.8)
    ax.clabel(lines, fmt="%.2g", fontsize=7)
    if values.min() < 0 < values.max():
        zero = ax.contour(first, second, values, levels=[0.0], colors="black", linewidths=2.4)
        ax.clabel(zero, fmt="0", fontsize=9)
    return ax


def decision_surface(model, x, y, ax=None, *, resolution=81):
    """The graph of a model f: R² -> R as a surface in three dimensions, over the two classes.

    Args:
        model: Keras model with inputs (n, 2) and outputs (n,) or (n, 1).
        x, y: points (n, 2) and labels (n,), positive iff above 0.
        ax: 3-D Matplotlib Axes, or None for new ones.
        resolution: grid points along each axis.

    Returns:
        The Axes.

    Raises:
        ValueError: Axes that are not 3-D, or points or outputs of another shape.

    Example:
    >>> lipkit.plots.decision_surface(model, x, y, resolution=21).name
    '3d'
    """
    if ax is not None and ax.name != "3d":
        raise ValueError(
            "`ax` must be a 3-D Axes, as made by `add_subplot(projection='3d')`. "
            f"Received: ax={ax!r}"
        )
    x, y = _points(x, y)
    first, second, values = _grid(model, x, resolution)
    ax = _axes(ax, projection="3d")
    ax.plot_surface(first, second, values, cmap="coolwarm", alpha=0.85, linewidth=0)
    ax.contour(first, second, values, levels=[0.0], colors="black", linewidths=2)
    for sign, chosen in ((1, y > 0), (-1, y <= 0)):
        ax.scatter(*x[chosen][:500].T, values.min(), s=3, c=CLASS_COLORS[sign])
    ax.set(xlabel="$x_1$", ylabel="$x_2$", zlabel="$f(x)$")
    return ax

"""Estimates of a model's Lipschitz constant from below, under deel-lip's and torchlip's names."""

from functools import partial

import keras
import numpy as np
from keras import ops

from lipkit._backend import value_and_input_gradient
from lipkit._checks import integer, real
from lipkit.attacks.ratio import lipschitz_ratio
from lipkit.attacks.target import in_batches


def evaluate_lip_const(
    model,
    x,
    kind="jacobian",
    *,
    disjoint_neurons=False,
    samples=10,
    epsilon=1.0,
    steps=100,
    distance=1e-2,
    eps=None,
    seed=0,
):
    """An estimate from below of a model's Lipschitz constant in 2-norm, from the inputs x.

    How far below is not known, and float32 rounding enters: only `lipkit.lipschitz_bound` bounds
    the constant. The model runs with `training=False` and is left as it is.

    Args:
        model: Keras model of one input and one output.
        x: (n, ...) inputs, n >= 1, finite.
        kind: one of these, a list of them, or `"all"`; the largest value counts.
            `"jacobian"`: the largest spectral norm of the Jacobians at x.
            `"noise"`: the largest |f(x + z) - f(x)| / |z|, z normal times a random size.
            `"attack"`: power iteration of differences, `lipkit.attacks.lipschitz_ratio`.
        disjoint_neurons: the largest constant of one output, not of all together; for
            `"jacobian"` and `"noise"`.
        samples: number of draws of `"noise"` for each input, >= 1.
        epsilon: largest standard deviation of `"noise"`, > 0.
        steps, distance: arguments of `lipkit.attacks.lipschitz_ratio`, for `"attack"`.
        eps: deel-lip's keyword, accepted and without effect.
        seed: seed of the random directions.

    Returns:
        A float.

    Raises:
        ValueError: bad arguments, or slopes that are not finite.

    Example:
    >>> lipkit.utils.evaluate_lip_const(model, x) <= lipkit.lipschitz_bound(model) * (1 + 1e-5)
    True
    """
    kinds = {
        "jacobian": partial(_jacobian, model, disjoint=disjoint_neurons),
        "noise": partial(
            _noise, model, disjoint=disjoint_neurons, samples=samples, epsilon=epsilon, seed=seed
        ),
        "attack": partial(lipschitz_ratio, model, steps=steps, distance=distance, seed=seed),
    }
    names = list(kinds) if kind == "all" else [kind] if isinstance(kind, str) else kind
    if not isinstance(names, (list, tuple)) or not names or not set(names) <= set(kinds):
        raise ValueError(
            f"`kind` must be 'all', one of {sorted(kinds)} or a list of them. "
            f"Received: kind={kind!r}"
        )
    if disjoint_neurons and "attack" in names:
        raise ValueError("kind='attack' has no `disjoint_neurons`. Use 'jacobian' or 'noise'.")
    x = np.asarray(ops.convert_to_numpy(x), dtype=keras.config.floatx())
    if not len(x) or not np.isfinite(x).all():
        raise ValueError("`x` must hold at least one input, and finite numbers only.")
    values = {name: float(kinds[name](x)) for name in names}
    if not np.isfinite(list(values.values())).all():
        raise ValueError(
            f"Model {model.name!r} has no finite slopes at `x`: {values}. If training diverged, "
            "restore an earlier checkpoint."
        )
    return max(values.values())


def evaluate_lip_const_gen(model, generator, kind="jacobian", **arguments):
    """`evaluate_lip_const` on the next batch of a generator.

    Args:
        model, kind: as in `lipkit.utils.evaluate_lip_const`.
        generator: an iterable of (x, ...), each a batch.
        arguments: further ones of `lipkit.utils.evaluate_lip_const`.

    Returns:
        A float.

    Example:
    >>> estimate = lipkit.utils.evaluate_lip_const_gen(model, [(x[:50], y[:50])])
    >>> estimate <= lipkit.lipschitz_bound(model) * (1 + 1e-5)
    True
    """
    return evaluate_lip_const(model, next(iter(generator))[0], kind, **arguments)


def _outputs(model, x):
    outputs = model(x, training=False)
    return ops.reshape(ops.cast(outputs, "float32"), (ops.shape(x)[0], -1))


def _norms(rows, disjoint):
    """Spectral norms, or the largest norm of a row, of matrices (n, c, d)."""
    if not np.isfinite(rows).all():
        return np.full(len(rows), np.nan)
    if disjoint:
        return np.linalg.norm(rows, axis=-1).max(axis=-1)
    return np.linalg.norm(rows, ord=2, axis=(-2, -1))


def _jacobian(model, x, disjoint):
    gradient = value_and_input_gradient(
        lambda x, chosen: ops.sum(chosen * _outputs(model, x), axis=-1), model.variables
    )
    count = _outputs(model, ops.convert_to_tensor(x[:1])).shape[-1]
    eye = np.eye(count, dtype="float32")

    def norms(x):
        rows = [gradient(x, np.tile(unit, (len(x), 1)))[1] for unit in eye]
        rows = np.stack(rows, axis=1).reshape(len(x), count, -1).astype("float64")
        return [_norms(rows, disjoint)]

    return in_batches(norms, x)[0].max()


def _noise(model, x, disjoint, samples, epsilon, seed):
    epsilon, rng = real("epsilon", epsilon, "(0, inf)"), np.random.default_rng(seed)

    def run(x):
        return [ops.convert_to_numpy(_outputs(model, ops.convert_to_tensor(x))).astype("float64")]

    best = 0.0
    here = in_batches(run, x)[0]
    for _ in range(integer("samples", samples)):
        sizes = rng.uniform(size=(len(x), *[1] * (x.ndim - 1)))
        there = (x + epsilon * sizes * rng.standard_normal(x.shape)).astype(x.dtype)
        moved = (there.astype("float64") - x).reshape(len(x), -1)
        length = np.maximum(np.linalg.norm(moved, axis=1), 1e-300)
        change = in_batches(run, there)[0] - here
        size = np.abs(change).max(axis=1) if disjoint else np.linalg.norm(change, axis=1)
        best = np.maximum(best, (size / length)[moved.any(axis=1)].max(initial=0.0))
    return best

"""`check_lipschitz_layer`: what a layer of a Lipschitz network must do."""

import contextlib
import math
import tempfile
from pathlib import Path

import keras
import numpy as np

from lipkit.certifier import lipschitz_bound
from lipkit.export import vanilla_model
from lipkit.testing.subject import LayerSubject
from lipkit.testing.suite import (
    Skipped,
    Suite,
    array,
    backend_limits,
    check_arguments,
    check_config,
    require,
    same,
)

LAYER_CHECKS = Suite()
_TOLERANCE = 1e-5


def check_lipschitz_layer(factory, arguments=None, input_shape=(8,), *, k=None, skip=()):
    """Check that a layer is what `lipkit.layers` promise of theirs.

    Args:
        factory: the layer's class, or a function that returns a new layer.
        arguments: keyword arguments of `factory`.
        input_shape: shape of one sample, small (at most 2048 entries), or a list of shapes for a
            layer that takes a list of inputs.
        k: constant to keep to; None: the layer's `k_coef_lip`, or 1; `math.inf`: no constraint.
        skip: names of checks to leave out, of `LAYER_CHECKS`.

    Returns:
        A dictionary: what each check measured, or why it was skipped.

    Raises:
        AssertionError: naming the first check that fails and what was measured.

    Example:
    >>> done = lipkit.testing.check_lipschitz_layer(lipkit.layers.MaxMin, {}, (2,))
    >>> done["norm"], done["export"]
    ('1 <= 1 (Jacobians and secants)', 'passed')
    """
    subject = LayerSubject(factory, dict(arguments or {}), input_shape, k)
    return LAYER_CHECKS.run(subject, f"{subject.made.name} ({type(subject.made).__name__})", skip)


@LAYER_CHECKS.check("build")
def _build(s):
    values = s.values()
    require(np.isfinite(values).all(), "outputs are not finite")
    batches = [(4, *shape) for shape in s.shapes]
    told = tuple(s.made.compute_output_shape(s.pack(batches)))
    require(told == values.shape, f"compute_output_shape says {told}, the output is {values.shape}")


@LAYER_CHECKS.check("config")
def _config(s):
    rebuilt = check_config(s.made, s.arguments)
    same(s.values(s.filled(rebuilt)), s.values(), 0, "rebuilt from its configuration")


LAYER_CHECKS["arguments"] = check_arguments


@LAYER_CHECKS.check("second call")
def _second_call(s):
    before = s.made.get_weights()
    first, second = s.values(), s.values()
    same(second, first, 0, "second call")
    for old, new in zip(before, s.made.get_weights(), strict=True):
        require(np.array_equal(old, new), "a call with training=False changed the weights")


@LAYER_CHECKS.check("reload")
def _reload(s):
    model = s.model()
    with tempfile.TemporaryDirectory() as folder:
        file, weights = Path(folder) / "m.keras", Path(folder) / "m.weights.h5"
        model.save(file)
        same(s.values(keras.models.load_model(file)), s.values(), 0, "reloaded from .keras")
        model.save_weights(weights)
        fresh = s.model(s.new())
        fresh.load_weights(weights)
        same(s.values(fresh), s.values(), 0, "weights reloaded")


@LAYER_CHECKS.check("shared")
def _shared(s):
    layer = s.filled(s.new())
    pairs = [[keras.Input(shape) for shape in s.shapes] for _ in range(2)]
    model = keras.Model(pairs, [layer(s.pack(pair)) for pair in pairs])
    other = [x[::-1].copy() for x in s.arrays]
    values = [array(y) for y in model([s.arrays, other], training=False)]
    for got, arrays in zip(values, (s.arrays, other), strict=True):
        same(got, s.values(arrays=arrays), _TOLERANCE, "used twice in a model")


@LAYER_CHECKS.check("clone")
def _clone(s):
    clone = keras.models.clone_model(s.model())
    clone.set_weights(s.made.get_weights())
    same(s.values(clone), s.values(), 0, "cloned")


@LAYER_CHECKS.check("batch of 1")
def _batch_of_one(s):
    one = s.values(arrays=[x[:1] for x in s.arrays])
    same(one, s.values()[:1], _TOLERANCE, "a sample alone instead of in a batch")


@LAYER_CHECKS.check("sizes")
def _sizes(s):
    """Sizes unknown when built, and other sizes than those built with."""
    if all(len(shape) == 1 for shape in s.shapes):
        raise Skipped("samples are vectors")
    first = getattr(s.made, "data_format", None) == "channels_first"
    axes = [range(2, len(h) + 1) if first else range(1, len(h)) for h in s.shapes]
    unknown = [
        keras.Input([None if i + 1 in ax else n for i, n in enumerate(shape)])
        for shape, ax in zip(s.shapes, axes, strict=True)
    ]
    model = keras.Model(s.pack(unknown), s.made(s.pack(unknown)))
    same(s.values(model), s.values(), _TOLERANCE, "sizes unknown at first")
    twice = [
        np.tile(x, [2 if i in ax else 1 for i in range(x.ndim)])
        for x, ax in zip(s.arrays, axes, strict=True)
    ]
    direct = s.values(s.filled(s.new(), twice), twice)
    same(s.values(arrays=twice), direct, _TOLERANCE, "built with another size")


@LAYER_CHECKS.check("data formats")
def _data_formats(s):
    given = getattr(s.made, "data_format", None)
    if given is None:
        raise Skipped("the layer has no `data_format`")
    here, there = (-1, 1) if given == "channels_last" else (1, -1)
    other = {-1: "channels_last", 1: "channels_first"}[there]
    try:
        twin = s.changed(data_format=other)
    except Exception as error:
        cause = error.__context__ or error  # Keras re-words what a constructor raises
        if isinstance(cause, ValueError) and "data_format" in str(cause):
            raise Skipped(f"refused by the layer: {cause}") from None
        raise
    moved = [np.moveaxis(x, here, there) for x in s.arrays]
    with backend_limits():
        values = s.values(s.filled(twin, moved), moved)
    values = np.moveaxis(values, there, here) if values.ndim > 2 else values
    same(values, s.values(), _TOLERANCE, f"data_format={other!r}")


@LAYER_CHECKS.check("mixed precision")
def _mixed_precision(s):
    for policy, dtype, tolerance in (
        ("mixed_bfloat16", "bfloat16", 5e-2),
        ("mixed_float16", "float16", 1e-2),
    ):
        with _dtype_policy(policy), backend_limits():
            layer = s.filled(s.new())
            got = keras.backend.standardize_dtype(layer(s.pack(s.arrays)).dtype)
            require(got == dtype, f"{policy} gives {got}")
            same(s.values(layer), s.values(), tolerance, policy)


@contextlib.contextmanager
def _dtype_policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@LAYER_CHECKS.check("norm")
def _norm(s):
    return s.norm()[1]


@LAYER_CHECKS.check("any weights")
def _any_weights(s):
    """Trainable weights far from the initial ones, as their constraints allow them."""
    layer, rng = s.filled(s.new()), np.random.default_rng(2)
    if not layer.trainable_weights:
        raise Skipped("the layer has no trainable weights")
    for weight in layer.trainable_weights:
        z = rng.standard_normal(weight.shape)
        weight.assign(3 * (z + np.sign(z)))
        if weight.constraint is not None:
            weight.assign(weight.constraint(weight))
    return s.norm(layer, jacobians=False)[1]


@LAYER_CHECKS.check("constant")
def _constant(s):
    """`k_coef_lip` is obeyed, downwards and upwards."""
    if "k_coef_lip" not in s.made.get_config():
        raise Skipped("the layer has no `k_coef_lip`")
    before = s.made.k_coef_lip
    norms = {
        factor: s.norm(
            s.filled(s.changed(k_coef_lip=factor * before)), k=factor * s.k, jacobians=False
        )[0]
        for factor in (0.1, 10)
    }
    require(
        norms[10] > 5 * norms[0.1],
        f"the constant goes from {norms[0.1]:.6g} to {norms[10]:.6g} when `k_coef_lip` goes from "
        f"{0.1 * before:.6g} to {10 * before:.6g}",
    )


@LAYER_CHECKS.check("certificate")
def _certificate(s):
    bound, norm = float(lipschitz_bound(s.model())), s.measured[0]
    require(math.isfinite(bound), f"the proven bound is {bound}")
    require(
        bound >= norm * (1 - _TOLERANCE), f"the bound is {bound:.9g}, but {norm:.9g} was measured"
    )
    return f"{bound:.9g} >= {norm:.9g}"


@LAYER_CHECKS.check("export")
def _export(s):
    plain = vanilla_model(s.model())
    require("lipkit" not in plain.to_json(), "the export still needs lipkit")
    same(s.values(plain), s.values(), _TOLERANCE, "exported")


@LAYER_CHECKS.check("fit")
def _fit(s):
    """Two large steps; last, because it changes the weights."""
    before = [array(weight) for weight in s.made.trainable_weights]
    model = s.model(before=None if before else keras.layers.Dense)
    target = 10 * s.values() + np.random.default_rng(1).standard_normal(s.values().shape)
    model.compile(keras.optimizers.SGD(0.5), "mse")
    model.fit(s.pack(s.arrays), target.astype("float32"), epochs=2, verbose=0)
    require(all(np.isfinite(w).all() for w in model.get_weights()), "weights are not finite")
    for weight, old in zip(s.made.trainable_weights, before, strict=True):
        require((array(weight) != old).any(), f"training does not move {weight.path!r}")
    return s.norm(s.made)[1] if before else None

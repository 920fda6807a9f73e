"""Random Keras graphs of everything that lipkit reads, and of some that it refuses."""

import warnings

import keras
import numpy as np
from keras import layers as kl
from keras import ops

import lipkit
from fuzzing import keras_steps as steps
from fuzzing.subject import Subject, computing_in
from fuzzing.weights import Drawn, choose

# few shapes, which JAX has compiled after a while
SHAPES = [(2,), (4,), (6,), (12,), (4, 2), (6, 3), (4, 4, 1), (4, 4, 2), (6, 5, 2), (2, 4, 3, 2)]
WIDE = [(12, 12, 1), (16, 9, 1), (24, 24, 1), (32, 32, 1), (400,), (120, 2)]  # for long sums
LARGEST = 200  # values of a tensor inside of a graph

STEPS = {  # how often, and for tensors of which ranks
    steps.dense: (6, (1, 2, 3, 4)),
    steps.einsum: (2, (1, 2, 3)),
    steps.wrapped: (2, (1, 2, 3, 4)),
    steps.conv: (8, (2, 3, 4)),
    steps.depthwise: (2, (2, 3)),
    steps.separable: (2, (2, 3)),
    steps.transposed: (3, (2, 3, 4)),
    steps.pool: (5, (2, 3, 4)),
    steps.global_pool: (2, (2, 3, 4)),
    steps.resample: (4, (2, 3, 4)),
    steps.batch_norm: (3, (1, 2, 3, 4)),
    steps.scaling: (2, (1, 2, 3, 4)),
    steps.activation: (5, (1, 2, 3, 4)),
    steps.operation: (6, (1, 2, 3, 4)),
    steps.arranged: (5, (1, 2, 3, 4)),
    steps.reduced: (3, (1, 2, 3, 4)),
    steps.ours: (3, (1, 2, 3, 4)),
    steps.refused: (0.5, (1, 2, 3, 4)),
}


def merged(g, x, others):
    """Two branches, or a branch and a constant, as one."""
    same = [y for y in others if y.shape == x.shape]
    y = g.one(*same) if same and g.often(0.8) else g.one(x, ops.relu(x), -x, 0.5 * x)
    size = x.shape[1:]
    constant = g.rng.standard_normal((1, *size)).astype(g.dtype)
    layers = [kl.Add, kl.Subtract, kl.Average, kl.Maximum, kl.Minimum]
    functions = [ops.add, ops.subtract, ops.maximum, ops.minimum]
    if g.often(0.2):
        return g.one(
            lambda: kl.Concatenate(dtype=g.dtype)([x, ops.convert_to_tensor(constant)]),
            lambda: g.one(*layers)(dtype=g.dtype)([x, ops.convert_to_tensor(constant)]),
            lambda: g.one(*functions)(x, constant),
            lambda: g.one(*functions)(constant[0], x),
            lambda: ops.concatenate([x, x[:, :1]], axis=1),
        )()
    return g.one(
        lambda: g.one(*layers)(dtype=g.dtype)([x, y]),
        lambda: g.one(*functions)(x, y),
        lambda: kl.Add(dtype=g.dtype)([x, y, x]),
        lambda: kl.Concatenate(g.one(-1, 1), dtype=g.dtype)([x, y]),
        lambda: ops.concatenate([y, x], axis=g.one(-1, 1)),
        lambda: ops.concatenate([ops.relu(x), ops.relu(-x)], axis=-1),
    )()


def nested(g, x):
    """An inner model, sometimes called twice, or as nothing reads it."""
    i = keras.Input(x.shape[1:], dtype=g.dtype)
    y = i
    for _ in range(g.one(1, 2)):
        y = attempt(g, [y])
    inner = keras.Model(i, y) if g.often() else keras.Sequential([i, *_layers(g, i)])
    how = {"training": True} if g.often(0.1) else {}
    z = inner(x, **how)
    return inner(z) if g.often(0.3) and z.shape == x.shape else z


def _layers(g, i):
    layers = [
        kl.BatchNormalization(
            moving_mean_initializer=g.bias(), moving_variance_initializer="ones", dtype=g.dtype
        ),
        kl.Dropout(0.3, dtype=g.dtype),
        kl.ReLU(dtype=g.dtype),
        kl.Dense(i.shape[-1], **g.kernel()),
    ]
    return layers[: g.one(1, 2, 4)]


def residual(g, x):
    """A block of lipkit's around layers that keep the shape."""
    inner = keras.Sequential(
        [keras.Input(x.shape[1:]), kl.Dense(x.shape[-1], **g.kernel()), kl.ReLU(dtype=g.dtype)]
    )
    block = g.one(lipkit.layers.LipResidual, lipkit.layers.ScaledResidual)
    return block(inner, dtype=g.dtype)(x)


def attempt(g, tensors):
    """One more step from one of these tensors; from the same after some that Keras refuses."""
    x = tensors[g.rng.integers(len(tensors))]
    for _ in range(20):
        fitting = {step: n for step, (n, ranks) in STEPS.items() if steps.rank(x) in ranks}
        step = choose(g.rng, fitting)
        if (y := built(lambda step=step: step(g, x))) is not None:
            return y
    return x


def built(make):
    """A tensor of one sample's values, not too many; None where Keras refuses to make it."""
    try:
        y = make()
    except Exception:  # whatever Keras says of arguments that do not fit
        return None
    if isinstance(y, (list, tuple)) or not hasattr(y, "shape") or len(y.shape) < 2:
        return None
    sizes = y.shape[1:]
    fits = y.shape[0] is None and None not in sizes and 0 < np.prod(sizes) <= LARGEST
    return y if fits and len(sizes) <= 4 and keras.backend.is_float_dtype(y.dtype) else None


def random_graph(rng, dtype="float32"):
    """A `Subject` of up to 8 steps; None where nothing came of it."""
    g = steps.Draw(rng, dtype)
    shape = g.one(*SHAPES)
    inputs = [keras.Input(shape, dtype=dtype) for _ in range(1 + g.often(0.1))]
    tensors, shared = list(inputs), []
    if len(inputs) > 1:
        tensors.append(kl.Add(dtype=dtype)(inputs))
    for _ in range(int(rng.integers(1, 9))):
        x = tensors[-1] if g.often(0.75) else g.one(*tensors)
        kind = rng.random()
        if kind < 0.15:
            y = built(lambda x=x: merged(g, x, tensors))
        elif kind < 0.20:
            y = built(lambda x=x: nested(g, x))
        elif kind < 0.22:
            y = built(lambda x=x: residual(g, x))
        elif kind < 0.25 and shared:
            y = built(lambda x=x: g.one(*shared)(x))
        else:
            y = attempt(g, [x])
        if y is None:
            continue
        tensors.append(y)
        operation = y._keras_history.operation
        if isinstance(operation, kl.Layer):
            shared.append(operation)
    outputs = [tensors[-1]]
    if g.often(0.08):
        outputs.append(g.one(*tensors))
    return finished(g, inputs, outputs, head=len(outputs) == 1 and g.often(0.85))


def long_sum(rng, dtype="float32"):
    """Reductions of hundreds of values, where errors of sums are large."""
    g = steps.Draw(rng, dtype)
    x = y = keras.Input(g.one(*WIDE), dtype=dtype)
    d = steps.rank(x) - 1
    axes = list(range(1, d + 1)) or [1]
    pools = [
        lambda: getattr(kl, f"GlobalAveragePooling{d}D")(dtype=dtype)(y),
        lambda: getattr(kl, f"AveragePooling{d}D")(x.shape[1:-1], dtype=dtype)(y),
        lambda: getattr(kl, f"AveragePooling{d}D")(4, dtype=dtype)(y),
        lambda: getattr(kl, f"Conv{d}D")(1, x.shape[1:-1], **g.kernel())(y),
    ]
    sums = [
        lambda: ops.mean(y, axis=axes),
        lambda: ops.norm(y, axis=axes[:2]),
        lambda: kl.Dense(1, **g.kernel())(kl.Flatten(dtype=dtype)(y)),
        lambda: y - ops.mean(y, axis=axes, keepdims=True),
    ]
    if g.often(0.3):
        y = kl.ReLU(dtype=dtype)(y)
    y = built(g.one(*sums, *(pools if d else [])))
    return None if y is None else finished(g, [x], [y], head=True)


def attained(rng, dtype="float32"):
    """A piecewise linear chain whose bound is its constant.

    One map with any weights between operations that are isometries near 0: orthogonal kernels,
    activations behind biases that keep them active, padding, sorting, repetition.
    """
    g = steps.Draw(rng, dtype)
    g.kinked = True
    g.styles = {"normal": 1, "positive": 1, "integer": 1, "low rank": 1, "sparse": 1}
    x = y = keras.Input(g.one(*SHAPES), dtype=dtype)
    free, count = int(rng.integers(5)), 5
    for i in range(count):
        if i == free:
            made = (built(lambda y=y: any_linear(g, y)) for _ in range(5))
            y = next((z for z in made if z is not None), None)
        elif g.often(0.6):
            y = built(lambda y=y, onto=i < free: isometry(g, y, onto))
        if y is None:
            return None
    return finished(g, [x], [y], head=False, attained=True)


def any_linear(g, x):
    """A linear map with weights that no rule restricts."""
    makers = [steps.dense, steps.einsum, steps.resample]
    if 1 < steps.rank(x) < 5:
        makers += [steps.conv, steps.conv, steps.transposed]
    if steps.rank(x) in (2, 3):
        makers.append(steps.depthwise)
    g.activation = lambda: None
    g.bias = lambda: Drawn(g.rng, "normal")
    return g.one(*makers)(g, x)


def rotation(g, x, active=False, more=0):
    """A dense layer that keeps distances, and perhaps all its outputs positive near 0."""
    n, bias = x.shape[-1], 0.0
    if active:
        bias = g.reach = 16 * getattr(g, "reach", 4.0)  # above what earlier biases make of it
    return kl.Dense(
        n + more,
        kernel_initializer=Drawn(g.rng, "orthogonal"),
        bias_initializer=Drawn(g.rng, "zero", shift=bias),
        dtype=g.dtype,
    )(x)


def isometry(g, x, onto):
    """An operation that keeps all distances near 0, times a factor; `onto`: all directions too."""
    makers = [
        lambda: rotation(g, x),
        lambda: kl.ReLU(dtype=g.dtype)(rotation(g, x, active=True)),
        lambda: kl.LeakyReLU(0.3, dtype=g.dtype)(rotation(g, x, active=True)),
        lambda: ops.abs(x),
        lambda: kl.Flatten(dtype=g.dtype)(x),
        lambda: lipkit.layers.GroupSort2(dtype=g.dtype)(x),
        lambda: kl.Add(dtype=g.dtype)([x, 2.0 * x]),
        lambda: 1.0 - 3.0 * x,
    ]
    if not onto:
        makers += [
            lambda: rotation(g, x, more=1),
            lambda: ops.concatenate([ops.relu(x), ops.relu(-x)], axis=-1),
            lambda: kl.Concatenate(dtype=g.dtype)([x, x]),
        ]
    if steps.rank(x) == 3:
        makers.append(lambda: kl.Permute((3, 1, 2), dtype=g.dtype)(x))
        if not onto:
            makers.append(lambda: kl.ZeroPadding2D(1, dtype=g.dtype)(x))
            makers.append(lambda: kl.UpSampling2D(2, dtype=g.dtype)(x))
    return g.one(*makers)()


def finished(g, inputs, outputs, head, attained=False):
    """The subject, its logits from a last dense layer with a bias that can be moved."""
    last = None
    if head:
        (x,) = outputs
        last, logits = logits_of(g, x)
        outputs = [logits]
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs)
    if _has_ours(model) and g.often(0.6):
        try:
            model, last = lipkit.vanillaModel(model), None
        except Exception:  # what has no export, or none of Keras (a layer of constants)
            return None
        if head:
            last = [layer for layer in model.layers if layer.weights][-1]
    return subject(model, last, g.dtype, attained)


def logits_of(g, x):
    """A last linear layer, and its outputs."""
    given = {
        "kernel_initializer": Drawn(g.rng, g.one("normal", "normal", "integer", "positive")),
        "bias_initializer": Drawn(g.rng, "normal"),
        "dtype": g.dtype,
    }
    units, size = g.one(1, 1, 3), int(np.prod(x.shape[1:]))
    if g.dtype == "float64" and keras.backend.backend() != "tensorflow":
        # Keras multiplies matrices in float32 there
        last = kl.Conv1D(units, 1, **given)
        return last, kl.Flatten(dtype=g.dtype)(last(kl.Reshape((1, size), dtype=g.dtype)(x)))
    last = kl.Dense(units, **given)
    return last, last(x if steps.rank(x) == 1 else kl.Flatten(dtype=g.dtype)(x))


def _has_ours(model):
    return any(type(layer).__module__.startswith("lipkit.") for layer in model.layers)


def subject(model, last, dtype, attained=False):
    """What the checks need to know of a Keras model."""

    def run(arrays):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of overflow and division, which are no concern here
            outputs = model([ops.convert_to_tensor(a) for a in arrays][: len(model.inputs)])
        return [ops.convert_to_numpy(y) for y in keras.tree.flatten(outputs)]

    def move(shift):
        kernel, bias = last.get_weights()
        last.set_weights([kernel, (bias + shift).astype(bias.dtype)])

    return Subject(
        model=model,
        dtype=dtype,
        shapes=[tuple(t.shape[1:]) for t in model.inputs],
        run=run,
        bias=(lambda: last.get_weights()[1].astype("float64")) if last else None,
        move=move,
        attained=attained,
        steps=[
            f"{type(op).__name__}{tuple(op.output.shape[1:]) if len(model.layers) < 40 else ''}"
            if isinstance(op, kl.Layer) and not isinstance(op, keras.Model)
            else type(op).__name__
            for op in model.operations
        ],
    )


KINDS = {random_graph: 0.65, attained: 0.25, long_sum: 0.1}
DOUBLE = {"tensorflow": 0.4, "jax": 0.1, "torch": 0.2}  # of float64; the others refuse most


def draw(rng):
    """A `Subject` that runs."""
    while True:
        dtype = "float64" if rng.random() < DOUBLE[keras.backend.backend()] else "float32"
        with computing_in(dtype):
            found = choose(rng, KINDS)(rng, dtype)
            if found is not None and found.runs():
                return found

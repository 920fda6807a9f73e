"""`check_loss`: what a loss must do."""

import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import ops

from lipkit._backend import value_and_input_gradient
from lipkit.testing.suite import (
    Skipped,
    Suite,
    array,
    check_arguments,
    check_config,
    require,
    same,
)

LOSS_CHECKS = Suite()
_TOLERANCE = 1e-5


def check_loss(loss, arguments=None, *, classes=None, skip=()):
    """Check a loss of labels that are {0, 1} or {-1, 1}, one-hot for several classes.

    Args:
        loss: the class of a `keras.losses.Loss`, or a function that returns a new one and takes
            `reduction`.
        arguments: keyword arguments of `loss`.
        classes: number of logits of a multiclass loss; None for a binary one.
        skip: names of checks to leave out, of `LOSS_CHECKS`: `"labels"` for a loss whose labels
            are {0, 1} only, say.

    Returns:
        A dictionary: what each check measured, or why it was skipped.

    Raises:
        AssertionError: naming the first check that fails and what was measured.

    Example:
    >>> lipkit.testing.check_loss(lipkit.losses.HKR, {"alpha": 2.0})["reduction"]
    'passed'
    """
    subject = _Loss(loss, dict(arguments or {}), classes)
    return LOSS_CHECKS.run(subject, f"{subject.made.name} ({type(subject.made).__name__})", skip)


class _Loss:
    """A loss and data for it: labels of all classes and, but for integers, no ties."""

    def __init__(self, factory, arguments, classes):
        self.factory, self.arguments, self.classes = factory, arguments, classes
        rng = np.random.default_rng(0)
        self.n = 12
        self.index = np.arange(self.n) % (classes or 2)
        self.f = rng.standard_normal((self.n, classes or 1)).astype("float32")
        self.y = self.labels(self.index)
        self.made = self.new()

    def labels(self, index):
        """Labels {0, 1} in float32: (n, 1), or one-hot."""
        hot = index[:, None] if self.classes is None else np.eye(self.classes)[index]
        return hot.astype("float32")

    def new(self, **changes):
        """A fresh loss."""
        return self.factory(**{**self.arguments, **changes})

    def value(self, y=None, f=None, loss=None, **options):
        """The loss as float64."""
        y, f = self.y if y is None else y, self.f if f is None else f
        return array((loss or self.made)(y, f, **options))


@LOSS_CHECKS.check("config")
def _config(s):
    rebuilt = check_config(s.made, s.arguments)
    same(s.value(loss=rebuilt), s.value(), 0, "rebuilt from its configuration")


LOSS_CHECKS["arguments"] = check_arguments


@LOSS_CHECKS.check("second call")
def _second_call(s):
    first = s.value()
    require(first.shape == () and np.isfinite(first), f"the value is {first}")
    same(s.value(), first, 0, "second call")


@LOSS_CHECKS.check("reduction")
def _reduction(s):
    each = s.value(loss=s.new(reduction="none"))
    require(each.shape == (s.n,), f"reduction='none' gives shape {each.shape}, not {(s.n,)}")
    same(each.mean(), s.value(), _TOLERANCE, "mean of the values")
    same(s.value(loss=s.new(reduction="sum")), each.sum(), _TOLERANCE, "sum of the values")


@LOSS_CHECKS.check("labels")
def _labels(s):
    same(s.value(2 * s.y - 1), s.value(), 0, "labels {-1, 1}")
    same(s.value(s.y.astype("int32")), s.value(), 0, "integer labels")
    same(s.value((2 * s.y - 1).astype("int64")), s.value(), 0, "integer labels {-1, 1}")


@LOSS_CHECKS.check("shapes")
def _shapes(s):
    if s.classes is not None:
        raise Skipped("labels are one-hot")
    for y, f in ((s.y[:, 0], s.f), (s.y, s.f[:, 0]), (s.y[:, 0], s.f[:, 0])):
        same(s.value(y, f), s.value(), 0, f"shapes {y.shape} and {f.shape}")


@LOSS_CHECKS.check("missing class")
def _missing_class(s):
    for label in set(s.index):
        require(np.isfinite(s.value(s.labels(0 * s.index + label))), f"all labels are {label}")
    require(np.isfinite(s.value(s.y[:1], s.f[:1])), "one sample")


@LOSS_CHECKS.check("sample weights")
def _sample_weights(s):
    same(s.value(sample_weight=np.ones(s.n)), s.value(), _TOLERANCE, "weights 1")
    w = np.linspace(0, 2, s.n).astype("float32")
    value = s.value(sample_weight=w)
    require(np.isfinite(value), f"the weighted value is {value}")
    same(s.value(sample_weight=w[:, None]), value, _TOLERANCE, "weights of shape (n, 1)")
    moved = s.f.copy()
    moved[0] += 3
    same(s.value(f=moved, sample_weight=w), value, _TOLERANCE, "a sample of weight 0 changed")
    require(np.isfinite(s.value(sample_weight=0 * w)), "all weights are 0")
    total = s.new(reduction="sum")
    single, fourfold = (s.value(loss=total, sample_weight=c * w) for c in (1, 4))
    same(fourfold, 4 * single, _TOLERANCE, "weights 4 w, against 4 times the loss")
    y, f = (np.concatenate([part[:3], part]) for part in (s.y, s.f))
    doubled = s.value(loss=total, sample_weight=1.0 + (np.arange(s.n) < 3))
    same(doubled, s.value(y, f, total), _TOLERANCE, "weights 2, against the samples twice")


@LOSS_CHECKS.check("gradient")
def _gradient(s):
    run = value_and_input_gradient(lambda f, y: s.made(y, f)[None], [])
    one = s.labels(0 * s.index)
    for name, f, y in (
        ("random logits", s.f, s.y),
        ("logits 0", 0 * s.f, s.y),
        ("logits 1e4", 1e4 * s.f, s.y),
        ("a missing class", s.f, one),
    ):
        require(np.isfinite(run(f, y)[1]).all(), f"the gradient is not finite: {name}")


@LOSS_CHECKS.check("dtypes")
def _dtypes(s):
    same(s.value(f=s.f.astype("float64")), s.value(), _TOLERANCE, "float64 logits")
    for dtype, tolerance in (("float16", 1e-2), ("bfloat16", 1e-1)):
        f = ops.cast(s.f, dtype)
        same(s.value(f=f), s.value(), tolerance, f"{dtype} logits")
        if keras.backend.standardize_dtype(ops.convert_to_tensor(f).dtype) == dtype:
            value = s.value(f=f, loss=s.new(dtype=dtype))  # JAX has no float64 unless told to
            same(value, s.value(), tolerance, f"{dtype} loss")


@LOSS_CHECKS.check("metric")
def _metric(s):
    """In `compile`, as the loss and as a metric, and in a file."""
    inputs = keras.Input((s.f.shape[1],))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    model.compile(loss=s.new(), metrics=[s.new()])
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "m.keras")
        loaded = keras.models.load_model(Path(folder) / "m.keras")
    for name, value in loaded.evaluate(s.f, s.y, verbose=0, return_dict=True).items():
        same(np.asarray(value), s.value(), _TOLERANCE, f"{name} of a reloaded model")

"""A table of named checks: whatever goes wrong in one becomes an `AssertionError` with its name."""

import contextlib
import json

import keras
import numpy as np
from keras import ops

# how backends say that they have no kernel for a layout or a dtype on this device
_LIMITS = ("NHWC", "not implemented for 'Half'", "not implemented for 'BFloat16'")


class Skipped(Exception):
    """Why a check does not apply."""


def require(condition, message):
    """An `assert` that optimised Python keeps."""
    if not condition:
        raise AssertionError(message)


@contextlib.contextmanager
def backend_limits():
    """Skip where the backend says that it cannot."""
    try:
        yield
    except Exception as error:
        if any(phrase in str(error) for phrase in _LIMITS):
            raise Skipped(f"the backend cannot: {str(error).splitlines()[0]}") from None
        raise


class Suite(dict):
    """Checks by name, in their order; each is a function of a subject."""

    def check(self, name):
        """Decorator: add a check."""

        def add(function):
            self[name] = function
            return function

        return add

    def run(self, subject, label, skip=()):
        """Run all checks; return what each measured, or why it was skipped, by name.

        Raises:
            AssertionError: naming the first check that fails and what was measured.
            ValueError: `skip` names an unknown check.
        """
        skip = (skip,) if isinstance(skip, str) else tuple(skip)
        if unknown := set(skip) - set(self):
            raise ValueError(f"`skip` must name checks, of {list(self)}. Received: {unknown}")
        results = {name: "skipped: as asked for" for name in skip}
        for name, check in self.items():
            if name in skip:
                continue
            try:
                results[name] = check(subject) or "passed"
            except Skipped as reason:
                results[name] = f"skipped: {reason}"
            except AssertionError as error:
                raise AssertionError(f"{label}: check {name!r} failed: {error}") from error
            except Exception as error:
                raise AssertionError(
                    f"{label}: check {name!r} failed: {type(error).__name__}: {error}"
                ) from error
        return results


def array(tensor):
    """A tensor as float64."""
    if keras.backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16"):
        tensor = ops.cast(tensor, "float32")  # NumPy has no bfloat16
    return ops.convert_to_numpy(tensor).astype("float64")


def same(a, b, tolerance, what):
    """Require equal shapes and values, up to `tolerance` times the largest of `b`."""
    require(a.shape == b.shape, f"{what}: shape {a.shape} instead of {b.shape}")
    require(np.isfinite(a).all(), f"{what}: not finite")
    size = max(float(np.max(np.abs(b), initial=0.0)), 1e-30)
    error = float(np.max(np.abs(a - b), initial=0.0)) / size
    require(
        error <= tolerance,
        f"{what}: values differ by {error:.3g} of their size, more than {tolerance:.3g}",
    )


def check_arguments(subject):
    """Require an error for an argument that nothing takes, such as one that is misspelt."""
    try:
        subject.factory(**subject.arguments, no_such_argument=0)
    except (TypeError, ValueError):
        return
    raise AssertionError("an unknown argument is accepted: no_such_argument=0")


def check_config(made, arguments):
    """Require a configuration that is JSON and complete; return an object rebuilt from it.

    An argument that was given and that the object keeps under its name must be in it.
    """
    config = made.get_config()
    text = json.dumps(config, allow_nan=False)
    missing = [name for name in arguments if hasattr(made, name) and name not in config]
    require(not missing, f"get_config() has no {', '.join(missing)}")
    rebuilt = type(made).from_config(json.loads(text))
    again = json.dumps(rebuilt.get_config())
    require(again == text, f"configuration changed from {text} to {again}")
    return rebuilt

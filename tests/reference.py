"""Independent truths in NumPy float64, written from the papers."""

import keras
import numpy as np
from keras import ops

# float64 is off on JAX
RULES = ["polar", "bjorck", "cholesky", "stiefel", "spectral", "frobenius"]
ORTHOGONAL = RULES[:4]
POLICIES = ["mixed_bfloat16", "mixed_float16"] + ["float64"] * (keras.backend.backend() != "jax")


def array(x):
    return np.asarray(ops.convert_to_numpy(x)).astype("float64")


def singular_values(w):
    return np.linalg.svd(array(w), compute_uv=False)


def polar(w):
    u, _, vt = np.linalg.svd(np.asarray(w, "float64"), full_matrices=False)
    return u @ vt


def _columns(y, f, w):
    y, f = (np.asarray(a, "float64").reshape(len(a), -1) for a in (y, f))
    return np.broadcast_to(y, f.shape), f, np.ones(len(f)) if w is None else np.asarray(w)


def kr(y, f, w=None):
    """E[f | +] - E[f | -], averaged over the columns; a missing class contributes 0.

    Of a weighted sample, times its mean weight.
    """
    y, f, w = _columns(y, f, w)

    def mean(column, chosen):
        return np.average(column[chosen], weights=w[chosen]) if w[chosen].any() else 0

    pairs = zip(f.T, y.T, strict=True)
    return w.mean() * np.mean([mean(c, labels > 0) - mean(c, labels <= 0) for c, labels in pairs])


def hinge(y, f, margin, w=None):
    """Sum of the weighted values over their number."""
    y, f, w = _columns(y, f, w)
    return np.mean(w[:, None] * np.maximum(0, margin - np.where(y > 0, 1, -1) * f))


def group_sort(x, n):
    return np.sort(x.reshape(*x.shape[:-1], -1, n), axis=-1).reshape(x.shape)


NUMPY_MODES = {"constant": "constant", "circular": "wrap", "symmetric": "symmetric"}
NUMPY_MODES |= {"reflect": "reflect", "replicate": "edge"}


def _same(size, reach, stride):
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def windows(x, kernel_size, strides, dilation, padding):
    """The samples that each window reads: (batch, n.., c) -> (batch, m.., k.., c)."""
    reach = [d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True)]
    widths = [((r - 1) // 2, r // 2) for r in reach]
    if padding in ("valid", "causal"):
        widths = [(r - 1 if padding == "causal" else 0, 0) for r in reach]
    elif padding == "same":
        widths = [_same(*axis) for axis in zip(x.shape[1:-1], reach, strides, strict=True)]
    x = np.pad(x, [(0, 0), *widths, (0, 0)], mode=NUMPY_MODES.get(padding, "constant"))
    for i, (r, s, d) in enumerate(zip(reach, strides, dilation, strict=True)):
        x = np.lib.stride_tricks.sliding_window_view(x, r, axis=1 + i)
        x = np.take(x, np.arange(0, x.shape[1 + i], s), axis=1 + i)[..., ::d]
    return np.moveaxis(x, len(reach) + 1, -1)


class Convolution:
    """A convolution on one input size, as a matrix that is linear in the kernel."""

    def __init__(self, input_shape, kernel_shape, strides, dilation, padding, groups=1):
        size, self.kernel_shape, self.groups = np.prod(input_shape), kernel_shape, groups
        basis = np.eye(size).reshape(size, *input_shape)
        taken = windows(basis, kernel_shape[:-2], strides, dilation, padding)
        taken = taken.reshape(
            size, -1, np.prod(kernel_shape[:-2], dtype=int), groups, kernel_shape[-2]
        )
        taken = taken.transpose(0, 1, 3, 2, 4)  # (inputs, windows, groups, taps, c_in / groups)
        self.taken = taken.reshape(*taken.shape[:3], -1)

    def matrix(self, kernel):
        """(inputs, outputs)."""
        columns = kernel.reshape(-1, self.groups, kernel.shape[-1] // self.groups)
        return np.einsum("iwgt,tgc->iwgc", self.taken, columns).reshape(len(self.taken), -1)

    def norm(self, kernel):
        return np.linalg.norm(self.matrix(array(kernel)), 2)

    def worst(self, kernel, constrain, steps=6):
        """Alternating maximisation of the norm over unit vectors and over constrained kernels."""
        for _ in range(steps):
            u, _, vt = np.linalg.svd(self.matrix(kernel), full_matrices=False)
            v = vt[0].reshape(*self.taken.shape[1:3], -1)
            gradient = np.einsum("i,iwgt,wgc->tgc", u[:, 0], self.taken, v)
            kernel = constrain(gradient.reshape(self.kernel_shape))
        return kernel


def operator(layer, input_shape):
    """The matrix (inputs, outputs) of the linear part of a layer or model, from one-hot inputs."""
    size = int(np.prod(input_shape))
    basis = np.eye(size, dtype="float32").reshape(size, *input_shape)
    outputs = array(layer(np.concatenate([basis, 0 * basis[:1]])))
    return (outputs[:-1] - outputs[-1]).reshape(size, -1)

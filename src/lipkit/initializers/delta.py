"""Where almost orthogonal convolutions start: at orthogonal ones."""

import math

import keras
from keras import ops

from lipkit._checks import integer, real
from lipkit._registry import register


@register
class DeltaOrthogonal(keras.initializers.Initializer):
    """An orthogonal matrix at the taps in the middle of a convolution kernel, 0 elsewhere.

    With a stride s it is spread over s taps, so that the windows share all samples and overlap in
    none; where there are fewer taps than that, over all of them. For transposed convolutions'
    kernels (taps..., outputs, inputs) too.

    Args:
        gain: the singular values, > 0.
        strides: of the convolution, an integer or one for each axis.
        groups: number of groups; None: one for each input channel (depthwise).
        seed: integer for the same values at each call, or None for new ones, also where layers
            share one instance.

    Raises:
        ValueError: if the strides or groups do not fit the kernel.

    Example:
    >>> kernel = lipkit.initializers.DeltaOrthogonal()((3, 3, 4, 4))
    >>> print(np.linalg.svd(ops.convert_to_numpy(kernel)[1, 1], compute_uv=False).round(3))
    [1. 1. 1. 1.]

    Reference: Xiao et al., "Dynamical Isometry and a Mean Field Theory of CNNs", ICML 2018,
    arXiv:1806.05393.
    """

    def __init__(self, gain=1.0, *, strides=1, groups=1, seed=None):
        several = isinstance(strides, (list, tuple))
        sizes = [integer("strides", s) for s in (strides if several else [strides])]
        self.strides = tuple(sizes) if several else sizes[0]
        self.groups = groups if groups is None else integer("groups", groups)
        self.seed = seed if seed is None else integer("seed", seed, low=0)
        self.gain = real("gain", gain, "(0, inf)")

    def __call__(self, shape, dtype=None):
        """A kernel (taps..., inputs, outputs)."""
        *taps, inputs, outputs = shape
        strides = self.strides if isinstance(self.strides, tuple) else [self.strides] * len(taps)
        if len(strides) != len(taps) or outputs % (self.groups or 1):
            raise ValueError(
                "`strides` must be one for each spatial axis, and `groups` must divide the last "
                f"axis, of the kernel's shape {tuple(shape)}. Received: strides={self.strides!r}, "
                f"groups={self.groups!r}"
            )
        block = [min(k, s) for k, s in zip(taps, strides, strict=True)]
        groups, m, n = self.groups, math.prod(block) * inputs, outputs
        groups, m, n = (inputs, m // inputs, n) if groups is None else (groups, m, n // groups)
        # made here: Keras draws the seed of an initializer, and so its values, once
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        q, _ = ops.qr(normal((groups, max(m, n), min(m, n)), dtype=dtype))
        q = self.gain * (q if m >= n else ops.swapaxes(q, -1, -2))
        kernel = ops.reshape(ops.swapaxes(q, 0, 1), (*block, inputs, outputs))
        rest = [k - b for k, b in zip(taps, block, strict=True)]
        return ops.pad(kernel, [*((r // 2, r - r // 2) for r in rest), (0, 0), (0, 0)])

    def get_config(self):
        """The constructor's arguments."""
        return dict(vars(self))

"""Where almost orthogonal convolutions start: at orthogonal ones."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable("lipkit")
class DeltaOrthogonal(keras.initializers.Initializer):
    """An orthogonal matrix at the taps in the middle of a convolution kernel, 0 elsewhere.

    With a stride s it is spread over s taps, so that the windows share all samples and overlap in
    none; where there are fewer taps than that, over all of them.

    Args:
        strides: of the convolution, an integer or one for each axis.
        groups: number of groups; None: one for each input channel (depthwise).
        seed: integer, or None for a random one.

    Reference: Xiao et al., "Dynamical Isometry and a Mean Field Theory of CNNs", ICML 2018,
    arXiv:1806.05393.
    """

    def __init__(self, strides=1, groups=1, seed=None):
        self.strides = tuple(strides) if isinstance(strides, list) else strides
        self.groups = groups
        self.normal = keras.initializers.RandomNormal(stddev=1.0, seed=seed)

    def __call__(self, shape, dtype=None):
        """A kernel (taps..., inputs, outputs)."""
        *taps, inputs, outputs = shape
        strides = self.strides if isinstance(self.strides, tuple) else [self.strides] * len(taps)
        block = [min(k, s) for k, s in zip(taps, strides, strict=True)]
        groups, m, n = self.groups, math.prod(block) * inputs, outputs
        groups, m, n = (inputs, m // inputs, n) if groups is None else (groups, m, n // groups)
        q, _ = ops.qr(self.normal((groups, max(m, n), min(m, n)), dtype=dtype))
        q = q if m >= n else ops.swapaxes(q, -1, -2)
        kernel = ops.reshape(ops.swapaxes(q, 0, 1), (*block, inputs, outputs))
        rest = [k - b for k, b in zip(taps, block, strict=True)]
        return ops.pad(kernel, [*((r // 2, r - r // 2) for r in rest), (0, 0), (0, 0)])

    def get_config(self):
        """The constructor's arguments."""
        seed = self.normal.get_config()["seed"]
        return {"strides": self.strides, "groups": self.groups, "seed": seed}

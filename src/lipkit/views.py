"""Views of a kernel as matrices, with what the norm of a matrix says about the layer's operator."""

import math

from keras import ops

from lipkit.padding import copies, reads


class KernelView:
    """A kernel that is itself the matrix of the operator: that of dense layers.

    Others override all of it, such that |operator| <= `unfold_norm` * |matrix|_2 for inputs of
    every size.

    Example:
    >>> view = lipkit.views.KernelView()
    >>> view.unfold_norm, view.matrix(np.ones((2, 3))).shape
    (1.0, (2, 3))
    """

    unfold_norm = 1.0

    def matrix(self, kernel):
        """The matrices (..., m, n) of a kernel."""
        return kernel

    def kernel(self, matrix, shape):
        """The inverse of `matrix`, to a kernel of this shape."""
        return matrix

    def taps(self, kernel):
        """A convolution kernel for `lipkit.linalg.conv_aol`; None: there are only matrices."""
        return None


class ConvView(KernelView):
    """A convolution kernel, unfolded to one matrix for each group of channels.

    The convolution first copies the samples of each window, then multiplies by the matrix
    M (groups, taps * inputs, outputs). A sample is copied at most N times, so

        |operator| <= sqrt(N) * |M|_2,    N = product over the axes of `lipkit.padding.reads`.

    A transposed convolution is the adjoint of one, of the same norm: its kernel
    (taps, outputs, inputs) is the one of that convolution, whose samples are its outputs.

    Args:
        kernel_size, strides, dilation: integers >= 1, one for each axis.
        mode: padding, of `lipkit.padding.MODES`; anything else is padding with zeros.
        groups: number of groups; None: one for each input channel (depthwise).

    Example:
    >>> view = lipkit.views.ConvView((3, 3), strides=(1, 1), dilation=(1, 1))
    >>> view.unfold_norm, tuple(view.matrix(np.ones((3, 3, 2, 5))).shape)
    (3.0, (1, 18, 5))

    Reference: Serrurier et al., "Achieving robustness in classification using optimal transport
    with hinge regularization", CVPR 2021, arXiv:2006.06520, for the idea; the count here is a
    maximum, not an average. Proven.
    """

    def __init__(self, kernel_size, strides, dilation, mode="same", groups=1):
        axes = list(zip(kernel_size, strides, dilation, strict=True))
        self.unfold_norm = math.sqrt(math.prod(reads(mode, *axis) for axis in axes))
        self.groups = groups
        # around a circle the windows meet the phases of the samples in turn, unless they divide it
        circular = mode == "circular"
        self.steps = [1 if circular else s // math.gcd(s, d) for _, s, d in axes]
        shows = 1 if circular else math.prod(copies(mode, k, d) for k, _, d in axes)
        self.pad_norm = math.sqrt(shows)

    def blocks(self, shape):
        """The number of groups of a kernel of this shape."""
        return shape[-2] if self.groups is None else self.groups

    def matrix(self, kernel):
        """(taps..., inputs, outputs) -> (groups, taps * inputs / groups, outputs / groups)."""
        *_, inputs, outputs = kernel.shape
        shape = (inputs, outputs) if self.groups is None else (self.groups, outputs // self.groups)
        return ops.swapaxes(ops.reshape(kernel, (-1, *shape)), 0, 1)

    def kernel(self, matrix, shape):
        """The inverse of `matrix`."""
        return ops.reshape(ops.swapaxes(matrix, 0, 1), shape)

    def taps(self, kernel):
        """The kernel of a convolution of stride 1: |operator| <= `pad_norm` * |convolution|.

        A stride s reads each sample through the taps of one phase only. So the phases are channels
        of their own, and each s consecutive taps one: (ceil(taps / s)..., s * inputs, outputs).
        Strides and dilations are first divided by their common divisor: other samples are not
        read. Around a circle, whose size s need not divide, the stride only drops outputs.
        """
        *taps, inputs, outputs = kernel.shape
        if self.groups is None:
            inputs, outputs = 1, inputs * outputs
        kernel = ops.reshape(kernel, (*taps, inputs, outputs))
        rest = [(0, -t % step) for t, step in zip(taps, self.steps, strict=True)]
        kernel = ops.pad(kernel, [*rest, (0, 0), (0, 0)]) if any(map(any, rest)) else kernel
        for axis, step in enumerate(self.steps):
            shape = kernel.shape
            kernel = ops.reshape(kernel, (*shape[:axis], -1, step, *shape[axis + 1 :]))
            kernel = ops.moveaxis(kernel, axis + 1, -3)
            kernel = ops.reshape(kernel, (*kernel.shape[:-3], -1, outputs))
        return kernel

    def from_taps(self, kernel, shape):
        """The inverse of `taps`, to a kernel of this shape."""
        taps = shape[:-2]
        for axis, step in reversed(list(enumerate(self.steps))):
            *most, outputs = kernel.shape
            kernel = ops.reshape(kernel, (*most[:-1], step, -1, outputs))
            kernel = ops.moveaxis(kernel, -3, axis + 1)
            kernel = ops.reshape(kernel, (*most[:axis], -1, *kernel.shape[axis + 2 :]))
        return ops.reshape(kernel[tuple(map(slice, taps))], shape)

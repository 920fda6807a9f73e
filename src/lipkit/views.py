"""Views of a kernel as matrices, with what the norm of a matrix says about the layer's operator."""

import math

from keras import ops

from lipkit.padding import reads


class KernelView:
    """A kernel that is itself the matrix of the operator: that of dense layers.

    Others override all of it, such that |operator| <= `unfold_norm` * |matrix|_2 for inputs of
    every size.
    """

    unfold_norm = 1.0

    def matrix(self, kernel):
        """The matrices (..., m, n) of a kernel."""
        return kernel

    def kernel(self, matrix, shape):
        """The inverse of `matrix`, to a kernel of this shape."""
        return matrix


class ConvView(KernelView):
    """A convolution kernel, unfolded to one matrix for each group of channels.

    The convolution first copies the samples of each window, then multiplies by the matrix
    M (groups, taps * inputs, outputs). A sample is copied at most N times, so

        |operator| <= sqrt(N) * |M|_2,    N = product over the axes of `lipkit.padding.reads`.

    A transposed convolution is the adjoint of one, of the same norm: its kernel
    (taps, outputs, inputs) is the one of that convolution, whose samples are its outputs.

    Args:
        kernel_size, strides, dilation: integers, one for each axis.
        mode: padding, of `lipkit.padding.MODES`; anything else is padding with zeros.
        groups: number of groups; None: one for each input channel (depthwise).

    Reference: Serrurier et al., "Achieving robustness in classification using optimal transport
    with hinge regularization", CVPR 2021, arXiv:2006.06520, for the idea; the count here is a
    maximum, not an average. Proven.
    """

    def __init__(self, kernel_size, strides, dilation, mode="same", groups=1):
        axes = zip(kernel_size, strides, dilation, strict=True)
        self.unfold_norm = math.sqrt(math.prod(reads(mode, *axis) for axis in axes))
        self.groups = groups

    def matrix(self, kernel):
        """(taps..., inputs, outputs) -> (groups, taps * inputs / groups, outputs / groups)."""
        *_, inputs, outputs = kernel.shape
        shape = (inputs, outputs) if self.groups is None else (self.groups, outputs // self.groups)
        return ops.swapaxes(ops.reshape(kernel, (-1, *shape)), 0, 1)

    def kernel(self, matrix, shape):
        """The inverse of `matrix`."""
        return ops.reshape(ops.swapaxes(matrix, 0, 1), shape)

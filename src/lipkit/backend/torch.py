"""What Keras has no name for, on PyTorch."""

import keras
import torch


def value_and_input_gradient(function, variables):
    """See `lipkit.backend.value_and_input_gradient`."""
    del variables  # read where they are

    def run(x, *args):
        x, *args = (keras.ops.convert_to_tensor(a) for a in (x, *args))
        with torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            values = function(x, *args)
            # of x alone: the `grad` of the parameters stays as it is
            (gradient,) = torch.autograd.grad(values.sum(), x)
        return values.detach().cpu().numpy(), gradient.cpu().numpy()

    return run


def exchange(pairs, keep, axis):
    """See `lipkit.backend.exchange`: in half the time of two selections and a stack."""
    return pairs.gather(axis, torch.stack((~keep, keep), axis).long())

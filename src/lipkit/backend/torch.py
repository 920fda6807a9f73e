"""What Keras has no name for, on PyTorch."""

import contextlib

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


def is_constant_of_a_step(variable_value, argument):
    """See `lipkit.backend.is_constant_of_a_step`: variables are read at each run."""
    del variable_value, argument
    return False


def full_precision():
    """See `lipkit.backend.full_precision`."""
    return contextlib.nullcontext()


def exchange(pairs, keep):
    """See `lipkit.backend.exchange`: in half the time of two selections and a stack."""
    return pairs.gather(-1, torch.stack((~keep, keep), -1).long())

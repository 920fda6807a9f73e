"""What Keras has no name for, on PyTorch."""

import keras
import torch

_INTEGERS = {2: (torch.int16, torch.int32), 4: (torch.int32, torch.int64)}  # by bytes of half


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


def exchange(keep):
    """See `lipkit.backend.exchange`.

    By a gather; on a CPU, pairs are integers of twice the size instead, whose bits are selected:
    there is half as much to read and write as with the indices of a gather.
    """
    if keep.device.type != "cpu":
        return _gathered(keep)
    mask = keep.long() - 1  # all ones where pairs are exchanged

    def exchanged(pairs):
        if pairs.dtype.itemsize == 8:  # there are no integers of 128 bits
            return _gathered(keep)(pairs)
        half, whole = _INTEGERS[pairs.dtype.itemsize]
        pairs = pairs.contiguous()
        own = pairs.view(whole)
        other = pairs.view(half).roll(1, -1).view(whole)
        chosen = other.bitwise_xor_(own).bitwise_and_(mask[..., None]).bitwise_xor_(own)
        return chosen.view(pairs.dtype)

    return exchanged


def _gathered(keep):
    places = torch.stack((~keep, keep), -1).long()
    return lambda pairs: pairs.gather(-1, places)

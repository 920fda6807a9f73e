"""What Keras lacks, on PyTorch."""

import inspect
import re
from typing import Any

import keras
import numpy as np
import torch

_INTEGERS = {2: (torch.int16, torch.int32), 4: (torch.int32, torch.int64)}  # by bytes of half


def value_and_input_gradient(function, variables):
    """See `lipkit._backend.value_and_input_gradient`."""
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


def makes_a_graph():
    """See `lipkit._backend.makes_a_graph`."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def with_gradient(forward, backward, *inputs):
    """See `lipkit._backend.with_gradient`.

    Keras's own has a `forward` with a context, which `torch.func` and `torch.export` refuse. Traces
    cannot hold functions of Python: they are for inference, and keep the operations of `forward`.
    """
    if torch.jit.is_tracing():
        return forward(*inputs)[0]
    return _WithGradient.apply(forward, backward, *inputs)[0]


class _WithGradient(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(forward, backward, *inputs):
        return forward(*inputs)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, ctx.gradient, *tensors = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*tensors, *output)
        ctx.inputs = len(tensors)

    @staticmethod
    def backward(ctx, delta, *_):
        saved = ctx.saved_tensors
        return None, None, *ctx.gradient(saved[: ctx.inputs], saved[ctx.inputs :], delta)


# PyTorch binds the arguments at each call: it need not read the code each time
_forward: Any = _WithGradient.forward
_forward.__signature__ = inspect.signature(_forward)


class Module:
    """Mixin of models: the state of one built in the same way loads, whatever Keras called it.

    Keras numbers names by process: keys hold `sequential_3/dense_7/kernel`.
    """

    def load_state_dict(self, state_dict, *args, **kwargs):
        """As in PyTorch."""
        if names := _paired(state_dict, self.state_dict()):
            state_dict = {names[key]: value for key, value in state_dict.items()}
        return super().load_state_dict(state_dict, *args, **kwargs)


def _parts(key):
    """A key as (name, number) of each of its parts; Keras counts up as objects are made."""
    parts = [re.fullmatch(r"(.*?)(?:_(\d+))?", part) for part in key.split("/")]
    return [(part[1], int(part[2] or -1)) for part in parts if part]


def _paired(given, own):
    """Given keys to own ones, if they differ in numbers only and shapes are equal; else none."""
    if len(given) != len(own) or set(given) == set(own):
        return {}
    pairs = list(zip(sorted(given, key=_parts), sorted(own, key=_parts), strict=True))
    same = (
        [name for name, _ in _parts(a)] == [name for name, _ in _parts(b)]
        and np.shape(given[a]) == np.shape(own[b])
        for a, b in pairs
    )
    return dict(pairs) if all(same) else {}


def exchange(keep):
    """See `lipkit._backend.exchange`.

    By a gather; on a CPU, pairs are integers of twice the size instead, whose bits are selected:
    there is half as much to read and write as with the indices of a gather. Graphs, which may
    become files, have no such views.
    """
    if keep.device.type != "cpu" or makes_a_graph():
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

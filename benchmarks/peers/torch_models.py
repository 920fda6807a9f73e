"""The same networks in plain PyTorch, of deel-torchlip and of orthogonium."""

import itertools
import os

import torch
from torch import nn
from worker import ALPHA, MARGIN


class GroupSort2(nn.Module):
    """(min, max) of consecutive channels: for the unconstrained network."""

    def forward(self, x):
        pairs = x.unflatten(1, (-1, 2))
        return torch.stack((pairs.amin(2), pairs.amax(2)), 2).flatten(1, 2)


class FullSort(nn.Module):
    """All channels sorted: for the unconstrained network."""

    def forward(self, x):
        return x.sort(1).values


class L2Pool(nn.Module):
    """Root of the sum of squares of 2 x 2 windows."""

    def forward(self, x):
        return (4 * nn.functional.avg_pool2d(x * x, 2) + 1e-12).sqrt()


def parts(package):
    """Constructors (dense, conv, pair sort, full sort, pool, last) of a package."""
    if package == "torchlip":
        from deel import torchlip

        return (
            torchlip.SpectralLinear,
            lambda m, n: torchlip.SpectralConv2d(m, n, 3, padding="same"),
            torchlip.GroupSort2,
            torchlip.FullSort,
            lambda: torchlip.ScaledL2NormPool2d((2, 2)),
            torchlip.FrobeniusLinear,
        )
    if package == "orthogonium":
        from orthogonium.layers import AdaptiveOrthoConv2d, MaxMin, OrthoLinear, UnitNormLinear

        return (
            OrthoLinear,
            lambda m, n: AdaptiveOrthoConv2d(m, n, 3, padding="same"),
            MaxMin,
            FullSort,
            L2Pool,
            UnitNormLinear,
        )
    conv = lambda m, n: nn.Conv2d(m, n, 3, padding="same")  # noqa: E731
    return nn.Linear, conv, GroupSort2, FullSort, L2Pool, nn.Linear


def network(package, workload):
    """The model of a workload."""
    dense, conv, pair_sort, full_sort, pool, last = parts(package)
    name = workload.split()[0]
    if name == "cnn":
        sizes = (3, 32, 64, 128)
        blocks = [
            layer
            for m, n in itertools.pairwise(sizes)
            for layer in (conv(m, n), pair_sort(), pool())
        ]
        return nn.Sequential(*blocks, nn.Flatten(), dense(128 * 16, 10))
    sizes = (2, 256, 128, 64) if name == "moons" else (784, 1024, 1024, 1024)
    sort = full_sort if name == "moons" else pair_sort
    hidden = [layer for m, n in itertools.pairwise(sizes) for layer in (dense(m, n), sort())]
    return nn.Sequential(*hidden, last(64, 1) if name == "moons" else dense(1024, 10))


def hkr(f, y, alpha=ALPHA, margin=MARGIN):
    """The loss of the toy experiment."""
    kr = f[y > 0].mean() - f[y < 0].mean()
    return -kr + alpha * torch.relu(margin - y * f).mean()


def rounds(package, variant, workload, x, classes, repeats):
    """A function that trains an epoch and returns its loss, a count, a function to get kernels."""
    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = network(package, workload).to(device)
    inputs, labels = torch.tensor(x, device=device), torch.tensor(classes, device=device)
    loss = nn.CrossEntropyLoss()
    if workload.startswith("moons"):
        loss, labels = hkr, (2.0 * labels - 1)[..., None]
    if inputs.ndim == 5:
        inputs = inputs.permute(0, 1, 4, 2, 3).contiguous()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def epoch():
        total = 0.0
        for batch, label in [*zip(inputs, labels, strict=True)] * repeats:
            optimizer.zero_grad()
            value = loss(model(batch), label)
            value.backward()
            optimizer.step()
            total += float(value.detach())
        return total / len(inputs) / repeats

    def kernels():
        model.eval()
        weights = [w.detach() for m in model if (w := getattr(m, "weight", None)) is not None]
        model.train()
        # to Keras's order of axes
        return [w.permute(*range(2, w.ndim), 1, 0).cpu().numpy() for w in weights]

    return epoch, sum(p.numel() for p in model.parameters()), kernels

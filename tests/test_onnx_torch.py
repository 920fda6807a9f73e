"""Models of PyTorch, exported to ONNX, are certified without Keras knowing them."""

import io
import warnings

import numpy as np
import pytest
import torch
from onnx_models import run
from torch import nn

import lipkit

pytestmark = pytest.mark.once  # no backend of Keras reads or runs these files

VECTOR, IMAGE = (6,), (2, 6, 6)
LEGACY = {"dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}


class Function(nn.Module):
    """A module of a function."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, *layers):
        super().__init__()
        self.inner = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.inner(x)


def halves(x):
    a, b = x.split(x.shape[1] // 2, 1)
    return torch.cat([torch.max(a, b), torch.min(a, b)], dim=1)


def pairs(x):
    groups = x.view(x.shape[0], x.shape[1] // 2, 2, *x.shape[2:])
    ends = groups.min(2, keepdim=True)[0], groups.max(2, keepdim=True)[0]
    return torch.cat(ends, dim=2).view(x.shape)


def stacked(x):
    groups = x.view(*x.shape[:-1], -1, 2)
    ends = [groups.max(-1).values, groups.min(-1).values]
    return torch.stack(ends, dim=-1).view(x.shape)


def rows(x):
    a, b = torch.chunk(x.reshape([-1, 2]), 2, 1)
    return torch.cat((torch.min(a, b), torch.max(a, b)), dim=1).reshape(x.shape)


def sorted_groups(x):
    groups = x.reshape(x.shape[0], x.shape[1] // 3, 3, *x.shape[2:])
    return torch.sort(groups, dim=2)[0].reshape(x.shape)


SORTS = {
    "halves": (halves, IMAGE),
    "pairs": (pairs, IMAGE),
    "stacked": (stacked, VECTOR),
    "rows": (rows, VECTOR),
    "groups of three": (sorted_groups, VECTOR),
    "positive and negative": (lambda x: torch.cat((x.relu(), (-x).relu()), 1), IMAGE),
}
LINEAR = {
    "dense": (lambda: nn.Linear(6, 4), VECTOR),
    "dense twice": (lambda: nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)), VECTOR),
    "conv": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), IMAGE),
    "circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), IMAGE),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1), IMAGE),
    "average": (lambda: nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), IMAGE),
    "shuffle": (lambda: nn.PixelUnshuffle(2), IMAGE),
    "view": (lambda: Function(lambda x: x.view(x.size(0), -1)), IMAGE),
    "normalised": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 3)
        ),
        IMAGE,
    ),
}
NETWORKS = {
    "dense": (lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), VECTOR),
    "convolutional": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            Function(halves),
            nn.Flatten(),
            nn.Linear(36, 3),
        ),
        IMAGE,
    ),
    "residual": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 1),
            Residual(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU()),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        ),
        IMAGE,
    ),
}


def exported(make, shape, path, **arguments):
    """A module in inference mode, of random statistics, and its file."""
    torch.manual_seed(0)
    module = make().eval()
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(0.5 + torch.rand(buffer.shape))
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # sizes that become constants
        torch.onnx.export(module, (torch.randn(2, *shape),), file, **(arguments or LEGACY))
    path.write_bytes(file.getvalue())
    return module, path


def outputs(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy().astype("float64")


@pytest.mark.parametrize("name", LINEAR)
def test_bounds_of_linear_modules_are_their_norms(name, tmp_path):
    make, shape = LINEAR[name]
    module, path = exported(make, shape, tmp_path / "m.onnx")
    basis = np.eye(np.prod(shape), dtype="float32").reshape(-1, *shape)
    values = outputs(module, np.concatenate([basis, 0 * basis[:1]]))
    norm = np.linalg.norm((values[:-1] - values[-1]).reshape(len(basis), -1), 2)
    bound = lipkit.lipschitz_bound(path)
    assert norm * (1 - 1e-5) <= bound <= norm * (2 if name == "normalised" else 1.5)
    if name not in ("normalised", "dense twice"):
        assert bound <= norm * (1 + 1e-4)


@pytest.mark.parametrize("name", SORTS)
def test_sorts_are_1_lipschitz_in_every_form(name, tmp_path):
    function, shape = SORTS[name]
    _, path = exported(lambda: Function(function), shape, tmp_path / "m.onnx")
    assert lipkit.lipschitz_bound(path) == 1.0


def check_network(module, path, shape):
    """Radii hold for the module itself against its gradient, and the bound for sampled slopes."""
    x = np.random.default_rng(0).standard_normal((100, *shape)).astype("float32")
    logits = outputs(module, x)
    result = lipkit.certify(path, x)
    np.testing.assert_array_equal(result.label, logits.argmax(axis=1))
    assert result.radius.min() > 0
    batch = torch.tensor(x, requires_grad=True)
    best, second = torch.topk(module(batch), 2, dim=1).values.T
    (best - second).sum().backward()
    gradient = batch.grad.numpy().reshape(100, -1)
    slopes = np.linalg.norm(gradient, axis=1)
    assert slopes.max() <= result.lipschitz.max()
    away = -gradient / slopes[:, None] * result.radius[:, None] * (1 - 1e-6)
    moved = outputs(module, (x + away.reshape(x.shape)).astype("float32"))
    np.testing.assert_array_equal(moved.argmax(axis=1), result.label)
    further = outputs(module, (x + 30 * away.reshape(x.shape)).astype("float32"))
    assert (further.argmax(axis=1) != result.label).mean() > 0.5  # so the attack does break things


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_certified(name, tmp_path):
    make, shape = NETWORKS[name]
    check_network(*exported(make, shape, tmp_path / "m.onnx"), shape)


def test_networks_of_the_other_exporter_are_certified(tmp_path):
    arguments = {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    for name in ("convolutional", "residual"):
        make, shape = NETWORKS[name]
        check_network(*exported(make, shape, tmp_path / f"{name}.onnx", **arguments), shape)
    _, path = exported(lambda: Function(sorted_groups), VECTOR, tmp_path / "s.onnx", **arguments)
    assert lipkit.lipschitz_bound(path) == 1.0


def test_certificates_are_added_to_a_file(tmp_path):
    make, shape = NETWORKS["convolutional"]
    module, path = exported(make, shape, tmp_path / "m.onnx")
    lipkit.export_onnx(path, tmp_path / "certified.onnx")
    x = np.random.default_rng(0).standard_normal((300, *shape)).astype("float32")
    logits, label, radius = run(tmp_path / "certified.onnx", x)
    result = lipkit.certify(path, x)
    np.testing.assert_allclose(logits, outputs(module, x), atol=1e-5)
    np.testing.assert_array_equal(label, result.label)
    assert (radius <= result.radius).all() and (radius >= result.radius * (1 - 1e-6)).all()

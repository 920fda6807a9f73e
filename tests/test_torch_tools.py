"""What PyTorch offers for its modules works for those of lipkit, on that backend."""

import io
import warnings

import keras
import numpy as np
import pytest

import lipkit
from lipkit import layers

if TORCH := keras.backend.backend() == "torch":
    import torch


def dense(rule="polar"):
    hidden = layers.SpectralDense(8, parametrization=rule)
    return [keras.Input((4,)), hidden, layers.GroupSort2(), layers.FrobeniusDense(3)]


def convolution():
    norm = layers.ScaledL2NormPooling2D(2)
    sort = layers.GroupSort(4)
    return [keras.Input((6, 6, 2)), layers.SpectralConv2D(4, 3), sort, norm, keras.layers.Flatten()]


MODELS = {
    **{rule: lambda rule=rule: dense(rule) for rule in ("polar", "bjorck", "cholesky", "spectral")},
    "norm of windows": convolution,
    "sorted": lambda: [keras.Input((6,)), layers.FullSort(), layers.SpectralDense(2)],
}
MODELS = MODELS if TORCH else {"": None}


def model_and_inputs(name):
    model = lipkit.Sequential(MODELS[name]())
    return model, torch.tensor(
        np.random.default_rng(0).standard_normal((3, *model.input_shape[1:])), dtype=torch.float32
    )


@pytest.mark.parametrize("name", [m for m in MODELS if m != "norm of windows"])
def test_gradients_of_each_sample_by_vmap(name):
    if not TORCH:
        return
    model, x = model_and_inputs(name)
    free = [v.value for v in model.trainable_variables]

    def loss(free, x):
        return model.stateless_call(free, [], x[None])[0].square().sum()

    each = torch.func.vmap(torch.func.grad(loss, (0, 1)), (None, 0))(free, x)
    for i in range(len(x)):
        row = x[i : i + 1].clone().requires_grad_()
        value = model(row).square().sum()
        expected = torch.autograd.grad(value, [*free, row])
        for ours, theirs in zip([*each[0], each[1]], expected, strict=True):
            torch.testing.assert_close(ours[i], theirs.reshape(ours[i].shape), atol=1e-5, rtol=1e-4)


def test_norms_of_windows_by_vmap_and_twice_differentiated():
    if not TORCH:
        return
    pool = layers.ScaledL2NormPooling2D(2)
    x = torch.randn(3, 4, 4, 2)

    def value(x):
        return pool(x[None]).square().sum() / 2

    each = torch.func.vmap(torch.func.jacrev(torch.func.grad(value)))(x).reshape(3, 32, 32)
    torch.testing.assert_close(each, torch.eye(32).expand(3, 32, 32), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_traces_and_exports_are_the_model(name):
    if not TORCH:
        return
    model, x = model_and_inputs(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are constants of a trace
        traced, file = torch.jit.trace(model, x), io.BytesIO()
        torch.jit.save(traced, file)
        file.seek(0)
        exported = torch.export.export(model, (x,))
        for run in (traced, torch.jit.load(file), exported.module()):
            torch.testing.assert_close(run(x - 1), model(x - 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["polar", "norm of windows"] if TORCH else [""])
def test_onnx_by_pytorchs_exporter(name, tmp_path):
    if not TORCH:
        return
    import onnxruntime

    model, x = model_and_inputs(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own future
        torch.onnx.export(model, (x,), dynamo=True, verbose=False).save(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (ours,) = session.run(None, {session.get_inputs()[0].name: (x - 1).numpy()})
    np.testing.assert_allclose(ours, model(x - 1).detach().numpy(), atol=1e-5)


def many(units=4):
    hidden = [layer for _ in range(11) for layer in (layers.SpectralDense(4), layers.MaxMin())]
    return lipkit.Sequential([keras.Input((4,)), *hidden, keras.layers.Dense(units)])


def test_the_state_of_an_identical_model_of_the_same_process_loads():
    if not TORCH:
        return
    x = torch.randn(5, 4)
    for make in (many, lambda: lipkit.Model(inputs := keras.Input((4,)), many()(inputs))):
        model, twin = make(), make()  # names of 9 to 13: not in the order of the alphabet
        assert not torch.equal(twin(x), model(x))
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin(x), model(x))
    with pytest.raises(RuntimeError, match="Missing key"):
        many(3).load_state_dict(many().state_dict())
    assert not many().load_state_dict({}, strict=False).unexpected_keys

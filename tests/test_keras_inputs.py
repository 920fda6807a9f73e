"""Inputs in every structure that a Keras model is called with."""

import keras
import numpy as np
import pytest
from keras import layers as kl

import lipkit
from lipkit.certifier.reader import read

B, A = np.full((5, 3), 0.5, "float32"), np.full((5, 2), 2.0, "float32")
STRUCTURES = {
    "dict": (lambda b, a: {"b": b, "a": a}, {"a": A, "b": B}),
    "dict, more keys": (lambda b, a: {"b": b, "a": a}, {"a": A, "b": B, "c": A}),
    "list by name": (lambda b, a: [b, a], {"a": A, "b": B}),
    "tuple": (lambda b, a: (b, a), (B, A)),
    "list": (lambda b, a: [b, a], [B, A]),
    "nested": (lambda b, a: [b, (a,)], [B, (A,)]),
    "nested in a dict": (lambda b, a: {"b": b, "more": [a]}, {"more": [A], "b": B}),
    "flat": (lambda b, a: [b, (a,)], [B, A]),
}


def model_of(structure):
    keras.utils.set_random_seed(0)
    b, a = keras.Input((3,), name="b"), keras.Input((2,), name="a")
    return keras.Model(structure(b, a), kl.Dense(2)(kl.Concatenate()([b, a])))


@pytest.mark.parametrize("name", STRUCTURES)
def test_inputs_come_in_the_structure_of_the_model(name):
    structure, x = STRUCTURES[name]
    with np.testing.suppress_warnings() as quiet:  # Keras would rather have other keys
        quiet.filter(UserWarning)
        model = model_of(structure)
        result = lipkit.certify(model, x)
    kernel, _ = model.get_weights()
    logits = np.concatenate([B, A], axis=1) @ kernel.astype("float64")
    np.testing.assert_allclose(result.margin, abs(logits[:, 0] - logits[:, 1]), rtol=1e-6)


def test_single_inputs_may_lie_in_structures():
    b = keras.Input((3,), name="b")
    y = kl.Dense(2)(b)
    for model, batches in (
        (keras.Model({"b": b}, y), ({"b": B}, B)),
        (keras.Model([b], y), ([B], B, {"b": B}, B.tolist())),
        (keras.Model(b, y), (B, {"b": B}, B.tolist())),
    ):
        radii = [lipkit.certify(model, x).radius for x in batches]
        assert all((radius == radii[0]).all() for radius in radii) and (radii[0] > 0).all()


@pytest.mark.parametrize("x", [{"b": B}, {"b": B, "z": A}, [B], B, [B, A, A]])
def test_inputs_of_another_structure_are_errors(x):
    with pytest.raises(ValueError, match=r"must have the structure .*'a'|must be a list of 2"):
        lipkit.certify(model_of(lambda b, a: [b, a]), x)


def test_a_name_that_the_only_input_does_not_have_is_an_error():
    model = keras.Sequential([keras.Input((3,), name="b"), kl.Dense(2)])
    with pytest.raises(ValueError, match=r"one input.*keys \['b'\].*keys \['z'\]"):
        lipkit.certify(model, {"z": B})


def test_nested_models_called_by_name_read_each_input():
    """Keras finds them by name, and flattens a dictionary by its sorted keys."""
    first, second = keras.Input((3,), name="p"), keras.Input((3,), name="o")
    inner = keras.Model([first, second], kl.Add()([kl.Rescaling(4.0)(first), second]))
    x = keras.Input((3,))
    model = keras.Model(x, inner({"o": kl.Rescaling(10.0)(x), "p": x}))
    assert lipkit.lipschitz_bound(model) == pytest.approx(14)
    assert len(read(model).graph.outputs) == 1

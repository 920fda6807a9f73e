"""deel-lip's own files (made by data/make_deel_lip.py) are the same functions here."""

import json
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import lipkit
from lipkit.compat.deel_lip import load_model

DATA = Path(__file__).parent / "data"
NAMES, SUFFIXES = ("moons", "digits", "branches"), (".keras", ".h5")


def path_of(name, suffix=".keras"):
    return DATA / f"deel_lip_{name}{suffix}"


def recorded(name):
    with np.load(path_of(name, ".npz")) as file:
        return file["x"], file["y"]


def layers_of(model):
    return [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", NAMES)
def test_the_loaded_model_is_plain_and_the_same_function(name, suffix):
    x, y = recorded(name)
    model = load_model(path_of(name, suffix))
    np.testing.assert_allclose(model.predict(x, verbose=0), y, atol=1e-5)
    assert all(type(layer).__module__.startswith("keras.") for layer in layers_of(model))
    assert lipkit.certify(model, x).radius.max() > 0


def test_bounds_of_loaded_models_are_the_true_ones():
    assert 0.9 < lipkit.lipschitz_bound(load_model(path_of("moons"))) < 1 + 1e-5
    bound = lipkit.lipschitz_bound(load_model(path_of("digits")))
    first = next(layer for layer in bound.layers if layer.kind == "Conv2D")
    assert first.bound > 1.05 * 4 ** (1 / 7)  # what deel-lip takes for its constant
    assert np.isfinite(lipkit.lipschitz_bound(load_model(path_of("branches"))))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_lipschitz_model_trains_on_from_the_file(suffix, tmp_path):
    x, y = recorded("moons")
    model = load_model(path_of("moons", suffix), lipschitz=True)
    assert isinstance(model, lipkit.Sequential)
    assert [type(layer) for layer in model.layers] == [
        *(lipkit.layers.SpectralDense, lipkit.layers.FullSort),
        *(lipkit.layers.SpectralDense, lipkit.layers.FrobeniusDense),
    ]
    np.testing.assert_allclose(model.predict(x, verbose=0), y, atol=1e-5)
    if suffix == ".h5":
        return  # the same model
    model.compile("sgd", lipkit.losses.HKR(10.0))
    model.fit(x, np.sign(y), verbose=0)
    assert abs(model.predict(x, verbose=0) - y).max() > 1e-4
    assert lipkit.lipschitz_bound(model) < 1 + 1e-5
    model.save(tmp_path / "again.keras")
    again = keras.models.load_model(tmp_path / "again.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)


def test_convolutions_of_a_lipschitz_model_have_the_sound_factor():
    model = load_model(path_of("digits"), lipschitz=True)
    body = keras.Model(model.inputs, model.layers[-2].output)  # the last layer has 10 neurons
    assert lipkit.lipschitz_bound(body) < 4 ** (6 / 7) * (1 + 1e-5)
    branches = load_model(path_of("branches"), lipschitz=True)
    assert isinstance(branches.get_layer("up"), lipkit.layers.SpectralConv2DTranspose)


def edited(name, target, *changes):
    """An .h5 file with (old, new) text in its configuration or version."""
    shutil.copy(path_of(name, ".h5"), target)
    with h5py.File(target, "a") as file:
        for old, new in changes:
            key = "keras_version" if old == file.attrs["keras_version"] else "model_config"
            assert old in file.attrs[key]
            file.attrs[key] = file.attrs[key].replace(old, new)
    return target


def test_unknown_layers_are_named_and_can_be_given(tmp_path):
    x, y = recorded("moons")
    file = edited("moons", tmp_path / "a.h5", ("deel-lip>FullSort", "Own>Mine"))
    with pytest.raises(ValueError, match=r"'full_sort' \(Mine\).*not known.*custom_objects"):
        load_model(file)

    class Mine(keras.layers.Layer):
        def __init__(self, n, k_coef_lip, data_format, **kwargs):
            super().__init__(**kwargs)

        def call(self, inputs):
            return keras.ops.sort(inputs)

    model = load_model(file, custom_objects={"Mine": Mine})
    np.testing.assert_allclose(model.predict(x, verbose=0), y, atol=1e-5)


@pytest.mark.parametrize(
    ("source", "old", "new", "message"),
    [
        ("moons", "FullSort", "InvertibleDownSampling", "channels differently.*custom_objects"),
        ("branches", '"class_name": "Add"', '"class_name": "TFOpLambda"', "holds code"),
        ("moons", '"relu"', '"hard_sigmoid"', "activation 'hard_sigmoid'"),
        ("branches", '"kernel_size": [3, 3]', '"kernel_size": [2, 2]', "PadConv2D.*even"),
        ("moons", "2.15.0", "3.5.0", "Keras 3.5.0, not 2.*set_weights"),
        ("moons", '"Sequential"', '"Own"', "Own is a class of its own.*vanilla_export"),
    ],
)
def test_what_cannot_be_the_same_function_is_refused(source, old, new, message, tmp_path):
    file = edited(source, tmp_path / "a.h5", (old, new))
    with pytest.raises(ValueError, match=message):
        load_model(file)


def test_configurations_of_older_keras(tmp_path):
    x, y = recorded("moons")
    policy = '{"class_name": "Policy", "config": {"name": "float32"}}'
    file = edited("moons", tmp_path / "a.h5", ('"dtype": "float32"', f'"dtype": {policy}'))
    model = load_model(file)
    np.testing.assert_allclose(model.predict(x, verbose=0), y, atol=1e-5)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.h5").write_text("no")
    shutil.copy(path_of("moons", ".h5"), tmp_path / "weights.h5")
    with h5py.File(tmp_path / "weights.h5", "a") as file:
        del file.attrs["model_config"]
    shutil.copy(path_of("moons", ".h5"), tmp_path / "less.h5")
    with h5py.File(tmp_path / "less.h5", "a") as file:
        del file["model_weights"]["spectral_dense"]
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "new.keras")
    for name, message in (
        *(("folder", "SavedModel"), ("text.h5", "neither"), ("weights.h5", "weights only")),
        *(
            ("less.h5", "'spectral_dense' are not there"),
            ("new.keras", "Keras 3.*by `set_weights`"),
        ),
    ):
        way_out = "" if "set_weights" in message else ".*vanilla_export"
        with pytest.raises(ValueError, match=f"`path`.*{message}{way_out}"):
            load_model(tmp_path / name)


def test_the_data_is_small():
    files = list(DATA.glob("deel_lip_*"))
    assert len(files) == len(NAMES) * (len(SUFFIXES) + 1)
    assert all(file.stat().st_size < 100_000 for file in files)
    assert json.loads(zipfile.ZipFile(path_of("moons")).read("metadata.json"))["keras_version"]

"""deel-lip's saved models, as models of Keras 3."""

import io
import json
import re
import zipfile
from collections import Counter
from pathlib import Path

import h5py
import keras
from keras import layers as kl

import lipkit
from lipkit import layers as ll
from lipkit.export import vanilla_model

PLAIN = {
    **dict.fromkeys(("SpectralDense", "FrobeniusDense"), kl.Dense),
    **dict.fromkeys(("SpectralConv2D", "FrobeniusConv2D"), kl.Conv2D),
    "SpectralConv2DTranspose": kl.Conv2DTranspose,
}
SAME = (  # lipkit's class of this name computes deel-lip's function
    *("PadConv2D", "MaxMin", "GroupSort", "GroupSort2", "FullSort", "Householder"),
    *("ScaledAveragePooling2D", "ScaledL2NormPooling2D"),
    *("ScaledGlobalAveragePooling2D", "ScaledGlobalL2NormPooling2D"),
)
KERAS = (  # the same function and the same weights in Keras 2 and 3
    *("InputLayer", "Dense", "Conv1D", "Conv2D", "Conv2DTranspose", "DepthwiseConv2D"),
    *("BatchNormalization", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax"),
    *("Flatten", "Reshape", "Permute", "RepeatVector", "Rescaling", "Dropout", "SpatialDropout2D"),
    *("GaussianNoise", "GaussianDropout", "ActivityRegularization", "ZeroPadding2D"),
    *("Cropping2D", "UpSampling2D", "AveragePooling2D", "MaxPooling2D", "GlobalMaxPooling2D"),
    *("GlobalAveragePooling2D", "Add", "Subtract", "Average", "Maximum", "Minimum", "Concatenate"),
)
ACTIVATIONS = (  # Keras 3 changed `hard_sigmoid`
    *("linear", "relu", "relu6", "tanh", "sigmoid", "softmax", "elu", "selu", "softplus"),
    *("softsign", "gelu", "swish"),
)
MODELS = ("Sequential", "Model", "Functional")
LEFT_OUT = ("k_coef_lip", "eps_spectral", "eps_bjorck", "beta_bjorck", "maxiter_spectral")
LEFT_OUT += ("maxiter_bjorck", "disjoint_neurons")
REASONS = {
    **dict.fromkeys(
        ("InvertibleDownSampling", "InvertibleUpSampling"),
        "versions of deel-lip order its channels differently, and the file does not say which one "
        "wrote it",
    ),
    **dict.fromkeys(
        ("TFOpLambda", "SlicingOpLambda", "Lambda"), "it holds code, not a configuration"
    ),
}
AGAIN = (
    "In the environment that wrote it, load it, and save `model.vanilla_export()` as .keras or .h5."
)


def load_model(path, lipschitz=False, custom_objects=None):
    """Load a model that deel-lip 1.x saved with Keras 2, as `.keras` or `.h5`.

    The result computes the function that the file's model computes at inference: the kernels are
    the stored `wbar`, those of the last training step before saving. It is compiled with nothing.
    `lipkit.lipschitz_bound` of it is a proven constant, for stride-1 convolutions of deel-lip
    above the nominal one.

    A model that was loaded by deel-lip itself before it was saved may have other factors in its
    `ScaledGlobalAveragePooling2D` than the file says; here they are always sqrt(h w).

    Args:
        path: the file.
        lipschitz: False: plain Keras layers, with fixed kernels for what training is concerned.
            True: lipkit's layers, their free kernels set to `wbar`, to train on. Orthogonal
            kernels stay what they are; convolutions shrink to lipkit's sound factor.
        custom_objects: classes for layers of the file that are not known here, by class name. They
            get the stored configuration and weights.

    Raises:
        ValueError: the file, or a layer in it, cannot be read exactly.
    """
    custom_objects = custom_objects or {}
    entry, arrays = _read(Path(path))
    with keras.saving.custom_object_scope(custom_objects):
        model = _Translation(lipschitz, custom_objects).model(entry)
        for names, folder, layer in _leaves(entry):
            found = model
            for name in names:
                found = found.get_layer(name)
            _fill(found, _class(layer), arrays(names, folder))
        return model if lipschitz else vanilla_model(model)


def _refuse(path, reason):
    return ValueError(f"`path` cannot be loaded: {reason}. {AGAIN} Received: path={str(path)!r}")


def _read(path):
    """The configuration of the model, and a function of a layer's place that gives its arrays."""
    if path.is_dir():
        raise _refuse(path, "a SavedModel folder holds a TensorFlow graph, not layers")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            metadata, entry = (json.loads(archive.read(f"{n}.json")) for n in ("metadata", "config"))
            weights = io.BytesIO(archive.read("model.weights.h5"))
        version = metadata.get("keras_version", "")
        read = _read_folder
    elif h5py.is_hdf5(path):
        weights = path
        with h5py.File(path) as file:
            if "model_config" not in file.attrs:
                raise _refuse(path, "it holds weights only")
            entry = json.loads(file.attrs["model_config"])
            version = str(file.attrs.get("keras_version", ""))
        read = _read_names
    else:
        raise _refuse(path, "it is neither a .keras nor an .h5 file")
    if not version.startswith("2."):
        raise _refuse(path, f"it was written by Keras {version or 'of no version'}, not Keras 2")
    if _class(entry) not in MODELS or "layers" not in entry["config"]:
        raise _refuse(path, f"{_class(entry)} is a class of its own, not a graph of layers")

    def arrays(names, folder):
        with h5py.File(weights) as file:
            try:
                return read(file, names, folder)
            except KeyError:
                raise _refuse(path, f"the weights of layer {names[-1]!r} are not there") from None

    return entry, arrays


def _read_folder(file, names, folder):
    group = file[f"{folder}/vars"]
    return [group[str(i)][()] for i in range(len(group))]


def _read_names(file, names, folder):
    group = file["model_weights"][names[0]]  # holds the weights of a nested model in one list
    return [
        group[name][()]
        for name in group.attrs["weight_names"]
        if name.split("/")[-2] == names[-1]
    ]


def _class(entry):
    return entry["class_name"].rpartition(">")[2]  # from "deel-lip>SpectralDense"


def _is_model(entry):
    return _class(entry) in MODELS


def _leaves(entry, folder=""):
    """(names from the outermost model on, folder in a .keras file, entry) of all layers."""
    used = Counter()
    for layer in entry["config"]["layers"]:
        name = layer["config"]["name"]
        snake = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", _class(layer))
        snake = re.sub("([a-z])([A-Z])", r"\1_\2", snake).lower()
        inner = f"{folder}layers/{snake}" + (f"_{used[snake]}" if used[snake] else "")
        used[snake] += 1
        if _is_model(layer):
            for names, below, leaf in _leaves(layer, f"{inner}/"):
                yield (name, *names), below, leaf
        elif _class(layer) != "InputLayer":
            yield (name,), inner, layer


def _fill(layer, deel_lip_class, arrays):
    if deel_lip_class in PLAIN:
        *first, wbar = arrays
        arrays = [wbar, first[1]] if layer.use_bias else [wbar]
    layer.set_weights(arrays)


class _Translation:
    """Configurations of Keras 2 and deel-lip into layers of Keras 3 and lipkit."""

    def __init__(self, lipschitz, custom_objects):
        self.lipschitz = lipschitz
        self.custom_objects = custom_objects

    def model(self, entry):
        """A Sequential or Functional model."""
        config = entry["config"]
        models = lipkit if self.lipschitz else keras
        entries = [
            {
                **keras.saving.serialize_keras_object(self.layer(layer)),
                "name": layer["config"]["name"],
                "inbound_nodes": self.nodes(layer.get("inbound_nodes", []), config["layers"]),
            }
            for layer in config["layers"]
        ]
        if _class(entry) == "Sequential":
            shape = {k: config[k] for k in ("build_input_shape",) if config.get(k)}
            return models.Sequential.from_config(
                {"name": config["name"], "layers": entries, **shape}
            )
        ends = {
            key: _single(self.references(config[key], config["layers"]))
            for key in ("input_layers", "output_layers")
        }
        return models.Model.from_config({"name": config["name"], "layers": entries, **ends})

    def references(self, tensors, layers):
        """Tensors as [layer, call, output, ...]: Keras 3 counts a nested Sequential's from 0."""
        sequential = [x["config"]["name"] for x in layers if _class(x) == "Sequential"]
        return [[name, n - (name in sequential), *rest] for name, n, *rest in tensors]

    def nodes(self, nodes, layers):
        return [self.references(node, layers) for node in nodes]

    def layer(self, entry):
        """A layer without its weights."""
        if _is_model(entry):
            return self.model(entry)
        name, config = _class(entry), self.config(entry)
        if name in self.custom_objects:
            return self.custom_objects[name].from_config(config)
        if name in PLAIN and not self.lipschitz:
            for key in LEFT_OUT:
                config.pop(key, None)
            return PLAIN[name].from_config(config)
        if name in SAME or name in PLAIN:
            return getattr(ll, name).from_config(_for_lipkit(name, config))
        if name in KERAS:
            return getattr(kl, name).from_config(config)
        reason = REASONS.get(name, "its class is not known here")
        raise ValueError(
            f"Layer {config['name']!r} ({name}) cannot be loaded: {reason}. Give the class to use "
            f"for it as custom_objects={{{name!r}: ...}}."
        )

    def config(self, entry):
        """The configuration, less what only training and building need."""
        config = {
            key: value
            for key, value in entry["config"].items()
            if not key.endswith(("_initializer", "_regularizer", "_constraint"))
        }
        if "batch_input_shape" in config and _class(entry) == "InputLayer":
            config = {k: v for k, v in config.items() if k not in ("sparse", "ragged")}
        else:
            config.pop("batch_input_shape", None)
        if isinstance(config.get("dtype"), dict):  # a policy
            config["dtype"] = config["dtype"]["config"]["name"]
        if isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
            (config["axis"],) = config["axis"]
        if "activation" in config:
            config["activation"] = self.activation(config["activation"], config["name"])
        return config

    def activation(self, value, layer):
        if value is None or value in ACTIVATIONS:
            return value
        if isinstance(value, dict) and "config" in value:
            return self.layer(value)
        raise ValueError(
            f"Layer {layer!r} cannot be loaded: its activation {value!r} is not known to be the "
            f"same in Keras 3. Known: {', '.join(ACTIVATIONS)}, and layers."
        )


def _for_lipkit(name, config):
    """The configuration of lipkit's layer with deel-lip's function."""
    if name in ("GroupSort2", "FullSort"):
        config.pop("n", None)
    if name == "Householder":
        config["k_coef_lip"] = 1.0  # deel-lip does not apply it
    return config


def _single(items):
    return items[0] if len(items) == 1 else items

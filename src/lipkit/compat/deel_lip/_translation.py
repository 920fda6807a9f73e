"""deel-lip's configurations of layers and models, as layers and models of Keras 3."""

import keras
from keras import layers as kl

import lipkit
from lipkit import layers as ll
from lipkit._registry import register
from lipkit.layers.base import ActivationLast


class _Stored(ActivationLast):
    """Mixin put before a Keras layer: the kernel is the stored one, exported as it is."""


@register
class StoredDense(_Stored, kl.Dense):
    """`keras.layers.Dense`."""

    vanilla_class = kl.Dense


@register
class StoredConv2D(_Stored, kl.Conv2D):
    """`keras.layers.Conv2D`."""

    vanilla_class = kl.Conv2D


@register
class StoredConv2DTranspose(_Stored, kl.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose`."""

    vanilla_class = kl.Conv2DTranspose


STORED = {
    **dict.fromkeys(("SpectralDense", "FrobeniusDense"), StoredDense),
    **dict.fromkeys(("SpectralConv2D", "FrobeniusConv2D"), StoredConv2D),
    "SpectralConv2DTranspose": StoredConv2DTranspose,
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


def class_of(entry):
    return entry["class_name"].rpartition(">")[2]  # from "deel-lip>SpectralDense"


def is_model(entry):
    return class_of(entry) in MODELS


class Translation:
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
        if class_of(entry) == "Sequential":
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
        sequential = [x["config"]["name"] for x in layers if class_of(x) == "Sequential"]
        return [[name, n - (name in sequential), *rest] for name, n, *rest in tensors]

    def nodes(self, nodes, layers):
        return [self.references(node, layers) for node in nodes]

    def layer(self, entry):
        """A layer without its weights."""
        if is_model(entry):
            return self.model(entry)
        name, config = class_of(entry), self.config(entry)
        if name in self.custom_objects:
            return self.custom_objects[name].from_config(config)
        if name in STORED and not self.lipschitz:
            for key in LEFT_OUT:
                config.pop(key, None)
            return STORED[name].from_config(config)
        reason = REASONS.get(name, "its class is not known here")
        if name == "PadConv2D" and not _pads_alike(config):
            reason = "deel-lip pads even or dilated kernels to another size than lipkit"
        elif name in SAME or name in STORED:
            return getattr(ll, name).from_config(_for_lipkit(name, config))
        elif name in KERAS:
            return getattr(kl, name).from_config(config)
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
        if "batch_input_shape" in config and class_of(entry) == "InputLayer":
            config = {k: v for k, v in config.items() if k not in ("sparse", "ragged")}
        else:
            config.pop("batch_input_shape", None)
        if config.get("groups") == 1:  # transposed convolutions have one, and no such argument
            del config["groups"]
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
    if name == "ScaledGlobalL2NormPooling2D":
        config.pop("keepdims", None)  # nor this
    return config


def _pads_alike(config):
    sizes = [*(n % 2 for n in config["kernel_size"]), *config["dilation_rate"]]
    return config["padding"].lower() in ("same", "valid") or sizes == [1, 1, 1, 1]


def _single(items):
    return items[0] if len(items) == 1 else items

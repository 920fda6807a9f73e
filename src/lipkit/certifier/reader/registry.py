"""Which layers have a rule: exact classes only, because a subclass may compute anything."""

from typing import Any

import keras
from keras import ops

from lipkit._keras import calls
from lipkit.certifier import graph as g
from lipkit.certifier.activations import ACTIVATIONS
from lipkit.certifier.reader.refusals import refusal
from lipkit.errors import NotCertifiable
from lipkit.layers import SpectralDense
from lipkit.layers.exported import Exported, as_layer, as_operations, is_own
from lipkit.layers.padded import PaddedConv

_RULES: dict[type, object] = {}
# at inference these compute what the Keras class does, with the constrained kernel
_SAME_CALLS = (PaddedConv.call, SpectralDense.call)
WAY_OUT = (
    "Remove it, replace it with a layer that has a rule, or register one with "
    "@lipkit.certifier.register_rule"
)


def register_rule(*layer_classes):
    """Decorator that registers how the certifier reads layers of exactly these classes.

    Layers that say what they are need none: see `lipkit.layers.Exported`.

    Args:
        *layer_classes: classes of layers, at least one; subclasses are not included.

    Returns:
        A decorator of functions of a layer and the shape of each input, without the batch axis,
        that return one operation of `lipkit.certifier.graph`, or a list of operations to apply one
        after the other. What they return is believed, apart from a comparison with the layer's
        outputs on random inputs. Instead of a function: `lipkit.certifier.as_exported`.

    Raises:
        ValueError: no class is given, or something that is not a class of layers; or, when the
            decorator is applied, the rule is not callable.

    Example:
    >>> class Halve(keras.layers.Layer):
    ...     def call(self, inputs):
    ...         return inputs / 2
    >>> @lipkit.certifier.register_rule(Halve)
    ... def _(layer, shape):
    ...     graph = lipkit.certifier.graph
    ...     return graph.Custom(lambda x: x / 2, 0.5, error=lambda unit: (0.0, 0.0))
    >>> halves = keras.Sequential([keras.Input((3,)), Halve()])
    >>> print(round(float(lipkit.lipschitz_bound(halves)), 6))
    0.5
    """
    wrong = [c for c in layer_classes if not isinstance(c, type) or not issubclass(c, keras.Layer)]
    if wrong or not layer_classes:
        received = repr(wrong[0]) if wrong else "no class"
        raise ValueError(
            "`register_rule` needs at least one subclass of keras.layers.Layer. "
            f"Received: {received}"
        )

    def register(rule):
        if not callable(rule):
            raise ValueError(f"`register_rule` decorates a function. Received: {rule!r}")
        for layer_class in layer_classes:
            if rule is as_exported and not as_operations(layer_class):
                raise ValueError(
                    "`as_exported` needs a `lipkit.layers.Exported` with a `to_vanilla`. "
                    f"Received: {layer_class!r}"
                )
            _RULES[layer_class] = rule
        return rule

    return register


def as_exported(layer, *shapes):
    """The rule of layers that are read through their `to_vanilla`, see `lipkit.layers.Exported`.

    It is that of all classes that define `to_vanilla` themselves, and needs no registration there.
    A subclass that inherits it may compute anything, and is refused unless it is registered.

    Args:
        layer: the layer.
        *shapes: of its inputs.

    Raises:
        NotCertifiable: always, if called: what a layer exports is read as a graph of its own,
            which the activation inside another layer cannot be.

    Example:
    >>> class Named(lipkit.layers.PReLUlip):
    ...     pass
    >>> rule = lipkit.certifier.register_rule(Named)(lipkit.certifier.as_exported)
    >>> named = keras.Sequential([keras.Input((3,)), Named()])
    >>> print(round(float(lipkit.lipschitz_bound(named)), 4))
    1.0
    """
    raise refusal(layer, "it is the activation inside another layer: make it a layer of its own.")


def as_wrapped(layer, *shapes):
    """Mark of wrappers that are read through the layer in them; given to `register_rule`."""
    as_exported(layer, *shapes)  # neither is an activation


def is_exported(layer) -> bool:
    """Whether a layer is read through its `to_vanilla`."""
    return _rule_for(type(layer)) is as_exported


def is_wrapper(layer) -> bool:
    """Whether a layer is read through the layer in it."""
    return _rule_for(type(layer)) is as_wrapped


def has_rule(layer_class) -> bool:
    """Whether layers of exactly this class can be read."""
    return _rule_for(layer_class) is not None


def _rule_for(layer_class):
    """The rule of exactly this class: the registered one, or what it says itself; or None."""
    says = as_operations(layer_class) and (is_own(layer_class) or "to_vanilla" in vars(layer_class))
    return _RULES.get(layer_class, as_exported if says else None)


def check_methods(operation):
    """Refuse a layer, model or operation with a method of its own in place of its class's."""
    if own := calls.own_methods(operation):
        raise refusal(
            operation,
            f"its {', '.join(map(repr, own))} was replaced, so it may compute anything. Put the "
            "change into a class with a rule of its own, by @lipkit.certifier.register_rule.",
        )


def _calls_plain(layer_class):
    """Whether layers of a class call what their `vanilla_class` does, on the inputs as padded."""
    return layer_class.call in (
        layer_class.vanilla_class.call,
        *_SAME_CALLS,
    ) and layer_class.vanilla_inputs in (Exported.vanilla_inputs, PaddedConv.vanilla_inputs)


def rule_of(layer):
    """The rule of a layer's exact class, or of the Keras class that a constrained layer calls."""
    check_methods(layer)
    if (rule := _rule_for(type(layer))) is not None:
        return rule
    if as_layer(layer) and _calls_plain(type(layer)) and layer.vanilla_class in _RULES:
        return _RULES[layer.vanilla_class]
    reason = REASONS.get(type(layer).__name__, "it has no Lipschitz rule")
    raise refusal(layer, f"{reason}. {WAY_OUT}.")


def operations_of(layer, *shapes) -> list[g.Op]:
    """The operations that the rule of a layer gives for inputs of these shapes."""
    given = rule_of(layer)(layer, *shapes)
    found = list(given) if isinstance(given, (list, tuple)) else [given]
    if wrong := [op for op in found if not isinstance(op, g.Op)]:
        raise ValueError(
            f"The rule of layer {layer.name!r} ({type(layer).__name__}) must return an operation "
            "of `lipkit.certifier.graph`, or a list of them. "
            f"Received: {type(wrong[0]).__name__}"
        )
    return found


def inherited_rule_of(layer):
    """`rule_of`, or else the rule of the first class that the layer's has its `call` from; None."""
    try:
        check_methods(layer)
    except NotCertifiable:
        return None
    try:
        return rule_of(layer)
    except NotCertifiable:
        same = [c for c in type(layer).__mro__ if has_rule(c) and c.call is type(layer).call]
        return _rule_for(same[0]) if same else None


def array(variable) -> Any:
    """The exact values of a variable or tensor as float64, or None for None."""
    if variable is None:
        return None
    return ops.convert_to_numpy(variable).astype("float64")


# those of Keras's activations that are among the certifier's functions, and so have a proven slope
FUNCTIONS = {
    name: getattr(keras.activations, name)
    for name in ACTIVATIONS
    if hasattr(keras.activations, name)
}


def operation_class(name):
    """The name of the class of `keras.ops` for a function: `"hard_silu"` -> `"HardSilu"`."""
    return name.title().replace("_", "")


def activation_ops(layer, shape) -> list[g.Op]:
    """The operations of `layer.activation` on values of this shape."""
    activation = getattr(layer, "activation", None)
    if activation is None or activation is keras.activations.linear:
        return []
    if isinstance(activation, keras.layers.Layer):
        return operations_of(activation, shape)
    if activation is keras.activations.softmax:
        return [g.Softmax()]
    if activation is keras.activations.leaky_relu:
        return [g.Elementwise("relu", (0.2,))]
    for name, function in FUNCTIONS.items():
        if activation is function:
            return [g.Elementwise(name)]
    name = getattr(activation, "__name__", repr(activation))
    raise refusal(
        layer,
        f"its activation {name!r} has no proven slope. Use one of {', '.join(FUNCTIONS)}, "
        "or make it a layer of its own with a rule registered by @lipkit.certifier.register_rule.",
    )


_UNBOUNDED = "its slope has no bound over all inputs"
_DISCRETE = "its output jumps, so no constant exists"
_PRODUCT = "a product of two inputs has no Lipschitz constant"
_STATEFUL = "recurrent layers are not covered"
_AUGMENTS = "augmentation layers are not covered"
_OPAQUE = "its function cannot be read"
_FEATURES = "its inputs are not vectors of real numbers"
_CONTAINER = "it is an abstract base class"

REASONS = {
    **dict.fromkeys(
        ("LayerNormalization", "RMSNormalization", "GroupNormalization", "UnitNormalization"),
        _UNBOUNDED,
    ),
    **dict.fromkeys(
        ("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupedQueryAttention"),
        _UNBOUNDED,
    ),
    **dict.fromkeys(("Multiply", "Dot"), _PRODUCT),
    **dict.fromkeys(("Discretization", "Equalization", "Masking", "Solarization"), _DISCRETE),
    **dict.fromkeys(("RandAugment", "AugMix", "CutMix", "MixUp", "AutoContrast"), _AUGMENTS),
    **dict.fromkeys(
        (
            *("RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast"),
            *("RandomCrop", "RandomElasticTransform", "RandomErasing", "RandomFlip"),
            *("RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert"),
            *("RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation"),
            *("RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom"),
            *("CenterCrop", "ContrastLimitedAdaptiveHistogramEqualization", "Pipeline"),
        ),
        _AUGMENTS,
    ),
    **dict.fromkeys(
        ("AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D"),
        "adaptive windows are not covered; use AveragePooling",
    ),
    **dict.fromkeys(
        ("AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D"),
        "adaptive windows are not covered; use MaxPooling",
    ),
    **dict.fromkeys(
        (
            *("RNN", "LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell"),
            *("StackedRNNCells", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"),
        ),
        _STATEFUL,
    ),
    **dict.fromkeys(
        ("Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper"), _OPAQUE
    ),
    **dict.fromkeys(
        (
            *("Embedding", "ReversibleEmbedding", "CategoryEncoding", "Hashing", "HashedCrossing"),
            *("IntegerLookup", "StringLookup", "TextVectorization", "MaxNumBoundingBoxes"),
        ),
        _FEATURES,
    ),
    **dict.fromkeys(("MelSpectrogram", "STFTSpectrogram"), "spectrograms are not covered"),
    **dict.fromkeys(("Layer", "Wrapper"), _CONTAINER),
}

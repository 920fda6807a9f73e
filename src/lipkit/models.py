"""Models that know how to condense and to export themselves."""

import inspect
from typing import Any

import keras

from lipkit._backend import Module
from lipkit._checks import check_constant
from lipkit.certifier.reader import known
from lipkit.export import vanilla_model
from lipkit.layers import LipschitzKernel, LipschitzLayer
from lipkit.losses.state import HoldsLosses


def vanillaModel(model):
    """A plain Keras model of the same function; see `lipkit.export.vanilla_model`.

    Args:
        model: a built Sequential or Functional model.

    Returns:
        A new `keras.Model` without any class of lipkit.

    Example:
    >>> [type(layer).__name__ for layer in lipkit.vanillaModel(model).layers if layer.weights]
    ['Dense', 'Dense']
    """
    return vanilla_model(model)


def condense(model):
    """Overwrite every free kernel of any Keras model; its function is unchanged.

    Args:
        model: any built Keras model, nested ones included.

    Example:
    >>> before = model(x)
    >>> lipkit.models.condense(model)
    >>> bool(ops.max(ops.abs(model(x) - before)) < 1e-4)
    True
    """
    for layer in model._flatten_layers(include_self=False):  # nested models too
        if isinstance(layer, LipschitzKernel):
            layer.condense()


def _instance(given):
    return given() if isinstance(given, type) else given


class _Export(Module, HoldsLosses):
    def compile(self, *args, **kwargs):
        """As in Keras. Classes become instances here: Keras takes them, but cannot save them."""
        args, kwargs = keras.tree.map_structure(_instance, (args, kwargs))
        super().compile(*args, **kwargs)

    def compile_from_config(self, config):
        """Compile as saved; Keras leaves that to classes with a `compile` of their own."""
        if type(self).compile is not _Export.compile:
            return super().compile_from_config(config)
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def fit(self, *args, **kwargs):
        """As in Keras; data sets that `follow` the epoch are told its number.

        Their batches come in their own order: Keras would shuffle by Python's global generator.
        """
        given = inspect.signature(super().fit).bind(*args, **kwargs).arguments
        for name in ("x", "validation_data"):
            data: Any = given.get(name)
            if isinstance(data, keras.utils.PyDataset) and hasattr(data, "follow"):
                others = keras.tree.flatten(given.get("callbacks") or [])
                given["callbacks"] = [data.follow(), *others]
                given["shuffle"] = given.get("shuffle", True) and name != "x"
        return super().fit(**given)

    def condense(self):
        """Overwrite every free kernel with the constrained one; the function is unchanged."""
        condense(self)

    def vanilla_export(self):
        """A plain Keras model of the same function."""
        return vanilla_model(self)


def _is_functional(args, kwargs):
    """Whether these are the arguments (inputs, outputs, ...) of a Functional model."""
    return len({"inputs", "outputs"} & set(kwargs)) + len(args) >= 2


@keras.saving.register_keras_serializable("lipkit")
class Model(_Export, keras.Model):
    """`keras.Model` with `condense()` and `vanilla_export()`: subclass it, or give it a graph.

    `Model(inputs, outputs)` makes a `FunctionalModel`, which is a `Model` and a Functional model
    of Keras.

    Args:
        *args, **kwargs: of `keras.Model`: none, or (inputs, outputs) of a graph.

    Example:
    >>> inputs = keras.Input((4,))
    >>> graph = lipkit.Model(inputs, lipkit.layers.SpectralDense(2)(inputs))
    >>> type(graph.vanilla_export().layers[-1]).__name__
    'Dense'
    """

    # Left to itself, Keras makes a class that is called with (inputs, outputs) Functional by
    # assigning to the bases of all its ancestors: `Model`, and so every other subclass of it.
    def __new__(cls, *args, **kwargs):
        if cls is Model and _is_functional(args, kwargs):
            return FunctionalModel.__new__(FunctionalModel)
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        if _is_functional(args, kwargs):  # the `super().__init__` of a subclass
            _make_functional(type(self))
            FunctionalModel.__init__(self, *args, **kwargs)
        else:
            super().__init__(*args, **kwargs)


_Functional = type(keras.Model.__new__(keras.Model, None, None))  # Keras has no public name for it


@keras.saving.register_keras_serializable("lipkit")
class FunctionalModel(_Functional, Model):
    """What `Model(inputs, outputs)` makes.

    Args:
        *args, **kwargs: of `keras.Model`: (inputs, outputs).

    Example:
    >>> inputs = keras.Input((4,))
    >>> graph = lipkit.Model(inputs, lipkit.layers.SpectralDense(2)(inputs))
    >>> isinstance(graph, lipkit.models.FunctionalModel)
    True
    """


def _make_functional(cls):
    """Put `FunctionalModel` in the place of `Model` in the bases of a subclass."""
    if cls is Model:
        return FunctionalModel
    if issubclass(cls, Model) and not issubclass(cls, FunctionalModel):
        cls.__bases__ = tuple(_make_functional(base) for base in cls.__bases__)
    return cls


@keras.saving.register_keras_serializable("lipkit")
class Sequential(_Export, keras.Sequential):
    """`keras.Sequential` whose layers share a Lipschitz constant.

    Args:
        layers: list of layers, or None.
        name, trainable: as in `keras.Sequential`, in deel-lip's order.
        k_coef_lip: constant of the whole model, divided over its n Lipschitz layers: each becomes
            a copy with k_coef_lip^(1/n). The others must be known to be 1-Lipschitz, by the rule of
            `lipkit.certifier.reader.known.doubt`: weightless layers of Keras such as `Flatten`,
            `ReLU`, `Dropout`, or `MaxPooling2D` whose windows do not overlap. With 1.0, the
            default, all layers are used as they are, whatever they are; what the constant then is,
            `lipkit.lipschitz_bound` tells.

    Raises:
        ValueError: if a constant is asked for and a layer is not known to be 1-Lipschitz, an
            activation included, or is built, has a constant of its own, or is added later.

    Example:
    >>> layers = [keras.Input((4,)), lipkit.layers.SpectralDense(8), lipkit.layers.FullSort()]
    >>> scaled = lipkit.Sequential([*layers, lipkit.layers.SpectralDense(2)], k_coef_lip=8.0)
    >>> round(float(lipkit.lipschitz_bound(scaled)), 3)
    8.0
    """

    def __init__(self, layers=None, name=None, k_coef_lip=1.0, trainable=True):
        self._k_coef_lip = check_constant(k_coef_lip)
        self._closed = False
        super().__init__(_share(layers or [], self._k_coef_lip), trainable=trainable, name=name)
        self._closed = True

    k_coef_lip = LipschitzLayer.k_coef_lip

    def set_klip_factor(self, klip_factor):
        """deel-lip's way to give the constant: until a layer is built; then it is an error."""
        k, layers = check_constant(klip_factor), self.layers
        if self.built or self._k_coef_lip != 1.0:
            self.k_coef_lip = klip_factor  # raises: it is fixed
        for layer, scaled in zip(layers, _share(layers, k), strict=True):
            if scaled is not layer:
                layer.set_klip_factor(scaled.k_coef_lip)
        self._k_coef_lip = k

    def add(self, layer, rebuild=True):
        """Append a layer; where the constant is not 1, after construction only a known one.

        That is one that is 1-Lipschitz as it is, and gets no share of the constant.
        """
        if self._closed and self._k_coef_lip != 1.0:
            if isinstance(layer, LipschitzLayer):
                self._refuse(f"add layer {layer.name!r}")
            if isinstance(layer, keras.layers.Layer):
                _check_share(layer, self._k_coef_lip)
        super().add(layer, rebuild=rebuild)

    def pop(self, rebuild=True):
        """Take the last layer off; only where the constant is 1."""
        if self._k_coef_lip != 1.0:
            self._refuse("pop a layer")
        return super().pop(rebuild=rebuild)

    def _refuse(self, change):
        raise ValueError(
            f"Cannot {change}: the constant k_coef_lip={self._k_coef_lip!r} was divided over the "
            "layers at construction. Give all layers to the constructor."
        )

    def get_config(self):
        """Keras configuration; the layers already carry their share of the constant."""
        return {**super().get_config(), "k_coef_lip": self._k_coef_lip}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Inverse of `get_config`."""
        config = dict(config)
        k_coef_lip = config.pop("k_coef_lip", 1.0)
        model = super().from_config(config, custom_objects=custom_objects)
        model._k_coef_lip = k_coef_lip
        return model


def _share(layers, k):
    """Copies of unbuilt Lipschitz layers with k^(1/n) each; the list itself where k is 1."""
    if k == 1.0:
        return layers
    lipschitz = [layer for layer in layers if isinstance(layer, LipschitzLayer)]
    if not lipschitz:
        raise ValueError(f"k_coef_lip={k!r} needs at least one Lipschitz layer to put it on.")
    for layer in layers:
        if isinstance(layer, keras.layers.Layer):
            _check_share(layer, k)
    share = k ** (1 / len(lipschitz))

    def scaled(layer):
        if not isinstance(layer, LipschitzLayer):
            return layer
        return type(layer).from_config({**layer.get_config(), "k_coef_lip": share})

    return [scaled(layer) for layer in layers]


def _check_share(layer, k):
    """Refuse a layer that would lose its weights, or is not known to be 1-Lipschitz by itself."""
    reason = (doubt := known.doubt(layer)) and f"is not known to be 1-Lipschitz: {doubt}"
    for inner in layer._flatten_layers():  # itself, its activation, what it wraps
        holds = "" if inner is layer else f"holds {inner.name!r} that "
        if getattr(inner, "k_coef_lip", 1.0) != 1.0:
            reason = f"{holds}has k_coef_lip={inner.k_coef_lip!r}"
        elif isinstance(layer, LipschitzLayer) and inner.weights:
            reason = f"{holds}is already built"
    if reason:
        raise ValueError(
            f"Cannot give the model k_coef_lip={k!r}: layer {layer.name!r} {reason}. Use fresh "
            "layers of lipkit with k_coef_lip=1 and weightless 1-Lipschitz layers of Keras, or "
            "leave the model's k_coef_lip at 1 and ask lipkit.lipschitz_bound."
        )

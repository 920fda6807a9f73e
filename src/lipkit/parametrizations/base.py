"""What a kernel rule is, and how it is found by name."""

import keras

from lipkit._registry import registered

__all__ = ["Parametrization", "get", "register", "serialize"]

_NAMES: dict[str, type["Parametrization"]] = {}


class Parametrization:
    """A pure map on (..., m, n) whose result has spectral norm at most 1 for any finite input.

    Subclasses are decorated with `register`, set `name`, take their configuration as keyword
    arguments, store each under its own name and implement `__call__`. They hold no state.

    Example:
    >>> class Halved(lipkit.parametrizations.Parametrization):
    ...     def __call__(self, w):
    ...         return 0.5 * lipkit.parametrizations.Polar()(w)
    >>> layer = lipkit.layers.SpectralDense(3, parametrization=Halved())
    >>> layer.build((None, 5))
    >>> round(float(np.linalg.norm(ops.convert_to_numpy(layer.kernel), 2)), 4)
    0.5
    """

    name: str
    retract = None  # a method: the free matrices as optimizers leave them, led back after a step
    training_matmul = None  # a method: x (b, m), w (m, n) -> (b, n), instead of the constrained w

    def __call__(self, w):
        """Constrain the free matrix w of shape (..., m, n)."""
        raise NotImplementedError(f"{type(self).__name__} must implement __call__(w).")

    def constrain(self, kernel, view):
        """The kernel of an operator of norm at most 1; see `lipkit.views.KernelView`."""
        matrix = self(view.matrix(kernel)) / view.unfold_norm
        return view.kernel(matrix, kernel.shape)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config):
        """Inverse of `get_config`."""
        return cls(**config)

    def __repr__(self):
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"

    def __eq__(self, other):
        return type(self) is type(other) and self.get_config() == other.get_config()

    __hash__ = None  # type: ignore[assignment]


def get(identifier) -> Parametrization:
    """A parametrization from its name, its configuration or another one.

    Args:
        identifier: a registered name, what `serialize` gives, or a `Parametrization`, of which a
            copy is made.

    Returns:
        A `Parametrization`.

    Raises:
        ValueError: for anything else.

    Example:
    >>> lipkit.parametrizations.get("bjorck")
    Bjorck(iterations=15, beta=0.5)
    """
    if isinstance(identifier, Parametrization):
        return type(identifier).from_config(identifier.get_config())
    if isinstance(identifier, dict):
        return get(keras.saving.deserialize_keras_object(identifier))
    if isinstance(identifier, str) and identifier in _NAMES:
        return _NAMES[identifier]()
    raise ValueError(
        f"`parametrization` must be one of {sorted(_NAMES)} or a "
        f"`lipkit.parametrizations.Parametrization`. Received: parametrization={identifier!r}"
    )


def serialize(parametrization: Parametrization) -> dict:
    """The configuration of a rule, for JSON.

    Args:
        parametrization: a registered `Parametrization`.

    Returns:
        A dictionary that `get` reads.

    Example:
    >>> config = lipkit.parametrizations.serialize(lipkit.parametrizations.Bjorck(beta=0.25))
    >>> lipkit.parametrizations.get(config)
    Bjorck(iterations=15, beta=0.25)
    """
    return keras.saving.serialize_keras_object(parametrization)


def register(cls):
    """Class decorator: saved files find the rule, and layers find it by its `name`, if it has one.

    Args:
        cls: subclass of `Parametrization`.

    Returns:
        The class.

    Raises:
        ValueError: if another class has its `name`.

    Example:
    >>> @lipkit.parametrizations.register
    ... class Smaller(lipkit.parametrizations.Parametrization):
    ...     name = "smaller"
    ...
    ...     def __call__(self, w):
    ...         return 0.5 * lipkit.parametrizations.Polar()(w)
    >>> layer = lipkit.layers.SpectralDense(64, parametrization="smaller")
    """
    if name := getattr(cls, "name", None):
        known = _NAMES.setdefault(name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"`name` must be new. Received: name={name!r}, that of {known}")
        _NAMES[name] = cls  # a cell of a notebook that runs again
    package = cls.__module__.partition(".")[0]
    return registered(package)(cls)

"""What a kernel rule is, and how it is found by name."""

import keras

_NAMES: dict[str, type["Parametrization"]] = {}


class Parametrization:
    """A pure map on (..., m, n) whose result has spectral norm at most 1 for any finite input.

    Subclasses set `name`, take their configuration as keyword arguments, store each under its
    own name and implement `__call__`. They hold no state.
    """

    name: str

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if name := cls.__dict__.get("name"):
            _NAMES[name] = cls

    def __call__(self, w):
        """Constrain the free matrix w of shape (..., m, n)."""
        raise NotImplementedError(f"{type(self).__name__} must implement __call__(w).")

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
    """A parametrization from its name, its configuration or another one (which is copied)."""
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
    """JSON-ready configuration, read back by `get`."""
    return keras.saving.serialize_keras_object(parametrization)


def register(cls):
    """Let Keras find the class in saved files."""
    return keras.saving.register_keras_serializable("lipkit")(cls)


def check_positive_integer(name, value):
    """Raise `ValueError` naming the argument unless value is an integer >= 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
    return value

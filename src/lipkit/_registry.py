"""lipkit's entry in Keras's registry, and what its constructors say of a misspelt argument."""

import difflib
import functools
import inspect

import keras


def registered(package):
    """A decorator: into Keras's registry under `package`, and `explains`."""
    enter = keras.saving.register_keras_serializable(package)
    return lambda cls: enter(explains(cls))


register = registered("lipkit")


def arguments(cls):
    """Names that the constructor takes, those that `**kwargs` hands to the bases among them."""
    names = {}
    for base in cls.__mro__[:-1]:
        if "__init__" not in vars(base):
            continue
        _, *parameters = inspect.signature(base.__init__).parameters.values()
        names |= {p.name: p for p in parameters if p.kind in _BY_NAME}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return tuple(names)


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def explains(cls):
    """A decorator: given an argument that it has not, the constructor lists those that it has."""
    init = cls.__init__
    if init is object.__init__:  # Python says that there are none
        return cls

    @functools.wraps(init)
    def explained(self, *args, **kwargs):
        try:
            init(self, *args, **kwargs)
        except (TypeError, ValueError):
            known = arguments(cls)
            unknown = [name for name in kwargs if name not in known]
            if not unknown:
                raise
            raise TypeError(_message(cls, unknown[0], known)) from None

    explained.__signature__ = inspect.signature(init)  # Keras looks no deeper
    cls.__init__ = explained
    return cls


def _message(cls, unknown, known):
    near = difflib.get_close_matches(unknown, known, n=1)
    meant = f" Did you mean `{near[0]}`?" if near else ""
    return f"{cls.__name__} takes no argument `{unknown}`.{meant} It takes: {', '.join(known)}."

"""lipkit's entries in Keras's registry, and what classes say of the arguments they take.

Models stay as Keras makes them: it reads from their constructors whether they are functional.
"""

import difflib
import functools
import inspect

import keras

from lipkit._docstrings import complete


def registered(package):
    """A decorator: into Keras's registry under `package`, and `explains`."""
    enter = keras.saving.register_keras_serializable(package)
    return lambda cls: enter(explains(cls))


register = registered("lipkit")
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def arguments(cls):
    """The parameters of the constructor, those that `**kwargs` hands to the bases among them.

    What a class gives its bases itself is none: what these require by name, and what the class
    lists in `fixed_arguments`. Where it chooses instead of Keras's default, as it says in
    `chosen_arguments`, the default is `...`.
    """
    found, by_position, fixed = {}, True, getattr(cls, "fixed_arguments", ())
    chosen = getattr(cls, "chosen_arguments", ())
    for base in cls.__mro__[:-1]:
        if "__init__" not in vars(base):
            continue
        _, *parameters = inspect.signature(base.__init__).parameters.values()
        for p in parameters:
            open_to_users = by_position or p.default is not p.empty
            if p.name in chosen and base.__module__.partition(".")[0] == "keras":
                p = p.replace(default=...)
            if open_to_users and p.kind in BY_NAME and p.name not in fixed:
                found.setdefault(p.name, p if by_position else p.replace(kind=p.KEYWORD_ONLY))
        kinds = {p.kind for p in parameters}
        by_position &= inspect.Parameter.VAR_POSITIONAL in kinds
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return sorted(found.values(), key=lambda p: p.kind)


def explains(cls):
    """A decorator: the constructor and the docstring say of all arguments which there are.

    An unknown argument is an error that lists the known ones.
    """
    init = cls.__init__
    if init is object.__init__:  # Python says that there are none
        return cls

    @functools.wraps(init)
    def explained(self, *args, **kwargs):
        try:
            init(self, *args, **kwargs)
        except (TypeError, ValueError):
            known = [p.name for p in arguments(cls)]
            unknown = [name for name in kwargs if name not in known]
            if not unknown:
                raise
            raise TypeError(_message(cls, unknown[0], known)) from None

    this = next(iter(inspect.signature(init).parameters.values()))
    explained.__signature__ = inspect.Signature([this, *arguments(cls)])  # as `help` shows it
    cls.__init__ = explained
    complete(cls, [p.name for p in arguments(cls)])
    return cls


def _message(cls, unknown, known):
    near = difflib.get_close_matches(unknown, known, n=1)
    meant = f" Did you mean `{near[0]}`?" if near else ""
    return f"{cls.__name__} takes no argument `{unknown}`.{meant} It takes: {', '.join(known)}."

"""deel-lip's keywords, translated in one place."""

from lipkit._checks import integer, real
from lipkit.parametrizations.orthogonal import Bjorck
from lipkit.parametrizations.scaling import Spectral


def from_deel_lip(parametrization, default, **keywords):
    """Translate deel-lip's keywords into a parametrization; `...` is a keyword that is not given.

    `eps_bjorck=None` or `beta_bjorck=None` asks for spectral normalisation alone; `beta_bjorck`
    and `maxiter_bjorck` ask for Björck iterations. The tolerances `eps_*` and `maxiter_spectral`
    are checked and otherwise without effect: iteration counts here are fixed, and norms are
    bounded from above instead of by power iteration.
    """
    given = {name: value for name, value in keywords.items() if value is not ...}
    if not given:
        return default if parametrization is None else parametrization
    if parametrization is not None:
        raise ValueError(
            "Give either `parametrization` or deel-lip's keywords. "
            f"Received: parametrization={parametrization!r}, {given}"
        )
    for name, value in given.items():
        if name.startswith("maxiter"):
            integer(name, value)
        elif value is not None or name == "eps_spectral":
            real(name, value, "(0, 0.5]" if name == "beta_bjorck" else "(0, inf)")
    if given.get("eps_bjorck", ...) is None or given.get("beta_bjorck", ...) is None:
        return Spectral()
    names = {"maxiter_bjorck": "iterations", "beta_bjorck": "beta"}
    bjorck = {names[name]: value for name, value in given.items() if name in names}
    return Bjorck(**bjorck) if bjorck else "polar"

"""`falsify` and the single attacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from lipkit._checks import integer
from lipkit.attacks import search
from lipkit.attacks.exits import SIDES, Exits
from lipkit.attacks.result import Falsification
from lipkit.attacks.target import Best, Target
from lipkit.certifier import Certificates, Intervals
from lipkit.errors import NotCertifiable

ATTACKS = ("pgd", "one_step", "rounding_search")


@np.errstate(over="ignore", invalid="ignore")  # inputs beyond the model's dtype
def _run(target: Any, attacks, seed, steps=20, restarts=1):
    """Run attacks and keep the best attempt at each point: a break before anything else."""
    steps, restarts = integer("steps", steps), integer("restarts", restarts)
    if "rounding_search" in attacks and not search.is_linear(target):
        raise NotCertifiable(
            "`rounding_search` needs a model of one Dense layer, after reshapes at most. "
            f"Received: {target.model.name!r}. Use `pgd` or `one_step`."
        )
    searches = {
        "pgd": lambda rng: search.pgd(target, rng, steps, restarts),
        "one_step": lambda rng: search.one_step(target),
        "rounding_search": lambda rng: search.rounding(target, rng),
        **{
            name: lambda rng, side=side: search.pgd(target.towards(side), rng, steps, restarts)
            for name, side in SIDES.items()
        },
    }
    best = Best(target.x.astype(target.dtype))
    name = np.full(len(target.rows), "", dtype=object)
    broken = np.zeros(len(target.rows), dtype=bool)
    for attack in attacks if len(target.rows) else ():
        points = searches[attack](np.random.default_rng(seed))
        success = target.broken(points)
        name[best.offer(points, np.where(success, np.inf, target.excess(points)[0]))] = attack
        broken |= success
    n = len(target.all)
    result = Falsification(
        attacked=np.zeros(n, dtype=bool),
        broken=np.zeros(n, dtype=bool),
        x=target.all.astype(target.dtype),
        ratio=np.full(n, np.nan),
        attack=np.full(n, "", dtype=object),
        attacks=tuple(attacks),
        scale=float(target.scale),
        arithmetic=target.arithmetic,
    )
    result.attacked[target.rows] = True
    result.broken[target.rows] = broken
    result.x[target.rows] = best.points.reshape(-1, *target.shape)
    result.attack[target.rows] = name
    distance = np.linalg.norm(best.points - target.x, axis=1)
    result.ratio[target.rows] = distance / np.maximum(target.radius, 1e-300)
    return result


def falsify(
    model: keras.Model,
    x: ArrayLike,
    certificates: Certificates | Intervals,
    scale: float = 1.0,
    attacks: Sequence[str] | None = None,
    seed: int = 0,
    *,
    steps: int = 20,
    restarts: int = 1,
) -> Falsification:
    """Try to break certificates with all attacks that apply, or to leave intervals of values.

    A break disproves a certificate; its absence proves nothing: 0 of n points broken says at most
    that an attack as strong breaks fewer than 3 / n (95 % confidence).

    Args:
        model: the certified model, of one input and one output that is a logit or logits, or a
            value.
        x: (n, ...) the certified inputs.
        certificates: the result of `lipkit.certify(model, x)` for the same `model` and `x`, with
            `preprocessing_scale=1`. This is not checked: other certificates give meaningless
            results. The points with status `"certified"` are attacked. Or `Intervals` of
            `lipkit.certifier.certify_values(model, x, radius=...)`, without weights.
        scale: factor on the radii, > 0; above 1 as a positive control of the attacks.
        attacks: some of `"pgd"`, `"one_step"`, `"rounding_search"`; None: all that apply. Values
            are attacked `"upward"` and `"downward"`, by the steps of `pgd`.
        seed: seed of the random starts.
        steps, restarts: numbers of gradient steps and of starts of `pgd`, >= 1.

    Returns:
        A `Falsification` with arrays attacked, broken, ratio, attack (n,), and x (n, ...).

    Raises:
        NotCertifiable: the model ends with a sigmoid or softmax, or has a layer without a rule.
        ValueError: an argument is out of range, or `certificates` does not have one entry for each
            input.

    Example:
    >>> result = lipkit.attacks.falsify(model, x, lipkit.certify(model, x))
    >>> int(result.broken.sum())
    0
    """
    of_values = isinstance(certificates, Intervals)
    known = tuple(SIDES) if of_values else ATTACKS
    names = known if attacks is None else tuple(attacks)
    if isinstance(attacks, str) or not names or not set(names) <= set(known):
        raise ValueError(f"`attacks` must be some of {known}. Received: attacks={attacks!r}")
    if of_values:
        return _run(Exits(model, x, certificates, scale), names, seed, steps, restarts)
    target = Target(model, x, certificates, scale=scale)
    if attacks is None and not search.is_linear(target):
        names = tuple(name for name in names if name != "rounding_search")
    return _run(target, names, seed, steps, restarts)


def pgd(
    model: keras.Model,
    x: ArrayLike,
    certificates: Certificates,
    radius: ArrayLike | None = None,
    steps: int = 20,
    restarts: int = 1,
    seed: int = 0,
) -> Falsification:
    """Attack by projected gradient ascent of the margin of the nearest wrong label, in 2-norm.

    x' <- P(x' + t r g / |g|), P the projection on the ball of radius r about x, t from 1 to 0.

    Args:
        model, x, certificates, seed: as in `lipkit.attacks.falsify`.
        radius: radii to attack instead of the certified ones: one, or (n,).
        steps: gradient steps, >= 1.
        restarts: starts, >= 1; the first at x, others at random in the ball.

    Returns:
        A `Falsification`.

    Example:
    >>> certificates = lipkit.certify(model, x)
    >>> int(lipkit.attacks.pgd(model, x, certificates, steps=5).broken.sum())
    0

    Reference: Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR
    2018, arXiv:1706.06083.
    """
    target = Target(model, x, certificates, radius)
    return _run(target, ("pgd",), seed, steps, restarts)


def one_step(model, x, certificates, radius=None) -> Falsification:
    """Attack by one step to the end of the ball, along the gradient of a margin at x.

    The margins over the 9 nearest labels are tried. The strongest attack on nearly linear models.

    Args:
        model, x, certificates: as in `lipkit.attacks.falsify`.
        radius: radii to attack instead of the certified ones: one, or (n,).

    Returns:
        A `Falsification`.

    Example:
    >>> int(lipkit.attacks.one_step(model, x, lipkit.certify(model, x)).broken.sum())
    0
    """
    return _run(Target(model, x, certificates, radius), ("one_step",), 0)


def rounding_search(model, x, certificates, radius=None, seed=0) -> Falsification:
    """Attack a linear model at its decision boundary, where rounding decides.

    It finds inputs of the model's dtype whose margin is reversed by the least that can be proven,
    and so refutes radii that are too large by about 1e-9.

    Args:
        model, x, certificates, seed: as in `lipkit.attacks.falsify`; the model is one Dense layer.
        radius: radii to attack instead of the certified ones: one, or (n,).

    Returns:
        A `Falsification`.

    Raises:
        NotCertifiable: the model is not one Dense layer.

    Example:
    >>> linear = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> result = lipkit.attacks.rounding_search(linear, x, lipkit.certify(linear, x))
    >>> int(result.broken.sum())
    0

    Reference: Jin, Ohrimenko and Rubinstein, "Getting a-Round Guarantees: Floating-Point Attacks on
    Certified Robustness", 2022, arXiv:2205.10159.
    """
    target = Target(model, x, certificates, radius)
    return _run(target, ("rounding_search",), seed)

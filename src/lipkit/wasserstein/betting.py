"""A confidence bound on a mean that holds for every sample size and every bounded distribution."""

import math

import numpy as np

TRUNCATION = 0.75  # of the bets: a wrong m never loses more than this share at once
ROUNDINGS = 1e-9  # more than float64 loses in the logarithms of the capital


def lower_mean(values, limit, error) -> float:
    """A lower bound on E z, for independent z of the same mean in [-limit, limit].

    Whoever bets on u = (z / limit + 1) / 2 against the claim E u = m has, after n fair rounds, the
    capital

        K(m) = product over t of 1 + lambda_t (u_t - m),    0 <= lambda_t <= 3 / (4 m),

    where lambda_t depends on what came before t only. If m is the mean, E K(m) = 1, so K(m) reaches
    1 / error with probability at most `error` (Markov). K falls in m: the bound is the m where it
    is 1 / error. About sqrt(2 log(1 / error) / n) standard deviations below the sample mean.

    Args:
        values: (n,) values in random order.
        limit: largest possible |z|.
        error: probability, in (0, 1), with which the bound may be wrong.

    Reference: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
    JRSS B 86, 2024, arXiv:2010.09686. Proven, for independent values; no limit theorem is used.
    """
    if limit == 0:
        return 0.0
    u = np.clip((values / limit + 1) / 2, 0.0, 1.0)
    past = np.arange(1, len(u) + 1)
    mean = (0.5 + np.cumsum(u)) / (past + 1)
    spread = (0.25 + np.cumsum((u - mean) ** 2)) / (past + 1)
    before = np.concatenate([[0.25], spread[:-1]])
    bets = np.sqrt(2 * math.log(1 / error) / (len(u) * before))
    low, high = 0.0, 1.0
    for _ in range(50):
        m = (low + high) / 2
        capital = np.sum(np.log1p(np.minimum(bets, TRUNCATION / m) * (u - m)))
        refuted = capital >= math.log(1 / error) + ROUNDINGS
        low, high = (m, high) if refuted else (low, m)
    return (2 * low - 1) * limit

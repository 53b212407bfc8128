"""Take lasting habits of answering out of an estimate: a share of the lasting part that is no experience."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

STYLE_PRIOR = (2.0, 8.0)
"""Beta prior of the share of the lasting part of answers that is habit, a judgement: mean 0.2, 90% between 0.04 and
0.43. That answers carry habits is beyond doubt (Baumgartner & Steenkamp 2001, Journal of Marketing Research 38), and
they last (Weijters, Geuens & Schillewaert 2010, Psychological Methods 15); how much differs between questions and
countries."""
TRIED = 20_000
"""Draws of the prior that are weighed by the data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WithoutStyle:
    """An estimate with habits of answering as a parameter.

    Attributes:
        draws: Shape (n,): of the coefficient per point of experience.
        habit: Mean share of the lasting part that is habit, after seeing the data.
        prior_habit: The same before.
    """

    draws: Floats
    habit: float
    prior_habit: float


def without_style(
    shares: ArrayLike,
    coefficient: ArrayLike,
    variance: ArrayLike,
    likelihood: ArrayLike,
    *,
    draws: int,
    rng: np.random.Generator,
) -> WithoutStyle:
    """Average a coefficient over the share of the lasting part of a reading that is experience.

    Who always answers high or low does so without any experience behind it, so of the lasting part only a share k
    counts, and the reading of experience is k·lasting + passing. Given k its coefficient is b(k); k has a prior, and
    the exits weigh it by the likelihood with b integrated out (Laplace): the prior decides where exits cannot tell.

    Args:
        shares: (s,) values of k at which the model was fitted, increasing.
        coefficient: (s,) b(k).
        variance: (s,) of b(k).
        likelihood: (s,) maximum of the log likelihood.
        draws: Number of draws.
        rng: For the draws.
    """
    grid = np.asarray(shares, dtype=float)
    share = np.clip(1 - rng.beta(*STYLE_PRIOR, TRIED), grid[0], grid[-1])
    value = np.interp(share, grid, np.asarray(coefficient, dtype=float))
    sd = np.interp(share, grid, np.sqrt(np.asarray(variance, dtype=float)))
    height = np.asarray(likelihood, dtype=float)
    weight = np.exp(np.interp(share, grid, height - height.max())) * sd
    weight /= weight.sum()
    chosen = rng.choice(TRIED, draws, p=weight)
    return WithoutStyle(
        draws=value[chosen] + sd[chosen] * rng.standard_normal(draws),
        habit=float(1 - share @ weight),
        prior_habit=float(1 - share.mean()),
    )

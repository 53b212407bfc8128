"""Check that a sampler draws from the posterior it says: ranks of the truth in simulations from prior and model.

Parameters drawn from the prior, data simulated from them, posterior draws given the data: then the rank of the true
value among the draws is uniform for every quantity, of the parameters and of the data (Talts et al. 2018; Modrák et al.
2023). The distribution of ranks is held against a band that contains it as a whole (Säilynoja, Bürkner & Vehtari 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import gammaln

from rox.numerics.arrays import Bools, Floats, Ints, complain, freeze, in_unit_interval

FEWEST = 20
"""Simulations needed."""
MOST_POINTS = 100
"""Points at which the distribution of ranks is held against its band."""
LEAST_EXPECTED = 10
"""Expected ranks per bin of the chi-squared test."""
MOST_BINS = 20

Data = TypeVar("Data")
Quantity = Callable[[Floats, Data], Floats]


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Ranks of true values among posterior draws."""

    ranks: Ints
    """(simulation, quantity), 0 to `draws`."""
    draws: int
    """Posterior draws a truth was ranked among."""
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        freeze(self, "ranks")


@dataclass(frozen=True, kw_only=True)
class RankCalibration:
    """Ranks held against uniformity. q = quantities, m = points, c = levels of intervals."""

    names: tuple[str, ...]
    simulations: int
    points: Floats
    """(m,) fractions of the possible ranks."""
    ecdf: Floats
    """(m, q) share of ranks below each point."""
    low: Floats
    """(m,) lower edge of the simultaneous band."""
    high: Floats
    """(m,) upper edge."""
    level: float
    """Probability with which the whole curve of one calibrated quantity stays inside."""
    p_value: Floats
    """(q,) probability that a calibrated model strays as far from uniform as this, over all points."""
    chi2_p: Floats
    """(q,) p-value of the chi-squared test of ranks in equal bins; blind to slow waves that the band sees."""
    coverage: Floats
    """(c, q) share of true values inside the central posterior intervals."""
    nominal: Floats
    """(c,) what that share should be, which the number of draws rounds."""
    coverage_p: Floats
    """(c, q) two-sided binomial p-values of the difference."""
    inside: Bools = field(init=False)
    """(q,) whether the curve stays inside the band everywhere."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "inside", self.p_value > 1 - self.level)
        freeze(
            self, "points", "ecdf", "low", "high", "p_value", "chi2_p", "coverage", "nominal", "coverage_p", "inside"
        )

    def rows(self) -> list[dict[str, str | float | bool]]:
        """List one row per quantity: `quantity`, `inside`, `p_value`, `chi2_p` and `coverage_<nominal in percent>`."""
        shares = [f"coverage_{100 * share:.0f}" for share in self.nominal]
        return [
            {
                "quantity": name,
                "inside": bool(self.inside[column]),
                "p_value": float(self.p_value[column]),
                "chi2_p": float(self.chi2_p[column]),
                **{key: float(each) for key, each in zip(shares, self.coverage[:, column], strict=True)},
            }
            for column, name in enumerate(self.names)
        ]


def simulate_ranks(
    prior_draw: Callable[[np.random.Generator], ArrayLike],
    simulate: Callable[[Floats, np.random.Generator], Data],
    posterior_draw: Callable[[Data, np.random.Generator], ArrayLike],
    quantities: Mapping[str, Quantity[Data]],
    *,
    simulations: int,
    thin: int = 1,
    rng: int | np.random.Generator | None = None,
) -> Ranks:
    """Rank true values among posterior draws in data simulated from the model.

    Name a quantity of the data among the others, the log likelihood above all: without it a posterior that ignores the
    data passes (Modrák et al. 2023). Ties are broken by lot.

    Args:
        prior_draw: draws parameters, shape (p,).
        simulate: draws data given parameters.
        posterior_draw: draws (d, p) parameters given data; a sampler's draws depend on each other, see `thin`.
        quantities: by name, a function of parameters (k, p) and data that returns (k,) values.
        simulations: number of simulated data sets.
        thin: keep each `thin`-th posterior draw, so that those kept are nearly independent.
        rng: seed or generator.

    Raises:
        ValueError: no quantity, too few simulations, a thinning below 1, or results of the wrong shape or not finite.
    """
    faults = [] if quantities else ["no quantity is named"]
    if simulations < FEWEST:
        faults.append(f"needs {FEWEST} simulations, got {simulations}")
    if thin < 1:
        faults.append(f"thin must be 1 or more, got {thin}")
    complain(faults)
    generator = np.random.default_rng(rng)
    ranks = np.empty((simulations, len(quantities)), dtype=np.int64)
    sizes = set()
    for row in range(simulations):
        truth = np.asarray(prior_draw(generator), dtype=np.float64).reshape(1, -1)
        data = simulate(truth[0], generator)
        drawn = np.asarray(posterior_draw(data, generator), dtype=np.float64)
        if drawn.ndim != 2 or drawn.shape[1] != truth.shape[1] or len(drawn) < thin:
            raise ValueError(f"posterior draws must have shape (draws, {truth.shape[1]}), got {drawn.shape}")
        drawn = drawn[::thin]
        sizes.add(len(drawn))
        for column, (name, quantity) in enumerate(quantities.items()):
            ranks[row, column] = _rank(name, quantity(truth, data), quantity(drawn, data), len(drawn), generator)
    if len(sizes) > 1:
        raise ValueError(f"every simulation must give as many posterior draws, got {sorted(sizes)}")
    return Ranks(ranks=ranks, draws=sizes.pop(), names=tuple(quantities))


def rank_calibration(
    ranks: ArrayLike,
    draws: int,
    *,
    names: Sequence[str] = (),
    level: float = 0.95,
    intervals: Sequence[float] = (0.5, 0.8, 0.9),
) -> RankCalibration:
    """Hold ranks of true values against uniformity.

    The band is exact: the probability that the distribution of uniform ranks stays inside is computed by passing the
    count of ranks from point to point (Säilynoja, Bürkner & Vehtari 2022, section 2.2).

    Args:
        ranks: (simulation, quantity) ranks 0 to `draws` of true values among independent posterior draws.
        draws: posterior draws each truth was ranked among; 99 makes intervals exact.
        names: (quantity,) names; numbers by default.
        level: of the band, for each quantity by itself.
        intervals: levels of the central posterior intervals whose coverage is shown.

    Raises:
        ValueError: ranks of the wrong shape or range, fewer than 20 simulations, names that do not fit, or levels
            outside 0..1.

    Example:
        >>> uniform = np.random.default_rng(1).integers(0, 100, (400, 1))
        >>> result = rank_calibration(uniform, 99)
        >>> bool(result.inside[0]), bool(rank_calibration(uniform // 2, 99).inside[0])
        (True, False)
    """
    r = np.asarray(ranks)
    r = r[:, None] if r.ndim == 1 else r
    faults = []
    if r.ndim != 2 or len(r) < FEWEST or not r.shape[1]:
        faults.append(f"ranks must have shape (simulation, quantity) with {FEWEST} simulations or more, got {r.shape}")
    elif r.dtype.kind not in "iu" or r.min() < 0 or r.max() > draws:
        faults.append(f"ranks must be whole numbers from 0 to {draws}, got {r.min()} to {r.max()} ({r.dtype})")
    if names and len(names) != r.shape[-1]:
        faults.append(f"{len(names)} names for {r.shape[-1]} quantities")
    complain(faults)
    for each in (level, *intervals):
        in_unit_interval(each)
    n, possible = len(r), draws + 1
    cuts = np.unique(np.linspace(0, possible, min(draws, MOST_POINTS) + 2).round().astype(np.int64))[1:-1]
    points = cuts / possible
    counts = (r[:, :, None] < cuts).sum(0).T
    worst = _least_tail(counts, n, points)
    gamma = _critical(n, points, level)
    low, high = _edges(gamma, n, points)
    coverage, nominal, p_values = _coverage(r, draws, intervals)
    return RankCalibration(
        names=tuple(names) or tuple(str(column) for column in range(r.shape[1])),
        simulations=n,
        points=points,
        ecdf=counts / n,
        low=low / n,
        high=high / n,
        level=level,
        p_value=_p_values(worst, n, points),
        chi2_p=_chi_squared(r, possible),
        coverage=coverage,
        nominal=nominal,
        coverage_p=p_values,
    )


def _rank(name: str, truth: Floats, values: Floats, draws: int, rng: np.random.Generator) -> int:
    t, v = np.asarray(truth, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if t.shape != (1,) or v.shape != (draws,) or not (np.isfinite(t).all() and np.isfinite(v).all()):
        raise ValueError(
            f"quantity {name!r} must give one finite value per row of parameters; got shapes {t.shape} for the truth "
            f"and {v.shape} for {draws} draws"
        )
    return int((v < t[0]).sum() + rng.integers(0, (v == t[0]).sum() + 1))


def _least_tail(counts: Ints, n: int, points: Floats) -> Floats:
    """Return twice the smallest tail probability over points, (q,) from counts (m, q)."""
    law = stats.binom(n, points[:, None])
    return np.asarray(2 * np.minimum(law.cdf(counts), law.sf(counts - 1)).min(0))


def _edges(gamma: float, n: int, points: Floats) -> tuple[Ints, Ints]:
    """Return the least and largest counts both of whose tails, doubled, are gamma or more; (m,) each."""
    law = stats.binom(n, points)
    low, high = law.ppf(gamma / 2).astype(np.int64), law.isf(gamma / 2).astype(np.int64)
    return low, high


def _stays_inside(gamma: float, n: int, points: Floats) -> float:
    """Return the probability that uniform ranks keep all counts inside the edges of gamma."""
    low, high = _edges(gamma, n, points)
    if (low > high).any():
        return 0.0
    log_factorial = gammaln(np.arange(n + 1) + 1.0)
    before, state, probability = 0.0, np.zeros(1, dtype=np.int64), np.ones(1)
    for point, least, most in zip(points, low, high, strict=True):
        target = np.arange(least, most + 1)
        step = (point - before) / (1 - before)
        added, left = target[:, None] - state, n - state
        valid = (added >= 0) & (added <= left)
        k = np.where(valid, added, 0)
        log_p = log_factorial[left] - log_factorial[k] - log_factorial[np.where(valid, left - k, 0)]
        log_p += k * np.log(step) + (left - k) * np.log1p(-step)
        probability = np.exp(np.where(valid, log_p, -np.inf)) @ probability
        before, state = float(point), target
    return float(probability.sum())


def _p_values(worst: Floats, n: int, points: Floats) -> Floats:
    """Return the probability that uniform ranks come as far out as each of the (q,) least tails."""
    distinct, place = np.unique(worst, return_inverse=True)
    p = np.array([1 - _stays_inside(each * (1 + 1e-9), n, points) for each in distinct])
    return np.asarray(np.clip(p, 0, 1)[place])


def _critical(n: int, points: Floats, level: float) -> float:
    """Return the largest gamma whose edges uniform ranks keep to with the probability of the level, by bisection."""
    low, high = 0.0, 1 - level
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if _stays_inside(middle, n, points) >= level else (low, middle)
    return low


def _chi_squared(ranks: Ints, possible: int) -> Floats:
    """Return p-values (q,) of counts in bins of as equal a number of possible ranks as can be."""
    bins = int(max(min(len(ranks) // LEAST_EXPECTED, MOST_BINS, possible), 2))
    edges = np.linspace(0, possible, bins + 1).round()
    expected = len(ranks) * np.diff(edges) / possible
    counts = np.stack([np.histogram(column, edges - 0.5)[0] for column in ranks.T])
    return np.asarray(stats.chi2.sf(((counts - expected) ** 2 / expected).sum(1), bins - 1))


def _coverage(ranks: Ints, draws: int, intervals: Sequence[float]) -> tuple[Floats, Floats, Floats]:
    """Return shares (c, q) of truths inside central intervals, what they should be (c,), and binomial p-values."""
    possible = draws + 1
    outside = np.array([min(round((1 - level) / 2 * possible), (possible - 1) // 2) for level in intervals])
    nominal = 1 - 2 * outside / possible
    held = np.array([((ranks >= cut) & (ranks < possible - cut)).sum(0) for cut in outside])
    p = [
        [stats.binomtest(int(k), len(ranks), share).pvalue for k in row]
        for row, share in zip(held, nominal, strict=True)
    ]
    return held / len(ranks), nominal, np.array(p)

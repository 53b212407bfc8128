"""Infer jointly on several estimates from influences, and on one estimate from few clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rox.numerics.arrays import Floats, choice, codes, freeze, group_sums, in_unit_interval, vector

MULTIPLIERS = ("webb", "rademacher")
_SIXTHS = np.sqrt(np.array([1.5, 1.0, 0.5]))
_WEBB = np.concatenate([-_SIXTHS, _SIXTHS[::-1]])


@dataclass(frozen=True, kw_only=True)
class Band:
    """Bounds that contain the whole path at once with the stated probability. m = points."""

    low: Floats
    """(m,)."""
    high: Floats
    """(m,)."""
    critical: float
    """Multiple of the standard error used at every point."""
    level: float

    def __post_init__(self) -> None:
        freeze(self, "low", "high")


@dataclass(frozen=True, kw_only=True)
class Wald:
    """A joint test that several quantities are all zero."""

    statistic: float
    """Wald's chi-squared."""
    df: int
    """Rank of the covariance: number of restrictions."""
    p_value: float
    """From F (Hotelling's correction) if clusters were given, else from chi-squared; NaN if df is 0."""


def covariance(influence: ArrayLike, cluster: ArrayLike | None = None) -> Floats:
    """Return the covariance of estimates from their influences (u, ...), the trailing axes flattened in C order.

    Args:
        influence: (u, ...) influence of each unit, scaled as in `GroupTime`.
        cluster: (u,) labels of groups of units assigned together; influences are summed within them first.
    """
    psi = np.asarray(influence, dtype=np.float64)
    psi = psi.reshape(psi.shape[0], -1)
    if cluster is not None:
        code, levels = codes(cluster, "cluster", psi.shape[0])
        psi = group_sums(psi, code, levels.size)
    return np.asarray(psi.T @ psi)


def simultaneous_band(
    estimate: ArrayLike,
    influence: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    level: float = 0.9,
    n: int = 999,
    multiplier: str = "webb",
    rng: int | np.random.Generator | None = None,
) -> Band:
    """Compute a simultaneous band by the multiplier bootstrap (Callaway & Sant'Anna 2021, section 4).

    Args:
        estimate: (m,) points of one path.
        influence: (u, m) influence of each independent unit.
        cluster: (u,) labels of groups of units assigned together.
        level: of the band.
        n: bootstrap draws.
        multiplier: "webb" (six points, Webb 2023, for few clusters) or "rademacher".
        rng: seed or generator.

    Points whose influence is zero (base periods) keep zero width and do not count.

    Raises:
        ValueError: shapes that do not fit, an unknown multiplier, or no point with a positive standard error.
    """
    in_unit_interval(level)
    theta, psi = np.asarray(estimate, dtype=np.float64), np.asarray(influence, dtype=np.float64)
    if theta.ndim != 1 or psi.ndim != 2 or psi.shape[1] != theta.size:
        raise ValueError(f"estimate (m,) and influence (unit, m) do not fit: got {theta.shape} and {psi.shape}")
    if cluster is not None:
        code, levels = codes(cluster, "cluster", psi.shape[0])
        psi = group_sums(psi, code, levels.size)
    se = np.sqrt((psi**2).sum(0))
    live = (se > 0) & np.isfinite(theta)
    if not live.any():
        raise ValueError("no point has a positive standard error")
    draws = multipliers(n, psi.shape[0], kind=multiplier, rng=rng) @ (psi[:, live] / se[live])
    critical = float(np.quantile(np.abs(draws).max(1), level))
    return Band(low=theta - critical * se, high=theta + critical * se, critical=critical, level=level)


def multipliers(n: int, size: int, *, kind: str = "webb", rng: int | np.random.Generator | None = None) -> Floats:
    """Draw (n, size) multipliers of mean 0 and variance 1: Webb's six points or Rademacher signs."""
    choice(kind, MULTIPLIERS, "multiplier")
    generator = np.random.default_rng(rng)
    values = _WEBB if kind == "webb" else np.array([-1.0, 1.0])
    return np.asarray(values[generator.integers(values.size, size=(n, size))])


def wald_test(estimate: ArrayLike, cov: ArrayLike, *, clusters: int | None = None) -> Wald:
    """Test that all estimates are zero.

    A covariance that is singular is inverted on its range (eigenvalues above 1e-10 of the largest), and the
    degrees of freedom are its rank.

    Args:
        estimate: (m,).
        cov: (m, m) covariance.
        clusters: number G of independent clusters behind `cov`; the reference is then F(m, G - m) for W * (G -
            m) / (m * (G - 1)) (Hotelling 1931) instead of chi-squared, which over-rejects for few clusters.

    Raises:
        ValueError: shapes that do not fit, or not more clusters than restrictions.

    Example:
        >>> round(wald_test([2.0, 0.0], [[1, 0], [0, 1]]).p_value, 3)
        0.135
    """
    theta = vector(estimate, "estimate")
    v = np.asarray(cov, dtype=np.float64)
    if v.shape != (theta.size, theta.size):
        raise ValueError(f"covariance must be ({theta.size}, {theta.size}), got {v.shape}")
    scale = np.sqrt(np.diag(v))
    live = scale > 0
    if not live.any():
        return Wald(statistic=0.0, df=0, p_value=float("nan"))
    root, basis = np.linalg.eigh(v[np.ix_(live, live)] / np.outer(scale[live], scale[live]))
    solid = root > root.max() * 1e-10
    rank = int(solid.sum())
    statistic = float(((basis[:, solid].T @ (theta[live] / scale[live])) ** 2 / root[solid]).sum())
    if clusters is None:
        return Wald(statistic=statistic, df=rank, p_value=float(stats.chi2.sf(statistic, rank)))
    if clusters <= rank:
        raise ValueError(
            f"a joint test of {rank} restrictions needs more than {rank} clusters, got {clusters}; test fewer"
        )
    ratio = statistic * (clusters - rank) / (rank * (clusters - 1))
    return Wald(statistic=statistic, df=rank, p_value=float(stats.f.sf(ratio, rank, clusters - rank)))

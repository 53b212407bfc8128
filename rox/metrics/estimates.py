"""Turn moments into estimates with linearised variances and intervals, one row per cell.

With R = Σ w·v / Σ w and customer c's residual u_c = Σ_{i∈c} w_i (v_i − R) / Σ w, the variance is the sum over strata h
of V_h = m_h/(m_h−1) Σ_{c∈h} (u_c − ū_h)², m_h being customers (Särndal, Swensson & Wretman 1992, section 5.5); a
stratum with a single customer is centred at the mean over all customers, which is zero. Its degrees of freedom are
(Σ V_h)²/Σ V_h²/(k_h−1) (Satterthwaite 1946), where k_h = (Σ x_c)²/Σ x_c² of the customers' weights x_c = Σ_{i∈c} w_i:
a variance that rests on a few customers, or on a few strata, is less well known than their number says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from rox.numerics.intervals import dirichlet_nps_interval, wilson_interval
from rox.numerics.survey import SMALL_CATEGORY, SMALL_N

Floats = NDArray[np.float64]
ROUNDING = 1e-9
"""NPS points by which sums of floats may miss the end of the scale."""


def ratio(moments: pd.DataFrame, by: Sequence[str], name: str) -> pd.DataFrame:
    """Estimate one measure in every cell.

    Args:
        moments: What ``cells.moments`` returns.
        by: Columns that make a cell; empty for one cell over all.
        name: The measure.

    Returns:
        One row per cell, sorted: the columns of ``by``; ``value`` (R) and ``se``; ``square``, Σ w·v² / Σ w; ``df``
        (Satterthwaite's); ``n`` (rows); ``customers``; ``kish``, (Σw)²/Σw²; ``n_eff``, what weighting and the repeated
        rows of a customer leave of n, never more than ``kish`` (of customers where v does not vary).
    """
    keys, cell = cells_of(moments, by)
    size = len(keys)

    def total(values: ArrayLike) -> Floats:
        return np.asarray(np.bincount(cell, weights=np.asarray(values), minlength=size), dtype=np.float64)

    x, xx = total(moments["x"]), total(moments["xx"])
    value = total(moments[f"y_{name}"]) / x
    square = total(moments[f"s_{name}"]) / x
    spread = np.maximum(square - value**2, 0.0)
    r, m = value[cell], moments["m"].to_numpy(dtype=float)
    sums = (moments[f"y_{name}"] - r * moments["x"]).to_numpy() / x[cell]
    squares = moments[f"yy_{name}"] - 2 * r * moments[f"xy_{name}"] + r**2 * moments["xx"]
    parts = np.maximum(centred(sums, squares.to_numpy() / x[cell] ** 2, m), 0.0)
    variance, customers = total(parts), total(moments["m"])
    held = np.where(variance[cell] > 0, parts, moments["xx"].to_numpy(dtype=float) / x[cell] ** 2)
    df = total(held) ** 2 / total(held**2 / degrees(moments))
    variance = np.where(customers > 1, variance, np.nan)
    kish = x**2 / total(moments["ww"])
    varies = spread > 1e-12 * np.maximum(value**2, 1e-12)
    repeated = np.maximum(np.nan_to_num(variance * (kish - 1) / np.where(varies, spread, 1.0)), 1.0)
    return keys.assign(
        value=value,
        se=np.sqrt(variance),
        square=square,
        df=df,
        n=total(moments["n"]),
        customers=customers,
        kish=kish,
        n_eff=np.where(varies, kish / repeated, x**2 / xx),
    )


def counts(moments: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Add up ``n`` (rows) and ``customers`` of every cell."""
    keys, cell = cells_of(moments, by)
    sums = {
        name: np.bincount(cell, weights=moments[column].to_numpy(dtype=float), minlength=len(keys))
        for name, column in (("n", "n"), ("customers", "m"))
    }
    return keys.assign(**sums)


def degrees(moments: pd.DataFrame) -> Floats:
    """Return the degrees of freedom of each stratum's variance, (Σx)²/Σx² − 1 over its customers, at least 1."""
    x, xx, m = (moments[name].to_numpy(dtype=float) for name in ("x", "xx", "m"))
    equal = np.where(xx > 0, x**2 / np.where(xx > 0, xx, 1.0), m)
    return np.asarray(np.maximum(np.minimum(equal, m) - 1, 1.0))


def centred(sums: Floats, squares: Floats, m: Floats) -> Floats:
    """Return m/(m−1)·(squares − sums²/m) per stratum; the plain squares where m is 1."""
    several = m > 1
    return np.where(several, m / np.where(several, m - 1, 1) * (squares - sums**2 / m), squares)


def covariance(
    later: pd.DataFrame, earlier: pd.DataFrame, shared: pd.DataFrame, by: Sequence[str], name: str
) -> pd.DataFrame:
    """Estimate the covariance of one measure at two times through the customers present at both.

    Σ_h √(f₁f₀)·Σ_{c at both} (u_c1 − ū_h1)(u_c0 − ū_h0) with f = m/(m−1): with it the variance of a difference,
    V₁ + V₀ − 2C, is that of one vector and never negative (Kish 1965, section 12.4).

    Args:
        later: Moments at the later time.
        earlier: Moments at the earlier time.
        shared: What ``cells.overlaps`` returns.
        by: Columns that make a cell.
        name: The measure.

    Returns:
        One row per cell present at both times: the columns of ``by``, ``covariance`` and ``both`` (customers).
    """
    sides = {}
    for number, moments in ((1, later), (0, earlier)):
        keys, cell = cells_of(moments, by)
        x = np.bincount(cell, weights=moments["x"], minlength=len(keys))[cell]
        y = np.bincount(cell, weights=moments[f"y_{name}"], minlength=len(keys))[cell]
        m = moments["m"].to_numpy(dtype=float)
        several = m > 1
        mean = np.where(several, (moments[f"y_{name}"] - y / x * moments["x"]) / x / m, 0.0)
        factor = np.where(several, m / np.where(several, m - 1, 1), 1.0)
        side = moments[[*by, "stratum"]].assign(total=x, ratio=y / x, mean=mean, factor=factor)
        sides[number] = side.rename(columns={c: f"{c}{number}" for c in ("total", "ratio", "mean", "factor")})
    f = sides[1].merge(sides[0], on=[*by, "stratum"]).merge(shared, on=[*by, "stratum"])
    products = (
        f[f"y1y0_{name}"]
        - f["ratio0"] * f[f"y1x0_{name}"]
        - f["ratio1"] * f[f"x1y0_{name}"]
        + f["ratio1"] * f["ratio0"] * f["x1x0"]
    ) / (f["total1"] * f["total0"])
    sum1 = (f[f"y1_{name}"] - f["ratio1"] * f["x1"]) / f["total1"]
    sum0 = (f[f"y0_{name}"] - f["ratio0"] * f["x0"]) / f["total0"]
    about = products - f["mean0"] * sum1 - f["mean1"] * sum0 + f["both"] * f["mean1"] * f["mean0"]
    f = f.assign(covariance=np.sqrt(f["factor1"] * f["factor0"]) * about)
    keys, cell = cells_of(f, by)
    return keys.assign(
        covariance=np.bincount(cell, weights=f["covariance"], minlength=len(keys)),
        both=np.bincount(cell, weights=f["both"], minlength=len(keys)),
    )


def cells_of(moments: pd.DataFrame, by: Sequence[str]) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the cells, one row each and sorted, and the number of the cell each row of moments belongs to."""
    if not by:
        return pd.DataFrame(index=range(min(len(moments), 1))), np.zeros(len(moments), dtype=np.int64)
    cell = moments.groupby(list(by), dropna=False, sort=True).ngroup().to_numpy().astype(np.int64)
    keys = moments[list(by)].assign(cell=cell).drop_duplicates("cell").sort_values("cell")
    return keys.drop(columns="cell").reset_index(drop=True), cell


def with_t(estimate: pd.DataFrame, level: float) -> pd.DataFrame:
    """Add Student's interval."""
    half = stats.t.ppf((1 + level) / 2, estimate["df"]) * estimate["se"]
    return estimate.assign(low=estimate["value"] - half, high=estimate["value"] + half, method="t")


def with_wilson(estimate: pd.DataFrame, level: float) -> pd.DataFrame:
    """Add Wilson's interval of a share, with the effective number of rows as far as it is known."""
    limits = [
        wilson_interval(min(max(share, 0.0), 1.0), n, level=level)
        for share, n in zip(estimate["value"], known_rows(estimate), strict=True)
    ]
    return _with_limits(estimate, limits, "wilson")


def with_nps(estimate: pd.DataFrame, level: float) -> pd.DataFrame:
    """Turn the mean of −1, 0, 1 into NPS points with an interval.

    It is Student's, but below 200 effective answers or with fewer than 5 in a category it is the posterior interval
    under a Dirichlet(½) prior on the three shares; where all are promoters (or detractors) it ends at 100 (or −100), as
    Brown, Cai & DasGupta (2001) modify Jeffreys' interval.
    """
    points = estimate.assign(value=100 * estimate["value"], se=100 * estimate["se"])
    large = with_t(points, level)
    counts = nps_counts(estimate)
    small = (estimate["n_eff"].to_numpy() < SMALL_N) | (counts.min(axis=1) < SMALL_CATEGORY)
    limits = [
        dirichlet_nps_interval(*count, level=level) if few else (low, high)
        for count, few, low, high in zip(counts, small, large["low"], large["high"], strict=True)
    ]
    found = _with_limits(points, limits, np.where(small, "dirichlet", "t"))
    value = points["value"]
    return found.assign(
        low=np.where(value <= -100 + ROUNDING, -100.0, np.minimum(found["low"], value)),
        high=np.where(value >= 100 - ROUNDING, 100.0, np.maximum(found["high"], value)),
    )


def nps_counts(estimate: pd.DataFrame) -> Floats:
    """Return the effective numbers of promoters, passives and detractors behind means of −1, 0, 1, ``(cells, 3)``."""
    mean, square = estimate["value"].to_numpy(dtype=float), estimate["square"].to_numpy(dtype=float)
    shares = np.clip(np.column_stack([(square + mean) / 2, 1 - square, (square - mean) / 2]), 0.0, 1.0)
    return np.asarray(shares * known_rows(estimate)[:, None], dtype=np.float64)


def known_rows(estimate: pd.DataFrame) -> Floats:
    """Return the effective rows less what is not known of their number, n_eff·(t_{n−1}/t_df)² (Korn & Graubard 1998).

    Student's t are those of 90% intervals; plain rows, with n − 1 degrees of freedom, keep their number.
    """
    n_eff, n, df = (estimate[name].to_numpy(dtype=float) for name in ("n_eff", "n", "df"))
    ratio = stats.t.ppf(0.95, np.maximum(n - 1, 1.0)) / stats.t.ppf(0.95, df)
    return np.asarray(n_eff * np.minimum(ratio, 1.0) ** 2, dtype=np.float64)


def with_log_t(estimate: pd.DataFrame, level: float) -> pd.DataFrame:
    """Add Student's interval on the logarithm of a rate; without events the exact upper limit of a Poisson rate."""
    rate = estimate["value"].to_numpy()
    events = rate > 0
    half = stats.t.ppf((1 + level) / 2, estimate["df"]) * estimate["se"] / np.where(events, rate, 1.0)
    none = -np.log((1 - level) / 2) / estimate["kish"]
    return estimate.assign(
        low=np.where(events, rate * np.exp(-half), 0.0),
        high=np.where(events, rate * np.exp(half), none),
        n_eff=np.where(events, estimate["n_eff"], estimate["kish"]),
        method=np.where(events, "log-t", "gamma"),
    )


def over_year(rate: pd.DataFrame) -> pd.DataFrame:
    """Turn a monthly hazard λ with its interval into the share gone after a year, 1 − exp(−12λ)."""
    return rate.assign(
        value=-np.expm1(-12 * rate["value"]),
        se=12 * np.exp(-12 * rate["value"]) * rate["se"],
        low=-np.expm1(-12 * rate["low"]),
        high=-np.expm1(-12 * rate["high"]),
    )


def _with_limits(
    estimate: pd.DataFrame, limits: Sequence[tuple[float, float]], method: str | NDArray[np.str_]
) -> pd.DataFrame:
    low, high = np.array(limits, dtype=float).reshape(-1, 2).T
    return estimate.assign(low=low, high=high, method=method)

"""A monthly series without the months of the year, the lunar new year, quarter ends and promotions.

Months are free effects, so that they hold the ends of quarters; the lunar new year is what moves between them. A series
of less than two years borrows its season from sisters: other groups, or other questions, scaled by how answers spread.
Everything taken out is taken out with its error (see ``rox.numerics.season``). Assumption: the season is the same every
year.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.core.study import Promotion
from rox.metrics.display import SHOWN_FROM, shown, small_cells
from rox.metrics.season_money import PER_CUSTOMER, is_money, money_series
from rox.metrics.series import FEWEST as FEWEST_ANSWERS
from rox.metrics.series import columns_of, series
from rox.metrics.source import TIMES, Tables
from rox.numerics.season import CARRIES, Adjusted, Prior, adjust, carried, pooled_prior

Floats = NDArray[np.float64]
NEEDED = 24
"""Months from which a series has a season of its own."""
FEWEST = 12
"""Months a series needs to be adjusted at all."""
AROUND = (7, 14)
"""Days before and after the first day of the lunar year that are its window; the last is the lantern festival."""
LUNAR_NEW_YEARS = (
    "2000-02-05 2001-01-24 2002-02-12 2003-02-01 2004-01-22 2005-02-09 2006-01-29 2007-02-18 2008-02-07 2009-01-26 "
    "2010-02-14 2011-02-03 2012-01-23 2013-02-10 2014-01-31 2015-02-19 2016-02-08 2017-01-28 2018-02-16 2019-02-05 "
    "2020-01-25 2021-02-12 2022-02-01 2023-01-22 2024-02-10 2025-01-29 2026-02-17 2027-02-06 2028-01-26 2029-02-13 "
    "2030-02-03 2031-01-23 2032-02-11 2033-01-31 2034-02-19 2035-02-08 2036-01-28 2037-02-15 2038-02-04 2039-01-24 "
    "2040-02-12 2041-02-01 2042-01-22 2043-02-10 2044-01-30 2045-02-17 2046-02-06 2047-01-26 2048-02-14 2049-02-02 "
    "2050-01-23"
)
"""First days of the lunar years that begin in 2000 to 2050, in the time of China."""
LUNAR, QUARTER_END = "lunar_new_year", "quarter_end"
SEASONAL = 12
"""Columns of the season before those of promotions."""
MONTHS = tuple(f"month_{number:02d}" for number in range(1, 13))


@dataclass(frozen=True, kw_only=True, eq=False)
class Seasonal:
    """Monthly series with and without their season; frames have the columns of ``display.shown``.

    No season is taken from months that are hidden, so that they cannot be found from it; they are not adjusted, and
    neither are groups with less than a year of others.

    Attributes:
        observed: One row per group and ``month``.
        adjusted: The same without the season; errors hold what is not known of it.
        effects: One row per group and ``effect``: ``month_01`` … ``month_12`` (they add up to zero),
            ``lunar_new_year`` (of a month that holds the whole window), ``quarter_end`` (the months 3, 6, 9, 12 less
            the others, which the months hold), and promotions by name (of a month full of it).
        covariances: By group, the covariance of the errors of ``adjusted``, month by month; of groups that are adjusted
            in every month.
        carries: By group, the share of a promotion's effect that lasts into the next month.
        borrowed: Groups whose season is borrowed.
        checks: What a reader must know.
    """

    observed: pd.DataFrame
    adjusted: pd.DataFrame
    effects: pd.DataFrame
    covariances: Mapping[tuple[str, ...], Floats]
    carries: Mapping[tuple[str, ...], float]
    borrowed: tuple[tuple[str, ...], ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """Series by group with their season, unabridged: all months, those the fit is of, the fit, what lasts."""

    each: Mapping[tuple[str, ...], pd.DataFrame]
    used: Mapping[tuple[str, ...], pd.DataFrame]
    fits: Mapping[tuple[str, ...], tuple[Adjusted, float]]
    borrowed: tuple[tuple[str, ...], ...]
    lender: str

    def adjusted(self) -> pd.DataFrame:
        """Return all months without their season; one that no fit is of has no value and no effective answers."""
        parts = []
        for key, part in self.each.items():
            place = np.full(len(part), -1)
            values = np.full((2, len(part)), np.nan)
            if key in self.fits:
                fit = self.fits[key][0]
                place = pd.Index(self.used[key]["month"]).get_indexer(pd.Index(part["month"]))
                values[:, place >= 0] = [fit.adjusted, np.maximum(np.diag(fit.covariance), 0.0)]
            effective = np.where(place >= 0, part["n_eff"], 0.0)
            parts.append(part.assign(value=values[0], variance=values[1], n_eff=effective))
        return pd.concat(parts, ignore_index=True)


def fitted(
    tables: Tables,
    score: str,
    by: Sequence[str] = (),
    *,
    metric: str | None = None,
    sisters: Sequence[str] = (),
    weighted: bool = True,
) -> Fitted:
    """Fit a season to every group; arguments and errors as in :func:`seasonal`."""
    groups = tuple(by)
    if is_money(tables.study, score):
        frame = money_series(tables, score, groups, weighted=weighted)
    else:
        frame = series(tables, score, groups, "month", metric=metric, weighted=weighted, fewest=0.0)
    least, columns = tables.study.about.min_cell, columns_of(groups)
    each = dict(_split(frame, columns))
    told = dict(_split(frame[frame["n_eff"] >= FEWEST_ANSWERS], columns))
    if short := [f"{_named(key)}: {len(part)} months" for key, part in told.items() if len(part) < FEWEST]:
        raise DataError(f"A season needs {FEWEST} months.", [*short, "leave these out, or group more widely"])
    usable = frame[(frame["n_eff"] >= FEWEST_ANSWERS) & ~small_cells(frame, (*columns, "month"), least)]
    used = {key: part for key, part in _split(usable, columns) if len(part) >= FEWEST}
    if not used:
        raise DataError(f"No group has {FEWEST} months of {least} customers.", ["group more widely"])
    promotions = tables.study.promotions
    own = {key: _fit(part, promotions) for key, part in used.items() if _has_own(part)}
    poor = tuple(key for key in used if key not in own)
    lender = ""
    if poor:
        prior, lender = _borrow(tables, own, used, sisters, weighted)
        own |= {key: _fit(used[key], promotions, _scaled(prior, used[key])) for key in poor}
    fits = {key: own[key] for key in used}
    return Fitted(
        each=MappingProxyType(each),
        used=MappingProxyType(used),
        fits=MappingProxyType(fits),
        borrowed=poor,
        lender=lender,
    )


def seasonal(
    tables: Tables,
    score: str,
    by: Sequence[str] = (),
    *,
    metric: str | None = None,
    sisters: Sequence[str] = (),
    level: float = 0.90,
    weighted: bool = True,
) -> Seasonal:
    """Adjust the months of a measure for season and promotions.

    Money and counts of the ledger are measured per customer (metric ``per_customer``). The same customers stand there
    month by month, so that sampling shifts the whole series: it is in the errors of ``observed``, while those of
    ``adjusted`` are of the season alone.

    Args:
        tables: Loaded tables; promotions stand in the study file.
        score: A score or driver of the study, ``churn``, or an outcome of the ledger.
        by: Columns of the rows or customers; each group has a season of its own.
        metric: ``nps``, ``mean``, ``top_two`` or ``easy``; by default the first the question has.
        sisters: Other questions, over everybody, to borrow from where no group has two years.
        level: Level of the intervals.
        weighted: Whether rows count with the design weight of their customer.

    Raises:
        DataError: As in ``answers.scores``; a group of less than a year, or of less than two years where nothing has
            them.
    """
    groups = tuple(by)
    if timed := sorted(set(groups) & set(TIMES)):
        raise DataError(f"A season cannot be grouped by {', '.join(timed)}.", ["give columns such as segment"])
    found = fitted(tables, score, groups, metric=metric, sisters=sisters, weighted=weighted)
    groups = columns_of(groups)
    whole = {key: fit for key, fit in found.fits.items() if len(found.used[key]) == len(found.each[key])}
    checks = (
        Check(code="ROX-X02", verdict=Verdict.NOTE, values={"metric": score, "series": found.lender})
        if found.borrowed
        else Check(code="ROX-X02", verdict=Verdict.PASS, values={"metric": score})
    )
    return Seasonal(
        observed=_months(tables, pd.concat(found.each.values(), ignore_index=True), groups, level, "linearised"),
        adjusted=_months(tables, found.adjusted(), groups, level, "gls"),
        effects=_effects(tables, found, groups, level),
        covariances=MappingProxyType({key: fit.covariance for key, (fit, _) in whole.items()}),
        carries=MappingProxyType({key: carry for key, (_, carry) in whole.items()}),
        borrowed=found.borrowed,
        checks=(checks,),
    )


def lunar_share(month: int) -> float:
    """Return the share of a lunar new year's window that falls in a month, 12·year + month − 1.

    Raises:
        DataError: A year outside 2000 to 2050.
    """
    year, number = divmod(month, 12)
    known = {day.year: day for day in map(dt.date.fromisoformat, LUNAR_NEW_YEARS.split())}
    if year not in known:
        raise DataError(f"The lunar new year of {year} is not known.", ["years from 2000 to 2050 are"])
    days = (known[year] + dt.timedelta(days=offset) for offset in range(-AROUND[0], AROUND[1] + 1))
    return sum(day.month == number + 1 for day in days) / (sum(AROUND) + 1)


def promotion_share(promotion: Promotion, month: int) -> float:
    """Return the share of a month's days on which a promotion ran."""
    year, number = divmod(month, 12)
    length = calendar.monthrange(year, number + 1)[1]
    first, last = dt.date(year, number + 1, 1), dt.date(year, number + 1, length)
    return max(0, (min(last, promotion.end) - max(first, promotion.start)).days + 1) / length


def _split(frame: pd.DataFrame, groups: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    if not groups:
        yield (), frame
        return
    for key, part in frame.groupby(list(groups), sort=True):
        yield tuple(str(each) for each in key), part.reset_index(drop=True)


def _named(key: tuple[str, ...]) -> str:
    return " ".join(key) or "everybody"


def _has_own(part: pd.DataFrame) -> bool:
    return len(part) >= NEEDED and part["month"].mod(12).nunique() == 12


def _columns(months: NDArray[np.int64], promotions: Mapping[str, Promotion], carry: float) -> Floats:
    """Return months of the year (11, against the last), the lunar new year, and promotions."""
    number = months % 12
    parts = [(number == each).astype(float) - (number == 11) for each in range(11)]
    parts.append(np.array([lunar_share(int(month)) for month in months]) - 1 / 12)
    whole = np.arange(months[0], months[-1] + 1)
    for promotion in promotions.values():
        lasting = carried([promotion_share(promotion, int(month)) for month in whole], carry)
        parts.append(lasting[np.searchsorted(whole, months)])
    return np.column_stack(parts)


def _fit(part: pd.DataFrame, promotions: Mapping[str, Promotion], prior: Prior | None = None) -> tuple[Adjusted, float]:
    """Fit a series under each share that may last, and keep the likeliest."""
    months = part["month"].to_numpy(dtype=np.int64)
    sampling = np.where(part["metric"] == PER_CUSTOMER, 0.0, part["variance"])
    found = []
    for carry in CARRIES if promotions else CARRIES[:1]:
        columns = _columns(months, promotions, carry)
        wide = None if prior is None else _widened(prior, columns.shape[1], float(part["spread"].iloc[0]))
        fit = adjust(part["value"], months, columns, sampling, prior=wide)
        found.append((fit, carry))
    return max(found, key=lambda each: each[0].log_likelihood)


def _scaled(prior: Prior, part: pd.DataFrame) -> Prior:
    spread = max(float(part["spread"].iloc[0]), 1e-12)
    return Prior(mean=np.sqrt(spread) * prior.mean, covariance=spread * prior.covariance)


def _widened(prior: Prior, size: int, spread: float) -> Prior:
    """Add promotions to a prior of the season, of which nothing is known."""
    more = size - prior.mean.size
    covariance = np.zeros((size, size))
    covariance[: prior.mean.size, : prior.mean.size] = prior.covariance
    covariance[prior.mean.size :, prior.mean.size :] = 100 * max(spread, 1e-12) * np.eye(more)
    return Prior(mean=np.r_[prior.mean, np.zeros(more)], covariance=covariance)


def _borrow(
    tables: Tables,
    own: Mapping[tuple[str, ...], tuple[Adjusted, float]],
    each: Mapping[tuple[str, ...], pd.DataFrame],
    sisters: Sequence[str],
    weighted: bool,
) -> tuple[Prior, str]:
    """Pool the seasons of the series that have one, in units of the root of their answers' spread, and name them."""
    lent = [(own[key][0], each[key]) for key in own]
    names = ", ".join(_named(key) for key in own)
    if not lent:
        asked = {name: series(tables, name, (), "month", weighted=weighted) for name in sisters}
        rich = {name: part for name, part in asked.items() if _has_own(part)}
        lent = [(_fit(part, tables.study.promotions)[0], part) for part in rich.values()]
        names = ", ".join(rich)
    if not lent:
        raise DataError(
            f"No series has {NEEDED} months, from which a season can be told.",
            [f"sisters: {', '.join(sisters) or 'none given'}; name a question that was asked for two years"],
        )
    scales = np.array([np.sqrt(max(float(part["spread"].iloc[0]), 1e-12)) for _, part in lent])
    effects = np.stack([fit.effects[:SEASONAL] for fit, _ in lent]) / scales[:, None]
    known = np.stack([fit.effects_covariance[:SEASONAL, :SEASONAL] for fit, _ in lent]) / scales[:, None, None] ** 2
    return pooled_prior(effects, known), names


def _months(tables: Tables, frame: pd.DataFrame, groups: tuple[str, ...], level: float, method: str) -> pd.DataFrame:
    rows = frame.drop(columns=["variance", "spread"]).assign(method=method)
    rows = _estimated(rows, frame["value"].to_numpy(), np.sqrt(frame["variance"].to_numpy()), level)
    least = tables.study.about.min_cell
    return shown([rows], by=(*groups, "month"), level=level, min_cell=least, shown_from=SHOWN_FROM)


def _estimated(frame: pd.DataFrame, value: Floats, se: Floats, level: float) -> pd.DataFrame:
    half = stats.norm.ppf((1 + level) / 2) * se
    return frame.assign(value=value, se=se, low=value - half, high=value + half)


def _effects(tables: Tables, found: Fitted, groups: tuple[str, ...], level: float) -> pd.DataFrame:
    names = (*MONTHS, LUNAR, QUARTER_END, *tables.study.promotions)
    parts = []
    for key, (fit, _) in found.fits.items():
        part = found.used[key]
        turn = _turned(fit.effects.size)
        variance = np.einsum("ij,jk,ik->i", turn, fit.effects_covariance, turn)
        first = part.iloc[0]
        rows = pd.DataFrame({group: [label] * len(names) for group, label in zip(groups, key, strict=True)})
        rows = rows.assign(effect=names) if groups else pd.DataFrame({"effect": names})
        rows = rows.assign(
            **{name: first[name] for name in ("score", "metric", "unit")},
            n=part["n"].sum(),
            n_eff=part["n_eff"].sum(),
            customers=part["customers"].max(),
            method="gls",
        )
        parts.append(_estimated(rows, turn @ fit.effects, np.sqrt(np.maximum(variance, 0.0)), level))
    least = tables.study.about.min_cell
    return shown([pd.concat(parts, ignore_index=True)], by=(*groups, "effect"), level=level, min_cell=least)


def _turned(size: int) -> Floats:
    """Return the matrix that makes twelve months, the lunar new year, quarter ends and promotions of coefficients."""
    months = np.zeros((12, size))
    months[:11, :11], months[11, :11] = np.eye(11), -1.0
    ends = np.isin(np.arange(12), [2, 5, 8, 11])
    lunar, quarter = np.eye(size)[11:12], (months[ends].mean(0) - months[~ends].mean(0))[None, :]
    return np.vstack([months, lunar, quarter, np.eye(size)[12:]])

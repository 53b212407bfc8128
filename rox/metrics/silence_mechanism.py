"""Whether the same kind of customer answers in two periods: response by tenths of the answer predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from rox.metrics.silence_cells import PERIODS, Cells, design_of
from rox.metrics.silence_facts import BUCKETS
from rox.metrics.silence_weights import jackknife
from rox.numerics.arrays import Bools, Floats, Ints

TENTHS = 10
DIGITS = 9
"""Decimals beyond which two predictions are the same."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mechanism:
    """Who answers, in two periods.

    Attributes:
        table: One row per tenth of the customers by the answer predicted: ``tenth``, ``predicted`` (in standard
            deviations from the mean), ``asked_before``, ``rate_before``, ``asked``, ``rate``, ``log_odds`` (of
            answering, after over before) and its ``se``. Customers with the same prediction are in one tenth, so that
            others may hold nobody. What rests on too few customers is missing, and so is what would tell it by
            subtraction.
        trend: Change of the log odds of answering per standard deviation of the prediction.
        trend_p: Probability of such a trend by chance.
        mixed_p: Probability by chance of changes that differ so much between tenths.
    """

    table: pd.DataFrame
    trend: float
    trend_p: float
    mixed_p: float

    @property
    def p(self) -> float:
        """Probability by chance of the clearer of the two, both having been looked at."""
        return min(1.0, 2 * min(self.trend_p, self.mixed_p))


def mechanism(cells: Cells, slopes: Floats, min_cell: int) -> Mechanism:
    """Compare response rates of two periods by tenths of the answer predicted.

    Tenths with customers asked in both periods are compared, by the changes of their log odds (Anscombe's, Woolf's
    variance). Whether these differ at all: their χ², over their mean design effect if that is above 1 (Rao & Scott
    1984, *Annals of Statistics* 12). Whether they follow the prediction: a weighted line, with the larger of the errors
    of a jackknife over customers and of independent answers.

    Args:
        cells: The cells.
        slopes: Coefficients of the categories in a regression of the answer.
        min_cell: Customers a rate must rest on.
    """
    score = _predictions(cells, slopes)
    tenth = _tenths(score, cells.customers)
    size = (PERIODS, BUCKETS, TENTHS)
    at = np.ravel_multi_index((cells.later, cells.bucket, tenth), size)
    asked, said = (
        np.bincount(at, weights=each, minlength=int(np.prod(size))).astype(float).reshape(size)
        for each in (cells.asked, np.minimum(cells.answers.sum(1), cells.asked))
    )
    place = _places(tenth, cells.customers, score)
    both = (asked.sum(1) > 0).all(0)
    log_odds, variance = _log_odds(_left_out(asked), _left_out(said))
    trend_p, mixed_p, trend = 1.0, 1.0, 0.0
    if both.sum() > 1:
        used = log_odds[:, both]
        trend, trend_p = _trend(used, variance[:, both], place[both])
        mixed_p = _mixed(used, variance[0, both])
    table = _table(place, asked.sum(1), said.sum(1), min_cell)
    shown = both & table[["asked_before", "asked"]].notna().all(axis=1).to_numpy()
    return Mechanism(
        table=table.assign(
            log_odds=np.where(shown, log_odds[0], np.nan), se=np.where(shown, np.sqrt(variance[0]), np.nan)
        ),
        trend=trend,
        trend_p=trend_p,
        mixed_p=mixed_p,
    )


def hidden(customers: Floats, least: int) -> Bools:
    """Mark the counts below ``least``, and the smallest others until what is marked cannot be told from the total.

    Counts of zero are not marked.

    Args:
        customers: (t,) counts whose total is known.
        least: Customers that a count must have, and that all marked ones must have together.
    """
    marked = (customers > 0) & (customers < least)
    if marked.any():
        for i in np.argsort(customers, kind="stable"):
            if marked.sum() > 1 and customers[marked].sum() >= least:
                break
            marked[i] |= customers[i] > 0
    return np.asarray(marked)


def _predictions(cells: Cells, slopes: Floats) -> Floats:
    """Return (r,) predictions, exactly the same for people of one cell."""
    _, first, of = np.unique(cells.cell, return_index=True, return_inverse=True)
    score = design_of(cells.code[first], cells.sizes)[:, 1:] @ slopes
    return np.asarray(np.round(score, DIGITS)[of.reshape(-1)], dtype=np.float64)


def _tenths(score: Floats, customers: Floats) -> Ints:
    """Return (r,) tenths, from 0: those with the same score are in the one of their middle."""
    _, of = np.unique(score, return_inverse=True)
    of = of.reshape(-1)
    held = np.bincount(of, weights=customers)
    middle = (np.cumsum(held) - held / 2) / held.sum()
    return np.asarray(np.minimum((middle * TENTHS).astype(np.int64), TENTHS - 1)[of], dtype=np.int64)


def _places(tenth: Ints, customers: Floats, score: Floats) -> Floats:
    """Return the mean prediction of each tenth, standardised over the tenths; NaN where there is nobody."""
    people, total = (np.bincount(tenth, weights=each, minlength=TENTHS) for each in (customers, customers * score))
    mean = np.divide(total, people, out=np.full(TENTHS, np.nan), where=people > 0)
    there = people > 0
    about = mean - np.average(mean[there], weights=people[there])
    sd = float(np.sqrt(np.average(about[there] ** 2, weights=people[there])))
    return np.asarray(about / (sd if sd > 10.0**-DIGITS else 1.0))


def _left_out(counts: Floats) -> Floats:
    """Return (1 + K, 2, t) counts: of all, then without each bucket."""
    whole = counts.sum(1)
    return np.concatenate([whole[None], whole - np.moveaxis(counts, 1, 0)])


def _log_odds(asked: Floats, said: Floats) -> tuple[Floats, Floats]:
    """Return the log odds ratios of the second period over the first, per tenth, and their variance."""
    yes, no = said + 0.5, asked - said + 0.5
    logit = np.log(yes / no)
    return np.asarray(logit[:, 1] - logit[:, 0]), np.asarray((1 / yes + 1 / no).sum(1))


def _trend(log_odds: Floats, variance: Floats, place: Floats) -> tuple[float, float]:
    """Return the slope over places and its p."""
    w = 1 / variance
    about = place - (w @ place / w.sum(1))[:, None]
    below = (w * about**2).sum(1)
    if not below[0] > 0:
        return 0.0, 1.0
    slope = (w * about * log_odds).sum(1) / below
    se = max(float(jackknife(slope)), float(below[0] ** -0.5))
    return float(slope[0]), float(2 * stats.t.sf(abs(slope[0]) / se, BUCKETS - 1))


def _mixed(log_odds: Floats, variance: Floats) -> float:
    """Return the p of the differences between tenths."""
    w = 1 / variance
    squares = float(w @ (log_odds[0] - w @ log_odds[0] / w.sum()) ** 2)
    effect = max(float((jackknife(log_odds) ** 2 / variance).mean()), 1.0)
    return float(stats.chi2.sf(squares / effect, variance.size - 1))


def _table(place: Floats, asked: Floats, said: Floats, min_cell: int) -> pd.DataFrame:
    columns: dict[str, Floats | Ints] = {"tenth": np.arange(1, TENTHS + 1), "predicted": place}
    for which, end in enumerate(("_before", "")):
        told = (asked[which] > 0) & ~hidden(asked[which], min_cell)
        columns[f"asked{end}"] = np.where(told, asked[which], np.nan)
        columns[f"rate{end}"] = np.where(told, said[which] / np.maximum(asked[which], 1), np.nan)
    return pd.DataFrame(columns)

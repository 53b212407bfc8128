"""Test whether groups leave at the same pace: the log-rank test, from numbers at risk with late entry and ties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from rox.numerics.arrays import Floats, freeze
from rox.numerics.incidence import LifeTable


@dataclass(frozen=True, kw_only=True)
class LogRank:
    """Observed beside expected events. g = groups."""

    observed: Floats
    """(g,) events."""
    expected: Floats
    """(g,) events if all groups had one hazard."""
    statistic: float
    df: int
    p_value: float

    def __post_init__(self) -> None:
        freeze(self, "observed", "expected")


def log_rank(table: LifeTable) -> LogRank:
    """Compare the hazard of all causes in the table between groups (Mantel 1966; Peto & Peto 1972).

    Estimand: whether the groups' hazards are equal at every time. Strongest against proportional hazards; groups whose
    curves cross may pass. Weighted tables have no such test.

    Args:
        table: with whole numbers of people; see `LifeTable.only` for a single cause.

    Raises:
        ValueError: fewer than two groups, or no event at a time at which two of them are at risk.

    Example:
        >>> from rox.numerics.incidence import life_table
        >>> test = log_rank(life_table(None, [1, 2, 3, 4], [1, 1, 1, 1], ["a", "a", "b", "b"]))
        >>> round(test.statistic, 3), test.df
        (2.882, 1)
    """
    if table.groups.size < 2:
        raise ValueError("a comparison needs at least two groups")
    at_risk, died = table.at_risk, table.events.sum(2)
    all_risk, all_died = at_risk.sum(1), died.sum(1)
    used = (all_risk > 1) & (all_died > 0)
    at_risk, died, all_risk, all_died = at_risk[used], died[used], all_risk[used], all_died[used]
    share = at_risk / all_risk[:, None]
    expected = (all_died[:, None] * share).sum(0)
    spread = all_died * (all_risk - all_died) / (all_risk - 1)
    covariance = np.diag((spread[:, None] * share).sum(0)) - (share * spread[:, None]).T @ share
    gap = died.sum(0) - expected
    df = int(np.linalg.matrix_rank(covariance, hermitian=True)) if used.any() else 0
    if not df:
        raise ValueError("no event happens while two groups are at risk")
    statistic = float(gap @ np.linalg.pinv(covariance, hermitian=True) @ gap)
    return LogRank(
        observed=table.events.sum((0, 2)),
        expected=expected,
        statistic=statistic,
        df=df,
        p_value=float(stats.chi2.sf(statistic, df)),
    )

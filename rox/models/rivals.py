"""What the same roll-out looks like to designs that answer another question, or this one wrongly."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Verdict
from rox.models.rollout import Rollout
from rox.models.rollout_att import CONTROLS, Control, RolloutATT, rollout_att
from rox.numerics.aggregate import aggregate_window
from rox.numerics.did import group_time_att
from rox.numerics.panel import within_regression

Floats = NDArray[np.float64]
FORBIDDEN_LIMIT = 0.10
NORMAL_90 = 1.6448536269514722


def rivals(
    data: Rollout, att: RolloutATT, shares: Floats, *, leads: int, control: Control, pooled: tuple[float, float]
) -> pd.DataFrame:
    """Tabulate the share-weighted effect by design, with 90% intervals.

    Args:
        data: The cohort.
        att: Group-time effects.
        shares: Shape (s,).
        leads: Months before the start that "before" means.
        control: Places a cohort is compared with.
        pooled: Mean and standard deviation of the pooled effect.

    Returns:
        Rows ``pooled``, ``group_time``, ``own_trend_removed``, ``doubly_robust``, ``static_twfe``, ``before_after``;
        columns ``estimate``, ``se``, ``low``, ``high`` and ``word``, the key of the sentence that says what is wrong
        with it.
    """
    found = {
        "pooled": pooled,
        "group_time": _shared(att.estimate, att.influence, shares),
        "own_trend_removed": _own_trend_removed(data, att, shares, control),
        "doubly_robust": _doubly_robust(data, att, shares, control),
        "static_twfe": static_twfe(data, att, shares),
        "before_after": _before_after(data, att, shares, leads),
    }
    table = pd.DataFrame.from_dict(found, orient="index", columns=["estimate", "se"])
    table["low"], table["high"] = (
        table["estimate"] - NORMAL_90 * table["se"],
        table["estimate"] + NORMAL_90 * table["se"],
    )
    table["word"] = [f"uplift.rival.{name}" for name in found]
    return table.rename_axis("design")


def _shared(estimate: Floats, influence: Floats, shares: Floats) -> tuple[float, float]:
    return float(estimate @ shares), float(np.sqrt(((influence @ shares) ** 2).sum()))


def static_twfe(data: Rollout, att: RolloutATT, shares: Floats) -> tuple[float, float]:
    """Regress on started, place and month: one coefficient by segment, then their share-weighted mean."""
    places, months = att.outcome.shape[:2]
    started = (data.months[None, :] >= data.starts[:, None]).astype(float).ravel()
    unit, month = np.repeat(np.arange(places), months), np.tile(np.arange(months), places)
    estimate, influence = np.zeros(shares.size), np.zeros((places, shares.size))
    for column in range(shares.size):
        weight = np.repeat(data.sizes[:, column], months)
        rows = weight > 0
        fit = within_regression(
            att.outcome[:, :, column].ravel()[rows], started[rows], unit[rows], time=month[rows], weights=weight[rows]
        )
        estimate[column] = fit.coefficient[0]
        influence[np.unique(unit[rows])[fit.clusters], column] = fit.influence[:, 0]
    return _shared(estimate, influence, shares)


def _before_after(data: Rollout, att: RolloutATT, shares: Floats, leads: int) -> tuple[float, float]:
    """Compare the window with the months before, treated places only."""
    first, last = att.window_months
    change, weight = np.zeros_like(data.sizes), np.where(att.members[:, None], data.sizes, 0.0)
    for start in att.cohorts:
        member = data.starts == start
        at = int(start - data.months[0])
        values = np.nan_to_num(att.outcome[member][:, :, :-1])
        before = values[:, max(at - leads, 0) : at].mean(1)
        change[member] = values[:, at + first : at + last + 1].mean(1) - before
    share = weight / weight.sum(0)
    mean = (share * change).sum(0)
    return _shared(mean, share * (change - mean), shares)


def _own_trend_removed(data: Rollout, att: RolloutATT, shares: Floats, control: Control) -> tuple[float, float]:
    """Take each place's straight line before the first start out of all its months, then re-estimate.

    Free of bias when places differ by lasting linear trends, at about twice the standard error.
    """
    before = data.months < data.first_start
    if before.sum() < 3:
        return float("nan"), float("nan")
    centred = data.months - data.months[before].mean()
    outcome = att.outcome[:, :, :-1]
    slope = np.einsum("t,uts->us", centred[before], outcome[:, before]) / (centred[before] ** 2).sum()
    bent = rollout_att(
        data, outcome - slope[:, None, :] * centred[None, :, None], window=att.window_months, control=control
    )
    return _shared(bent.estimate, bent.influence, shares)


def _doubly_robust(data: Rollout, att: RolloutATT, shares: Floats, control: Control) -> tuple[float, float]:
    """Compare places alike in growth and score before the first start (Sant'Anna & Zhao 2020).

    It mends a choice of places by their past growth or score, where the change without the initiative follows from
    these two; missing where there are too few places for it, or where the two tell started places from others without
    error.
    """
    before = data.months < data.first_start
    if before.sum() < 3:
        return float("nan"), float("nan")
    centred = data.months[before] - data.months[before].mean()
    growth = np.nan_to_num(att.outcome[:, before, -1]) @ centred / (centred**2).sum()
    past = data.scores[data.scores["month"] < data.first_start]
    score = past.groupby("unit")["score"].mean().reindex(range(len(data.units))).to_numpy(dtype=float)
    known = [growth] if np.isnan(score).any() else [growth, score]
    x = np.stack([(each - each.mean()) / max(each.std(), 1e-12) for each in known], axis=1)
    first, last = att.window_months
    try:
        cells = group_time_att(
            att.outcome[:, :, :-1],
            data.starts,
            times=data.months,
            weights=data.sizes,
            covariates=x,
            control=CONTROLS[control],
            base="universal",
        )
        mean = aggregate_window(cells, first=first, last=last, complete=True, random_weights=False)
    except (ValueError, np.linalg.LinAlgError):
        return float("nan"), float("nan")
    return _shared(mean.overall, mean.overall_influence, shares)


def twfe_comparisons(data: Rollout, att: RolloutATT) -> pd.DataFrame:
    """Split the static coefficient of all customers together into its two-group comparisons.

    This is theorem 1 of Goodman-Bacon (2021), with places weighted by their customers.

    Returns:
        One row per comparison: ``treated`` and ``control`` cohorts by start month (``control`` missing if never),
        ``kind`` (``never``, ``not_yet`` or ``already``: the control has started before), ``weight`` (sum one) and
        ``estimate``. The sum of weight × estimate is the static coefficient.
    """
    customers = data.sizes.sum(1)
    outcome = np.nan_to_num(att.outcome[:, :, -1])
    series, share, treated_time = {}, {}, {}
    for start in np.unique(data.starts):
        member = (data.starts == start) & (customers > 0)
        if member.any():
            series[start] = np.average(outcome[member], axis=0, weights=customers[member])
            share[start] = customers[member].sum() / customers.sum()
            treated_time[start] = float((data.months >= start).mean())
    rows = []
    for treated, control in permutations(series, 2):
        if np.isinf(treated):
            continue
        kind = "never" if np.isinf(control) else "not_yet" if control > treated else "already"
        use = np.ones(data.months.size, dtype=bool)
        if kind == "not_yet":
            use = data.months < control
        elif kind == "already":
            use = data.months >= control
        after = use & (data.months >= treated)
        before = use & (data.months < treated)
        gap = series[treated] - series[control]
        both, part = share[treated] + share[control], share[treated] / (share[treated] + share[control])
        fraction, d = use.mean(), after.sum() / use.sum()
        weight = (both * fraction) ** 2 * part * (1 - part) * d * (1 - d)
        rows.append((treated, control, kind, weight, gap[after].mean() - gap[before].mean()))
    table = pd.DataFrame(rows, columns=["treated", "control", "kind", "weight", "estimate"])
    table["weight"] /= table["weight"].sum()
    table["control"] = table["control"].replace(np.inf, np.nan)
    return table


def forbidden_check(comparisons: pd.DataFrame) -> Check:
    """Say how much of the static coefficient compares with places that have already started (ROX-L10)."""
    forbidden = float(comparisons.loc[comparisons["kind"] == "already", "weight"].sum())
    verdict = Verdict.NOTE if forbidden > FORBIDDEN_LIMIT else Verdict.PASS
    return Check(code="ROX-L10", verdict=verdict, values={"p": 100 * forbidden})

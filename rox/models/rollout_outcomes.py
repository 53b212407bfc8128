"""Other outcomes of the same roll-out, for explanation: who stayed, what they scored, who answered."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Verdict
from rox.models.phrases import p_value
from rox.models.rollout import Rollout
from rox.models.rollout_att import CONTROLS, Control, RolloutATT, rollout_att
from rox.models.rollout_precision import normal_p_value
from rox.numerics.aggregate import aggregate_event, aggregate_window
from rox.numerics.did import group_time_att

Floats = NDArray[np.float64]
QUARTER = 3
LEVEL = 0.05


def components(data: Rollout, att: RolloutATT, shares: Floats, *, control: Control) -> pd.DataFrame:
    """Split the window's effect into customers kept and money per customer kept.

    With A the share who have not left and M the mean ratio among them, the effect is A₁M₁ − A₀M₀. The kept part is
    (A₁ − A₀)·M₀; the rest is A₁·(M₁ − M₀). M compares people who stayed, which the roll-out itself may have changed:
    the split explains, it does not identify.

    Returns:
        One row per segment and ``all``: ``effect``, ``staying`` (effect on the share who have not left),
        ``staying_se``, ``kept_part``, ``rest``.
    """
    stay = rollout_att(data, data.means(data.staying), window=att.window_months, control=control)
    treated_money, treated_stay = (_treated_level(data, each) for each in (att, stay))
    money_without, stay_without = treated_money - att.estimate, treated_stay - stay.estimate
    kept = stay.estimate * money_without / np.where(stay_without > 0, stay_without, np.nan)
    table = pd.DataFrame(
        {
            "effect": att.estimate,
            "staying": stay.estimate,
            "staying_se": np.sqrt((stay.influence**2).sum(0)),
            "kept_part": kept,
            "rest": att.estimate - kept,
        },
        index=pd.Index(data.groups, name="group"),
    )
    every = {name: float(table[name] @ shares) for name in table}
    every["staying_se"] = float(np.sqrt(((stay.influence @ shares) ** 2).sum()))
    return pd.concat([table, pd.DataFrame([every], index=pd.Index(["all"], name="group"))])


def _treated_level(data: Rollout, att: RolloutATT) -> Floats:
    """Return the mean outcome of started places in the window, by segment."""
    first, last = att.window_months
    total, mass = np.zeros(len(data.groups)), np.zeros(len(data.groups))
    for start in att.cohorts:
        member, at = data.starts == start, int(start - data.months[0])
        weight = data.sizes[member]
        level = np.nan_to_num(att.outcome[member, at + first : at + last + 1, :-1]).mean(1)
        total += (weight * level).sum(0)
        mass += weight.sum(0)
    return np.asarray(total / mass)


def _by_quarter(data: Rollout) -> tuple[Floats, Floats, Floats]:
    """Count and add up answers by place and calendar quarter; quarters cut short or without any answer are left out."""
    quarter = data.months.astype(int) // QUARTER
    given = data.scores["month"].to_numpy() // QUARTER
    full = [q for q in np.unique(quarter) if (quarter == q).sum() == QUARTER and (given == q).any()]
    quarters = np.array(full, dtype=float)
    inside = np.isin(given, quarters)
    place = (data.scores["unit"].to_numpy()[inside], np.searchsorted(quarters, given[inside]))
    count, total = np.zeros((2, len(data.units), quarters.size))
    np.add.at(count, place, 1.0)
    np.add.at(total, place, data.scores["score"].to_numpy()[inside])
    return quarters, count, total


def score_effect(data: Rollout, *, window: tuple[int, int], control: Control) -> tuple[pd.DataFrame, Check]:
    """Estimate the effect on the mean score of those who answered, and on how many answer, by calendar quarter.

    Each place counts with the answers it gives in an average quarter. Places without answers in some quarter are left
    out. The quarter a place starts in counts as its quarter 0. Respondents are not the population: a better
    experience changes who answers, so this is not the effect on everybody's score, and nothing is to be divided by
    it.

    Returns:
        The table, with rows by quarter since the start and ``window``: ``score``, ``score_se``,
        ``answers_per_customer``, ``answers_se``; and the check that says so (ROX-L16, or ROX-L17 when the roll-out
        changed how many answer). When answers are too few to compare the table is empty and ROX-L18 says so.
    """
    quarters, count, total = _by_quarter(data)
    whole = np.asarray((count > 0).all(1))
    few = Check(
        code="ROX-L18",
        verdict=Verdict.NOTE,
        values={"places": int(whole.sum()) if quarters.size else 0, "all_places": len(data.units)},
    )
    if quarters.size < 2 or not whole.any():
        return pd.DataFrame(), few
    customers = data.sizes.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        starts = np.where(np.isinf(data.starts), np.inf, data.starts // QUARTER)
        outcome = np.stack([total / count, count / customers[:, None]], axis=2)
    weights = np.where(whole[:, None], np.column_stack([count.mean(1), customers]), 0.0)
    try:
        cells = group_time_att(
            outcome,
            starts,
            times=quarters,
            weights=weights,
            control=CONTROLS[control],
            base="universal",
            small_sample=True,
        )
        mean = aggregate_window(cells, first=window[0] // QUARTER, last=window[1] // QUARTER, random_weights=False)
    except ValueError:
        return pd.DataFrame(), few
    path = aggregate_event(cells, random_weights=False)
    table = pd.DataFrame(
        {
            "score": [*path.estimate[:, 0], mean.overall[0]],
            "score_se": [*path.se[:, 0], mean.overall_se[0]],
            "answers_per_customer": [*path.estimate[:, 1], mean.overall[1]],
            "answers_se": [*path.se[:, 1], mean.overall_se[1]],
        },
        index=pd.Index([*(f"{int(q)}" for q in path.labels), "window"], name="quarter"),
    )
    p = normal_p_value(mean.overall[1], mean.overall_se[1])
    values: dict[str, str | int | float] = {
        "score": float(mean.overall[0]),
        "se": float(mean.overall_se[0]),
        "answers": 100 * float(mean.overall[1]),
        "p": p_value(p),
        "places": int(whole.sum()),
        "all_places": len(data.units),
    }
    return table, Check(code="ROX-L17" if p < LEVEL else "ROX-L16", verdict=Verdict.NOTE, values=values)

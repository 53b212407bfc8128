"""What else the loop moved: leaving, the next answer, and how much of its rise was to be expected anyway."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Verdict
from rox.core.linked import Linked
from rox.models.closed_loop_cases import DETRACTOR, PATH
from rox.models.closed_loop_designs import LEAST_ARM, LEAST_HELD, Sample, by_lot
from rox.numerics.rebound import Rebound, rebound

Floats = NDArray[np.float64]
CONTACTED, HELD_OUT, NOT_CONTACTED = "contacted", "held_out", "not_contacted"


def outcomes_table(sample: Sample, *, horizon: int, min_cell: int) -> pd.DataFrame:
    """Compare the loop with the hold-out on everything that was followed, one row per outcome.

    Returns:
        Index ``money`` (share of own money), ``left`` (share of customers), ``answered`` (share with an answer in the
        months that follow), ``next_score`` (points, of those who answered) and ``detractor`` (share of these); columns
        ``per_eligible``, ``se``, ``per_contacted``, ``se_contacted`` and ``customers``. Segments are weighted by the
        company's eligible customers; what too few answered is missing.
    """
    added = with_answers(sample, horizon=horizon)
    names = {"ratio": "money", "left": "left", "answered": "answered", "next": "next_score", "again": "detractor"}
    rows = {label: compared(added, name, min_cell) for name, label in names.items()}
    columns = ["per_eligible", "se", "per_contacted", "se_contacted", "customers"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("outcome")


def path_table(sample: Sample, *, horizon: int, min_cell: int) -> pd.DataFrame:
    """Follow the difference between loop and hold-out over the months after eligibility, per eligible customer."""
    months = sorted({*PATH, horizon})
    rows = {month: compared(sample, f"ratio_{month}", min_cell)[:2] for month in months}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["per_eligible", "se"]).rename_axis("month")


def with_answers(sample: Sample, *, horizon: int) -> Sample:
    """Add the next answer given within the horizon: ``next``, ``again`` (a detractor again) and ``answered``."""
    rows = sample.cases.rows
    given = rows["next_score"].where(rows["next_age"] <= horizon)
    again = (given <= DETRACTOR).astype(float).where(given.notna())
    rows = rows.assign(next=given, again=again, answered=given.notna().astype(float))
    return Sample(**{**vars(sample), "cases": type(sample.cases)(**{**vars(sample.cases), "rows": rows})})


def compared(
    sample: Sample, name: str, min_cell: int, *, adjusted: bool = True
) -> tuple[float, float, float, float, float]:
    """Compare loop and hold-out on one outcome, in the segments where enough of both arms have it.

    Returns:
        Difference per eligible customer and its error, per contacted customer and its error, and customers; missing
        where no segment has enough.
    """
    known = np.isfinite(sample.column(name)) & np.isfinite(sample.column("held"))
    held = sample.column("held") == 1
    least = max(LEAST_HELD, min_cell)
    enough = [
        i
        for i in range(len(sample.groups))
        if min((known & held & (sample.group == i)).sum(), (known & ~held & (sample.group == i)).sum()) >= least
    ]
    if not enough:
        return (np.nan,) * 5
    kept = known & np.isin(sample.group, enough)
    part = Sample(
        cases=sample.cases.only(kept),
        groups=tuple(sample.groups[i] for i in enough),
        group=np.searchsorted(enough, sample.group[kept]).astype(np.int64),
        shares=sample.shares[enough] / sample.shares[enough].sum(),
        mass=sample.mass[kept],
        here=sample.here[kept],
    )
    found = by_lot(part, outcome=name, adjusted=adjusted)
    value, variance = found.per("eligible")[0], found.widened("eligible")
    whole, error = float(part.shares @ value), float(np.sqrt(part.shares**2 @ variance))
    if not part.shares @ found.contacts > 0:
        return whole, error, np.nan, np.nan, float(kept.sum())
    ratio = found.ratio(part.shares)
    return whole, error, ratio.value, ratio.se, float(kept.sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class Rebounds:
    """How far detractors rose by their next answer, with the checks that say it."""

    table: pd.DataFrame
    memory: pd.DataFrame
    checks: tuple[Check, ...]


def rebounds(data: Linked, sample: Sample, *, horizon: int, min_cell: int) -> Rebounds | None:
    """Compare the next answer of detractors with the one that was to be expected without any action.

    Detractors are those whose answer in the month of their ticket, up to its day, was 6 or less; answers of the call
    itself do not count, since the next one comes from a later month. Returns None without a 0–10 score, where nobody
    answered again, or where answers are too few to tell how far one predicts the next.
    """
    scale = data.study.scores.get(data.score)
    if scale is None or scale.kind != "nps":
        return None
    rows = sample.cases.rows
    kept = (rows["given_age"] == 0) & (rows["given_score"] <= DETRACTOR) & (rows["next_age"] <= horizon)
    kept &= rows["next_score"].notna() & sample.here
    some = rows[kept]
    group = np.where(some["held"] == 1, HELD_OUT, np.where(some["contacted"] == 1, CONTACTED, NOT_CONTACTED))
    counts = pd.Series(group).value_counts()
    shown = [name for name in (CONTACTED, HELD_OUT, NOT_CONTACTED) if counts.get(name, 0) >= max(LEAST_ARM, min_cell)]
    answers = data.fetch(data.around((), age=data.lag)).drop_duplicates(["customer", "answered"])
    if CONTACTED not in shown or not _remembered(answers, horizon):
        return None
    inside = np.isin(group, shown)
    found = rebound(
        answers["customer"].to_numpy(),
        answers["answered"].to_numpy(dtype=float),
        answers["score"].to_numpy(dtype=float),
        chosen=some["customer"].to_numpy()[inside],
        first=some["given_score"].to_numpy(dtype=float)[inside],
        second=some["next_score"].to_numpy(dtype=float)[inside],
        lag=some["next_age"].to_numpy(dtype=float)[inside],
        group=group[inside],
    )
    recovered = (
        pd.Series((some["next_score"] > DETRACTOR).to_numpy()[inside]).groupby(group[inside]).agg(["mean", "sum"])
    )
    table = _rebound_table(found, recovered)
    memory = pd.DataFrame(
        {"correlation": found.correlation, "pairs": found.pairs}, index=pd.Index(found.lag, name="months")
    )
    memory.loc[memory["pairs"] < min_cell, ["correlation", "pairs"]] = np.nan
    return Rebounds(table=table.loc[shown], memory=memory, checks=_rebound_checks(table))


def _remembered(answers: pd.DataFrame, horizon: int) -> bool:
    """Say whether enough customers answered twice within the horizon, at one distance in time, to tell memory."""
    said = answers.sort_values(["customer", "answered"])
    away = said.groupby("customer")["answered"].diff()
    return bool(len(away) and (away[away <= horizon].value_counts() >= 30).any() and said["score"].nunique() > 1)


def _rebound_table(found: Rebound, recovered: pd.DataFrame) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "customers": found.cases,
            "first": found.first,
            "observed": found.observed,
            "se_observed": found.se_observed,
            "expected": found.expected,
            "se_expected": found.se_expected,
            "excess": found.excess,
            "se_excess": found.se_excess,
        },
        index=pd.Index(found.groups.astype(str), name="group"),
    )
    share = recovered["mean"].reindex(table.index).astype(float)
    table["recovered"] = share
    table["se_recovered"] = np.sqrt(share * (1 - share) / table["customers"])
    return table


def _rebound_checks(table: pd.DataFrame) -> tuple[Check, ...]:
    """Say how much of the rise was to be expected (ROX-L12), and who would have recovered anyway (ROX-H14)."""
    own = _row(table, CONTACTED)
    rise = {"obs": own["observed"], "exp": own["expected"], "more": own["excess"], "se": own["se_excess"]}
    checks = [Check(code="ROX-L12", verdict=Verdict.NOTE, values={name: float(each) for name, each in rise.items()})]
    if HELD_OUT in table.index:
        held = _row(table, HELD_OUT)
        values: dict[str, str | int | float] = {
            "customers": int(own["customers"]),
            "recovered": round(own["customers"] * own["recovered"]),
            "anyway": round(own["customers"] * held["recovered"]),
            "p": float(100 * own["recovered"]),
            "q": float(100 * held["recovered"]),
            "rise": float(own["observed"]),
            "held": float(held["observed"]),
        }
        checks.append(Check(code="ROX-H14", verdict=Verdict.NOTE, values=values))
    return tuple(checks)


def _row(table: pd.DataFrame, name: str) -> dict[str, float]:
    return dict(zip(map(str, table.columns), table.loc[name].to_numpy(dtype=float).tolist(), strict=True))

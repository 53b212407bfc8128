"""What a comparison of two forms is asked before anybody believes it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from rox.core.check import Check, Grade, Verdict
from rox.core.linked import Linked, month_label
from rox.models.funnel_arms import Compared, periods, stood_alone
from rox.models.funnel_starters import PLACES, Starters
from rox.models.phrases import amount, p_value
from rox.models.rivals import NORMAL_90
from rox.numerics.funnel import lot_p_value
from rox.numerics.funnel_mix import FactorMix

BROKEN_LOT = 0.001
"""p-value below which a lot is not believed."""
LOST_LIMIT = 0.05
"""Share of the wanted mix that may be without a counterpart."""
MISSING_GAP, MISSING_LIMIT = 0.02, 0.10
"""How far the forms may differ in unknown amounts among funded accounts, and how many may be unknown."""


def _check(code: str, fails: bool, values: dict[str, str | int | float], verdict: Verdict = Verdict.NOTE) -> Check:
    return Check(code=code, verdict=verdict if fails else Verdict.PASS, values=values)


def lot_check(lot: pd.DataFrame, share: float) -> Check:
    """Compare how many got the new form with what the lot was to give (ROX-F02)."""
    new = int(lot["new"].sum())
    p = lot_p_value([new, len(lot) - new], [share, 1 - share])
    values: dict[str, str | int | float] = {
        "new": new,
        "n": len(lot),
        "found": 100 * new / len(lot),
        "share": 100 * share,
        "p": p_value(p),
    }
    return _check("ROX-F02", p < BROKEN_LOT, values, Verdict.STOP)


def balance_check(lot: pd.DataFrame) -> Check:
    """Ask whether the lot gave the same in every month, channel and device (ROX-F03)."""
    found = []
    for by in (["month"], list(PLACES)):
        groups = lot.groupby(by)["new"]
        chosen, size = groups.sum().to_numpy(dtype=float), groups.size().to_numpy(dtype=float)
        counts = np.column_stack([chosen, size - chosen])
        if len(counts) > 1 and counts.sum(0).min() > 0:
            found.append(float(stats.chi2_contingency(counts, correction=False).pvalue))
    p = min(1.0, len(found) * min(found, default=1.0))
    return _check("ROX-F03", p < BROKEN_LOT, {"p": p_value(p)}, Verdict.DEMOTE)


def design_check(is_lot: bool) -> Check:
    """Say whether a lot chose the form (ROX-F04): without one, another time or other people are compared."""
    if is_lot:
        return Check(code="ROX-F04", verdict=Verdict.PASS)
    return Check(code="ROX-F04", verdict=Verdict.DEMOTE, to_grade=Grade.D)


def both_ways(conversion: pd.DataFrame) -> Check:
    """Say the change relatively and absolutely, with its base (ROX-F01)."""
    row = conversion.loc["funded"].astype(float).to_dict()
    values = {"r": row["relative"], "a": row["old"] / 100, "b": row["new"] / 100, "pp": row["points"]}
    return Check(code="ROX-F01", verdict=Verdict.NOTE, values=values)


def censoring_check(made: Starters, table: pd.DataFrame) -> Check:
    """Say how many started too late to count, and what counting them would have read (ROX-F05)."""
    dropped = len(made.rows) - int(made.rows["followed"].sum())
    values: dict[str, str | int | float] = {
        "dropped": dropped,
        "p": 100 * dropped / len(made.rows),
        "days": made.window,
        "wrong": float(table["relative"]["everyone"]),
        "right": float(table["relative"]["counted"]),
    }
    return _check("ROX-F05", dropped > 0, values)


def person_check(made: Starters) -> Check:
    """Say who counts once: persons where they are known (ROX-F06), otherwise every attempt (ROX-F07)."""
    if not made.by_person:
        return Check(code="ROX-F07", verdict=Verdict.NOTE)
    share = 100 * made.repeated / made.attempts
    return _check("ROX-F06", made.repeated > 0, {"repeated": made.repeated, "p": share, "crossed": made.crossed})


def value_check(headline: Compared, currency: str) -> Check:
    """Compare what an extra opener holds with what the mean opener holds (ROX-F08; ROX-F17 where nobody can tell)."""
    mean, _ = headline.mean_opener()
    extra = headline.extra_opener(0.90)
    if extra.robust_set.kind != "interval":
        return Check(code="ROX-F17", verdict=Verdict.NOTE, values={"mean": amount(mean, currency)})
    values = {
        "extra": amount(extra.value, currency),
        "low": amount(extra.robust_set.low, currency),
        "high": amount(extra.robust_set.high, currency),
        "mean": amount(mean, currency),
    }
    return Check(code="ROX-F08", verdict=Verdict.NOTE, values=values)


def months_check(used: pd.DataFrame, is_lot: bool) -> Check:
    """Say from which months the comparison comes, and what may be peculiar to them (ROX-F09, ROX-F18)."""
    if is_lot:
        values = {"first": month_label(int(used["month"].min())), "last": month_label(int(used["month"].max()))}
        return Check(code="ROX-F09", verdict=Verdict.NOTE, values=values)
    old, new = used.loc[~used["new"], "month"], used.loc[used["new"], "month"]
    ends = {"old_first": old.min(), "old_last": old.max(), "new_first": new.min(), "new_last": new.max()}
    return Check(
        code="ROX-F18",
        verdict=Verdict.NOTE,
        values={name: month_label(int(month)) for name, month in ends.items()},
    )


def cannibalisation_check(data: Linked, rows: pd.DataFrame) -> Check:
    """Compare all new customers of the bank with the accounts that this funnel opened (ROX-F10; ROX-F11 if unknown).

    An account may only have moved here from another way in; then the bank as a whole opens no more than before.
    """
    unknown = Check(code="ROX-F11", verdict=Verdict.NOTE)
    if data.reduce is None or not stood_alone(rows):
        return unknown
    chosen = periods(rows)
    months = [np.sort(chosen.loc[chosen["new"] == new, "month"].unique()) for new in (False, True)]
    first, last = int(months[0][0]), int(months[1][-1])
    cells = data.cells(by=("opened",), sums=(), where=lambda t: (t.opened >= first) & (t.opened <= last)).frame
    opened = cells.groupby("opened")["customers"].sum()
    bank = [float(opened.reindex(each, fill_value=0).mean()) for each in months]
    here = [
        float(chosen.loc[chosen["month"].isin(each) & (chosen["funded"] == 1), "month"].size / len(each))
        for each in months
    ]
    if min(*bank, here[0]) < data.study.about.min_cell:
        return unknown
    values = {
        "before": bank[0],
        "after": bank[1],
        "bank": 100 * (bank[1] / bank[0] - 1),
        "here": 100 * (here[1] / here[0] - 1),
    }
    return Check(code="ROX-F10", verdict=Verdict.NOTE, values=values)


def mix_check(headline: Compared) -> Check:
    """Ask whether those compared cover the mix that the answer is for (ROX-F12)."""
    values = {"lost": 100 * headline.lost, "pooled": 100 * headline.pooled, "strata": headline.strata}
    return _check("ROX-F12", headline.lost > LOST_LIMIT, dict(values), Verdict.DEMOTE)


def missing_check(used: pd.DataFrame) -> Check:
    """Ask whether money is unknown for as many funded accounts in one form as in the other (ROX-F13)."""
    funded = used[used["funded"] == 1]
    missing = funded["amount"].isna().groupby(funded["new"]).mean().reindex([False, True], fill_value=0.0)
    old, new = float(missing[False]), float(missing[True])
    fails = abs(new - old) > MISSING_GAP or max(old, new) > MISSING_LIMIT
    return _check("ROX-F13", fails, {"old": 100 * old, "new": 100 * new}, Verdict.DEMOTE)


def rival_checks(mix: pd.DataFrame, parts: FactorMix | None, headline: str) -> Iterator[Check]:
    """Say what before/after of the same data would have read, and how much of it is who starts (ROX-F14)."""
    if parts is not None and "before_after" in mix.index:
        values = {
            "naive": mix.loc["before_after", "relative"],
            "total": mix.loc["before_after", "points"],
            "mix": 100 * parts.mix.sum(),
            "fixed": mix.loc["mix_standardised", "relative"],
            "used": mix.loc[headline, "relative"],
        }
        yield Check(code="ROX-F14", verdict=Verdict.NOTE, values={name: float(each) for name, each in values.items()})


def precision_check(value: float, error: float) -> Check:
    """Ask whether chance alone may put the effect off by more than half of its size (ROX-F15)."""
    reach = NORMAL_90 * error
    values = {"p": min(100 * reach / abs(value), 1e4) if value else 1e4}
    return _check("ROX-F15", reach > abs(value) / 2, dict(values))


def active_check(conversion: pd.DataFrame) -> Check:
    """Say how many funded accounts are empty when money is read, and the change of those that are not (ROX-F16)."""
    funded, active = (conversion.loc[name].astype(float).to_dict() for name in ("funded", "active"))
    values = {
        "old": 100 * (1 - active["old"] / funded["old"]),
        "new": 100 * (1 - active["new"] / funded["new"]),
        "r": active["relative"],
        "pp": active["points"],
    }
    return Check(code="ROX-F16", verdict=Verdict.NOTE, values=values)

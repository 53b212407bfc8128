"""Whether an experiment is one: what the lot gave, who was lost, how many places, and what may be read from it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from rox.core.check import Check, Grade, Verdict
from rox.core.errors import FitError
from rox.core.linked import month_label
from rox.models.experiment_adjustment import covariates, strata
from rox.models.experiment_fit import LEVEL, Overall, SegmentEffects
from rox.models.experiment_rows import FEWEST, Arms, Floats
from rox.models.phrases import p_value
from rox.numerics.arms import balance_p, permuted_p, sample_ratio, trend_of
from rox.numerics.weak_instrument import Ratio

BROKEN_LOT = 0.001
"""P-value below which the arms are not what the lot would have given."""
LARGEST_SMD = 0.10
"""Difference before the lot, in standard deviations, from which on it is named."""
LARGEST_GAP = 0.02
"""Difference between arms in the share of customers without money from which on bounds are the answer."""
FEW_PLACES, TOO_FEW_PLACES = 30, 6
"""Places in an arm below which the normal law is not trusted, and below which nothing is."""
FEWEST_OF_A_MONTH = 20
"""Customers that a month's share needs to be compared with another's."""
FEWEST_EXPECTED = 5.0
"""Customers, or places, that a stratum's smallest arm was to have for it to be tested by itself."""
LOST_STRATA = 0.05
"""Share of customers in strata too small to be compared from which on it is named."""
GAP_P = 0.01
"""P-value below which one segment's difference in missing money counts by itself."""
CAPPED_LIMIT = 0.05
CONFLICT = 0.05
TREND = 0.05
DISCOVERY = 0.10
"""False discovery rate of the secondary outcomes."""
WEAK = 10.0
POWER = 0.80


def lot_check(arms: Arms) -> Check:
    """Compare the sizes of the arms with the plan, stratum by stratum (ROX-J01; ROX-J02 where none is declared).

    Raises:
        FitError: They differ more than one lot in a thousand would make them.
    """
    names = [arms.control, arms.treated, *arms.others]
    rows = arms.lot.drop_duplicates("unit")
    counts = pd.crosstab(rows["block"], rows["arm"]).reindex(columns=names, fill_value=0)
    shares = _planned_shares(arms.lot, names).reindex(counts.index)
    whole = (shares.notna() & (shares > 0)).all(axis=1)
    if not whole.any():
        return Check(code="ROX-J02", verdict=Verdict.NOTE)
    found = sample_ratio(*_small_together(counts[whole].to_numpy(dtype=float), shares[whole].to_numpy(dtype=float)))
    values: dict[str, str | int | float] = {
        "treated": int(counts[arms.treated].sum()),
        "control": int(counts[arms.control].sum()),
        "p": p_value(found.p),
    }
    if found.p < BROKEN_LOT:
        broken = Check(code="ROX-J01", verdict=Verdict.STOP, values=values)
        raise FitError(
            f"{broken.code}: {broken.sentence()}",
            [f"experiment {arms.experiment}; look for rows lost on the way, customers drawn again, or a wrong plan"],
        )
    return Check(code="ROX-J01", verdict=Verdict.PASS, values=values)


def _planned_shares(lot: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Tabulate planned shares by stratum and arm; an arm of which none is known has the rest, or as in other strata."""
    shares = lot.groupby(["block", "arm"])["planned"].mean().unstack("arm").reindex(columns=names)
    rest = 1 - shares.sum(axis=1)
    one = (shares.isna().sum(axis=1) == 1) & (rest > 0)
    filled = pd.DataFrame({name: shares[name].where(shares[name].notna() | ~one, rest) for name in names})
    return filled.fillna(filled.mean())


def _small_together(counts: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """Add up the strata that are too small for a chi-squared where the plan is the same."""
    plan = shares / shares.sum(1, keepdims=True)
    small = (counts.sum(1, keepdims=True) * plan).min(1) < FEWEST_EXPECTED
    plans, which = np.unique(plan[small].round(3), axis=0, return_inverse=True)
    summed = np.zeros(plans.shape)
    np.add.at(summed, which.ravel(), counts[small])
    return np.vstack([counts[~small], summed]), np.vstack([plan[~small], plans])


def shares_check(arms: Arms) -> Check:
    """Ask whether the lot gave the same in every month, within stratum and segment (ROX-J03); not asked of places."""
    statistic, df = 0.0, 0
    if not arms.by_place:
        rows = pd.DataFrame({"arm": arms.arm, "block": arms.block, "month": arms.month, "segment": arms.segment})
        for _, part in rows.groupby(["block", "segment"]):
            counts = pd.crosstab(part["month"], part["arm"]).to_numpy()
            counts = counts[counts.sum(1) >= FEWEST_OF_A_MONTH]
            counts = counts[:, counts.sum(0) > 0]
            if counts.size and min(counts.shape) > 1:
                found = stats.chi2_contingency(counts, correction=False)
                statistic, df = statistic + float(found.statistic), df + int(found.dof)
    p = float(stats.chi2.sf(statistic, df)) if df else 1.0
    verdict = Verdict.DEMOTE if p < BROKEN_LOT else Verdict.PASS
    return Check(code="ROX-J03", verdict=verdict, values={"p": p_value(p)})


def balance_check(arms: Arms, table: pd.DataFrame, found: Overall) -> Check:
    """Ask whether the arms differed before the lot more than chance makes them (ROX-J04)."""
    places = int(np.unique(arms.place[arms.compared]).size) if arms.by_place else None
    p = balance_p(found.estimate, found.covariance, places)
    largest = table["smd"].abs().idxmax()
    smd = float(table["smd"].abs().max())
    values: dict[str, str | int | float] = {"p": p_value(p), "variable": f"experiment.before.{largest}", "smd": smd}
    verdict = Verdict.DEMOTE if p < BROKEN_LOT else Verdict.NOTE if smd > LARGEST_SMD else Verdict.PASS
    return Check(code="ROX-J05" if verdict is Verdict.NOTE else "ROX-J04", verdict=verdict, values=values)


def attrition_check(table: pd.DataFrame) -> Check:
    """Ask whether one arm lost more customers' money than the other, in all or in some segment (ROX-J06)."""
    row = table.iloc[0]
    values: dict[str, str | int | float] = {
        "treated": 100 * row["missing_treated"],
        "control": 100 * row["missing_control"],
        "low": 100 * float(np.nan_to_num(row["interval_low"])),
        "high": 100 * float(np.nan_to_num(row["interval_high"])),
    }
    worst = float(row["segment_gap"])
    sure = float(np.nan_to_num(row["segment_p"], nan=0.0)) < GAP_P
    values |= {
        "segment": str(row["segment"]),
        "segment_treated": 100 * float(row["segment_treated"]),
        "segment_control": 100 * float(row["segment_control"]),
    }
    lost = abs(row["gap"]) > LARGEST_GAP or (abs(worst) > LARGEST_GAP and sure)
    verdict = Verdict.DEMOTE if lost else Verdict.PASS
    return Check(code="ROX-J06", verdict=verdict, values=values)


def places_checks(arms: Arms, *, adjust: bool, rng: np.random.Generator) -> tuple[Check, ...]:
    """Say whether the lot chose places, and what so many of them allow (ROX-J07, ROX-J08, ROX-J09)."""
    if not arms.by_place:
        return (Check(code="ROX-J07", verdict=Verdict.PASS, values={"customers": int(arms.compared.sum())}),)
    side = arms.arm == arms.treated
    treated, control = (np.unique(arms.place[arms.compared & each]).size for each in (side, ~side))
    values: dict[str, str | int | float] = {"treated": treated, "control": control}
    checks = [Check(code="ROX-J07", verdict=Verdict.NOTE, values=values)]
    fewest = min(treated, control)
    verdict = Verdict.DEMOTE if fewest < TOO_FEW_PLACES else Verdict.PASS
    checks.append(Check(code="ROX-J08", verdict=verdict, values=values))
    if TOO_FEW_PLACES <= fewest < FEW_PLACES and np.unique(arms.block).size == 1:
        p = _dealt(arms, adjust=adjust, rng=rng)
        checks.append(Check(code="ROX-J09", verdict=Verdict.NOTE, values=values | {"p": p_value(p)}))
    return tuple(checks)


def _dealt(arms: Arms, *, adjust: bool, rng: np.random.Generator) -> float:
    """Deal the arms to places anew; what customers were before the lot is taken out without looking at the arm."""
    used = arms.compared & arms.seen
    side = np.asarray(arms.arm == arms.treated)
    left = np.zeros(len(used))
    for group in arms.groups:
        inside = used & (arms.segment == group)
        z = covariates(arms, inside, side, adjust=adjust)
        z = np.column_stack([np.ones(len(z)), z])
        left[inside] = arms.outcome[inside] - z @ np.linalg.lstsq(z, arms.outcome[inside], rcond=None)[0]
    labels, code = np.unique(arms.place[used], return_inverse=True)
    sizes, totals = np.bincount(code), np.bincount(code, weights=left[used])
    first = np.full(labels.size, len(code))
    np.minimum.at(first, code, np.arange(len(code)))
    return permuted_p(side[used][first], totals, sizes, rng=rng)


def segments_check(arms: Arms, min_cell: int) -> Check:
    """Name the segments that are too small (ROX-J10)."""
    need = max(FEWEST, min_cell)
    if not arms.small:
        return Check(code="ROX-J10", verdict=Verdict.PASS, values={"need": need})
    return Check(code="ROX-J10", verdict=Verdict.NOTE, values={"need": need, "segments": ", ".join(arms.small)})


def strata_check(arms: Arms) -> Check:
    """Count customers in strata too small to be compared by themselves (ROX-J11, ROX-J23).

    Merged with strata in which the lot gave the same share they are compared fairly, if less narrowly. Where there is
    no such stratum, a difference between strata would pass for the effect.

    Raises:
        FitError: The declared plan gave other shares to strata that would have to be read as one.
    """
    used, side = arms.compared & arms.seen, np.asarray(arms.arm == arms.treated)
    size, few, alone, apart, against = int(used.sum()), 0, 0, 0, 0
    for group in arms.groups:
        inside = used & (arms.segment == group)
        _, lone, other = strata(arms, inside, side)
        few, alone = few + np.unique(arms.block[inside][lone]).size, alone + int(lone.sum())
        apart, against = apart + int(other.sum()), against + int((other & np.isfinite(arms.planned[inside])).sum())
    if against / size > LOST_STRATA:
        raise FitError(
            f"Strata of experiment {arms.experiment} cannot be compared.",
            [
                f"{against} of {size} customers are in strata in which an arm has hardly anybody, or a single place, "
                "and no other stratum has the planned shares of theirs",
                "declare fewer strata, or leave out those that are too small",
            ],
        )
    if apart / size > LOST_STRATA:
        values = {"p": 100 * apart / size}
        return Check(code="ROX-J23", verdict=Verdict.DEMOTE, values=values, to_grade=Grade.D)
    verdict = Verdict.NOTE if alone / size > LOST_STRATA else Verdict.PASS
    return Check(code="ROX-J11", verdict=verdict, values={"strata": few, "p": 100 * alone / size})


def novelty_check(effects: Overall, arms: Arms) -> Check:
    """Ask whether the effect moves within the window (ROX-J12): it may wear off, or still be growing."""
    first, last = arms.window
    if last - first < 2:
        return Check(code="ROX-J13", verdict=Verdict.NOTE, values={"months": last - first + 1})
    inside = slice(first - 1, last)
    found = trend_of(effects.estimate[:last][inside], effects.covariance[inside, inside], np.arange(first, last + 1))
    moving = found.p < TREND
    values: dict[str, str | int | float] = {
        "slope": 100 * found.slope,
        "p": p_value(float(np.nan_to_num(found.p, nan=1.0))),
    }
    return Check(code="ROX-J12", verdict=Verdict.NOTE if moving else Verdict.PASS, values=values)


def compliance_check(table: pd.DataFrame, ratio: Ratio) -> Check:
    """Say how many took what was offered, and what it did to them (ROX-J14, ROX-J15)."""
    row = table.iloc[0]
    values = {
        "treated": 100 * float(row["taken_if_treated"]),
        "control": 100 * float(row["taken_if_control"]),
        "f": float(min(ratio.effective_f, 1e6)),
    }
    if ratio.effective_f < WEAK or ratio.robust_set.kind != "interval":
        return Check(code="ROX-J15", verdict=Verdict.NOTE, values=values)
    values |= {"cace": 100 * ratio.value, "low": 100 * ratio.robust_set.low, "high": 100 * ratio.robust_set.high}
    return Check(code="ROX-J14", verdict=Verdict.NOTE, values=values)


def looks_check(table: pd.DataFrame) -> Check:
    """Say which interval holds when the experiment was watched (ROX-J16)."""
    (low, high), (wide_low, wide_high) = (100 * table[["low", "high"]]).to_numpy(dtype=float)
    values: dict[str, str | int | float] = {
        "low": float(low),
        "high": float(high),
        "wide_low": float(wide_low),
        "wide_high": float(wide_high),
    }
    return Check(code="ROX-J16", verdict=Verdict.NOTE, values=values)


def answers_check(outcomes: pd.DataFrame) -> tuple[Check, ...]:
    """Say what the answers can tell (ROX-J17; ROX-J18 when the assignment changed who answers)."""
    if "score" not in outcomes.index:
        return ()
    rows = outcomes.to_dict("index")
    score, answered = rows["score"], rows["answered"]
    values: dict[str, str | int | float] = {
        "score": score["estimate"],
        "se": score["se"],
        "low": score["bound_low"],
        "high": score["bound_high"],
        "answers": 100 * answered["estimate"],
        "p": p_value(float(np.nan_to_num(answered["p"], nan=1.0))),
    }
    return (Check(code="ROX-J18" if answered["p"] < TREND else "ROX-J17", verdict=Verdict.NOTE, values=values),)


def secondary_check(outcomes: pd.DataFrame) -> Check:
    """Count the secondary outcomes that hold for their number (ROX-J19)."""
    adjusted = outcomes["p_adjusted"].dropna()
    held = int((adjusted < DISCOVERY).sum())
    return Check(code="ROX-J19", verdict=Verdict.NOTE, values={"held": held, "outcomes": len(adjusted)})


def precision_check(headline: Overall) -> Check:
    """Say which effect the experiment would have found (ROX-J20)."""
    estimate, se = float(headline.estimate[0]), float(headline.se[0])
    detectable = float((stats.norm.ppf(0.975) + stats.norm.ppf(POWER)) * se)
    low, high = (float(each[0]) for each in headline.interval(LEVEL))
    verdict = Verdict.NOTE if low <= 0 <= high else Verdict.PASS
    return Check(code="ROX-J20", verdict=verdict, values={"effect": 100 * estimate, "detectable": 100 * detectable})


def variance_check(adjusted: Overall, plain: Overall) -> Check:
    """Say how much of the variance what was known before took away (ROX-J21)."""
    kept = float(adjusted.covariance[0, 0] / plain.covariance[0, 0]) if plain.covariance[0, 0] > 0 else 1.0
    return Check(code="ROX-J21", verdict=Verdict.NOTE, values={"less": 100 * (1 - kept)})


def who_check(arms: Arms, effects: SegmentEffects) -> Check:
    """Say who was compared (ROX-J22)."""
    values: dict[str, str | int | float] = {
        "treated": int(effects.customers[:, 0].sum()),
        "control": int(effects.customers[:, 1].sum()),
        "first": month_label(int(arms.month.min())),
        "last": month_label(int(arms.month.max())),
        "others": len(arms.others),
    }
    return Check(code="ROX-J22", verdict=Verdict.NOTE, values=values)


def conflict_check(raw: float, se: float, prior_sd: float) -> Check:
    """Compare the estimate for all with what the prior expects of it (ROX-B01; Box 1980)."""
    p = float(2 * stats.norm.sf(abs(raw) / np.hypot(prior_sd, se)))
    return Check(code="ROX-B01", verdict=Verdict.NOTE if p < CONFLICT else Verdict.PASS, values={"p": p_value(p)})


def capped_check(share: float) -> Check:
    """Say how often the cap on growth was reached (ROX-L09)."""
    verdict = Verdict.NOTE if share > CAPPED_LIMIT else Verdict.PASS
    return Check(code="ROX-L09", verdict=verdict, values={"p": 100 * share})


def weights_of(shares: Floats, prior_sd: float, between: float) -> Floats:
    """Return the prior's standard deviation of each segment's effect and of their mean, shape (segment + 1,)."""
    spread = between**2 * np.append(np.ones(shares.size), (shares**2).sum())
    return np.asarray(np.sqrt(prior_sd**2 + spread))

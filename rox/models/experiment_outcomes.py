"""What an assignment did besides: money, leaving, answers, month by month, arm by arm, and where outcomes were lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from rox.models.experiment_fit import LEVEL, Overall, SegmentEffects, segment_effects
from rox.models.experiment_rows import FEWEST, FEWEST_PLACES, Arms, Bools, Floats
from rox.numerics.arms import benjamini_hochberg
from rox.numerics.attrition import imbens_manski, lee_bounds, mean_bounds
from rox.numerics.experiment import p_of
from rox.numerics.sequential import always_valid_p, confidence_sequence
from rox.numerics.weak_instrument import Ratio, wald_ratio

STILL = 1e-18
"""Variance below which all customers are alike in something; one such column is kept when there is no other."""


def row_of(found: Overall, column: int, customers: int) -> dict[str, float]:
    """Write one outcome of an overall effect as a row of a table."""
    low, high = found.interval()
    return {
        "estimate": float(found.estimate[column]),
        "se": float(found.se[column]),
        "low": float(low[column]),
        "high": float(high[column]),
        "p": float(found.p()[column]),
        "control": float(found.control[column]),
        "customers": customers,
    }


def outcomes_table(
    arms: Arms, headline: Overall, money: int, shares: Floats, *, adjust: bool, span: tuple[float, float]
) -> pd.DataFrame:
    """Estimate the effect on every outcome: ``ratio``, the primary, and secondary ones with p-values for their number.

    ``money`` per customer and month, neither divided nor capped; ``left``, the share who had left by the end of the
    window; ``answered``, the share who answered in it; ``score`` of those who did, with bounds for all customers in
    ``bound_low`` and ``bound_high``: whoever kept silent may have thought anything.

    Args:
        arms: The experiment.
        headline: The effects on the ratio, first, and on money.
        money: Column of money in it.
        shares: Share of each segment.
        adjust: Whether to adjust.
        span: Lowest and highest score.
    """
    everyone = int(arms.compared.sum())
    seen = int((arms.compared & arms.seen).sum())
    table = {"ratio": row_of(headline, 0, seen), "money": row_of(headline, money, seen)}
    both = np.column_stack([arms.exited, arms.answered]).astype(float)
    rest = segment_effects(arms, both, adjust=adjust, known=np.ones(len(both), dtype=bool)).overall(shares)
    table["left"] = row_of(rest, 0, everyone)
    if arms.answered[arms.compared].any():
        table["answered"] = row_of(rest, 1, everyone)
        table |= _score(arms, shares, adjust=adjust, span=span)
    frame = pd.DataFrame.from_dict(table, orient="index").rename_axis("outcome")
    adjusted = np.full(len(frame), np.nan)
    adjusted[1:] = benjamini_hochberg(frame["p"].to_numpy()[1:])
    frame.insert(5, "p_adjusted", adjusted)
    return frame


def _score(arms: Arms, shares: Floats, *, adjust: bool, span: tuple[float, float]) -> dict[str, dict[str, float]]:
    """Compare the answers of those who answered, in segments with enough of them, and bound everybody's."""
    kept = [place for place, group in enumerate(arms.groups) if _enough(arms, arms.segment == group)]
    if not kept:
        return {}
    part = replace(arms, groups=tuple(arms.groups[place] for place in kept))
    weight = shares[kept] / shares[kept].sum()
    scores = np.nan_to_num(arms.score)[:, None]
    found = segment_effects(part, scores, adjust=adjust, known=arms.answered).overall(weight)
    ends = np.zeros(2)
    for group, share in zip(part.groups, weight, strict=True):
        bounds = {}
        for arm in (arms.treated, arms.control):
            inside = (arms.segment == group) & (arms.arm == arm)
            bounds[arm] = mean_bounds(
                arms.score[inside & arms.answered], int(inside.sum()), lowest=span[0], highest=span[1]
            )
        (low1, high1), (low0, high0) = bounds[arms.treated], bounds[arms.control]
        ends += share * np.array([low1 - high0, high1 - low0])
    customers = int((part.compared & arms.answered).sum())
    return {"score": row_of(found, 0, customers) | {"bound_low": float(ends[0]), "bound_high": float(ends[1])}}


def _enough(arms: Arms, inside: Bools) -> bool:
    for arm in (arms.treated, arms.control):
        those = inside & arms.answered & (arms.arm == arm)
        if those.sum() < FEWEST or (arms.by_place and np.unique(arms.place[those]).size < FEWEST_PLACES):
            return False
    return True


def by_month(arms: Arms, effects: SegmentEffects, months: Sequence[int], shares: Floats) -> pd.DataFrame:
    """Tabulate the effect in each month after the lot by segment and for all, with 90% intervals, not pooled.

    Args:
        arms: The experiment.
        effects: Effects whose first columns are those of the months.
        months: Months after the lot.
        shares: Share of each segment.
    """
    m = len(months)
    weights = dict(zip(arms.groups, np.eye(len(arms.groups)), strict=True)) | {"all": shares}
    parts = []
    for group, weight in weights.items():
        found = effects.overall(weight)
        low, high = found.interval()
        parts.append(
            pd.DataFrame(
                {
                    "group": group,
                    "month": list(months),
                    "estimate": found.estimate[:m],
                    "se": found.se[:m],
                    "low": low[:m],
                    "high": high[:m],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def compliance(arms: Arms, shares: Floats, *, adjust: bool) -> tuple[pd.DataFrame, Ratio] | None:
    """Divide the effect of the assignment by how many took what was offered because of it.

    The ratio is the effect on those who take it when assigned and not otherwise, if assignment works through taking
    alone and drives nobody away from it (Imbens & Angrist 1994), with the set of Anderson & Rubin.

    Who is not known to have taken it counts as if not; ``unknown`` is their share.

    Returns:
        The table, one row; and the ratio. None where taking was not recorded or did not differ.
    """
    if arms.taken is None:
        return None
    taken = np.nan_to_num(arms.taken)
    used = arms.compared & arms.seen
    if np.ptp(taken[used]) == 0:
        return None
    found = segment_effects(arms, np.column_stack([arms.outcome_or_zero, taken]), adjust=adjust).overall(shares)
    if not found.covariance[1, 1] > 0:
        gap = float(found.estimate[1])
        spread = found.covariance + np.diag([0.0, (1e-6 * gap) ** 2])
    else:
        spread = found.covariance
    ratio = wald_ratio(
        float(found.estimate[0]), float(found.estimate[1]), spread, level=LEVEL, df=float(found.df.min())
    )
    bounded = ratio.robust_set.kind == "interval"
    table = pd.DataFrame(
        {
            "taken_if_treated": [found.treated[1]],
            "taken_if_control": [found.control[1]],
            "difference": [found.estimate[1]],
            "unknown": [float(np.isnan(arms.taken[used]).mean())],
            "effective_f": [ratio.effective_f],
            "cace": [ratio.value],
            "se": [ratio.se],
            "low": [ratio.robust_set.low if bounded else np.nan],
            "high": [ratio.robust_set.high if bounded else np.nan],
        },
        index=pd.Index(["all"], name="group"),
    )
    return table, ratio


def attrition(arms: Arms, shares: Floats) -> pd.DataFrame:
    """Compare how many customers' money is missing, and bound the effect on those whose money never would be.

    Bounds are Lee's within segments, averaged; where places were assigned their errors are widened by what that does to
    the difference in means.

    Returns:
        One row: ``missing_treated``, ``missing_control``, ``gap`` and ``p``; ``segment``, the one whose gap is largest,
        with ``segment_treated``, ``segment_control``, ``segment_gap`` and ``segment_p``; ``low``, ``high`` (bounds) and
        ``interval_low``, ``interval_high``, NaN where no money is missing.
    """
    n = len(arms.seen)
    lost = (~arms.seen).astype(float)[:, None]
    row: dict[str, float | str] = {"missing_treated": 0.0, "missing_control": 0.0, "gap": 0.0, "p": np.nan}
    row |= {"segment": arms.groups[0], "segment_treated": 0.0, "segment_control": 0.0}
    row |= {"segment_gap": 0.0, "segment_p": np.nan}
    names = ("low", "high", "interval_low", "interval_high")
    if not lost[arms.compared].any():
        return pd.DataFrame([row | dict.fromkeys(names, np.nan)], index=pd.Index(["all"], name="group"))
    inside = segment_effects(arms, lost, adjust=False, known=np.ones(n, dtype=bool))
    found = inside.overall(shares)
    worst = int(np.abs(inside.estimate[:, 0]).argmax())
    row |= {
        "segment": arms.groups[worst],
        "segment_treated": float(inside.treated[worst, 0]),
        "segment_control": float(inside.control[worst, 0]),
        "segment_gap": float(inside.estimate[worst, 0]),
        "segment_p": p_of(float(inside.estimate[worst, 0]), float(inside.se[worst, 0]), float(inside.df[worst, 0])),
        "missing_treated": float(found.treated[0]),
        "missing_control": float(found.control[0]),
        "gap": float(found.estimate[0]),
        "p": float(found.p()[0]),
    }
    plain = segment_effects(arms, arms.outcome_or_zero[:, None], adjust=False)
    ends, variance = np.zeros(2), np.zeros(2)
    for place, (group, share) in enumerate(zip(arms.groups, shares, strict=True)):
        sides = [(arms.segment == group) & (arms.arm == arm) for arm in (arms.treated, arms.control)]
        seen = [arms.outcome[side & arms.seen] for side in sides]
        bounds = lee_bounds(seen[0], int(sides[0].sum()), seen[1], int(sides[1].sum()), level=LEVEL)
        single = np.sqrt(sum(y.var(ddof=1) / y.size for y in seen))
        wider = max(1.0, float(plain.se[place, 0] / single)) if arms.by_place and single > 0 else 1.0
        ends += share * np.array([bounds.low, bounds.high])
        variance += (share * wider * np.array([bounds.low_se, bounds.high_se])) ** 2
    interval = imbens_manski(*ends, *np.sqrt(variance), level=LEVEL)
    row |= dict(zip(names, (*map(float, ends), *interval), strict=True))
    return pd.DataFrame([row], index=pd.Index(["all"], name="group"))


def at_any_time(headline: Overall) -> pd.DataFrame:
    """Put the interval for one look beside the one that holds however often the experiment was looked at."""
    estimate, se = float(headline.estimate[0]), float(headline.se[0])
    low, high = headline.interval()
    always = confidence_sequence(estimate, se, level=LEVEL)
    rows = {
        "one_look": (estimate, low[0], high[0], headline.p()[0]),
        "any_time": (estimate, always.low[0], always.high[0], always_valid_p(estimate, se, level=LEVEL)),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["estimate", "low", "high", "p"]).rename_axis(
        "interval"
    )


def other_arms(arms: Arms, shares: Floats, *, adjust: bool) -> pd.DataFrame:
    """Compare each arm with control, in the segments that have enough customers of it; p-values for their number."""
    table = {}
    for arm in (arms.treated, *arms.others):
        enough = [
            place
            for place, group in enumerate(arms.groups)
            if _members(arms, arm, group) >= FEWEST and _spread(arms, arm, group)
        ]
        if not enough:
            continue
        part = replace(arms, groups=tuple(arms.groups[place] for place in enough))
        weight = shares[enough] / shares[enough].sum()
        found = segment_effects(part, arms.outcome[:, None], adjust=adjust, treated=arm).overall(weight)
        inside = arms.in_arms(arm) & arms.seen & np.isin(arms.segment, part.groups)
        table[arm] = row_of(found, 0, int(inside.sum()))
    frame = pd.DataFrame.from_dict(table, orient="index").rename_axis("arm")
    frame.insert(5, "p_adjusted", benjamini_hochberg(frame["p"].to_numpy()))
    return frame


def _members(arms: Arms, arm: str, group: str) -> int:
    return int((arms.in_arms(arm) & (arms.arm == arm) & arms.seen & (arms.segment == group)).sum())


def _spread(arms: Arms, arm: str, group: str) -> bool:
    inside = arms.in_arms(arm) & (arms.arm == arm) & arms.seen & (arms.segment == group)
    return not arms.by_place or np.unique(arms.place[inside]).size >= FEWEST_PLACES


def balance_table(arms: Arms, shares: Floats) -> tuple[pd.DataFrame, Overall]:
    """Compare the arms on what was known before the lot, within what it was drawn within.

    Returns:
        Per variable the means and ``smd``, their difference in standard deviations between customers of a segment; and
        the differences with their covariance.
    """
    columns: list[Floats] = []
    names: list[tuple[str, float]] = []
    for name in arms.before:
        values = arms.before[name].to_numpy(dtype=float)
        filled = np.zeros(len(values))
        spread = 0.0
        for group, share in zip(arms.groups, shares, strict=True):
            inside = arms.segment == group
            known = inside & np.isfinite(values)
            mean = values[known].mean() if known.any() else 0.0
            filled[inside] = np.where(np.isfinite(values[inside]), values[inside], mean)
            spread += share * filled[inside & arms.compared].var()
        if spread > STILL or (not names and name == arms.before.columns[-1]):
            names.append((str(name), float(np.sqrt(spread)) if spread > STILL else 1.0))
            columns.append(filled)
    everyone = np.ones(len(arms.before), dtype=bool)
    found = segment_effects(arms, np.column_stack(columns), adjust=False, known=everyone).overall(shares)
    table = pd.DataFrame(
        {
            "treated": found.treated,
            "control": found.control,
            "smd": found.estimate / np.array([sd for _, sd in names]),
            "p": found.p(),
        },
        index=pd.Index([name for name, _ in names], name="variable"),
    )
    return table, found

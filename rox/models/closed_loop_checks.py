"""Whether the lot was kept, whether capacity pushed, whether weights can be trusted, and how far chance reaches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.check import Check, Grade, Verdict
from rox.models.closed_loop_cases import BEFORE, Cases
from rox.models.closed_loop_designs import ByContact, Capacity, Sample
from rox.models.evidence import demoted_to
from rox.models.phrases import p_value

Floats = NDArray[np.float64]
Values = dict[str, str | int | float]

MISMATCH = 0.001
"""Chance below which a lot was not kept."""
UNLIKE = 0.001
"""Chance below which arms drawn by lot differ too much in what was recorded before."""
APART = 0.02
"""Largest difference between arms in the share of customers whose outcome is unknown."""
SEGMENT_P = 0.01
"""Chance below which the unknown outcomes of one segment differ between arms."""
CAPPED_LIMIT = 0.05
STRONG, WEAK = 23.0, 4.0
"""First-stage F above which usual errors hold, and below which a ratio means nothing (Montiel Olea & Pflueger 2013)."""
NEGATIVE_P = 0.05
THIN = 0.10
"""Share of customers with almost no counterpart from which on a comparison describes the others only."""
PREFERRED_SHARE = 15
NORMAL_90 = 1.6448536269514722


def hold_out_checks(sample: Sample, declared: float | None, *, per_contacted: bool) -> tuple[Check, ...]:
    """Ask whether the lot was kept: its share, the facts of both arms, calls to those held out, unknown outcomes."""
    checks = [share_check(sample.column("held"), declared), balance_check(sample), attrition_check(sample.cases)]
    held = sample.column("held") == 1
    if sample.column("ever").any():
        breach = float(sample.column("ever")[held].mean())
        verdict = Verdict.NOTE if breach > 0 else Verdict.PASS
        checks.append(Check(code="ROX-H04", verdict=verdict, values={"p": 100 * breach}))
    if per_contacted:
        loop = sample.column("held") == 0
        mass = sample.mass[loop] / sample.mass[loop].sum()
        ever, first = float(mass @ sample.column("ever")[loop]), float(mass @ sample.column("contacted")[loop])
        checks.append(Check(code="ROX-H05", verdict=Verdict.NOTE, values={"ever": 100 * ever, "first": 100 * first}))
    return tuple(checks)


def share_check(held: Floats, declared: float | None) -> Check:
    """Compare the share of customers held out with the declared one (ROX-H01), or say that none is (ROX-H02)."""
    drawn = held[np.isfinite(held)]
    seen = float(drawn.mean())
    values: Values = {"held": int(drawn.sum()), "customers": drawn.size, "seen": 100 * seen}
    if declared is None:
        return Check(code="ROX-H02", verdict=Verdict.NOTE, values=values)
    p = float(stats.binomtest(int(drawn.sum()), drawn.size, declared).pvalue)
    return demoted_to(Grade.D, "ROX-H01", p < MISMATCH, {**values, "declared": 100 * declared, "p": p_value(p)})


def balance_check(sample: Sample) -> Check:
    """Test all facts at once: their means may differ between arms by chance only (ROX-H03)."""
    table = balance_table(sample)
    held = sample.column("held")
    drawn = np.isfinite(held)
    x, d = sample.cases.facts[drawn], held[drawn] == 1
    gap = x[d].mean(0) - x[~d].mean(0)
    covariance = np.atleast_2d(np.cov(x, rowvar=False)) * (1 / d.sum() + 1 / (~d).sum())
    rank = int(np.linalg.matrix_rank(covariance, hermitian=True))
    p = float(stats.chi2.sf(gap @ np.linalg.pinv(covariance, hermitian=True) @ gap, rank))
    apart = table["difference"].to_numpy(dtype=float)
    worst = int(np.abs(apart).argmax())
    values: Values = {"fact": sample.cases.names[worst], "smd": float(apart[worst]), "facts": rank, "p": p_value(p)}
    return demoted_to(Grade.C, "ROX-H03", p < UNLIKE, values)


def balance_table(sample: Sample) -> pd.DataFrame:
    """Tabulate differences of recorded facts in standard deviations: loop less held out, contacted less not."""
    x, held, contacted = sample.cases.facts, sample.column("held"), sample.column("contacted") == 1
    spread = np.where(x.std(0) > 0, x.std(0), 1.0)
    columns = {"difference": (held == 0, held == 1), "by_contact": (sample.loop & contacted, sample.loop & ~contacted)}
    table = {
        name: (x[one].mean(0) - x[two].mean(0)) / spread if one.any() and two.any() else np.full(x.shape[1], np.nan)
        for name, (one, two) in columns.items()
    }
    return pd.DataFrame(table, index=pd.Index(sample.cases.names, name="fact"))


def attrition_check(cases: Cases) -> Check:
    """Compare how often the outcome is unknown in the two arms, over all and by segment (ROX-H06).

    A gap of one segment, which gaps of others may hide, counts where it is large and Fisher's exact test finds it; the
    shares said are then those of the segment with the largest one.
    """
    table = cases.unknown
    sums = {arm: table[table.index.get_level_values("held") == arm].droplevel("held") for arm in (0.0, 1.0)}
    loop, held = (float(each["sum"].sum() / max(each["size"].sum(), 1)) for each in (sums[0.0], sums[1.0]))
    fails = abs(loop - held) > APART
    if fails:
        return demoted_to(Grade.B, "ROX-H06", True, {"loop": 100 * loop, "held": 100 * held})
    both = sums[0.0].join(sums[1.0], lsuffix="_loop", rsuffix="_held", how="inner")
    by_arm = [both[f"sum_{arm}"] / both[f"size_{arm}"] for arm in ("loop", "held")]
    apart = np.abs((by_arm[0] - by_arm[1]).to_numpy(dtype=float))
    for place in np.flatnonzero(apart > APART):
        missing = both[["sum_loop", "sum_held"]].to_numpy()[place]
        known = both[["size_loop", "size_held"]].to_numpy()[place] - missing
        if stats.fisher_exact([missing, known])[1] >= SEGMENT_P:
            apart[place] = 0.0
    if apart.size and apart.max() > APART:
        worst = int(apart.argmax())
        loop, held = (float(each.iloc[worst]) for each in by_arm)
        fails = True
    return demoted_to(Grade.B, "ROX-H06", fails, {"loop": 100 * loop, "held": 100 * held})


def cases_checks(cases: Cases, left_out: Mapping[str, int], *, min_cell: int, need: int) -> tuple[Check, ...]:
    """Remark on ratios that were cut (ROX-H07) and on segments that cannot be compared (ROX-H08)."""
    verdict = Verdict.NOTE if cases.capped > CAPPED_LIMIT else Verdict.PASS
    cut = Check(code="ROX-H07", verdict=verdict, values={"p": 100 * cases.capped})
    names = ", ".join(f"{name} ({n if n >= min_cell else f'<{min_cell}'})" for name, n in sorted(left_out.items()))
    verdict = Verdict.NOTE if left_out else Verdict.PASS
    return cut, Check(code="ROX-H08", verdict=verdict, values={"segments": names, "need": need})


def chance_check(draws: Floats) -> Check:
    """Compare the reach of chance with the effect (ROX-H10)."""
    low, high = np.quantile(draws, [0.05, 0.95])
    effect, reach = float(draws.mean()), float(high - low) / 2
    times = (3 * reach / NORMAL_90 / effect) ** 2 if effect else np.inf
    values: Values = {"reach": 100 * reach, "effect": 100 * effect, "times": float(min(np.ceil(times), 1000))}
    return Check(code="ROX-H10", verdict=Verdict.NOTE if reach > abs(effect) / 2 else Verdict.PASS, values=values)


def naive_check(found: ByContact | None, headline: float, scale: float) -> tuple[Check, ...]:
    """Say what contacted less not contacted would have claimed (ROX-H09), and where weights fail (ROX-H19)."""
    if found is None:
        return ()
    values: Values = {"naive": 100 * scale * found.naive[0], "effect": 100 * headline}
    said = Check(code="ROX-H09", verdict=Verdict.NOTE, values=values)
    return (said,) if found.aipw is not None else (said, Check(code="ROX-H19", verdict=Verdict.NOTE))


def missing_hold_out() -> Check:
    """Advise to hold customers out by lot (ROX-P03)."""
    return Check(code="ROX-P03", verdict=Verdict.NOTE, values={"x": PREFERRED_SHARE})


def weak_capacity(found: Capacity | None) -> tuple[Check, ...]:
    """Say that capacity pushed too weakly to be more than a rival, whose set holds all the same (ROX-H11)."""
    if found is None or not WEAK <= found.f < STRONG or found.ratio.robust_set.kind != "interval":
        return ()
    bounds = found.ratio.robust_set
    values: Values = {"f": found.f, "low": 100 * bounds.low, "high": 100 * bounds.high, "places": found.places}
    return (Check(code="ROX-H11", verdict=Verdict.NOTE, values=values),)


def capacity_checks(found: Capacity, past: Capacity | None, horizon: int) -> tuple[Check, ...]:
    """Say how strongly capacity pushed (ROX-H11), what is assumed of it (ROX-H12), and try it on the past (ROX-H13)."""
    ratio = found.ratio
    values: Values = {"f": found.f, "low": 100 * ratio.robust_set.low, "high": 100 * ratio.robust_set.high}
    checks = [
        Check(code="ROX-H11", verdict=Verdict.PASS, values={**values, "places": found.places}),
        Check(code="ROX-H12", verdict=Verdict.NOTE),
    ]
    if past is None or past.f < WEAK:
        return (*checks, Check(code="ROX-H18", verdict=Verdict.DEMOTE, to_grade=Grade.C))
    gap = past.money / past.contact
    error = float(np.sqrt(past.covariance[0, 0])) / abs(past.contact)
    return (*checks, negative_check(gap, error, ratio.value, horizon, grade=Grade.C))


def negative_check(gap: float, error: float, effect: float, horizon: int, *, grade: Grade) -> Check:
    """Ask for an effect on money before eligibility, which no contact can have (ROX-H13).

    It passes when none is seen and one large enough to explain the estimate would have been.
    """
    p = float(2 * stats.norm.sf(abs(gap) / error)) if error > 0 else 1.0
    reach = (abs(gap) + NORMAL_90 * error) * horizon / BEFORE
    values: Values = {"gap": 100 * gap, "se": 100 * error, "months": BEFORE, "p": p_value(p), "reach": 100 * reach}
    fails = p < NEGATIVE_P or reach > abs(effect)
    return demoted_to(grade, "ROX-H13", fails, {**values, "effect": 100 * effect})


def weights_checks(
    sample: Sample, found: ByContact, past: ByContact | None, horizon: int, *, min_cell: int
) -> tuple[Check, ...]:
    """Say what weights rest on: facts alone (ROX-H16), overlap (ROX-H17), no effect on the past (ROX-H13), exits."""
    early = int((~sample.here & (sample.column("held") != 1)).sum())
    left: Values = {"customers": early if early >= min_cell else f"<{min_cell}"}
    checks = [Check(code="ROX-H15", verdict=Verdict.NOTE if early else Verdict.PASS, values=left)]
    checks.append(Check(code="ROX-H16", verdict=Verdict.NOTE, values={"facts": len(sample.cases.names)}))
    if found.overlap is not None:
        fails = found.overlap.extreme > THIN
        checks.append(demoted_to(Grade.D, "ROX-H17", fails, {"p": 100 * found.overlap.extreme}))
    effect = found.aipw or found.regression
    if past is None or past.aipw is None:
        return (*checks, Check(code="ROX-H18", verdict=Verdict.DEMOTE, to_grade=Grade.D))
    return (*checks, negative_check(*past.aipw, effect[0], horizon, grade=Grade.D))

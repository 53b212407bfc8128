"""What is tested of a joint model of money and answers, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.check import Check, Grade, Verdict
from rox.models.joint_path_rows import BUCKETS, FEWEST_ANSWERS, PathRows
from rox.models.phrases import amount, p_value
from rox.numerics.jackknife import Jackknife, bucket_jackknife
from rox.numerics.joint_path import Paths
from rox.numerics.joint_path_fit import JointPath
from rox.numerics.lead_lag import misfit_p_value

Floats = NDArray[np.float64]
Values = dict[str, str | int | float]

PLACES = np.arange(-2, 6)
"""Steps around an answer whose growth is compared with the fit; 1 is the first after it."""
FEWEST_BESIDE = 100
MISFIT_P, ATTENTION_P = 0.01, 0.01
FITTED = 2
"""Parameters that shape the profile: response and attention."""
PACE, MEMORY = (0.01, 0.30), (0.30, 0.985)
"""Outside of these a month is too long or the panel too short to tell."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """Covariance of answers with the growth of the steps around them, all segments together.

    Attributes:
        places: Shape (k,): steps.
        found: The covariances, with their errors.
        fitted: Shape (k,): what the model gives for the same answers.
    """

    places: NDArray[np.int64]
    found: Jackknife
    fitted: Floats


def misfit(paths: Sequence[Paths], fitted: JointPath) -> tuple[Profile, Check]:
    """Test whether answers go with the growth around them as the model has it (ROX-A53)."""
    sums = _growth_beside_answers(paths, fitted)
    used = sums[:, 2].sum(0) >= FEWEST_BESIDE
    sums, places = sums[..., used], PLACES[used]
    found = bucket_jackknife(lambda total: total[0] / total[2], sums)
    away = bucket_jackknife(lambda total: (total[0] - total[1]) / total[2], sums)
    total = sums.sum(0)
    p = misfit_p_value(away.estimate, away.covariance, FITTED, clusters=BUCKETS) if len(places) > FITTED else 1.0
    values: Values = {"p": p_value(p), "steps": len(places)}
    profile = Profile(places=places, found=found, fitted=total[1] / total[2])
    if p < MISFIT_P:
        return profile, Check(code="ROX-A53", verdict=Verdict.DEMOTE, values=values, to_grade=Grade.D)
    return profile, Check(code="ROX-A53", verdict=Verdict.PASS, values=values)


def _growth_beside_answers(paths: Sequence[Paths], fitted: JointPath) -> Floats:
    """Sum answer times growth, what the model gives for it, and their number; (bucket, 3, place)."""
    sums = np.zeros((BUCKETS, 3, len(PLACES)))
    for part, cross in zip(paths, fitted.answers_with_money(), strict=True):
        wave = np.searchsorted(fitted.waves, part.answered)
        last = np.searchsorted(part.months, part.answered, side="right") - 1
        for k, place in enumerate(PLACES):
            inside = np.flatnonzero((last + place >= 1) & (last + place < len(part.months)))
            end, who = last[inside] + place, part.who[inside]
            growth = part.money[who, end] - part.money[who, end - 1]
            model = cross[wave[inside], end] - cross[wave[inside], end - 1]
            there = np.isfinite(growth)
            bucket = part.bucket[who[there]]
            for row, each in enumerate((part.answer[inside] * growth, model, np.ones(len(end)))):
                sums[:, row, k] += np.bincount(bucket, weights=each[there], minlength=BUCKETS)
    return sums


def profile_table(profile: Profile) -> pd.DataFrame:
    """List the covariance of an answer with the growth of each step around it, and what the model gives."""
    return pd.DataFrame(
        {
            "covariance": profile.found.estimate,
            "low": profile.found.low,
            "high": profile.found.high,
            "fitted": profile.fitted,
        },
        index=pd.Index(profile.places, name="quarter"),
    )


def left_out(rows: PathRows) -> tuple[Check, ...]:
    """Name the segments with too few answers (ROX-A50), and say so when places move on their own (ROX-A51)."""
    checks = []
    if rows.thin:
        values: Values = {"segments": ", ".join(rows.thin), "need": FEWEST_ANSWERS}
        checks.append(Check(code="ROX-A50", verdict=Verdict.NOTE, values=values))
    if not rows.by_place:
        checks.append(Check(code="ROX-A51", verdict=Verdict.NOTE, values={}))
    return tuple(checks)


def attention(fitted: JointPath) -> Check:
    """Say whether experience follows money, which is allowed for (ROX-A52)."""
    psi = fitted.attention
    statistic = float(psi @ np.linalg.solve(fitted.attention_covariance, psi))
    p = float(stats.f.sf(statistic / len(psi), len(psi), BUCKETS - len(psi)))
    values: Values = {
        "low": 0.1 * float(psi.min()),
        "high": 0.1 * float(psi.max()),
        "p": p_value(p),
    }
    return Check(code="ROX-A52", verdict=Verdict.NOTE if p < ATTENTION_P else Verdict.PASS, values=values)


def settled(fitted: JointPath) -> Check:
    """Say how fast money adjusts and experience fades, and whether that could be measured (ROX-A55)."""
    inside = PACE[0] <= fitted.adjustment <= PACE[1] and MEMORY[0] <= fitted.memory <= MEMORY[1]
    values: Values = {"adjustment": 100 * fitted.adjustment, "memory": 100 * fitted.memory}
    return Check(code="ROX-A55", verdict=Verdict.PASS if inside else Verdict.NOTE, values=values)


def precision(draws: Floats, currency: str) -> Check:
    """Say when chance alone may move the figure by more than half of it (ROX-A54)."""
    low, high = np.quantile(draws, [0.05, 0.95])
    wide = high - low > abs(draws.mean())
    values: Values = {"low": amount(float(low), currency), "high": amount(float(high), currency)}
    return Check(code="ROX-A54", verdict=Verdict.NOTE if wide else Verdict.PASS, values=values)

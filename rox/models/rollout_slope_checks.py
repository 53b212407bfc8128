"""What stands behind the slope of a roll-out: both stages, the checks that ran on them, and their tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.case import EVERYONE
from rox.core.check import Check, Verdict
from rox.core.errors import FitError
from rox.core.linked import Linked, month_label
from rox.core.units import Unit
from rox.models.answers import outcome_unit
from rox.models.parallel_trends import assignment_check, checks_of_leads, dip_check, drift_check
from rox.models.phrases import amount, p_value
from rox.models.population import Population, shown
from rox.models.rollout import Rollout
from rox.models.rollout_att import Control, RolloutATT, rollout_att
from rox.models.rollout_outcomes import score_effect
from rox.models.rollout_precision import FEW_PLACES, TOO_FEW_PLACES, normal_p_value
from rox.models.rollout_ratio import PooledRatio
from rox.models.rollout_score import MONEY_BINS, READINGS, CohortAnswers, Reading, ScoreGain, exposure, lead_gain
from rox.models.shift import counted_rows, shifts_of, unit_table

Floats = NDArray[np.float64]

STRONG, WEAK, USELESS = 23.1, 10.0, 4.0
"""F of the first stage: ordinary from 23.1 (Montiel Olea & Pflueger 2013: bias below a tenth of the worst), a lower
grade below 10, a refusal below 4."""
LEVEL, SET_LEVELS = 0.05, (0.80, 0.90, 0.95)
NEAR, APART = 0.10, 0.25
"""Distance between two readings of the score, relative to the one used, that is remarked on, and that lowers the grade
when it is clear."""
AT_ONCE = (0, 1)
"""Months since the start in which experience cannot have moved much money yet."""
AT_ONCE_LEVEL = 0.01
CAPPED_LIMIT = 0.05
LARGE = 300
"""Customers of a segment from which on it is split by money."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MoneyEffect:
    """Effect on the ratio of money by segment. s = segments, u = places.

    Attributes:
        estimate: Shape (s,): over the window.
        influence: Shape (u, s).
        early: Shape (s,): in the first months.
        early_influence: Shape (u, s).
    """

    estimate: Floats
    influence: Floats
    early: Floats
    early_influence: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Stages:
    """The effect on money and the readings of the gain of score that it is divided by.

    Attributes:
        cohort: The cohort.
        att: The effect on money, customers counting equally.
        effect: The same by segment, thirds by money counting by what they hold.
        gains: Of score, by reading.
        people: The company's customers.
        df: Degrees of freedom.
    """

    cohort: Rollout
    att: RolloutATT
    effect: MoneyEffect
    gains: Mapping[Reading, ScoreGain]
    people: Population
    df: int

    @property
    def money(self) -> Floats:
        """Shape (s,): money per customer, by segment."""
        return self.people.baseline["money"].to_numpy(dtype=float)


def require_money(data: Linked) -> None:
    """Refuse data without a score, or without money by month.

    Raises:
        FitError: What is missing.
    """
    faults = []
    if not data.score:
        faults.append("no score was linked; link with score=…, or use StaggeredUplift, which needs none")
    if outcome_unit(data)[0] is Unit.COUNT or data.study.outcomes[data.outcome].table == "answers":
        faults.append("money by month is needed; a count, or an amount beside the answers, cannot be followed")
    if faults:
        raise FitError("These data do not hold what the question asks for.", faults)


def places_seen(cohort: Rollout, att: RolloutATT) -> tuple[int, int]:
    """Count started places, and the fewest that any month is compared with.

    Raises:
        FitError: Fewer than six on either side.
    """
    treated = int((att.members & (cohort.sizes.sum(1) > 0)).sum())
    if min(treated, att.comparisons) < TOO_FEW_PLACES:
        raise FitError(
            "Too few places to say how sure a ratio is.",
            [
                f"{treated} places started and are seen through the window, compared with at least {att.comparisons}",
                f"needed: {TOO_FEW_PLACES} on either side; ask for a shorter window, or use StaggeredUplift",
            ],
        )
    return treated, att.comparisons


def effect_by_money(cohort: Rollout, att: RolloutATT, answers: CohortAnswers, *, control: Control) -> MoneyEffect:
    """Estimate the effect on the ratio by thirds of each segment by money, and weigh thirds by what they hold.

    Where those who hold more react less in proportion, a mean over customers is not a share of their money. Segments
    of fewer than 300 customers are left whole.
    """
    large = np.bincount(cohort.group, minlength=len(cohort.groups)) >= LARGE
    names, part = np.unique(cohort.group * MONEY_BINS + answers.money * large[cohort.group], return_inverse=True)
    parts = replace(cohort, group=part.astype(np.int64), groups=tuple(str(name) for name in names))
    found = rollout_att(parts, parts.means(parts.ratio), window=att.window_months, control=control)
    segment = names // MONEY_BINS
    held = np.bincount(part, weights=answers.held)
    share = held[:, None] * (segment[:, None] == np.arange(len(cohort.groups)))
    share = share / share.sum(0)
    early, pushed = at_once(found)
    return MoneyEffect(
        estimate=found.estimate @ share,
        influence=found.influence @ share,
        early=early[:-1] @ share,
        early_influence=pushed[:, :-1] @ share,
    )


def require_strength(slope: PooledRatio, found: Stages) -> None:
    """Refuse to divide by a gain that cannot be told from none.

    Raises:
        FitError: F below 4, or a 90% set without ends.
    """
    ratio, gain = slope.ratio(0.9, found.df), found.gains["within"]
    if ratio.effective_f >= USELESS and ratio.robust_set.kind == "interval":
        return
    raise FitError(
        "The roll-out did not move the score enough to divide by what it did to it.",
        [
            f"gain of score {gain.overall:+.2f} (standard error {gain.se:.2f}), F = {ratio.effective_f:.1f}; "
            f"needed: {USELESS:g} or more, better {WEAK:g}",
            "report the roll-out's effect on money itself (StaggeredUplift)",
            "or survey more customers of these places again, or wait for more starts or months",
        ],
    )


def design_checks(found: Stages, leads: int) -> tuple[Check, ...]:
    """Judge how places were chosen and how their money moved before the start (ROX-L01 to ROX-L07, ROX-L21)."""
    cohort, att, shares = found.cohort, found.att, found.people.shares
    before = checks_of_leads(att, leads=leads, shares=shares)
    return (assignment_check(cohort, before), *before, dip_check(cohort, att), drift_check(cohort, att, shares))


def few_places_check(places: tuple[int, int], df: int) -> Check:
    """Say when places are few, so that intervals use Student's t (ROX-I16)."""
    verdict = Verdict.NOTE if min(places) < FEW_PLACES else Verdict.PASS
    return Check(code="ROX-I16", verdict=verdict, values={"treated": places[0], "compared": places[1], "df": df})


def strength_check(slope: PooledRatio, found: Stages, currency: str) -> Check:
    """Grade the first stage (ROX-I11)."""
    ratio, whole = slope.ratio(0.9, found.df), float(found.money @ found.people.shares)
    ends = sorted((whole * ratio.robust_set.low, whole * ratio.robust_set.high))
    f = ratio.effective_f
    verdict = Verdict.DEMOTE if f < WEAK else Verdict.NOTE if f < STRONG else Verdict.PASS
    values: dict[str, str | int | float] = {
        "f": f,
        "gain": found.gains["within"].overall,
        "se": found.gains["within"].se,
    }
    return Check(
        code="ROX-I11",
        verdict=verdict,
        values=values | {"low": amount(ends[0], currency), "high": amount(ends[1], currency)},
    )


def at_once(att: RolloutATT) -> tuple[Floats, Floats]:
    """Return the effect on money in the first months, shape (s + 1,), and its influence (u, s + 1)."""
    now = (att.path.labels >= AT_ONCE[0]) & (att.path.labels <= AT_ONCE[1])
    return att.path.estimate[now].mean(0), att.path.influence[:, now].mean(1)


def at_once_check(found: Stages, horizon: int) -> Check:
    """Test whether money jumped before experience could have moved it (ROX-I18).

    Experience moves money gradually; what is there in the first months beyond the slope times the points felt so far
    comes from elsewhere, such as an offer that came with the initiative.
    """
    early, pushed = at_once(found.att)
    gain = found.gains["within"]
    felt = float(gain.path["gain"].to_numpy() @ exposure(gain.path["month"].to_numpy(), AT_ONCE))
    reach = (sum(AT_ONCE) / 2 + 1) / horizon
    expected = float(found.att.window.overall[-1]) / gain.overall * felt * reach
    excess, se = float(early[-1]) - expected, float(np.sqrt((pushed[:, -1] ** 2).sum()))
    p = float(2 * stats.t.sf(abs(excess) / se, found.df)) if se > 0 else 1.0
    return Check(
        code="ROX-I18",
        verdict=Verdict.DEMOTE if p < AT_ONCE_LEVEL else Verdict.PASS,
        values={"jump": 100 * float(early[-1]), "expected": 100 * expected, "p": p_value(p), "months": AT_ONCE[1] + 1},
    )


def readings_check(found: Stages, currency: str, rivals: pd.DataFrame) -> Check:
    """Compare the readings of the score (ROX-I13)."""
    used = found.gains["within"]
    worst, clear = 0.0, False
    for reading in READINGS[1:]:
        other = found.gains[reading]
        gap = other.overall - used.overall
        se = float(np.sqrt(((other.overall_influence - used.overall_influence) ** 2).sum()))
        share = abs(gap / used.overall)
        clear |= share > APART and normal_p_value(gap, se) < LEVEL
        worst = max(worst, share)
    verdict = Verdict.DEMOTE if clear else Verdict.NOTE if worst > NEAR else Verdict.PASS
    values: dict[str, str | int | float] = {f"gain_{name}": gain.overall for name, gain in found.gains.items()}
    names = {"within": "rollout_slope", "respondents": "respondents", "reweighted": "reweighted"}
    values |= {
        f"slope_{name}": amount(float(rivals["estimate"].to_dict()[row]), currency) for name, row in names.items()
    }
    return Check(code="ROX-I13", verdict=verdict, values=values | {"p": 100 * worst})


def answers_checks(
    found: Stages, answers: CohortAnswers, *, window: tuple[int, int], control: Control
) -> tuple[Check, ...]:
    """Ask whether the score moved apart before the start (ROX-I15), and whether other customers answer (ROX-I14)."""
    lead, error = lead_gain(found.cohort, found.att, answers, control=control)
    p = normal_p_value(lead, error)
    values: dict[str, str | int | float] = {"lead": lead, "se": error, "p": p_value(p)}
    known = bool(np.isfinite(p))
    verdict = Verdict.DEMOTE if known and p < LEVEL else Verdict.PASS
    checks = [Check(code="ROX-I15", verdict=verdict, values=values)] if known else []
    table, _ = score_effect(found.cohort, window=window, control=control)
    if not table.empty:
        last = table.iloc[-1]
        change, se = float(last["answers_per_customer"]), float(last["answers_se"])
        q = normal_p_value(change, se)
        moved = Verdict.NOTE if np.isfinite(q) and q < LEVEL else Verdict.PASS
        checks.append(Check(code="ROX-I14", verdict=moved, values={"answers": 100 * change, "p": p_value(q)}))
    return tuple(checks)


def notes(data: Linked, found: Stages) -> tuple[Check, ...]:
    """Remark on cut ratios, on starts that the window does not reach, and on other initiatives at the same places."""
    cohort, late = found.cohort, found.att.incomplete
    verdict = Verdict.NOTE if cohort.capped > CAPPED_LIMIT else Verdict.PASS
    notes = [Check(code="ROX-L09", verdict=verdict, values={"p": 100 * cohort.capped})]
    if late.size:
        names = ", ".join(month_label(int(start)) for start in late)
        count = int(np.isin(cohort.starts, late).sum())
        notes.append(Check(code="ROX-L15", verdict=Verdict.NOTE, values={"starts": names, "places": count}))
    others = data.starts[data.starts["initiative"] != cohort.initiative]
    if shared := sorted(set(others["unit"].astype(str)) & set(cohort.units)):
        names = ", ".join(sorted(others.loc[others["unit"].isin(shared), "initiative"].unique()))
        notes.append(Check(code="ROX-L19", verdict=Verdict.NOTE, values={"places": len(shared), "initiatives": names}))
    return tuple(notes)


def chance_check(draws: Floats, currency: str) -> Check:
    """Say when chance alone may move the figure by more than half of it (ROX-I17)."""
    low, high = np.quantile(draws, [0.05, 0.95])
    verdict = Verdict.NOTE if high - low > abs(draws.mean()) else Verdict.PASS
    values = {"low": amount(float(low), currency), "high": amount(float(high), currency)}
    return Check(code="ROX-I17", verdict=verdict, values=values)


def both_units(
    data: Linked, answers: CohortAnswers, found: Stages, draws: Floats, rng: np.random.Generator
) -> tuple[Floats | None, pd.DataFrame]:
    """Measure NPS points per score point among the cohort's answers, and put both units side by side."""
    groups, min_cell = found.cohort.groups, data.study.about.min_cell
    counted = counted_rows(data, answers.rows)
    measured = {} if counted is None else shifts_of(counted, groups)
    shift = {name: each.draws(len(draws), rng) for name, each in measured.items()}
    by_group = {EVERYONE: draws @ found.people.shares} | dict(zip(groups, draws.T, strict=True))
    return shift.get(EVERYONE), shown(unit_table(by_group, shift), _sizes(found), min_cell)


def _sizes(found: Stages) -> pd.Series:
    answers = pd.Series(found.gains["within"].answers, index=list(found.cohort.groups), dtype=float)
    return pd.concat([pd.Series({EVERYONE: np.inf}), answers[~answers.index.isin([EVERYONE])]])


def slope_tables(found: Stages, slope: PooledRatio, draws: Floats, min_cell: int) -> dict[str, pd.DataFrame]:
    """Tabulate both stages by segment, the readings of the score, its path, and the sets that hold at any strength."""
    att, gain, whole = found.att, found.gains["within"], float(found.money @ found.people.shares)
    segments = pd.DataFrame(
        {
            "estimate": draws.mean(0),
            "low": np.quantile(draws, 0.05, axis=0),
            "high": np.quantile(draws, 0.95, axis=0),
            "share_per_point": slope.slopes,
            "share_apart": slope.own,
            "share_apart_se": slope.own_se,
            "money_effect": found.effect.estimate,
            "money_effect_se": np.sqrt((found.effect.influence**2).sum(0)),
            "score_gain": gain.estimate,
            "score_gain_apart": gain.own,
            "score_gain_apart_se": gain.own_se,
            "customers": found.cohort.sizes[att.members].sum(0),
            "money": found.money,
            "share": found.people.shares,
        },
        index=pd.Index(found.cohort.groups, name="group"),
    )
    readings = pd.DataFrame(
        {name: (each.overall, each.se, (each.overall / each.se) ** 2) for name, each in found.gains.items()},
        index=["gain", "se", "f"],
    ).T.rename_axis("reading")
    sets = {level: slope.ratio(level, found.df).robust_set for level in SET_LEVELS}
    robust = pd.DataFrame(
        [(level, each.kind, whole * each.low, whole * each.high) for level, each in sets.items()],
        columns=["level", "kind", "low", "high"],
    )
    return {
        "segments": shown(segments, _sizes(found), min_cell),
        "first_stage": readings,
        "score_path": gain.path,
        "robust_set": robust,
    }

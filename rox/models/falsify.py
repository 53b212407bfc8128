"""Try to break an estimate: hidden causes, other specifications, silent customers, outcomes it cannot move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Question
from rox.core.linked import Linked
from rox.core.units import MONEY, Dose
from rox.models.answer_table import answer_table
from rox.models.answers import USUAL
from rox.models.evidence import demoted_to
from rox.models.hidden_causes import Regression, benchmarks, hidden_cause_check, oster_check, regression
from rox.models.joint_path import JointPath
from rox.models.lead_lag import LeadLag
from rox.models.panel_fe import PanelFE
from rox.models.phrases import amount, p_value
from rox.models.response import with_response_weights
from rox.models.score_gap import ScoreGap
from rox.models.specifications import Model, specification_curve
from rox.numerics.sensitivity import e_value

NOTHING_P = 0.01
"""An outcome the score cannot move must not go with it this clearly."""
TILT = 0.15
"""Log odds of answering per score point beyond what is seen, in either direction."""
CAP = 1.0
"""Largest log growth that counts."""


def falsify(
    model: Model,
    data: Linked,
    *,
    negative_controls: Sequence[Linked] = (),
    tilts: Sequence[float] = (-TILT, TILT),
    specifications: bool = True,
    rng: int = 0,
) -> Effect:
    """Estimate, then try to break the estimate; what breaks it lowers the grade.

    - Hidden causes: how many times as strong as earlier money, earlier growth or a control one must be to remove the
      estimate (Cinelli & Hazlett 2020), and Oster's delta (2019), for effects on money per score point; the E-value
      (VanderWeele & Ding 2017) for a hazard ratio.
    - Specifications: the same question in all defensible ways; at least nine in ten must agree in sign.
    - Silent customers: answers weighted by how likely their customers were to answer, and with answering tilted towards
      the happy and towards the unhappy (not for ``JointPath``, which gives every answer the same weight).
    - Negative controls: the same model on outcomes that experience cannot move.

    These look for omitted causes and fragile choices; none repairs an estimate that answers another question.

    Args:
        model: A model as asked.
        data: The linked panel.
        negative_controls: Panels of the same tables linked with other outcomes.
        tilts: Log odds of answering per score point.
        specifications: Whether to estimate the other specifications, which takes as long as so many fits.
        rng: Seed of every fit.

    Returns:
        The model's effect with the further checks, its grade after all of them, and the tables ``hidden_causes``,
        ``specifications``, ``response`` and ``negative_controls``, as far as they apply.

    Raises:
        DataError: A panel that cannot be used.
        FitError: The model cannot be estimated as asked.

    Example:
        >>> from rox.models.score_gap import ScoreGap
        >>> from rox.testing import sample_linked
        >>> effect = falsify(ScoreGap(), sample_linked(seed=1), specifications=False, tilts=())
        >>> "removes_all" in effect.tables["hidden_causes"]
        True
    """
    effect = model.fit(data, rng=rng)
    money = _in_words(effect)
    checks: list[Check] = []
    tables: dict[str, pd.DataFrame] = {}
    if effect.estimand.dose is Dose.SCORE_POINT and effect.estimand.unit in MONEY:
        more, tables["hidden_causes"] = _hidden_causes(model, data, effect, money)
        checks += more
    if effect.estimand.question is Question.HAZARD:
        checks.append(_e_value_check(effect))
    if specifications:
        check, tables["specifications"] = specification_curve(model, data, effect, rng=rng)
        checks.append(check)
    if effect.estimand.dose is Dose.SCORE_POINT and not isinstance(model, JointPath):
        more, tables["response"] = _silent_customers(model, data, effect, tilts, rng)
        checks += more
    if negative_controls:
        more, tables["negative_controls"] = _nothing_there(model, negative_controls, rng)
        checks += more
    kept = {name: table for name, table in tables.items() if not table.empty}
    return replace(
        effect,
        checks=(*effect.checks, *checks),
        grade=grade_after(effect.grade, checks),
        tables={**effect.tables, **kept},
    )


def _in_words(effect: Effect) -> str:
    """Write what stands or falls."""
    mean = float(effect.overall.mean())
    return amount(mean, effect.estimand.currency)


def _hidden_causes(model: Model, data: Linked, effect: Effect, money: str) -> tuple[tuple[Check, ...], pd.DataFrame]:
    if isinstance(model, LeadLag | JointPath):
        reg = _later_growth(model, data, effect)
        found = benchmarks(reg)
        estimate, se = float(effect.overall.mean()), float(effect.overall.std(ddof=1))
        check, table = hidden_cause_check(found, estimate=estimate, se=se, df=reg.df, money=money)
        return (check,), table
    if not isinstance(model, ScoreGap | PanelFE):
        return (), pd.DataFrame()
    reg = _of_levels(model, data, effect)
    estimate, se, _, _ = reg.fit(reg.columns())
    check, table = hidden_cause_check(benchmarks(reg), estimate=estimate, se=se, df=reg.df, money=money)
    oster = (oster_check(reg, money),) if reg.beside or reg.adjust else ()
    return (check, *oster), table


def _of_levels(model: ScoreGap | PanelFE, data: Linked, effect: Effect) -> Regression:
    """Set money beside the score as the model does."""
    controls = tuple(data.controls if model.controls is None else model.controls)
    answers = answer_table(data, age=model.age, controls=controls).of(effect.groups)
    if isinstance(model, PanelFE):
        return regression(answers.repeated(), controls=(), within_customers=True)
    return regression(answers, controls=controls)


def _later_growth(model: LeadLag | JointPath, data: Linked, effect: Effect) -> Regression:
    """Set the growth of money after the answer beside the answer."""
    answers = answer_table(data, age=1, offsets=(*USUAL, model.horizon)).of(effect.groups)
    return regression(answers, controls=(), growth_to=model.horizon, cap=CAP)


def _e_value_check(effect: Effect) -> Check:
    """Print the risk ratio that a hidden cause would need with both the score and leaving (ROX-A23)."""
    low, middle, high = np.exp(np.quantile(effect.overall, [0.05, 0.5, 0.95]))
    found = e_value(float(middle), measure="hazard_ratio_rare", low=float(low), high=float(high))
    values = {"hazard": float(middle), "point": found.point, "limit": found.limit}
    return Check(code="ROX-A23", verdict=Verdict.NOTE, values=values)


def _silent_customers(
    model: Model, data: Linked, effect: Effect, tilts: Sequence[float], rng: int
) -> tuple[tuple[Check, ...], pd.DataFrame]:
    """Estimate again as if the silent customers had answered, in several ways (ROX-A24).

    No check where the model does not weight answers, which shows in draws that do not move.
    """
    rows = {"as_given": effect.overall}
    failed = 0
    for tilt in (0.0, *tilts):
        try:
            again = model.fit(with_response_weights(data, tilt=tilt), rng=rng)
        except FitError:
            failed += 1
            continue
        if np.array_equal(again.overall, effect.overall):
            return (), pd.DataFrame()
        rows["weighted" if tilt == 0 else f"tilt {tilt:+.2f}"] = again.overall
    table = pd.DataFrame.from_dict(
        {name: {"estimate": float(draws.mean()), "se": float(draws.std(ddof=1))} for name, draws in rows.items()},
        orient="index",
    ).rename_axis("answers")
    estimates = table["estimate"]
    currency = effect.estimand.currency
    flips = bool((np.sign(estimates) != np.sign(estimates.iloc[0])).any())
    spread = 100 * float((estimates.max() - estimates.min()) / abs(estimates.iloc[0])) if estimates.iloc[0] else np.inf
    values: dict[str, str | int | float] = {
        "low": amount(float(estimates.min()), currency),
        "high": amount(float(estimates.max()), currency),
        "spread": min(spread, 1e6),
        "failed": failed,
    }
    return (demoted_to(Grade.D, "ROX-A24", flips, values),), table


def _nothing_there(model: Model, others: Sequence[Linked], rng: int) -> tuple[tuple[Check, ...], pd.DataFrame]:
    """Ask the model about outcomes that experience cannot move (ROX-A25; Lipsitch et al. 2010)."""
    checks, rows = [], {}
    for other in others:
        effect = model.fit(other, rng=rng)
        mean, sd = float(effect.overall.mean()), float(effect.overall.std(ddof=1))
        p = float(2 * stats.norm.sf(abs(mean) / sd)) if sd > 0 else 1.0
        base = float(effect.baseline["money"].to_numpy(dtype=float) @ effect.shares)
        share = 100 * mean / base if base else 0.0
        rows[other.outcome] = {"estimate": mean, "se": sd, "p": p, "percent": share}
        values: dict[str, str | int | float] = {"outcome": other.outcome, "percent": share, "p": p_value(p)}
        checks.append(demoted_to(Grade.D, "ROX-A25", p < NOTHING_P, values))
    return tuple(checks), pd.DataFrame.from_dict(rows, orient="index").rename_axis("outcome")
